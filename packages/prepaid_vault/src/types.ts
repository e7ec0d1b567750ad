import {Address} from '@stellar/stellar-sdk';

    /**
 * What the vault refuses. No other contract's code ever leaves it.
 */
export const VaultError = {
  /**
   * Kept for its number: the constructor runs once by itself (V2).
   */
  1 : { message: "AlreadyInitialized" },
  /**
   * The instance holds no configuration.
   */
  2 : { message: "NotInitialized" },
  /**
   * The run belongs to another user.
   */
  3 : { message: "Unauthorized" },
  /**
   * A number is negative, zero where it must not be, or above 2^63 − 1 (V19).
   */
  4 : { message: "InvalidAmount" },
  /**
   * The balance is less than the amount or the escrow.
   */
  5 : { message: "InsufficientBalance" },
  /**
   * The user has paused new runs.
   */
  6 : { message: "PolicyPaused" },
  /**
   * The escrow is more than the user allows one run.
   */
  7 : { message: "PerRunCapExceeded" },
  /**
   * Spent, reserved and this escrow are more than the user allows a day.
   */
  8 : { message: "DailyCapExceeded" },
  /**
   * Kept for its number: the constructor sets the registry (V2).
   */
  9 : { message: "AgentRegistryNotSet" },
  /**
   * The registry knows no such agent.
   */
  10 : { message: "AgentNotFound" },
  /**
   * No record of this run: never opened, or its life has ended (V17).
   */
  11 : { message: "RunNotFound" },
  /**
   * The run is settled, voided, reclaimed or past its deadline.
   */
  12 : { message: "RunNotOpen" },
  /**
   * The usage of a meter is above its budget.
   */
  13 : { message: "UsageExceedsBudget" },
  /**
   * Neither the latest nor the previous rate version.
   */
  14 : { message: "InvalidRateVersion" },
  /**
   * No live grant, not listed by the registry, or not this run's opener.
   */
  15 : { message: "UnauthorizedRunner" },
  /**
   * A live grant for this runner and agent exists already.
   */
  16 : { message: "RunnerGrantExists" },
  /**
   * No live grant for this runner and agent.
   */
  17 : { message: "RunnerGrantNotFound" },
  /**
   * The call's `valid_until` has passed.
   */
  18 : { message: "Expired" },
  /**
   * The deadline is not 10 minutes to 24 hours away, or no record can live that long.
   */
  19 : { message: "DeadlineOutOfRange" },
  /**
   * The run cannot be reclaimed before its deadline.
   */
  20 : { message: "DeadlineNotReached" },
  /**
   * The terms are not those the run was opened with, or a head is not what the registry says.
   */
  21 : { message: "RunTermsMismatch" },
  /**
   * The registry could not be read; says nothing about agent or runner.
   */
  22 : { message: "RegistryUnavailable" },
  /**
   * The token refused, or moved another amount than asked.
   */
  23 : { message: "TokenFailed" },
  /**
   * Every meter's budget is zero.
   */
  24 : { message: "EmptyBudget" },
  /**
   * Rates × budgets is more than the opener expected.
   */
  25 : { message: "MaxChargeExceeded" },
  /**
   * The runner's fee is more than the grant's limits allow; without limits they allow none.
   */
  26 : { message: "RunnerFeeExceeded" },
  /**
   * The grant's expiry is in the past.
   */
  27 : { message: "InvalidExpiry" },
  /**
   * The user has 32 grants.
   */
  28 : { message: "TooManyGrants" },
  /**
   * The books do not add up; nothing was changed.
   */
  29 : { message: "AccountingBroken" },
  /**
   * The escrow is more than the grant's limits allow one run.
   */
  30 : { message: "GrantRunCapExceeded" },
  /**
   * What the grant has used and this escrow are more than its limits allow.
   */
  31 : { message: "GrantTotalExceeded" },
  /**
   * The admin has paused opens, or upgraded the vault and not migrated it yet.
   */
  32 : { message: "OpensPaused" },
  /**
   * No one was proposed as admin.
   */
  33 : { message: "AdminNotProposed" },
  /**
   * No upgrade to this Wasm is scheduled, or it lapsed 14 days after it became ready (V20).
   */
  34 : { message: "UpgradeNotScheduled" },
  /**
   * The scheduled upgrade's time has not come.
   */
  35 : { message: "UpgradeNotReady" },
  /**
   * A batch of no items, of more than one transaction holds, or of more heads than items.
   */
  36 : { message: "InvalidBatchSize" },
  /**
   * Something would be taken without the signature of one of the run's attesters (V16).
   */
  37 : { message: "NotAttested" }
}

/**
 * The user set caps or pause.
 */
export interface PolicySetEvent {
  name: "PolicySet";
  data: {
    /**
     * Whose account.
     */
    user: string;
    /**
     * Most one run may escrow; 0 is no cap.
     */
    per_run_cap: bigint;
    /**
     * Most of a UTC day; 0 is no cap.
     */
    daily_cap: bigint;
    /**
     * Whether new runs are refused.
     */
    paused: boolean;
  };
}

/**
 * Escrow was set aside for a run. The data after the run's id are its terms (V5); their digest is
 * the record's.
 */
export interface RunOpenedEvent {
  name: "RunOpened";
  data: {
    /**
     * The run.
     */
    run_id: Uint8Array;
    /**
     * Who pays.
     */
    user: string;
    /**
     * Who opened it.
     */
    opened_by: string;
    /**
     * Agent, rate version, rates, developer, module and attesters.
     */
    head: Head;
    /**
     * The most units that can be charged.
     */
    budgets: Meters;
    /**
     * rates × budgets.
     */
    max_charge: bigint;
    /**
     * The opener's flat fee.
     */
    runner_fee: bigint;
    /**
     * Settle and void before it, reclaim from it on.
     */
    deadline: bigint;
    /**
     * Ledger time of the opening.
     */
    opened_at: bigint;
    /**
     * What was asked for.
     */
    request_hash: Uint8Array;
  };
}

/**
 * The opener gave a run up; the whole escrow went back.
 */
export interface RunVoidedEvent {
  name: "RunVoided";
  data: {
    /**
     * Who gets it back.
     */
    user: string;
    /**
     * The run.
     */
    run_id: Uint8Array;
    /**
     * Who gave it up.
     */
    runner: string;
    /**
     * Why, in the opener's own numbering.
     */
    reason: number;
    /**
     * What went back to the user.
     */
    refund: bigint;
    /**
     * Ledger time.
     */
    voided_at: bigint;
  };
}

/**
 * No run opens until the admin resumes. Everything else goes on.
 */
export interface OpensPausedEvent {
  name: "OpensPaused";
  data: {
    /**
     * Who paused.
     */
    admin: string;
  };
}

/**
 * Escrow whose deadline lay in past days returned to the balance.
 */
export interface AccountSweptEvent {
  name: "AccountSwept";
  data: {
    /**
     * Whose account.
     */
    user: string;
    /**
     * How much returned.
     */
    amount: bigint;
    /**
     * Free balance after the call.
     */
    balance: bigint;
    /**
     * The UTC day of the sweep; every earlier due day is empty now.
     */
    day: number;
  };
}

/**
 * Runs open again.
 */
export interface OpensResumedEvent {
  name: "OpensResumed";
  data: {
    /**
     * Who resumed.
     */
    admin: string;
  };
}

/**
 * A developer or runner was paid out.
 */
export interface PayeeClaimedEvent {
  name: "PayeeClaimed";
  data: {
    /**
     * Who was paid.
     */
    payee: string;
    /**
     * `developer` or `runner`.
     */
    role: string;
    /**
     * How much.
     */
    amount: bigint;
    /**
     * What is still claimable.
     */
    balance: bigint;
  };
}

/**
 * A run was settled. With the opened event it rebuilds the receipt that went into the account's
 * running hash (V3).
 */
export interface RunFinalizedEvent {
  name: "RunFinalized";
  data: {
    /**
     * The run.
     */
    run_id: Uint8Array;
    /**
     * Who paid.
     */
    user: string;
    /**
     * Who settled it.
     */
    runner: string;
    /**
     * What the developer got.
     */
    actual_charge: bigint;
    /**
     * What the settler got.
     */
    runner_fee: bigint;
    /**
     * What went back to the user.
     */
    refund: bigint;
    /**
     * What was metered.
     */
    usage: Meters;
    /**
     * Digest of the seal, or of the failure.
     */
    output_hash: Uint8Array;
    /**
     * Ledger time of the settlement.
     */
    finalized_at: bigint;
    /**
     * Counts the account's receipts from 1.
     */
    receipt_number: bigint;
    /**
     * The account's running hash with this receipt.
     */
    receipts_hash: Uint8Array;
  };
}

/**
 * A run past its deadline was ended.
 */
export interface RunReclaimedEvent {
  name: "RunReclaimed";
  data: {
    /**
     * Who gets it back.
     */
    user: string;
    /**
     * The run.
     */
    run_id: Uint8Array;
    /**
     * What this call returned for the run: its escrow, or 0 if a sweep had returned it.
     */
    refund: bigint;
    /**
     * Ledger time.
     */
    reclaimed_at: bigint;
  };
}

/**
 * A grant that had died of age was cleared away.
 */
export interface RunnerExpiredEvent {
  name: "RunnerExpired";
  data: {
    /**
     * Who had granted.
     */
    user: string;
    /**
     * To whom.
     */
    runner: string;
    /**
     * For which agent.
     */
    agent_id: number;
    /**
     * Since when it was dead.
     */
    expires_at: bigint;
  };
}

/**
 * A runner may open runs for the user.
 */
export interface RunnerGrantedEvent {
  name: "RunnerGranted";
  data: {
    /**
     * Who granted.
     */
    user: string;
    /**
     * To whom.
     */
    runner: string;
    /**
     * For which agent.
     */
    agent_id: number;
    /**
     * When.
     */
    issued_at: bigint;
    /**
     * From when it is dead; void is never.
     */
    expires_at: bigint | null;
    /**
     * The grant's serial.
     */
    serial: number;
  };
}

/**
 * A runner may open no more runs for the user. Open ones still settle (V6).
 */
export interface RunnerRevokedEvent {
  name: "RunnerRevoked";
  data: {
    /**
     * Who had granted.
     */
    user: string;
    /**
     * To whom.
     */
    runner: string;
    /**
     * For which agent.
     */
    agent_id: number;
    /**
     * When.
     */
    revoked_at: bigint;
  };
}

/**
 * The user set what a runner is allowed for an agent. Counts from the next open on.
 */
export interface RunnerLimitsSetEvent {
  name: "RunnerLimitsSet";
  data: {
    /**
     * Who allows.
     */
    user: string;
    /**
     * Whom.
     */
    runner: string;
    /**
     * For which agent.
     */
    agent_id: number;
    /**
     * Most one run may escrow, fee included; 0 is no cap.
     */
    per_run_cap: bigint;
    /**
     * Most that all runs under one grant may be charged and reserve; 0 is no cap.
     */
    total_cap: bigint;
    /**
     * Highest flat fee of a run; 0 is no fee.
     */
    max_runner_fee: bigint;
  };
}

/**
 * Tokens came in.
 */
export interface AccountDepositedEvent {
  name: "AccountDeposited";
  data: {
    /**
     * Whose account.
     */
    user: string;
    /**
     * How much came in.
     */
    amount: bigint;
    /**
     * Free balance afterwards.
     */
    balance: bigint;
  };
}

/**
 * Tokens went back to the user.
 */
export interface AccountWithdrawnEvent {
  name: "AccountWithdrawn";
  data: {
    /**
     * Whose account.
     */
    user: string;
    /**
     * How much went out.
     */
    amount: bigint;
    /**
     * Free balance afterwards.
     */
    balance: bigint;
  };
}

/**
 * Whom the vault was set up with. Registry and token never change (V2).
 */
export interface Config {
  /**
   * Who may administer.
   */
  admin: string;
  /**
   * The agent registry.
   */
  registry: string;
  /**
   * The SEP-41 token in custody.
   */
  token: string;
}

/**
 * A user's account, with everything the past days owe it already returned.
 */
export interface Account {
  /**
   * What can be withdrawn or escrowed now.
   */
  balance: bigint;
  /**
   * Most that may be spent and reserved in one day; 0 is no cap.
   */
  daily_cap: bigint;
  /**
   * The UTC day that the sums are for.
   */
  day: number;
  /**
   * Escrow of runs whose deadline lies in `day`.
   */
  due_today: bigint;
  /**
   * Escrow of runs whose deadline lies in the day after.
   */
  due_tomorrow: bigint;
  /**
   * While true no run opens.
   */
  paused: boolean;
  /**
   * Most one run may escrow; 0 is no cap.
   */
  per_run_cap: bigint;
  /**
   * How many runs of this account were finalised.
   */
  receipts: bigint;
  /**
   * The running hash over their receipts; 32 zero bytes when there are none (V3).
   */
  receipts_hash: Uint8Array;
  /**
   * Escrow of runs opened in `day` and not settled yet.
   */
  reserved: bigint;
  /**
   * Charges and fees of runs opened and settled in `day`.
   */
  spent: bigint;
}

/**
 * The caps and how much of the day's is used.
 */
export interface UserPolicy {
  /**
   * Most that may be spent and reserved in one UTC day; 0 is no cap.
   */
  daily_cap: bigint;
  /**
   * While true no run opens.
   */
  paused: boolean;
  /**
   * Most one run may escrow; 0 is no cap.
   */
  per_run_cap: bigint;
  /**
   * The UTC day the two sums are for.
   */
  reserved_day: bigint;
  /**
   * Escrow of runs opened on `reserved_day` and not settled yet.
   */
  reserved_today: bigint;
  /**
   * Charges and fees of runs opened and settled on `reserved_day`.
   */
  spent_today: bigint;
}

/**
 * What a user allows one runner for one agent, beside the policy's caps, which hold too. Without
 * limits a grant has no caps of its own and allows no fee.
 */
export interface GrantLimits {
  /**
   * Highest flat fee of a run; 0 is no fee.
   */
  max_runner_fee: bigint;
  /**
   * Most one run may escrow, fee included; 0 is no cap.
   */
  per_run_cap: bigint;
  /**
   * Most that all runs under one grant may be charged and reserve; 0 is no cap.
   */
  total_cap: bigint;
}

/**
 * The caps a user sets. 0 means no cap.
 */
export interface PolicyInput {
  /**
   * Most that may be spent and reserved in one UTC day.
   */
  daily_cap: bigint;
  /**
   * While true no run opens; open runs still settle.
   */
  paused: boolean;
  /**
   * Most one run may escrow.
   */
  per_run_cap: bigint;
}

/**
 * A runner's right to open runs for a user.
 */
export interface RunnerGrant {
  /**
   * For which agent.
   */
  agent_id: number;
  /**
   * From when it is dead; absent is never.
   */
  expires_at: bigint | null;
  /**
   * When it was granted.
   */
  issued_at: bigint;
  /**
   * Who may open runs.
   */
  runner: string;
  /**
   * Counts the user's grants from 1; a new grant has a new one.
   */
  serial: number;
  /**
   * What runs under this serial were charged or still reserve.
   */
  used: bigint;
}

/**
 * The state of administration (V2, V20).
 */
export interface Administration {
  /**
   * Who may administer.
   */
  admin: string;
  /**
   * The form of the data; opens wait for `migrate` if it is not the code's own.
   */
  layout: number;
  /**
   * While true no run opens.
   */
  opens_paused: boolean;
  /**
   * Who may take over by accepting.
   */
  proposed: string | null;
  /**
   * From when it may be put in place.
   */
  upgrade_at: bigint | null;
  /**
   * sha256 of the announced Wasm, if any.
   */
  upgrade_to: Uint8Array | null;
  /**
   * From when the announcement has lapsed.
   */
  upgrade_until: bigint | null;
}

/**
 * An agent under one rate card: what runs of a batch have in common. There it is given once and
 * named by its place in the list of heads.
 */
export type Head = readonly [number, number, Meters, string, Uint8Array, Array<Uint8Array>];

/**
 * The four meters in this order, as batches and events carry them: units, or prices of a unit.
 */
export type Meters = readonly [bigint, bigint, bigint, bigint];

/**
 * One run to open in a batch: `open_run`'s arguments, without what the head or the batch states.
 */
export type OpenItem = readonly [number, string, Meters, Uint8Array, bigint, bigint, Uint8Array];

/**
 * Everything that was fixed when a run opened (V5). The opened event carries it, the record only
 * its digest.
 */
export interface RunTerms {
  /**
   * Which agent runs.
   */
  agent_id: number;
  /**
   * Ed25519 keys whose signatures count.
   */
  attesters: Array<Uint8Array>;
  /**
   * The most units that can be charged.
   */
  budgets: UsageBreakdown;
  /**
   * Settle and void before it, reclaim from it on.
   */
  deadline: bigint;
  /**
   * Who is paid the charge.
   */
  developer: string;
  /**
   * Digest of the module's tree.
   */
  manifest_hash: Uint8Array;
  /**
   * rates × budgets: the highest charge.
   */
  max_charge: bigint;
  /**
   * Ledger time of the opening.
   */
  opened_at: bigint;
  /**
   * The runner that opened the run.
   */
  opened_by: string;
  /**
   * Which rate card holds.
   */
  rate_version: number;
  /**
   * Its prices.
   */
  rates: UsageMeterRates;
  /**
   * What was asked for.
   */
  request_hash: Uint8Array;
  /**
   * The opener's flat fee.
   */
  runner_fee: bigint;
  /**
   * Who pays.
   */
  user: string;
}

/**
 * What the opener of a run states beside its budget.
 */
export interface OpenTerms {
  /**
   * Settle and void before it, reclaim from it on; 10 minutes to 24 hours away.
   */
  deadline: bigint;
  /**
   * The most the opener expects rates × budgets to be.
   */
  max_charge: bigint;
  /**
   * Makes the run's id; sha256(16 UUID bytes ‖ attempt as u32 big-endian).
   */
  nonce: Uint8Array;
  /**
   * sha256 of the canonical JSON of {input digest, seed, workflow id, module digest}.
   */
  request_hash: Uint8Array;
  /**
   * A flat fee for the opener, at most what the grant's limits allow.
   */
  runner_fee: bigint;
  /**
   * After this ledger time the call fails.
   */
  valid_until: bigint;
}

/**
 * What is known of a run as long as its record lives (V17).
 */
export interface RunRecord {
  /**
   * Which agent runs.
   */
  agent_id: number;
  /**
   * Settle and void before it, reclaim from it on.
   */
  deadline: bigint;
  /**
   * What was set aside: highest charge and fee.
   */
  escrowed: bigint;
  /**
   * Which grant it was opened under.
   */
  grant_serial: number;
  /**
   * Its state.
   */
  lifecycle: RunLifecycle;
  /**
   * The runner that opened the run.
   */
  opened_by: string;
  /**
   * The UTC day whose cap the run counts against.
   */
  opened_day: number;
  /**
   * The opener's flat fee.
   */
  runner_fee: bigint;
  /**
   * The digest of its terms.
   */
  terms_hash: Uint8Array;
  /**
   * Who pays.
   */
  user: string;
}

/**
 * What a settlement came to. `actual_charge + runner_fee + refund` is the escrow.
 */
export interface RunReceipt {
  /**
   * What the developer got.
   */
  actual_charge: bigint;
  /**
   * Who got the charge.
   */
  developer: string;
  /**
   * What went back to the user.
   */
  refund: bigint;
  /**
   * The run.
   */
  run_id: Uint8Array;
  /**
   * What the settler got: the fee if it opened the run and gave a signature, else 0.
   */
  runner_fee: bigint;
}

/**
 * One run to settle in a batch: `finalize_run`'s arguments, without what the run's record, the
 * head or the batch states.
 */
export type SettleItem = readonly [number, Uint8Array, Meters, bigint, Uint8Array, Meters, Uint8Array, number, Uint8Array | null];

/**
 * The state of a run. An open run whose deadline has passed is over, whatever its record says.
 */
 export type RunLifecycle =
  /**
   * Escrow is held. Carries the digest of the arguments, by which a repeated open is known.
   */
  { tag: "Open"; values: readonly [Uint8Array] } |
  /**
   * Settled: charge, output hash, and the digest of settler, usage and whether an attester's
   * signature was given, by which a repeated settlement is known.
   */
  { tag: "Finalized"; values: readonly [bigint, Uint8Array, Uint8Array] } |
  /**
   * Given up by its opener, with a reason of the opener's own numbering.
   */
  { tag: "Voided"; values: readonly [number] } |
  /**
   * Returned after the deadline.
   */
  { tag: "Reclaimed"; values: void };

/**
 * Units of each meter: a run's budget or its usage. Each is 0 to 2^63 − 1 (V19).
 */
export interface UsageBreakdown {
  /**
   * HTTP calls.
   */
  http_calls: bigint;
  /**
   * Input tokens of a language model.
   */
  llm_in: bigint;
  /**
   * Output tokens of a language model.
   */
  llm_out: bigint;
  /**
   * Milliseconds of run time.
   */
  runtime_ms: bigint;
}

/**
 * Price of one unit of each meter; the registry's type of the same name. Each is 0 to 2^63 − 1
 * (V19).
 */
export interface UsageMeterRates {
  /**
   * Per HTTP call.
   */
  http_calls: bigint;
  /**
   * Per input token of a language model.
   */
  llm_in: bigint;
  /**
   * Per output token of a language model.
   */
  llm_out: bigint;
  /**
   * Per millisecond of run time.
   */
  runtime_ms: bigint;
}

/**
 * The data have the form that the code expects.
 */
export interface MigratedEvent {
  name: "Migrated";
  data: {
    /**
     * The form before.
     */
    from: number;
    /**
     * The form now.
     */
    to: number;
  };
}

/**
 * New code is in place.
 */
export interface UpgradedEvent {
  name: "Upgraded";
  data: {
    /**
     * sha256 of the new Wasm.
     */
    wasm_hash: Uint8Array;
  };
}

/**
 * Administration changed hands.
 */
export interface AdminAcceptedEvent {
  name: "AdminAccepted";
  data: {
    /**
     * Who administered.
     */
    previous: string;
    /**
     * Who administers now.
     */
    admin: string;
  };
}

/**
 * An address may take administration over by accepting.
 */
export interface AdminProposedEvent {
  name: "AdminProposed";
  data: {
    /**
     * Who administers.
     */
    admin: string;
    /**
     * Who may accept; the admin's own address if an earlier proposal was taken back.
     */
    proposed: string;
  };
}

/**
 * Announced code was withdrawn.
 */
export interface UpgradeCancelledEvent {
  name: "UpgradeCancelled";
  data: {
    /**
     * sha256 of the Wasm that will not come.
     */
    wasm_hash: Uint8Array;
  };
}

/**
 * New code was announced.
 */
export interface UpgradeScheduledEvent {
  name: "UpgradeScheduled";
  data: {
    /**
     * sha256 of the new Wasm.
     */
    wasm_hash: Uint8Array;
    /**
     * From when it may be put in place.
     */
    ready_at: bigint;
    /**
     * From when it may not be put in place any more.
     */
    lapses_at: bigint;
  };
}
    export type ContractEvent = PolicySetEvent | RunOpenedEvent | RunVoidedEvent | OpensPausedEvent | AccountSweptEvent | OpensResumedEvent | PayeeClaimedEvent | RunFinalizedEvent | RunReclaimedEvent | RunnerExpiredEvent | RunnerGrantedEvent | RunnerRevokedEvent | RunnerLimitsSetEvent | AccountDepositedEvent | AccountWithdrawnEvent | MigratedEvent | UpgradedEvent | AdminAcceptedEvent | AdminProposedEvent | UpgradeCancelledEvent | UpgradeScheduledEvent;
    
export type VaultError = (typeof VaultError)[keyof typeof VaultError];
