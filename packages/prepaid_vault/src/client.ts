import {VaultError, Config, Account, RunRecord, UsageBreakdown, OpenTerms, Head, OpenItem, UserPolicy, PolicyInput, RunTerms, RunReceipt, GrantLimits, SettleItem, RunnerGrant, Administration, ContractEvent} from './types.js';
import {Result, Spec, AssembledTransaction, Client as ContractClient, ClientOptions as ContractClientOptions, MethodOptions, ExternalExecutableRef} from '@stellar/stellar-sdk/contract';
import {Address, xdr} from '@stellar/stellar-sdk';

export interface Client {
  /**
   * Returns escrow whose due day is past to the user's balance and answers how much. Every other
   * call on the account does the same.
   *
   * Signer: none. Errors: AccountingBroken. Events: account,swept.
   */
  sweep(args: { user: string | Address }, options?: MethodOptions): Promise<AssembledTransaction<Result<bigint, VaultError>>>;
  /**
   * Whom the vault was set up with.
   *
   * Signer: none. Errors: NotInitialized.
   */
  config(options?: MethodOptions): Promise<AssembledTransaction<Result<Config, VaultError>>>;
  /**
   * The user's books as of today.
   *
   * Signer: none. Errors: AccountingBroken.
   */
  account(args: { user: string | Address }, options?: MethodOptions): Promise<AssembledTransaction<Result<Account, VaultError>>>;
  /**
   * What the vault owes and does not have. Anything but 0 is an alarm.
   *
   * Signer: none. Errors: TokenFailed, NotInitialized.
   */
  deficit(options?: MethodOptions): Promise<AssembledTransaction<Result<bigint, VaultError>>>;
  /**
   * Takes `amount` of the token into the user's account.
   *
   * Signer: the user. Errors: InvalidAmount, TokenFailed. Events: account,deposited.
   */
  deposit(args: { user: string | Address; amount: bigint }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * A run's record, as long as it lives.
   *
   * Signer: none. Errors: RunNotFound.
   */
  get_run(args: { run_id: Uint8Array }, options?: MethodOptions): Promise<AssembledTransaction<Result<RunRecord, VaultError>>>;
  /**
   * Tokens in the vault that it owes to nobody: donations, which stay.
   *
   * Signer: none. Errors: TokenFailed, NotInitialized.
   */
  surplus(options?: MethodOptions): Promise<AssembledTransaction<Result<bigint, VaultError>>>;
  /**
   * Escrows the highest price of a run and answers its id; the same call again answers the same
   * id and changes nothing.
   *
   * Signer: the caller, a granted and listed runner. Errors: Expired, InvalidAmount,
   * RunTermsMismatch, RunNotOpen, OpensPaused, UnauthorizedRunner, EmptyBudget,
   * DeadlineOutOfRange, RunnerFeeExceeded, AgentNotFound, RegistryUnavailable,
   * InvalidRateVersion, MaxChargeExceeded, GrantRunCapExceeded, GrantTotalExceeded,
   * PolicyPaused, PerRunCapExceeded, DailyCapExceeded, InsufficientBalance. Events: run,opened.
   */
  open_run(args: { user: string | Address; caller: string | Address; agent_id: number; rate_version: number; budgets: UsageBreakdown; terms: OpenTerms }, options?: MethodOptions): Promise<AssembledTransaction<Result<Uint8Array, VaultError>>>;
  /**
   * Gives a run up before its deadline; the whole escrow goes back. The same reason again does
   * nothing.
   *
   * Signer: the opener, listed or not. Errors: Expired, RunNotFound, UnauthorizedRunner,
   * RunNotOpen. Events: run,voided.
   */
  void_run(args: { run_id: Uint8Array; runner: string | Address; reason: number; valid_until: bigint }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * Gives `amount` of the free balance back. Nothing can stop it.
   *
   * Signer: the user. Errors: InvalidAmount, InsufficientBalance, TokenFailed. Events:
   * account,withdrawn.
   */
  withdraw(args: { user: string | Address; amount: bigint }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * Opens runs in their order and answers a code for each: 0 if it is open now, else the error
   * of `open_run`; a head that is not what the registry says is RunTermsMismatch.
   *
   * Signer: the caller, once, for sha256 of the XDR of [caller, valid_until, heads, items].
   * Errors: Expired, InvalidBatchSize. Events: run,opened for each.
   */
  open_runs(args: { caller: string | Address; valid_until: bigint; heads: Array<Head>; items: Array<OpenItem> }, options?: MethodOptions): Promise<AssembledTransaction<Result<Array<number>, VaultError>>>;
  /**
   * What the user could withdraw now.
   *
   * Signer: none. Errors: AccountingBroken.
   */
  balance_of(args: { user: string | Address }, options?: MethodOptions): Promise<AssembledTransaction<Result<bigint, VaultError>>>;
  /**
   * `reclaim_run` for the signer's own runs only.
   *
   * Signer: the user. Errors: RunNotFound, Unauthorized, DeadlineNotReached, RunNotOpen. Events:
   * run,reclaimed.
   */
  cancel_run(args: { user: string | Address; run_id: Uint8Array }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * The user's caps, and what of today's is spent and reserved.
   *
   * Signer: none. Errors: AccountingBroken.
   */
  get_policy(args: { user: string | Address }, options?: MethodOptions): Promise<AssembledTransaction<Result<UserPolicy, VaultError>>>;
  /**
   * Sets the user's caps (0 is no cap) and pause.
   *
   * Signer: the user. Errors: InvalidAmount. Events: account,policy.
   */
  set_policy(args: { user: string | Address; policy: PolicyInput }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * Ends a run from its deadline on; the whole escrow goes back.
   *
   * Signer: none. Errors: RunNotFound, DeadlineNotReached, RunNotOpen. Events: run,reclaimed.
   */
  reclaim_run(args: { run_id: Uint8Array }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * Pays the runner.
   *
   * Signer: the runner. Errors: InvalidAmount, InsufficientBalance, TokenFailed. Events:
   * payee,claimed.
   */
  claim_runner(args: { runner: string | Address; amount: bigint }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * Charges what was metered, by the signature of one of the run's attesters, and returns the
   * rest; the same call again answers the same receipt. Without a signature the usage must be
   * zero and everything goes back, the fee too. `terms` are those of the opened event.
   *
   * The attester, by its place in the terms, signs sha256("lumio-settle-v1" ‖ run_id ‖
   * manifest_hash ‖ request_hash ‖ the four meters as u64, big-endian).
   *
   * Signer: the runner. Errors: Expired, InvalidAmount, RunNotFound, RunNotOpen,
   * RunTermsMismatch, UsageExceedsBudget, UnauthorizedRunner, RegistryUnavailable, NotAttested;
   * a wrong signature is an error of the host. Events: run,finalized.
   */
  finalize_run(args: { run_id: Uint8Array; runner: string | Address; terms: RunTerms; usage: UsageBreakdown; output_hash: Uint8Array; attester: number; signature: Uint8Array | null; valid_until: bigint }, options?: MethodOptions): Promise<AssembledTransaction<Result<RunReceipt, VaultError>>>;
  /**
   * What the runner is allowed for the agent, if the user ever set it.
   *
   * Signer: none. Errors: none.
   */
  grant_limits(args: { user: string | Address; runner: string | Address; agent_id: number }, options?: MethodOptions): Promise<AssembledTransaction<GrantLimits | null>>;
  /**
   * Lets a runner that the registry lists open runs of an agent for the user.
   *
   * Signer: the user. Errors: InvalidAmount (the user's own address), InvalidExpiry,
   * AgentNotFound, RegistryUnavailable, UnauthorizedRunner, RunnerGrantExists, TooManyGrants.
   * Events: runner,granted; runner,expired for each expired grant that is cleared away.
   */
  grant_runner(args: { user: string | Address; runner: string | Address; agent_id: number; expires_at: bigint | null }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * Settles runs in their order and answers a code for each: 0 if it is settled so, else the
   * error of `finalize_run`. A wrong signature of an attester fails the whole call.
   *
   * Signer: the runner, once, for sha256 of the XDR of [runner, valid_until, heads, items].
   * Errors: Expired, InvalidBatchSize. Events: run,finalized for each.
   */
  finalize_runs(args: { runner: string | Address; valid_until: bigint; heads: Array<Head>; items: Array<SettleItem> }, options?: MethodOptions): Promise<AssembledTransaction<Result<Array<number>, VaultError>>>;
  /**
   * Ends a grant: no new runs from now on; open ones settle until their deadline. Limits stay.
   *
   * Signer: the user. Errors: RunnerGrantNotFound. Events: runner,revoked.
   */
  revoke_runner(args: { user: string | Address; runner: string | Address; agent_id: number }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * What the runner can claim.
   *
   * Signer: none. Errors: none.
   */
  runner_balance(args: { runner: string | Address }, options?: MethodOptions): Promise<AssembledTransaction<bigint>>;
  /**
   * Pays the developer.
   *
   * Signer: the developer. Errors: InvalidAmount, InsufficientBalance, TokenFailed. Events:
   * payee,claimed.
   */
  claim_developer(args: { developer: string | Address; amount: bigint }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * Sets what a runner is allowed for an agent: before the grant or after, for this grant and
   * later ones. Caps of 0 are no caps, a highest fee of 0 is no fee.
   *
   * Signer: the user. Errors: InvalidAmount. Events: runner,limits.
   */
  set_grant_limits(args: { user: string | Address; runner: string | Address; agent_id: number; limits: GrantLimits }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * What the developer can claim.
   *
   * Signer: none. Errors: none.
   */
  developer_balance(args: { developer: string | Address }, options?: MethodOptions): Promise<AssembledTransaction<bigint>>;
  /**
   * The user's live grants.
   *
   * Signer: none. Errors: none.
   */
  list_runner_grants(args: { user: string | Address }, options?: MethodOptions): Promise<AssembledTransaction<Array<RunnerGrant>>>;
  /**
   * Whether the runner could open a run of the agent for the user now: a live grant, and listed.
   *
   * Signer: none. Errors: AgentNotFound, RegistryUnavailable.
   */
  is_runner_authorized(args: { user: string | Address; runner: string | Address; agent_id: number }, options?: MethodOptions): Promise<AssembledTransaction<Result<boolean, VaultError>>>;
  /**
   * Brings the data to the form that new code keeps them in; until then no run opens. Where
   * there is nothing to do, it does nothing.
   *
   * Signer: the admin. Errors: NotInitialized. Events: admin,migrated.
   */
  migrate(options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * Puts the announced code in place within its time. The Wasm must be uploaded.
   *
   * Signer: the admin. Errors: NotInitialized, UpgradeNotScheduled (another hash, or lapsed),
   * UpgradeNotReady. Events: admin,upgraded.
   */
  upgrade(args: { wasm_hash: Uint8Array }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * Stops new runs; everything else goes on. Where opens are paused already, it does nothing.
   *
   * Signer: the admin. Errors: NotInitialized. Events: admin,opens_paused.
   */
  pause_opens(options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * Takes administration over and withdraws announced code.
   *
   * Signer: the proposed admin. Errors: NotInitialized, AdminNotProposed. Events:
   * admin,accepted; admin,upgrade_cancelled if code was announced.
   */
  accept_admin(options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * Lets runs open again. Where opens are not paused, it does nothing.
   *
   * Signer: the admin. Errors: NotInitialized. Events: admin,opens_resumed.
   */
  resume_opens(options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * Names who may take administration over. A later proposal replaces an earlier one; naming the
   * admin takes it back.
   *
   * Signer: the admin. Errors: NotInitialized. Events: admin,proposed.
   */
  propose_admin(args: { proposed: string | Address }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * The state of administration.
   *
   * Signer: none. Errors: NotInitialized.
   */
  administration(options?: MethodOptions): Promise<AssembledTransaction<Result<Administration, VaultError>>>;
  /**
   * Withdraws the announced code.
   *
   * Signer: the admin. Errors: NotInitialized, UpgradeNotScheduled. Events:
   * admin,upgrade_cancelled.
   */
  cancel_upgrade(options?: MethodOptions): Promise<AssembledTransaction<Result<null, VaultError>>>;
  /**
   * Announces new code and answers from when it may be put in place: after seven days, for 14
   * days. It replaces what was announced before.
   *
   * Signer: the admin. Errors: NotInitialized. Events: admin,upgrade_scheduled.
   */
  schedule_upgrade(args: { wasm_hash: Uint8Array }, options?: MethodOptions): Promise<AssembledTransaction<Result<bigint, VaultError>>>;
}

export class Client extends ContractClient {
  constructor(public readonly options: ContractClientOptions) {
    super(
      new Spec(["AAAABAAAAEBXaGF0IHRoZSB2YXVsdCByZWZ1c2VzLiBObyBvdGhlciBjb250cmFjdCdzIGNvZGUgZXZlciBsZWF2ZXMgaXQuAAAAAAAAAApWYXVsdEVycm9yAAAAAAAlAAAAPktlcHQgZm9yIGl0cyBudW1iZXI6IHRoZSBjb25zdHJ1Y3RvciBydW5zIG9uY2UgYnkgaXRzZWxmIChWMikuAAAAAAASQWxyZWFkeUluaXRpYWxpemVkAAAAAAABAAAAJFRoZSBpbnN0YW5jZSBob2xkcyBubyBjb25maWd1cmF0aW9uLgAAAA5Ob3RJbml0aWFsaXplZAAAAAAAAgAAACBUaGUgcnVuIGJlbG9uZ3MgdG8gYW5vdGhlciB1c2VyLgAAAAxVbmF1dGhvcml6ZWQAAAADAAAAS0EgbnVtYmVyIGlzIG5lZ2F0aXZlLCB6ZXJvIHdoZXJlIGl0IG11c3Qgbm90IGJlLCBvciBhYm92ZSAyXjYzIOKIkiAxIChWMTkpLgAAAAANSW52YWxpZEFtb3VudAAAAAAAAAQAAAAyVGhlIGJhbGFuY2UgaXMgbGVzcyB0aGFuIHRoZSBhbW91bnQgb3IgdGhlIGVzY3Jvdy4AAAAAABNJbnN1ZmZpY2llbnRCYWxhbmNlAAAAAAUAAAAdVGhlIHVzZXIgaGFzIHBhdXNlZCBuZXcgcnVucy4AAAAAAAAMUG9saWN5UGF1c2VkAAAABgAAADBUaGUgZXNjcm93IGlzIG1vcmUgdGhhbiB0aGUgdXNlciBhbGxvd3Mgb25lIHJ1bi4AAAARUGVyUnVuQ2FwRXhjZWVkZWQAAAAAAAAHAAAARFNwZW50LCByZXNlcnZlZCBhbmQgdGhpcyBlc2Nyb3cgYXJlIG1vcmUgdGhhbiB0aGUgdXNlciBhbGxvd3MgYSBkYXkuAAAAEERhaWx5Q2FwRXhjZWVkZWQAAAAIAAAAPEtlcHQgZm9yIGl0cyBudW1iZXI6IHRoZSBjb25zdHJ1Y3RvciBzZXRzIHRoZSByZWdpc3RyeSAoVjIpLgAAABNBZ2VudFJlZ2lzdHJ5Tm90U2V0AAAAAAkAAAAhVGhlIHJlZ2lzdHJ5IGtub3dzIG5vIHN1Y2ggYWdlbnQuAAAAAAAADUFnZW50Tm90Rm91bmQAAAAAAAAKAAAAQU5vIHJlY29yZCBvZiB0aGlzIHJ1bjogbmV2ZXIgb3BlbmVkLCBvciBpdHMgbGlmZSBoYXMgZW5kZWQgKFYxNykuAAAAAAAAC1J1bk5vdEZvdW5kAAAAAAsAAAA7VGhlIHJ1biBpcyBzZXR0bGVkLCB2b2lkZWQsIHJlY2xhaW1lZCBvciBwYXN0IGl0cyBkZWFkbGluZS4AAAAAClJ1bk5vdE9wZW4AAAAAAAwAAAApVGhlIHVzYWdlIG9mIGEgbWV0ZXIgaXMgYWJvdmUgaXRzIGJ1ZGdldC4AAAAAAAASVXNhZ2VFeGNlZWRzQnVkZ2V0AAAAAAANAAAAMU5laXRoZXIgdGhlIGxhdGVzdCBub3IgdGhlIHByZXZpb3VzIHJhdGUgdmVyc2lvbi4AAAAAAAASSW52YWxpZFJhdGVWZXJzaW9uAAAAAAAOAAAARE5vIGxpdmUgZ3JhbnQsIG5vdCBsaXN0ZWQgYnkgdGhlIHJlZ2lzdHJ5LCBvciBub3QgdGhpcyBydW4ncyBvcGVuZXIuAAAAElVuYXV0aG9yaXplZFJ1bm5lcgAAAAAADwAAADZBIGxpdmUgZ3JhbnQgZm9yIHRoaXMgcnVubmVyIGFuZCBhZ2VudCBleGlzdHMgYWxyZWFkeS4AAAAAABFSdW5uZXJHcmFudEV4aXN0cwAAAAAAABAAAAAoTm8gbGl2ZSBncmFudCBmb3IgdGhpcyBydW5uZXIgYW5kIGFnZW50LgAAABNSdW5uZXJHcmFudE5vdEZvdW5kAAAAABEAAAAkVGhlIGNhbGwncyBgdmFsaWRfdW50aWxgIGhhcyBwYXNzZWQuAAAAB0V4cGlyZWQAAAAAEgAAAFFUaGUgZGVhZGxpbmUgaXMgbm90IDEwIG1pbnV0ZXMgdG8gMjQgaG91cnMgYXdheSwgb3Igbm8gcmVjb3JkIGNhbiBsaXZlIHRoYXQgbG9uZy4AAAAAAAASRGVhZGxpbmVPdXRPZlJhbmdlAAAAAAATAAAAMFRoZSBydW4gY2Fubm90IGJlIHJlY2xhaW1lZCBiZWZvcmUgaXRzIGRlYWRsaW5lLgAAABJEZWFkbGluZU5vdFJlYWNoZWQAAAAAABQAAABZVGhlIHRlcm1zIGFyZSBub3QgdGhvc2UgdGhlIHJ1biB3YXMgb3BlbmVkIHdpdGgsIG9yIGEgaGVhZCBpcyBub3Qgd2hhdCB0aGUgcmVnaXN0cnkgc2F5cy4AAAAAAAAQUnVuVGVybXNNaXNtYXRjaAAAABUAAABDVGhlIHJlZ2lzdHJ5IGNvdWxkIG5vdCBiZSByZWFkOyBzYXlzIG5vdGhpbmcgYWJvdXQgYWdlbnQgb3IgcnVubmVyLgAAAAATUmVnaXN0cnlVbmF2YWlsYWJsZQAAAAAWAAAANlRoZSB0b2tlbiByZWZ1c2VkLCBvciBtb3ZlZCBhbm90aGVyIGFtb3VudCB0aGFuIGFza2VkLgAAAAAAC1Rva2VuRmFpbGVkAAAAABcAAAAdRXZlcnkgbWV0ZXIncyBidWRnZXQgaXMgemVyby4AAAAAAAALRW1wdHlCdWRnZXQAAAAAGAAAADJSYXRlcyDDlyBidWRnZXRzIGlzIG1vcmUgdGhhbiB0aGUgb3BlbmVyIGV4cGVjdGVkLgAAAAAAEU1heENoYXJnZUV4Y2VlZGVkAAAAAAAAGQAAAFdUaGUgcnVubmVyJ3MgZmVlIGlzIG1vcmUgdGhhbiB0aGUgZ3JhbnQncyBsaW1pdHMgYWxsb3c7IHdpdGhvdXQgbGltaXRzIHRoZXkgYWxsb3cgbm9uZS4AAAAAEVJ1bm5lckZlZUV4Y2VlZGVkAAAAAAAAGgAAACJUaGUgZ3JhbnQncyBleHBpcnkgaXMgaW4gdGhlIHBhc3QuAAAAAAANSW52YWxpZEV4cGlyeQAAAAAAABsAAAAXVGhlIHVzZXIgaGFzIDMyIGdyYW50cy4AAAAADVRvb01hbnlHcmFudHMAAAAAAAAcAAAALVRoZSBib29rcyBkbyBub3QgYWRkIHVwOyBub3RoaW5nIHdhcyBjaGFuZ2VkLgAAAAAAABBBY2NvdW50aW5nQnJva2VuAAAAHQAAADlUaGUgZXNjcm93IGlzIG1vcmUgdGhhbiB0aGUgZ3JhbnQncyBsaW1pdHMgYWxsb3cgb25lIHJ1bi4AAAAAAAATR3JhbnRSdW5DYXBFeGNlZWRlZAAAAAAeAAAAR1doYXQgdGhlIGdyYW50IGhhcyB1c2VkIGFuZCB0aGlzIGVzY3JvdyBhcmUgbW9yZSB0aGFuIGl0cyBsaW1pdHMgYWxsb3cuAAAAABJHcmFudFRvdGFsRXhjZWVkZWQAAAAAAB8AAABKVGhlIGFkbWluIGhhcyBwYXVzZWQgb3BlbnMsIG9yIHVwZ3JhZGVkIHRoZSB2YXVsdCBhbmQgbm90IG1pZ3JhdGVkIGl0IHlldC4AAAAAAAtPcGVuc1BhdXNlZAAAAAAgAAAAHU5vIG9uZSB3YXMgcHJvcG9zZWQgYXMgYWRtaW4uAAAAAAAAEEFkbWluTm90UHJvcG9zZWQAAAAhAAAAV05vIHVwZ3JhZGUgdG8gdGhpcyBXYXNtIGlzIHNjaGVkdWxlZCwgb3IgaXQgbGFwc2VkIDE0IGRheXMgYWZ0ZXIgaXQgYmVjYW1lIHJlYWR5IChWMjApLgAAAAATVXBncmFkZU5vdFNjaGVkdWxlZAAAAAAiAAAAKlRoZSBzY2hlZHVsZWQgdXBncmFkZSdzIHRpbWUgaGFzIG5vdCBjb21lLgAAAAAAD1VwZ3JhZGVOb3RSZWFkeQAAAAAjAAAAVUEgYmF0Y2ggb2Ygbm8gaXRlbXMsIG9mIG1vcmUgdGhhbiBvbmUgdHJhbnNhY3Rpb24gaG9sZHMsIG9yIG9mIG1vcmUgaGVhZHMgdGhhbiBpdGVtcy4AAAAAAAAQSW52YWxpZEJhdGNoU2l6ZQAAACQAAABTU29tZXRoaW5nIHdvdWxkIGJlIHRha2VuIHdpdGhvdXQgdGhlIHNpZ25hdHVyZSBvZiBvbmUgb2YgdGhlIHJ1bidzIGF0dGVzdGVycyAoVjE2KS4AAAAAC05vdEF0dGVzdGVkAAAAACU=", "AAAABQAAABtUaGUgdXNlciBzZXQgY2FwcyBvciBwYXVzZS4AAAAAAAAAAAlQb2xpY3lTZXQAAAAAAAACAAAAB2FjY291bnQAAAAABnBvbGljeQAAAAAABAAAAA5XaG9zZSBhY2NvdW50LgAAAAAABHVzZXIAAAATAAAAAQAAACVNb3N0IG9uZSBydW4gbWF5IGVzY3JvdzsgMCBpcyBubyBjYXAuAAAAAAAAC3Blcl9ydW5fY2FwAAAAAAsAAAAAAAAAH01vc3Qgb2YgYSBVVEMgZGF5OyAwIGlzIG5vIGNhcC4AAAAACWRhaWx5X2NhcAAAAAAAAAsAAAAAAAAAHVdoZXRoZXIgbmV3IHJ1bnMgYXJlIHJlZnVzZWQuAAAAAAAABnBhdXNlZAAAAAAAAQAAAAAAAAAB", "AAAABQAAAG1Fc2Nyb3cgd2FzIHNldCBhc2lkZSBmb3IgYSBydW4uIFRoZSBkYXRhIGFmdGVyIHRoZSBydW4ncyBpZCBhcmUgaXRzIHRlcm1zIChWNSk7IHRoZWlyIGRpZ2VzdCBpcwp0aGUgcmVjb3JkJ3MuAAAAAAAAAAAAAAlSdW5PcGVuZWQAAAAAAAACAAAAA3J1bgAAAAAGb3BlbmVkAAAAAAAKAAAACFRoZSBydW4uAAAABnJ1bl9pZAAAAAAD7gAAACAAAAAAAAAACVdobyBwYXlzLgAAAAAAAAR1c2VyAAAAEwAAAAAAAAAOV2hvIG9wZW5lZCBpdC4AAAAAAAlvcGVuZWRfYnkAAAAAAAATAAAAAAAAADxBZ2VudCwgcmF0ZSB2ZXJzaW9uLCByYXRlcywgZGV2ZWxvcGVyLCBtb2R1bGUgYW5kIGF0dGVzdGVycy4AAAAEaGVhZAAAB9AAAAAESGVhZAAAAAAAAAAjVGhlIG1vc3QgdW5pdHMgdGhhdCBjYW4gYmUgY2hhcmdlZC4AAAAAB2J1ZGdldHMAAAAH0AAAAAZNZXRlcnMAAAAAAAAAAAARcmF0ZXMgw5cgYnVkZ2V0cy4AAAAAAAAKbWF4X2NoYXJnZQAAAAAACwAAAAAAAAAWVGhlIG9wZW5lcidzIGZsYXQgZmVlLgAAAAAACnJ1bm5lcl9mZWUAAAAAAAsAAAAAAAAALlNldHRsZSBhbmQgdm9pZCBiZWZvcmUgaXQsIHJlY2xhaW0gZnJvbSBpdCBvbi4AAAAAAAhkZWFkbGluZQAAAAYAAAAAAAAAG0xlZGdlciB0aW1lIG9mIHRoZSBvcGVuaW5nLgAAAAAJb3BlbmVkX2F0AAAAAAAABgAAAAAAAAATV2hhdCB3YXMgYXNrZWQgZm9yLgAAAAAMcmVxdWVzdF9oYXNoAAAD7gAAACAAAAAAAAAAAQ==", "AAAABQAAADVUaGUgb3BlbmVyIGdhdmUgYSBydW4gdXA7IHRoZSB3aG9sZSBlc2Nyb3cgd2VudCBiYWNrLgAAAAAAAAAAAAAJUnVuVm9pZGVkAAAAAAAAAgAAAANydW4AAAAABnZvaWRlZAAAAAAABgAAABFXaG8gZ2V0cyBpdCBiYWNrLgAAAAAAAAR1c2VyAAAAEwAAAAEAAAAIVGhlIHJ1bi4AAAAGcnVuX2lkAAAAAAPuAAAAIAAAAAAAAAAPV2hvIGdhdmUgaXQgdXAuAAAAAAZydW5uZXIAAAAAABMAAAAAAAAAI1doeSwgaW4gdGhlIG9wZW5lcidzIG93biBudW1iZXJpbmcuAAAAAAZyZWFzb24AAAAAAAQAAAAAAAAAG1doYXQgd2VudCBiYWNrIHRvIHRoZSB1c2VyLgAAAAAGcmVmdW5kAAAAAAALAAAAAAAAAAxMZWRnZXIgdGltZS4AAAAJdm9pZGVkX2F0AAAAAAAABgAAAAAAAAAB", "AAAABQAAAD5ObyBydW4gb3BlbnMgdW50aWwgdGhlIGFkbWluIHJlc3VtZXMuIEV2ZXJ5dGhpbmcgZWxzZSBnb2VzIG9uLgAAAAAAAAAAAAtPcGVuc1BhdXNlZAAAAAACAAAABWFkbWluAAAAAAAADG9wZW5zX3BhdXNlZAAAAAEAAAALV2hvIHBhdXNlZC4AAAAABWFkbWluAAAAAAAAEwAAAAAAAAAB", "AAAABQAAAD9Fc2Nyb3cgd2hvc2UgZGVhZGxpbmUgbGF5IGluIHBhc3QgZGF5cyByZXR1cm5lZCB0byB0aGUgYmFsYW5jZS4AAAAAAAAAAAxBY2NvdW50U3dlcHQAAAACAAAAB2FjY291bnQAAAAABXN3ZXB0AAAAAAAABAAAAA5XaG9zZSBhY2NvdW50LgAAAAAABHVzZXIAAAATAAAAAQAAABJIb3cgbXVjaCByZXR1cm5lZC4AAAAAAAZhbW91bnQAAAAAAAsAAAAAAAAAHEZyZWUgYmFsYW5jZSBhZnRlciB0aGUgY2FsbC4AAAAHYmFsYW5jZQAAAAALAAAAAAAAAD1UaGUgVVRDIGRheSBvZiB0aGUgc3dlZXA7IGV2ZXJ5IGVhcmxpZXIgZHVlIGRheSBpcyBlbXB0eSBub3cuAAAAAAAAA2RheQAAAAAEAAAAAAAAAAE=", "AAAABQAAABBSdW5zIG9wZW4gYWdhaW4uAAAAAAAAAAxPcGVuc1Jlc3VtZWQAAAACAAAABWFkbWluAAAAAAAADW9wZW5zX3Jlc3VtZWQAAAAAAAABAAAADFdobyByZXN1bWVkLgAAAAVhZG1pbgAAAAAAABMAAAAAAAAAAQ==", "AAAABQAAACNBIGRldmVsb3BlciBvciBydW5uZXIgd2FzIHBhaWQgb3V0LgAAAAAAAAAADFBheWVlQ2xhaW1lZAAAAAIAAAAFcGF5ZWUAAAAAAAAHY2xhaW1lZAAAAAAEAAAADVdobyB3YXMgcGFpZC4AAAAAAAAFcGF5ZWUAAAAAAAATAAAAAQAAABhgZGV2ZWxvcGVyYCBvciBgcnVubmVyYC4AAAAEcm9sZQAAABEAAAAAAAAACUhvdyBtdWNoLgAAAAAAAAZhbW91bnQAAAAAAAsAAAAAAAAAGFdoYXQgaXMgc3RpbGwgY2xhaW1hYmxlLgAAAAdiYWxhbmNlAAAAAAsAAAAAAAAAAQ==", "AAAABQAAAHBBIHJ1biB3YXMgc2V0dGxlZC4gV2l0aCB0aGUgb3BlbmVkIGV2ZW50IGl0IHJlYnVpbGRzIHRoZSByZWNlaXB0IHRoYXQgd2VudCBpbnRvIHRoZSBhY2NvdW50J3MKcnVubmluZyBoYXNoIChWMykuAAAAAAAAAAxSdW5GaW5hbGl6ZWQAAAACAAAAA3J1bgAAAAAJZmluYWxpemVkAAAAAAAACwAAAAhUaGUgcnVuLgAAAAZydW5faWQAAAAAA+4AAAAgAAAAAAAAAAlXaG8gcGFpZC4AAAAAAAAEdXNlcgAAABMAAAAAAAAAD1dobyBzZXR0bGVkIGl0LgAAAAAGcnVubmVyAAAAAAATAAAAAAAAABdXaGF0IHRoZSBkZXZlbG9wZXIgZ290LgAAAAANYWN0dWFsX2NoYXJnZQAAAAAAAAsAAAAAAAAAFVdoYXQgdGhlIHNldHRsZXIgZ290LgAAAAAAAApydW5uZXJfZmVlAAAAAAALAAAAAAAAABtXaGF0IHdlbnQgYmFjayB0byB0aGUgdXNlci4AAAAABnJlZnVuZAAAAAAACwAAAAAAAAARV2hhdCB3YXMgbWV0ZXJlZC4AAAAAAAAFdXNhZ2UAAAAAAAfQAAAABk1ldGVycwAAAAAAAAAAACZEaWdlc3Qgb2YgdGhlIHNlYWwsIG9yIG9mIHRoZSBmYWlsdXJlLgAAAAAAC291dHB1dF9oYXNoAAAAA+4AAAAgAAAAAAAAAB5MZWRnZXIgdGltZSBvZiB0aGUgc2V0dGxlbWVudC4AAAAAAAxmaW5hbGl6ZWRfYXQAAAAGAAAAAAAAACVDb3VudHMgdGhlIGFjY291bnQncyByZWNlaXB0cyBmcm9tIDEuAAAAAAAADnJlY2VpcHRfbnVtYmVyAAAAAAAGAAAAAAAAAC1UaGUgYWNjb3VudCdzIHJ1bm5pbmcgaGFzaCB3aXRoIHRoaXMgcmVjZWlwdC4AAAAAAAANcmVjZWlwdHNfaGFzaAAAAAAAA+4AAAAgAAAAAAAAAAE=", "AAAABQAAACJBIHJ1biBwYXN0IGl0cyBkZWFkbGluZSB3YXMgZW5kZWQuAAAAAAAAAAAADFJ1blJlY2xhaW1lZAAAAAIAAAADcnVuAAAAAAlyZWNsYWltZWQAAAAAAAAEAAAAEVdobyBnZXRzIGl0IGJhY2suAAAAAAAABHVzZXIAAAATAAAAAQAAAAhUaGUgcnVuLgAAAAZydW5faWQAAAAAA+4AAAAgAAAAAAAAAFFXaGF0IHRoaXMgY2FsbCByZXR1cm5lZCBmb3IgdGhlIHJ1bjogaXRzIGVzY3Jvdywgb3IgMCBpZiBhIHN3ZWVwIGhhZCByZXR1cm5lZCBpdC4AAAAAAAAGcmVmdW5kAAAAAAALAAAAAAAAAAxMZWRnZXIgdGltZS4AAAAMcmVjbGFpbWVkX2F0AAAABgAAAAAAAAAB", "AAAABQAAAC5BIGdyYW50IHRoYXQgaGFkIGRpZWQgb2YgYWdlIHdhcyBjbGVhcmVkIGF3YXkuAAAAAAAAAAAADVJ1bm5lckV4cGlyZWQAAAAAAAACAAAABnJ1bm5lcgAAAAAAB2V4cGlyZWQAAAAABAAAABBXaG8gaGFkIGdyYW50ZWQuAAAABHVzZXIAAAATAAAAAQAAAAhUbyB3aG9tLgAAAAZydW5uZXIAAAAAABMAAAAAAAAAEEZvciB3aGljaCBhZ2VudC4AAAAIYWdlbnRfaWQAAAAEAAAAAAAAABdTaW5jZSB3aGVuIGl0IHdhcyBkZWFkLgAAAAAKZXhwaXJlc19hdAAAAAAABgAAAAAAAAAB", "AAAABQAAACRBIHJ1bm5lciBtYXkgb3BlbiBydW5zIGZvciB0aGUgdXNlci4AAAAAAAAADVJ1bm5lckdyYW50ZWQAAAAAAAACAAAABnJ1bm5lcgAAAAAAB2dyYW50ZWQAAAAABgAAAAxXaG8gZ3JhbnRlZC4AAAAEdXNlcgAAABMAAAAAAAAACFRvIHdob20uAAAABnJ1bm5lcgAAAAAAEwAAAAAAAAAQRm9yIHdoaWNoIGFnZW50LgAAAAhhZ2VudF9pZAAAAAQAAAAAAAAABVdoZW4uAAAAAAAACWlzc3VlZF9hdAAAAAAAAAYAAAAAAAAAJEZyb20gd2hlbiBpdCBpcyBkZWFkOyB2b2lkIGlzIG5ldmVyLgAAAApleHBpcmVzX2F0AAAAAAPoAAAABgAAAAAAAAATVGhlIGdyYW50J3Mgc2VyaWFsLgAAAAAGc2VyaWFsAAAAAAAEAAAAAAAAAAE=", "AAAABQAAAElBIHJ1bm5lciBtYXkgb3BlbiBubyBtb3JlIHJ1bnMgZm9yIHRoZSB1c2VyLiBPcGVuIG9uZXMgc3RpbGwgc2V0dGxlIChWNikuAAAAAAAAAAAAAA1SdW5uZXJSZXZva2VkAAAAAAAAAgAAAAZydW5uZXIAAAAAAAdyZXZva2VkAAAAAAQAAAAQV2hvIGhhZCBncmFudGVkLgAAAAR1c2VyAAAAEwAAAAAAAAAIVG8gd2hvbS4AAAAGcnVubmVyAAAAAAATAAAAAAAAABBGb3Igd2hpY2ggYWdlbnQuAAAACGFnZW50X2lkAAAABAAAAAAAAAAFV2hlbi4AAAAAAAAKcmV2b2tlZF9hdAAAAAAABgAAAAAAAAAB", "AAAABQAAAFFUaGUgdXNlciBzZXQgd2hhdCBhIHJ1bm5lciBpcyBhbGxvd2VkIGZvciBhbiBhZ2VudC4gQ291bnRzIGZyb20gdGhlIG5leHQgb3BlbiBvbi4AAAAAAAAAAAAAD1J1bm5lckxpbWl0c1NldAAAAAACAAAABnJ1bm5lcgAAAAAABmxpbWl0cwAAAAAABgAAAAtXaG8gYWxsb3dzLgAAAAAEdXNlcgAAABMAAAABAAAABVdob20uAAAAAAAABnJ1bm5lcgAAAAAAEwAAAAAAAAAQRm9yIHdoaWNoIGFnZW50LgAAAAhhZ2VudF9pZAAAAAQAAAAAAAAAM01vc3Qgb25lIHJ1biBtYXkgZXNjcm93LCBmZWUgaW5jbHVkZWQ7IDAgaXMgbm8gY2FwLgAAAAALcGVyX3J1bl9jYXAAAAAACwAAAAAAAABLTW9zdCB0aGF0IGFsbCBydW5zIHVuZGVyIG9uZSBncmFudCBtYXkgYmUgY2hhcmdlZCBhbmQgcmVzZXJ2ZTsgMCBpcyBubyBjYXAuAAAAAAl0b3RhbF9jYXAAAAAAAAALAAAAAAAAACdIaWdoZXN0IGZsYXQgZmVlIG9mIGEgcnVuOyAwIGlzIG5vIGZlZS4AAAAADm1heF9ydW5uZXJfZmVlAAAAAAALAAAAAAAAAAE=", "AAAABQAAAA9Ub2tlbnMgY2FtZSBpbi4AAAAAAAAAABBBY2NvdW50RGVwb3NpdGVkAAAAAgAAAAdhY2NvdW50AAAAAAlkZXBvc2l0ZWQAAAAAAAADAAAADldob3NlIGFjY291bnQuAAAAAAAEdXNlcgAAABMAAAABAAAAEUhvdyBtdWNoIGNhbWUgaW4uAAAAAAAABmFtb3VudAAAAAAACwAAAAAAAAAYRnJlZSBiYWxhbmNlIGFmdGVyd2FyZHMuAAAAB2JhbGFuY2UAAAAACwAAAAAAAAAB", "AAAABQAAAB1Ub2tlbnMgd2VudCBiYWNrIHRvIHRoZSB1c2VyLgAAAAAAAAAAAAAQQWNjb3VudFdpdGhkcmF3bgAAAAIAAAAHYWNjb3VudAAAAAAJd2l0aGRyYXduAAAAAAAAAwAAAA5XaG9zZSBhY2NvdW50LgAAAAAABHVzZXIAAAATAAAAAQAAABJIb3cgbXVjaCB3ZW50IG91dC4AAAAAAAZhbW91bnQAAAAAAAsAAAAAAAAAGEZyZWUgYmFsYW5jZSBhZnRlcndhcmRzLgAAAAdiYWxhbmNlAAAAAAsAAAAAAAAAAQ==", "AAAAAQAAAEVXaG9tIHRoZSB2YXVsdCB3YXMgc2V0IHVwIHdpdGguIFJlZ2lzdHJ5IGFuZCB0b2tlbiBuZXZlciBjaGFuZ2UgKFYyKS4AAAAAAAAAAAAABkNvbmZpZwAAAAAAAwAAABNXaG8gbWF5IGFkbWluaXN0ZXIuAAAAAAVhZG1pbgAAAAAAABMAAAATVGhlIGFnZW50IHJlZ2lzdHJ5LgAAAAAIcmVnaXN0cnkAAAATAAAAHFRoZSBTRVAtNDEgdG9rZW4gaW4gY3VzdG9keS4AAAAFdG9rZW4AAAAAAAAT", "AAAAAQAAAEhBIHVzZXIncyBhY2NvdW50LCB3aXRoIGV2ZXJ5dGhpbmcgdGhlIHBhc3QgZGF5cyBvd2UgaXQgYWxyZWFkeSByZXR1cm5lZC4AAAAAAAAAB0FjY291bnQAAAAACwAAACZXaGF0IGNhbiBiZSB3aXRoZHJhd24gb3IgZXNjcm93ZWQgbm93LgAAAAAAB2JhbGFuY2UAAAAACwAAADxNb3N0IHRoYXQgbWF5IGJlIHNwZW50IGFuZCByZXNlcnZlZCBpbiBvbmUgZGF5OyAwIGlzIG5vIGNhcC4AAAAJZGFpbHlfY2FwAAAAAAAACwAAACJUaGUgVVRDIGRheSB0aGF0IHRoZSBzdW1zIGFyZSBmb3IuAAAAAAADZGF5AAAAAAQAAAAsRXNjcm93IG9mIHJ1bnMgd2hvc2UgZGVhZGxpbmUgbGllcyBpbiBgZGF5YC4AAAAJZHVlX3RvZGF5AAAAAAAACwAAADRFc2Nyb3cgb2YgcnVucyB3aG9zZSBkZWFkbGluZSBsaWVzIGluIHRoZSBkYXkgYWZ0ZXIuAAAADGR1ZV90b21vcnJvdwAAAAsAAAAYV2hpbGUgdHJ1ZSBubyBydW4gb3BlbnMuAAAABnBhdXNlZAAAAAAAAQAAACVNb3N0IG9uZSBydW4gbWF5IGVzY3JvdzsgMCBpcyBubyBjYXAuAAAAAAAAC3Blcl9ydW5fY2FwAAAAAAsAAAAtSG93IG1hbnkgcnVucyBvZiB0aGlzIGFjY291bnQgd2VyZSBmaW5hbGlzZWQuAAAAAAAACHJlY2VpcHRzAAAABgAAAE1UaGUgcnVubmluZyBoYXNoIG92ZXIgdGhlaXIgcmVjZWlwdHM7IDMyIHplcm8gYnl0ZXMgd2hlbiB0aGVyZSBhcmUgbm9uZSAoVjMpLgAAAAAAAA1yZWNlaXB0c19oYXNoAAAAAAAD7gAAACAAAAAzRXNjcm93IG9mIHJ1bnMgb3BlbmVkIGluIGBkYXlgIGFuZCBub3Qgc2V0dGxlZCB5ZXQuAAAAAAhyZXNlcnZlZAAAAAsAAAA1Q2hhcmdlcyBhbmQgZmVlcyBvZiBydW5zIG9wZW5lZCBhbmQgc2V0dGxlZCBpbiBgZGF5YC4AAAAAAAAFc3BlbnQAAAAAAAAL", "AAAAAQAAACtUaGUgY2FwcyBhbmQgaG93IG11Y2ggb2YgdGhlIGRheSdzIGlzIHVzZWQuAAAAAAAAAAAKVXNlclBvbGljeQAAAAAABgAAAEBNb3N0IHRoYXQgbWF5IGJlIHNwZW50IGFuZCByZXNlcnZlZCBpbiBvbmUgVVRDIGRheTsgMCBpcyBubyBjYXAuAAAACWRhaWx5X2NhcAAAAAAAAAsAAAAYV2hpbGUgdHJ1ZSBubyBydW4gb3BlbnMuAAAABnBhdXNlZAAAAAAAAQAAACVNb3N0IG9uZSBydW4gbWF5IGVzY3JvdzsgMCBpcyBubyBjYXAuAAAAAAAAC3Blcl9ydW5fY2FwAAAAAAsAAAAhVGhlIFVUQyBkYXkgdGhlIHR3byBzdW1zIGFyZSBmb3IuAAAAAAAADHJlc2VydmVkX2RheQAAAAYAAAA8RXNjcm93IG9mIHJ1bnMgb3BlbmVkIG9uIGByZXNlcnZlZF9kYXlgIGFuZCBub3Qgc2V0dGxlZCB5ZXQuAAAADnJlc2VydmVkX3RvZGF5AAAAAAALAAAAPkNoYXJnZXMgYW5kIGZlZXMgb2YgcnVucyBvcGVuZWQgYW5kIHNldHRsZWQgb24gYHJlc2VydmVkX2RheWAuAAAAAAALc3BlbnRfdG9kYXkAAAAACw==", "AAAAAQAAAJdXaGF0IGEgdXNlciBhbGxvd3Mgb25lIHJ1bm5lciBmb3Igb25lIGFnZW50LCBiZXNpZGUgdGhlIHBvbGljeSdzIGNhcHMsIHdoaWNoIGhvbGQgdG9vLiBXaXRob3V0CmxpbWl0cyBhIGdyYW50IGhhcyBubyBjYXBzIG9mIGl0cyBvd24gYW5kIGFsbG93cyBubyBmZWUuAAAAAAAAAAALR3JhbnRMaW1pdHMAAAAAAwAAACdIaWdoZXN0IGZsYXQgZmVlIG9mIGEgcnVuOyAwIGlzIG5vIGZlZS4AAAAADm1heF9ydW5uZXJfZmVlAAAAAAALAAAAM01vc3Qgb25lIHJ1biBtYXkgZXNjcm93LCBmZWUgaW5jbHVkZWQ7IDAgaXMgbm8gY2FwLgAAAAALcGVyX3J1bl9jYXAAAAAACwAAAEtNb3N0IHRoYXQgYWxsIHJ1bnMgdW5kZXIgb25lIGdyYW50IG1heSBiZSBjaGFyZ2VkIGFuZCByZXNlcnZlOyAwIGlzIG5vIGNhcC4AAAAACXRvdGFsX2NhcAAAAAAAAAs=", "AAAAAQAAACVUaGUgY2FwcyBhIHVzZXIgc2V0cy4gMCBtZWFucyBubyBjYXAuAAAAAAAAAAAAAAtQb2xpY3lJbnB1dAAAAAADAAAAM01vc3QgdGhhdCBtYXkgYmUgc3BlbnQgYW5kIHJlc2VydmVkIGluIG9uZSBVVEMgZGF5LgAAAAAJZGFpbHlfY2FwAAAAAAAACwAAADBXaGlsZSB0cnVlIG5vIHJ1biBvcGVuczsgb3BlbiBydW5zIHN0aWxsIHNldHRsZS4AAAAGcGF1c2VkAAAAAAABAAAAGE1vc3Qgb25lIHJ1biBtYXkgZXNjcm93LgAAAAtwZXJfcnVuX2NhcAAAAAAL", "AAAAAQAAAClBIHJ1bm5lcidzIHJpZ2h0IHRvIG9wZW4gcnVucyBmb3IgYSB1c2VyLgAAAAAAAAAAAAALUnVubmVyR3JhbnQAAAAABgAAABBGb3Igd2hpY2ggYWdlbnQuAAAACGFnZW50X2lkAAAABAAAACZGcm9tIHdoZW4gaXQgaXMgZGVhZDsgYWJzZW50IGlzIG5ldmVyLgAAAAAACmV4cGlyZXNfYXQAAAAAA+gAAAAGAAAAFFdoZW4gaXQgd2FzIGdyYW50ZWQuAAAACWlzc3VlZF9hdAAAAAAAAAYAAAASV2hvIG1heSBvcGVuIHJ1bnMuAAAAAAAGcnVubmVyAAAAAAATAAAAO0NvdW50cyB0aGUgdXNlcidzIGdyYW50cyBmcm9tIDE7IGEgbmV3IGdyYW50IGhhcyBhIG5ldyBvbmUuAAAAAAZzZXJpYWwAAAAAAAQAAAA6V2hhdCBydW5zIHVuZGVyIHRoaXMgc2VyaWFsIHdlcmUgY2hhcmdlZCBvciBzdGlsbCByZXNlcnZlLgAAAAAABHVzZWQAAAAL", "AAAAAQAAACZUaGUgc3RhdGUgb2YgYWRtaW5pc3RyYXRpb24gKFYyLCBWMjApLgAAAAAAAAAAAA5BZG1pbmlzdHJhdGlvbgAAAAAABwAAABNXaG8gbWF5IGFkbWluaXN0ZXIuAAAAAAVhZG1pbgAAAAAAABMAAABLVGhlIGZvcm0gb2YgdGhlIGRhdGE7IG9wZW5zIHdhaXQgZm9yIGBtaWdyYXRlYCBpZiBpdCBpcyBub3QgdGhlIGNvZGUncyBvd24uAAAAAAZsYXlvdXQAAAAAAAQAAAAYV2hpbGUgdHJ1ZSBubyBydW4gb3BlbnMuAAAADG9wZW5zX3BhdXNlZAAAAAEAAAAfV2hvIG1heSB0YWtlIG92ZXIgYnkgYWNjZXB0aW5nLgAAAAAIcHJvcG9zZWQAAAPoAAAAEwAAACFGcm9tIHdoZW4gaXQgbWF5IGJlIHB1dCBpbiBwbGFjZS4AAAAAAAAKdXBncmFkZV9hdAAAAAAD6AAAAAYAAAAlc2hhMjU2IG9mIHRoZSBhbm5vdW5jZWQgV2FzbSwgaWYgYW55LgAAAAAAAAp1cGdyYWRlX3RvAAAAAAPoAAAD7gAAACAAAAAmRnJvbSB3aGVuIHRoZSBhbm5vdW5jZW1lbnQgaGFzIGxhcHNlZC4AAAAAAA11cGdyYWRlX3VudGlsAAAAAAAD6AAAAAY=", "AAAAAQAAAIZBbiBhZ2VudCB1bmRlciBvbmUgcmF0ZSBjYXJkOiB3aGF0IHJ1bnMgb2YgYSBiYXRjaCBoYXZlIGluIGNvbW1vbi4gVGhlcmUgaXQgaXMgZ2l2ZW4gb25jZSBhbmQKbmFtZWQgYnkgaXRzIHBsYWNlIGluIHRoZSBsaXN0IG9mIGhlYWRzLgAAAAAAAAAAAARIZWFkAAAABgAAABthZ2VudF9pZDogd2hpY2ggYWdlbnQgcnVucy4AAAAAATAAAAAAAAAEAAAAJHJhdGVfdmVyc2lvbjogd2hpY2ggcmF0ZSBjYXJkIGhvbGRzLgAAAAExAAAAAAAABAAAABlyYXRlczogdGhlIGNhcmQncyBwcmljZXMuAAAAAAAAATIAAAAAAAfQAAAABk1ldGVycwAAAAAAImRldmVsb3Blcjogd2hvIGlzIHBhaWQgdGhlIGNoYXJnZS4AAAAAAAEzAAAAAAAAEwAAACttYW5pZmVzdF9oYXNoOiBkaWdlc3Qgb2YgdGhlIG1vZHVsZSdzIHRyZWUuAAAAAAE0AAAAAAAD7gAAACAAAAAvYXR0ZXN0ZXJzOiBFZDI1NTE5IGtleXMgd2hvc2Ugc2lnbmF0dXJlcyBjb3VudC4AAAAAATUAAAAAAAPqAAAD7gAAACA=", "AAAAAQAAAFxUaGUgZm91ciBtZXRlcnMgaW4gdGhpcyBvcmRlciwgYXMgYmF0Y2hlcyBhbmQgZXZlbnRzIGNhcnJ5IHRoZW06IHVuaXRzLCBvciBwcmljZXMgb2YgYSB1bml0LgAAAAAAAAAGTWV0ZXJzAAAAAAAEAAAAKWxsbV9pbjogaW5wdXQgdG9rZW5zIG9mIGEgbGFuZ3VhZ2UgbW9kZWwuAAAAAAAAATAAAAAAAAAGAAAAK2xsbV9vdXQ6IG91dHB1dCB0b2tlbnMgb2YgYSBsYW5ndWFnZSBtb2RlbC4AAAAAATEAAAAAAAAGAAAAF2h0dHBfY2FsbHM6IEhUVFAgY2FsbHMuAAAAAAEyAAAAAAAABgAAACVydW50aW1lX21zOiBtaWxsaXNlY29uZHMgb2YgcnVuIHRpbWUuAAAAAAAAATMAAAAAAAAG", "AAAAAQAAAF5PbmUgcnVuIHRvIG9wZW4gaW4gYSBiYXRjaDogYG9wZW5fcnVuYCdzIGFyZ3VtZW50cywgd2l0aG91dCB3aGF0IHRoZSBoZWFkIG9yIHRoZSBiYXRjaCBzdGF0ZXMuAAAAAAAAAAAACE9wZW5JdGVtAAAABwAAACloZWFkOiB3aGljaCBvZiB0aGUgYmF0Y2gncyBoZWFkcywgZnJvbSAwLgAAAAAAAAEwAAAAAAAABAAAAA91c2VyOiB3aG8gcGF5cy4AAAAAATEAAAAAAAATAAAALGJ1ZGdldHM6IHRoZSBtb3N0IHVuaXRzIHRoYXQgY2FuIGJlIGNoYXJnZWQuAAAAATIAAAAAAAfQAAAABk1ldGVycwAAAAAAT25vbmNlOiBtYWtlcyB0aGUgcnVuJ3MgaWQ7IHNoYTI1NigxNiBVVUlEIGJ5dGVzIOKAliBhdHRlbXB0IGFzIHUzMiBiaWctZW5kaWFuKS4AAAAAATMAAAAAAAPuAAAAIAAAAE1ydW5uZXJfZmVlOiBhIGZsYXQgZmVlIGZvciB0aGUgb3BlbmVyLCBhdCBtb3N0IHdoYXQgdGhlIGdyYW50J3MgbGltaXRzIGFsbG93LgAAAAAAAAE0AAAAAAAABgAAAFVkZWFkbGluZTogc2V0dGxlIGFuZCB2b2lkIGJlZm9yZSBpdCwgcmVjbGFpbSBmcm9tIGl0IG9uOyAxMCBtaW51dGVzIHRvIDI0IGhvdXJzIGF3YXkuAAAAAAAAATUAAAAAAAAGAAAAX3JlcXVlc3RfaGFzaDogc2hhMjU2IG9mIHRoZSBjYW5vbmljYWwgSlNPTiBvZiB7aW5wdXQgZGlnZXN0LCBzZWVkLCB3b3JrZmxvdyBpZCwgbW9kdWxlCmRpZ2VzdH0uAAAAAAE2AAAAAAAD7gAAACA=", "AAAAAQAAAGpFdmVyeXRoaW5nIHRoYXQgd2FzIGZpeGVkIHdoZW4gYSBydW4gb3BlbmVkIChWNSkuIFRoZSBvcGVuZWQgZXZlbnQgY2FycmllcyBpdCwgdGhlIHJlY29yZCBvbmx5Cml0cyBkaWdlc3QuAAAAAAAAAAAACFJ1blRlcm1zAAAADgAAABFXaGljaCBhZ2VudCBydW5zLgAAAAAAAAhhZ2VudF9pZAAAAAQAAAAkRWQyNTUxOSBrZXlzIHdob3NlIHNpZ25hdHVyZXMgY291bnQuAAAACWF0dGVzdGVycwAAAAAAA+oAAAPuAAAAIAAAACNUaGUgbW9zdCB1bml0cyB0aGF0IGNhbiBiZSBjaGFyZ2VkLgAAAAAHYnVkZ2V0cwAAAAfQAAAADlVzYWdlQnJlYWtkb3duAAAAAAAuU2V0dGxlIGFuZCB2b2lkIGJlZm9yZSBpdCwgcmVjbGFpbSBmcm9tIGl0IG9uLgAAAAAACGRlYWRsaW5lAAAABgAAABdXaG8gaXMgcGFpZCB0aGUgY2hhcmdlLgAAAAAJZGV2ZWxvcGVyAAAAAAAAEwAAABxEaWdlc3Qgb2YgdGhlIG1vZHVsZSdzIHRyZWUuAAAADW1hbmlmZXN0X2hhc2gAAAAAAAPuAAAAIAAAACVyYXRlcyDDlyBidWRnZXRzOiB0aGUgaGlnaGVzdCBjaGFyZ2UuAAAAAAAACm1heF9jaGFyZ2UAAAAAAAsAAAAbTGVkZ2VyIHRpbWUgb2YgdGhlIG9wZW5pbmcuAAAAAAlvcGVuZWRfYXQAAAAAAAAGAAAAH1RoZSBydW5uZXIgdGhhdCBvcGVuZWQgdGhlIHJ1bi4AAAAACW9wZW5lZF9ieQAAAAAAABMAAAAWV2hpY2ggcmF0ZSBjYXJkIGhvbGRzLgAAAAAADHJhdGVfdmVyc2lvbgAAAAQAAAALSXRzIHByaWNlcy4AAAAABXJhdGVzAAAAAAAH0AAAAA9Vc2FnZU1ldGVyUmF0ZXMAAAAAE1doYXQgd2FzIGFza2VkIGZvci4AAAAADHJlcXVlc3RfaGFzaAAAA+4AAAAgAAAAFlRoZSBvcGVuZXIncyBmbGF0IGZlZS4AAAAAAApydW5uZXJfZmVlAAAAAAALAAAACVdobyBwYXlzLgAAAAAAAAR1c2VyAAAAEw==", "AAAAAQAAADJXaGF0IHRoZSBvcGVuZXIgb2YgYSBydW4gc3RhdGVzIGJlc2lkZSBpdHMgYnVkZ2V0LgAAAAAAAAAAAAlPcGVuVGVybXMAAAAAAAAGAAAAS1NldHRsZSBhbmQgdm9pZCBiZWZvcmUgaXQsIHJlY2xhaW0gZnJvbSBpdCBvbjsgMTAgbWludXRlcyB0byAyNCBob3VycyBhd2F5LgAAAAAIZGVhZGxpbmUAAAAGAAAAM1RoZSBtb3N0IHRoZSBvcGVuZXIgZXhwZWN0cyByYXRlcyDDlyBidWRnZXRzIHRvIGJlLgAAAAAKbWF4X2NoYXJnZQAAAAAACwAAAEhNYWtlcyB0aGUgcnVuJ3MgaWQ7IHNoYTI1NigxNiBVVUlEIGJ5dGVzIOKAliBhdHRlbXB0IGFzIHUzMiBiaWctZW5kaWFuKS4AAAAFbm9uY2UAAAAAAAPuAAAAIAAAAFFzaGEyNTYgb2YgdGhlIGNhbm9uaWNhbCBKU09OIG9mIHtpbnB1dCBkaWdlc3QsIHNlZWQsIHdvcmtmbG93IGlkLCBtb2R1bGUgZGlnZXN0fS4AAAAAAAAMcmVxdWVzdF9oYXNoAAAD7gAAACAAAABBQSBmbGF0IGZlZSBmb3IgdGhlIG9wZW5lciwgYXQgbW9zdCB3aGF0IHRoZSBncmFudCdzIGxpbWl0cyBhbGxvdy4AAAAAAAAKcnVubmVyX2ZlZQAAAAAACwAAACZBZnRlciB0aGlzIGxlZGdlciB0aW1lIHRoZSBjYWxsIGZhaWxzLgAAAAAAC3ZhbGlkX3VudGlsAAAAAAY=", "AAAAAQAAADlXaGF0IGlzIGtub3duIG9mIGEgcnVuIGFzIGxvbmcgYXMgaXRzIHJlY29yZCBsaXZlcyAoVjE3KS4AAAAAAAAAAAAACVJ1blJlY29yZAAAAAAAAAoAAAARV2hpY2ggYWdlbnQgcnVucy4AAAAAAAAIYWdlbnRfaWQAAAAEAAAALlNldHRsZSBhbmQgdm9pZCBiZWZvcmUgaXQsIHJlY2xhaW0gZnJvbSBpdCBvbi4AAAAAAAhkZWFkbGluZQAAAAYAAAArV2hhdCB3YXMgc2V0IGFzaWRlOiBoaWdoZXN0IGNoYXJnZSBhbmQgZmVlLgAAAAAIZXNjcm93ZWQAAAALAAAAIFdoaWNoIGdyYW50IGl0IHdhcyBvcGVuZWQgdW5kZXIuAAAADGdyYW50X3NlcmlhbAAAAAQAAAAKSXRzIHN0YXRlLgAAAAAACWxpZmVjeWNsZQAAAAAAB9AAAAAMUnVuTGlmZWN5Y2xlAAAAH1RoZSBydW5uZXIgdGhhdCBvcGVuZWQgdGhlIHJ1bi4AAAAACW9wZW5lZF9ieQAAAAAAABMAAAAtVGhlIFVUQyBkYXkgd2hvc2UgY2FwIHRoZSBydW4gY291bnRzIGFnYWluc3QuAAAAAAAACm9wZW5lZF9kYXkAAAAAAAQAAAAWVGhlIG9wZW5lcidzIGZsYXQgZmVlLgAAAAAACnJ1bm5lcl9mZWUAAAAAAAsAAAAYVGhlIGRpZ2VzdCBvZiBpdHMgdGVybXMuAAAACnRlcm1zX2hhc2gAAAAAA+4AAAAgAAAACVdobyBwYXlzLgAAAAAAAAR1c2VyAAAAEw==", "AAAAAQAAAE9XaGF0IGEgc2V0dGxlbWVudCBjYW1lIHRvLiBgYWN0dWFsX2NoYXJnZSArIHJ1bm5lcl9mZWUgKyByZWZ1bmRgIGlzIHRoZSBlc2Nyb3cuAAAAAAAAAAAKUnVuUmVjZWlwdAAAAAAABQAAABdXaGF0IHRoZSBkZXZlbG9wZXIgZ290LgAAAAANYWN0dWFsX2NoYXJnZQAAAAAAAAsAAAATV2hvIGdvdCB0aGUgY2hhcmdlLgAAAAAJZGV2ZWxvcGVyAAAAAAAAEwAAABtXaGF0IHdlbnQgYmFjayB0byB0aGUgdXNlci4AAAAABnJlZnVuZAAAAAAACwAAAAhUaGUgcnVuLgAAAAZydW5faWQAAAAAA+4AAAAgAAAAUFdoYXQgdGhlIHNldHRsZXIgZ290OiB0aGUgZmVlIGlmIGl0IG9wZW5lZCB0aGUgcnVuIGFuZCBnYXZlIGEgc2lnbmF0dXJlLCBlbHNlIDAuAAAACnJ1bm5lcl9mZWUAAAAAAAs=", "AAAAAQAAAHZPbmUgcnVuIHRvIHNldHRsZSBpbiBhIGJhdGNoOiBgZmluYWxpemVfcnVuYCdzIGFyZ3VtZW50cywgd2l0aG91dCB3aGF0IHRoZSBydW4ncyByZWNvcmQsIHRoZQpoZWFkIG9yIHRoZSBiYXRjaCBzdGF0ZXMuAAAAAAAAAAAAClNldHRsZUl0ZW0AAAAAAAkAAAApaGVhZDogd2hpY2ggb2YgdGhlIGJhdGNoJ3MgaGVhZHMsIGZyb20gMC4AAAAAAAABMAAAAAAAAAQAAAAQcnVuX2lkOiB0aGUgcnVuLgAAAAExAAAAAAAD7gAAACAAAABDYnVkZ2V0czogdGhlIG1vc3QgdW5pdHMgdGhhdCBjYW4gYmUgY2hhcmdlZCwgZnJvbSB0aGUgb3BlbmVkIGV2ZW50LgAAAAABMgAAAAAAB9AAAAAGTWV0ZXJzAAAAAAA9b3BlbmVkX2F0OiBsZWRnZXIgdGltZSBvZiB0aGUgb3BlbmluZywgZnJvbSB0aGUgb3BlbmVkIGV2ZW50LgAAAAAAAAEzAAAAAAAABgAAADhyZXF1ZXN0X2hhc2g6IHdoYXQgd2FzIGFza2VkIGZvciwgZnJvbSB0aGUgb3BlbmVkIGV2ZW50LgAAAAE0AAAAAAAD7gAAACAAAAAYdXNhZ2U6IHdoYXQgd2FzIG1ldGVyZWQuAAAAATUAAAAAAAfQAAAABk1ldGVycwAAAAAAM291dHB1dF9oYXNoOiBkaWdlc3Qgb2YgdGhlIHNlYWwsIG9yIG9mIHRoZSBmYWlsdXJlLgAAAAABNgAAAAAAA+4AAAAgAAAASmF0dGVzdGVyOiB0aGUgcGxhY2Ugb2YgdGhlIHNpZ25pbmcga2V5IGFtb25nIHRoZSBoZWFkJ3MgYXR0ZXN0ZXJzLCBmcm9tIDAuAAAAAAABNwAAAAAAAAQAAABSc2lnbmF0dXJlOiB0aGUgYXR0ZXN0ZXIncywgb3ZlciB0aGUgZGlnZXN0IG9mIHRoaXMgc2V0dGxlbWVudDsgbm9uZSB0YWtlcyBub3RoaW5nLgAAAAAAATgAAAAAAAPoAAAD7gAAAEA=", "AAAAAgAAAFxUaGUgc3RhdGUgb2YgYSBydW4uIEFuIG9wZW4gcnVuIHdob3NlIGRlYWRsaW5lIGhhcyBwYXNzZWQgaXMgb3Zlciwgd2hhdGV2ZXIgaXRzIHJlY29yZCBzYXlzLgAAAAAAAAAMUnVuTGlmZWN5Y2xlAAAABAAAAAEAAABXRXNjcm93IGlzIGhlbGQuIENhcnJpZXMgdGhlIGRpZ2VzdCBvZiB0aGUgYXJndW1lbnRzLCBieSB3aGljaCBhIHJlcGVhdGVkIG9wZW4gaXMga25vd24uAAAAAARPcGVuAAAAAQAAA+4AAAAgAAAAAQAAAJZTZXR0bGVkOiBjaGFyZ2UsIG91dHB1dCBoYXNoLCBhbmQgdGhlIGRpZ2VzdCBvZiBzZXR0bGVyLCB1c2FnZSBhbmQgd2hldGhlciBhbiBhdHRlc3RlcidzCnNpZ25hdHVyZSB3YXMgZ2l2ZW4sIGJ5IHdoaWNoIGEgcmVwZWF0ZWQgc2V0dGxlbWVudCBpcyBrbm93bi4AAAAAAAlGaW5hbGl6ZWQAAAAAAAADAAAACwAAA+4AAAAgAAAD7gAAACAAAAABAAAAREdpdmVuIHVwIGJ5IGl0cyBvcGVuZXIsIHdpdGggYSByZWFzb24gb2YgdGhlIG9wZW5lcidzIG93biBudW1iZXJpbmcuAAAABlZvaWRlZAAAAAAAAQAAAAQAAAAAAAAAHFJldHVybmVkIGFmdGVyIHRoZSBkZWFkbGluZS4AAAAJUmVjbGFpbWVkAAAA", "AAAAAQAAAFBVbml0cyBvZiBlYWNoIG1ldGVyOiBhIHJ1bidzIGJ1ZGdldCBvciBpdHMgdXNhZ2UuIEVhY2ggaXMgMCB0byAyXjYzIOKIkiAxIChWMTkpLgAAAAAAAAAOVXNhZ2VCcmVha2Rvd24AAAAAAAQAAAALSFRUUCBjYWxscy4AAAAACmh0dHBfY2FsbHMAAAAAAAsAAAAhSW5wdXQgdG9rZW5zIG9mIGEgbGFuZ3VhZ2UgbW9kZWwuAAAAAAAABmxsbV9pbgAAAAAACwAAACJPdXRwdXQgdG9rZW5zIG9mIGEgbGFuZ3VhZ2UgbW9kZWwuAAAAAAAHbGxtX291dAAAAAALAAAAGU1pbGxpc2Vjb25kcyBvZiBydW4gdGltZS4AAAAAAAAKcnVudGltZV9tcwAAAAAACw==", "AAAAAQAAAGVQcmljZSBvZiBvbmUgdW5pdCBvZiBlYWNoIG1ldGVyOyB0aGUgcmVnaXN0cnkncyB0eXBlIG9mIHRoZSBzYW1lIG5hbWUuIEVhY2ggaXMgMCB0byAyXjYzIOKIkiAxCihWMTkpLgAAAAAAAAAAAAAPVXNhZ2VNZXRlclJhdGVzAAAAAAQAAAAOUGVyIEhUVFAgY2FsbC4AAAAAAApodHRwX2NhbGxzAAAAAAALAAAAJFBlciBpbnB1dCB0b2tlbiBvZiBhIGxhbmd1YWdlIG1vZGVsLgAAAAZsbG1faW4AAAAAAAsAAAAlUGVyIG91dHB1dCB0b2tlbiBvZiBhIGxhbmd1YWdlIG1vZGVsLgAAAAAAAAdsbG1fb3V0AAAAAAsAAAAcUGVyIG1pbGxpc2Vjb25kIG9mIHJ1biB0aW1lLgAAAApydW50aW1lX21zAAAAAAAL", "AAAAAAAAAL9SZXR1cm5zIGVzY3JvdyB3aG9zZSBkdWUgZGF5IGlzIHBhc3QgdG8gdGhlIHVzZXIncyBiYWxhbmNlIGFuZCBhbnN3ZXJzIGhvdyBtdWNoLiBFdmVyeSBvdGhlcgpjYWxsIG9uIHRoZSBhY2NvdW50IGRvZXMgdGhlIHNhbWUuCgpTaWduZXI6IG5vbmUuIEVycm9yczogQWNjb3VudGluZ0Jyb2tlbi4gRXZlbnRzOiBhY2NvdW50LHN3ZXB0LgAAAAAFc3dlZXAAAAAAAAABAAAAAAAAAAR1c2VyAAAAEwAAAAEAAAPpAAAACwAAB9AAAAAKVmF1bHRFcnJvcgAA", "AAAAAAAAAEZXaG9tIHRoZSB2YXVsdCB3YXMgc2V0IHVwIHdpdGguCgpTaWduZXI6IG5vbmUuIEVycm9yczogTm90SW5pdGlhbGl6ZWQuAAAAAAAGY29uZmlnAAAAAAAAAAAAAQAAA+kAAAfQAAAABkNvbmZpZwAAAAAH0AAAAApWYXVsdEVycm9yAAA=", "AAAAAAAAAEZUaGUgdXNlcidzIGJvb2tzIGFzIG9mIHRvZGF5LgoKU2lnbmVyOiBub25lLiBFcnJvcnM6IEFjY291bnRpbmdCcm9rZW4uAAAAAAAHYWNjb3VudAAAAAABAAAAAAAAAAR1c2VyAAAAEwAAAAEAAAPpAAAH0AAAAAdBY2NvdW50AAAAB9AAAAAKVmF1bHRFcnJvcgAA", "AAAAAAAAAHZXaGF0IHRoZSB2YXVsdCBvd2VzIGFuZCBkb2VzIG5vdCBoYXZlLiBBbnl0aGluZyBidXQgMCBpcyBhbiBhbGFybS4KClNpZ25lcjogbm9uZS4gRXJyb3JzOiBUb2tlbkZhaWxlZCwgTm90SW5pdGlhbGl6ZWQuAAAAAAAHZGVmaWNpdAAAAAAAAAAAAQAAA+kAAAALAAAH0AAAAApWYXVsdEVycm9yAAA=", "AAAAAAAAAIZUYWtlcyBgYW1vdW50YCBvZiB0aGUgdG9rZW4gaW50byB0aGUgdXNlcidzIGFjY291bnQuCgpTaWduZXI6IHRoZSB1c2VyLiBFcnJvcnM6IEludmFsaWRBbW91bnQsIFRva2VuRmFpbGVkLiBFdmVudHM6IGFjY291bnQsZGVwb3NpdGVkLgAAAAAAB2RlcG9zaXQAAAAAAgAAAAAAAAAEdXNlcgAAABMAAAAAAAAABmFtb3VudAAAAAAACwAAAAEAAAPpAAAAAgAAB9AAAAAKVmF1bHRFcnJvcgAA", "AAAAAAAAAEhBIHJ1bidzIHJlY29yZCwgYXMgbG9uZyBhcyBpdCBsaXZlcy4KClNpZ25lcjogbm9uZS4gRXJyb3JzOiBSdW5Ob3RGb3VuZC4AAAAHZ2V0X3J1bgAAAAABAAAAAAAAAAZydW5faWQAAAAAA+4AAAAgAAAAAQAAA+kAAAfQAAAACVJ1blJlY29yZAAAAAAAB9AAAAAKVmF1bHRFcnJvcgAA", "AAAAAAAAAHZUb2tlbnMgaW4gdGhlIHZhdWx0IHRoYXQgaXQgb3dlcyB0byBub2JvZHk6IGRvbmF0aW9ucywgd2hpY2ggc3RheS4KClNpZ25lcjogbm9uZS4gRXJyb3JzOiBUb2tlbkZhaWxlZCwgTm90SW5pdGlhbGl6ZWQuAAAAAAAHc3VycGx1cwAAAAAAAAAAAQAAA+kAAAALAAAH0AAAAApWYXVsdEVycm9yAAA=", "AAAAAAAAAghFc2Nyb3dzIHRoZSBoaWdoZXN0IHByaWNlIG9mIGEgcnVuIGFuZCBhbnN3ZXJzIGl0cyBpZDsgdGhlIHNhbWUgY2FsbCBhZ2FpbiBhbnN3ZXJzIHRoZSBzYW1lCmlkIGFuZCBjaGFuZ2VzIG5vdGhpbmcuCgpTaWduZXI6IHRoZSBjYWxsZXIsIGEgZ3JhbnRlZCBhbmQgbGlzdGVkIHJ1bm5lci4gRXJyb3JzOiBFeHBpcmVkLCBJbnZhbGlkQW1vdW50LApSdW5UZXJtc01pc21hdGNoLCBSdW5Ob3RPcGVuLCBPcGVuc1BhdXNlZCwgVW5hdXRob3JpemVkUnVubmVyLCBFbXB0eUJ1ZGdldCwKRGVhZGxpbmVPdXRPZlJhbmdlLCBSdW5uZXJGZWVFeGNlZWRlZCwgQWdlbnROb3RGb3VuZCwgUmVnaXN0cnlVbmF2YWlsYWJsZSwKSW52YWxpZFJhdGVWZXJzaW9uLCBNYXhDaGFyZ2VFeGNlZWRlZCwgR3JhbnRSdW5DYXBFeGNlZWRlZCwgR3JhbnRUb3RhbEV4Y2VlZGVkLApQb2xpY3lQYXVzZWQsIFBlclJ1bkNhcEV4Y2VlZGVkLCBEYWlseUNhcEV4Y2VlZGVkLCBJbnN1ZmZpY2llbnRCYWxhbmNlLiBFdmVudHM6IHJ1bixvcGVuZWQuAAAACG9wZW5fcnVuAAAABgAAAAAAAAAEdXNlcgAAABMAAAAAAAAABmNhbGxlcgAAAAAAEwAAAAAAAAAIYWdlbnRfaWQAAAAEAAAAAAAAAAxyYXRlX3ZlcnNpb24AAAAEAAAAAAAAAAdidWRnZXRzAAAAB9AAAAAOVXNhZ2VCcmVha2Rvd24AAAAAAAAAAAAFdGVybXMAAAAAAAfQAAAACU9wZW5UZXJtcwAAAAAAAAEAAAPpAAAD7gAAACAAAAfQAAAAClZhdWx0RXJyb3IAAA==", "AAAAAAAAANlHaXZlcyBhIHJ1biB1cCBiZWZvcmUgaXRzIGRlYWRsaW5lOyB0aGUgd2hvbGUgZXNjcm93IGdvZXMgYmFjay4gVGhlIHNhbWUgcmVhc29uIGFnYWluIGRvZXMKbm90aGluZy4KClNpZ25lcjogdGhlIG9wZW5lciwgbGlzdGVkIG9yIG5vdC4gRXJyb3JzOiBFeHBpcmVkLCBSdW5Ob3RGb3VuZCwgVW5hdXRob3JpemVkUnVubmVyLApSdW5Ob3RPcGVuLiBFdmVudHM6IHJ1bix2b2lkZWQuAAAAAAAACHZvaWRfcnVuAAAABAAAAAAAAAAGcnVuX2lkAAAAAAPuAAAAIAAAAAAAAAAGcnVubmVyAAAAAAATAAAAAAAAAAZyZWFzb24AAAAAAAQAAAAAAAAAC3ZhbGlkX3VudGlsAAAAAAYAAAABAAAD6QAAAAIAAAfQAAAAClZhdWx0RXJyb3IAAA==", "AAAAAAAAAKRHaXZlcyBgYW1vdW50YCBvZiB0aGUgZnJlZSBiYWxhbmNlIGJhY2suIE5vdGhpbmcgY2FuIHN0b3AgaXQuCgpTaWduZXI6IHRoZSB1c2VyLiBFcnJvcnM6IEludmFsaWRBbW91bnQsIEluc3VmZmljaWVudEJhbGFuY2UsIFRva2VuRmFpbGVkLiBFdmVudHM6CmFjY291bnQsd2l0aGRyYXduLgAAAAh3aXRoZHJhdwAAAAIAAAAAAAAABHVzZXIAAAATAAAAAAAAAAZhbW91bnQAAAAAAAsAAAABAAAD6QAAAAIAAAfQAAAAClZhdWx0RXJyb3IAAA==", "AAAAAAAAAUFPcGVucyBydW5zIGluIHRoZWlyIG9yZGVyIGFuZCBhbnN3ZXJzIGEgY29kZSBmb3IgZWFjaDogMCBpZiBpdCBpcyBvcGVuIG5vdywgZWxzZSB0aGUgZXJyb3IKb2YgYG9wZW5fcnVuYDsgYSBoZWFkIHRoYXQgaXMgbm90IHdoYXQgdGhlIHJlZ2lzdHJ5IHNheXMgaXMgUnVuVGVybXNNaXNtYXRjaC4KClNpZ25lcjogdGhlIGNhbGxlciwgb25jZSwgZm9yIHNoYTI1NiBvZiB0aGUgWERSIG9mIFtjYWxsZXIsIHZhbGlkX3VudGlsLCBoZWFkcywgaXRlbXNdLgpFcnJvcnM6IEV4cGlyZWQsIEludmFsaWRCYXRjaFNpemUuIEV2ZW50czogcnVuLG9wZW5lZCBmb3IgZWFjaC4AAAAAAAAJb3Blbl9ydW5zAAAAAAAABAAAAAAAAAAGY2FsbGVyAAAAAAATAAAAAAAAAAt2YWxpZF91bnRpbAAAAAAGAAAAAAAAAAVoZWFkcwAAAAAAA+oAAAfQAAAABEhlYWQAAAAAAAAABWl0ZW1zAAAAAAAD6gAAB9AAAAAIT3Blbkl0ZW0AAAABAAAD6QAAA+oAAAAEAAAH0AAAAApWYXVsdEVycm9yAAA=", "AAAAAAAAAEpXaGF0IHRoZSB1c2VyIGNvdWxkIHdpdGhkcmF3IG5vdy4KClNpZ25lcjogbm9uZS4gRXJyb3JzOiBBY2NvdW50aW5nQnJva2VuLgAAAAAACmJhbGFuY2Vfb2YAAAAAAAEAAAAAAAAABHVzZXIAAAATAAAAAQAAA+kAAAALAAAH0AAAAApWYXVsdEVycm9yAAA=", "AAAAAAAAAJpgcmVjbGFpbV9ydW5gIGZvciB0aGUgc2lnbmVyJ3Mgb3duIHJ1bnMgb25seS4KClNpZ25lcjogdGhlIHVzZXIuIEVycm9yczogUnVuTm90Rm91bmQsIFVuYXV0aG9yaXplZCwgRGVhZGxpbmVOb3RSZWFjaGVkLCBSdW5Ob3RPcGVuLiBFdmVudHM6CnJ1bixyZWNsYWltZWQuAAAAAAAKY2FuY2VsX3J1bgAAAAAAAgAAAAAAAAAEdXNlcgAAABMAAAAAAAAABnJ1bl9pZAAAAAAD7gAAACAAAAABAAAD6QAAAAIAAAfQAAAAClZhdWx0RXJyb3IAAA==", "AAAAAAAAAGRUaGUgdXNlcidzIGNhcHMsIGFuZCB3aGF0IG9mIHRvZGF5J3MgaXMgc3BlbnQgYW5kIHJlc2VydmVkLgoKU2lnbmVyOiBub25lLiBFcnJvcnM6IEFjY291bnRpbmdCcm9rZW4uAAAACmdldF9wb2xpY3kAAAAAAAEAAAAAAAAABHVzZXIAAAATAAAAAQAAA+kAAAfQAAAAClVzZXJQb2xpY3kAAAAAB9AAAAAKVmF1bHRFcnJvcgAA", "AAAAAAAAAG9TZXRzIHRoZSB1c2VyJ3MgY2FwcyAoMCBpcyBubyBjYXApIGFuZCBwYXVzZS4KClNpZ25lcjogdGhlIHVzZXIuIEVycm9yczogSW52YWxpZEFtb3VudC4gRXZlbnRzOiBhY2NvdW50LHBvbGljeS4AAAAACnNldF9wb2xpY3kAAAAAAAIAAAAAAAAABHVzZXIAAAATAAAAAAAAAAZwb2xpY3kAAAAAB9AAAAALUG9saWN5SW5wdXQAAAAAAQAAA+kAAAACAAAH0AAAAApWYXVsdEVycm9yAAA=", "AAAAAAAAAJdFbmRzIGEgcnVuIGZyb20gaXRzIGRlYWRsaW5lIG9uOyB0aGUgd2hvbGUgZXNjcm93IGdvZXMgYmFjay4KClNpZ25lcjogbm9uZS4gRXJyb3JzOiBSdW5Ob3RGb3VuZCwgRGVhZGxpbmVOb3RSZWFjaGVkLCBSdW5Ob3RPcGVuLiBFdmVudHM6IHJ1bixyZWNsYWltZWQuAAAAAAtyZWNsYWltX3J1bgAAAAABAAAAAAAAAAZydW5faWQAAAAAA+4AAAAgAAAAAQAAA+kAAAACAAAH0AAAAApWYXVsdEVycm9yAAA=", "AAAAAAAAAHVQYXlzIHRoZSBydW5uZXIuCgpTaWduZXI6IHRoZSBydW5uZXIuIEVycm9yczogSW52YWxpZEFtb3VudCwgSW5zdWZmaWNpZW50QmFsYW5jZSwgVG9rZW5GYWlsZWQuIEV2ZW50czoKcGF5ZWUsY2xhaW1lZC4AAAAAAAAMY2xhaW1fcnVubmVyAAAAAgAAAAAAAAAGcnVubmVyAAAAAAATAAAAAAAAAAZhbW91bnQAAAAAAAsAAAABAAAD6QAAAAIAAAfQAAAAClZhdWx0RXJyb3IAAA==", "AAAAAAAAApJDaGFyZ2VzIHdoYXQgd2FzIG1ldGVyZWQsIGJ5IHRoZSBzaWduYXR1cmUgb2Ygb25lIG9mIHRoZSBydW4ncyBhdHRlc3RlcnMsIGFuZCByZXR1cm5zIHRoZQpyZXN0OyB0aGUgc2FtZSBjYWxsIGFnYWluIGFuc3dlcnMgdGhlIHNhbWUgcmVjZWlwdC4gV2l0aG91dCBhIHNpZ25hdHVyZSB0aGUgdXNhZ2UgbXVzdCBiZQp6ZXJvIGFuZCBldmVyeXRoaW5nIGdvZXMgYmFjaywgdGhlIGZlZSB0b28uIGB0ZXJtc2AgYXJlIHRob3NlIG9mIHRoZSBvcGVuZWQgZXZlbnQuCgpUaGUgYXR0ZXN0ZXIsIGJ5IGl0cyBwbGFjZSBpbiB0aGUgdGVybXMsIHNpZ25zIHNoYTI1NigibHVtaW8tc2V0dGxlLXYxIiDigJYgcnVuX2lkIOKAlgptYW5pZmVzdF9oYXNoIOKAliByZXF1ZXN0X2hhc2gg4oCWIHRoZSBmb3VyIG1ldGVycyBhcyB1NjQsIGJpZy1lbmRpYW4pLgoKU2lnbmVyOiB0aGUgcnVubmVyLiBFcnJvcnM6IEV4cGlyZWQsIEludmFsaWRBbW91bnQsIFJ1bk5vdEZvdW5kLCBSdW5Ob3RPcGVuLApSdW5UZXJtc01pc21hdGNoLCBVc2FnZUV4Y2VlZHNCdWRnZXQsIFVuYXV0aG9yaXplZFJ1bm5lciwgUmVnaXN0cnlVbmF2YWlsYWJsZSwgTm90QXR0ZXN0ZWQ7CmEgd3Jvbmcgc2lnbmF0dXJlIGlzIGFuIGVycm9yIG9mIHRoZSBob3N0LiBFdmVudHM6IHJ1bixmaW5hbGl6ZWQuAAAAAAAMZmluYWxpemVfcnVuAAAACAAAAAAAAAAGcnVuX2lkAAAAAAPuAAAAIAAAAAAAAAAGcnVubmVyAAAAAAATAAAAAAAAAAV0ZXJtcwAAAAAAB9AAAAAIUnVuVGVybXMAAAAAAAAABXVzYWdlAAAAAAAH0AAAAA5Vc2FnZUJyZWFrZG93bgAAAAAAAAAAAAtvdXRwdXRfaGFzaAAAAAPuAAAAIAAAAAAAAAAIYXR0ZXN0ZXIAAAAEAAAAAAAAAAlzaWduYXR1cmUAAAAAAAPoAAAD7gAAAEAAAAAAAAAAC3ZhbGlkX3VudGlsAAAAAAYAAAABAAAD6QAAB9AAAAAKUnVuUmVjZWlwdAAAAAAH0AAAAApWYXVsdEVycm9yAAA=", "AAAAAAAAAF9XaGF0IHRoZSBydW5uZXIgaXMgYWxsb3dlZCBmb3IgdGhlIGFnZW50LCBpZiB0aGUgdXNlciBldmVyIHNldCBpdC4KClNpZ25lcjogbm9uZS4gRXJyb3JzOiBub25lLgAAAAAMZ3JhbnRfbGltaXRzAAAAAwAAAAAAAAAEdXNlcgAAABMAAAAAAAAABnJ1bm5lcgAAAAAAEwAAAAAAAAAIYWdlbnRfaWQAAAAEAAAAAQAAA+gAAAfQAAAAC0dyYW50TGltaXRzAA==", "AAAAAAAAAUlMZXRzIGEgcnVubmVyIHRoYXQgdGhlIHJlZ2lzdHJ5IGxpc3RzIG9wZW4gcnVucyBvZiBhbiBhZ2VudCBmb3IgdGhlIHVzZXIuCgpTaWduZXI6IHRoZSB1c2VyLiBFcnJvcnM6IEludmFsaWRBbW91bnQgKHRoZSB1c2VyJ3Mgb3duIGFkZHJlc3MpLCBJbnZhbGlkRXhwaXJ5LApBZ2VudE5vdEZvdW5kLCBSZWdpc3RyeVVuYXZhaWxhYmxlLCBVbmF1dGhvcml6ZWRSdW5uZXIsIFJ1bm5lckdyYW50RXhpc3RzLCBUb29NYW55R3JhbnRzLgpFdmVudHM6IHJ1bm5lcixncmFudGVkOyBydW5uZXIsZXhwaXJlZCBmb3IgZWFjaCBleHBpcmVkIGdyYW50IHRoYXQgaXMgY2xlYXJlZCBhd2F5LgAAAAAAAAxncmFudF9ydW5uZXIAAAAEAAAAAAAAAAR1c2VyAAAAEwAAAAAAAAAGcnVubmVyAAAAAAATAAAAAAAAAAhhZ2VudF9pZAAAAAQAAAAAAAAACmV4cGlyZXNfYXQAAAAAA+gAAAAGAAAAAQAAA+kAAAACAAAH0AAAAApWYXVsdEVycm9yAAA=", "AAAAAAAAAENTZXRzIHRoZSB2YXVsdCB1cC4gUmVnaXN0cnkgYW5kIHRva2VuIG5ldmVyIGNoYW5nZSBhZnRlcndhcmRzIChWMikuAAAAAA1fX2NvbnN0cnVjdG9yAAAAAAAAAwAAAAAAAAAFYWRtaW4AAAAAAAATAAAAAAAAAAhyZWdpc3RyeQAAABMAAAAAAAAABXRva2VuAAAAAAAAEwAAAAA=", "AAAAAAAAAURTZXR0bGVzIHJ1bnMgaW4gdGhlaXIgb3JkZXIgYW5kIGFuc3dlcnMgYSBjb2RlIGZvciBlYWNoOiAwIGlmIGl0IGlzIHNldHRsZWQgc28sIGVsc2UgdGhlCmVycm9yIG9mIGBmaW5hbGl6ZV9ydW5gLiBBIHdyb25nIHNpZ25hdHVyZSBvZiBhbiBhdHRlc3RlciBmYWlscyB0aGUgd2hvbGUgY2FsbC4KClNpZ25lcjogdGhlIHJ1bm5lciwgb25jZSwgZm9yIHNoYTI1NiBvZiB0aGUgWERSIG9mIFtydW5uZXIsIHZhbGlkX3VudGlsLCBoZWFkcywgaXRlbXNdLgpFcnJvcnM6IEV4cGlyZWQsIEludmFsaWRCYXRjaFNpemUuIEV2ZW50czogcnVuLGZpbmFsaXplZCBmb3IgZWFjaC4AAAANZmluYWxpemVfcnVucwAAAAAAAAQAAAAAAAAABnJ1bm5lcgAAAAAAEwAAAAAAAAALdmFsaWRfdW50aWwAAAAABgAAAAAAAAAFaGVhZHMAAAAAAAPqAAAH0AAAAARIZWFkAAAAAAAAAAVpdGVtcwAAAAAAA+oAAAfQAAAAClNldHRsZUl0ZW0AAAAAAAEAAAPpAAAD6gAAAAQAAAfQAAAAClZhdWx0RXJyb3IAAA==", "AAAAAAAAAKJFbmRzIGEgZ3JhbnQ6IG5vIG5ldyBydW5zIGZyb20gbm93IG9uOyBvcGVuIG9uZXMgc2V0dGxlIHVudGlsIHRoZWlyIGRlYWRsaW5lLiBMaW1pdHMgc3RheS4KClNpZ25lcjogdGhlIHVzZXIuIEVycm9yczogUnVubmVyR3JhbnROb3RGb3VuZC4gRXZlbnRzOiBydW5uZXIscmV2b2tlZC4AAAAAAA1yZXZva2VfcnVubmVyAAAAAAAAAwAAAAAAAAAEdXNlcgAAABMAAAAAAAAABnJ1bm5lcgAAAAAAEwAAAAAAAAAIYWdlbnRfaWQAAAAEAAAAAQAAA+kAAAACAAAH0AAAAApWYXVsdEVycm9yAAA=", "AAAAAAAAADdXaGF0IHRoZSBydW5uZXIgY2FuIGNsYWltLgoKU2lnbmVyOiBub25lLiBFcnJvcnM6IG5vbmUuAAAAAA5ydW5uZXJfYmFsYW5jZQAAAAAAAQAAAAAAAAAGcnVubmVyAAAAAAATAAAAAQAAAAs=", "AAAAAAAAAHtQYXlzIHRoZSBkZXZlbG9wZXIuCgpTaWduZXI6IHRoZSBkZXZlbG9wZXIuIEVycm9yczogSW52YWxpZEFtb3VudCwgSW5zdWZmaWNpZW50QmFsYW5jZSwgVG9rZW5GYWlsZWQuIEV2ZW50czoKcGF5ZWUsY2xhaW1lZC4AAAAAD2NsYWltX2RldmVsb3BlcgAAAAACAAAAAAAAAAlkZXZlbG9wZXIAAAAAAAATAAAAAAAAAAZhbW91bnQAAAAAAAsAAAABAAAD6QAAAAIAAAfQAAAAClZhdWx0RXJyb3IAAA==", "AAAAAAAAANtTZXRzIHdoYXQgYSBydW5uZXIgaXMgYWxsb3dlZCBmb3IgYW4gYWdlbnQ6IGJlZm9yZSB0aGUgZ3JhbnQgb3IgYWZ0ZXIsIGZvciB0aGlzIGdyYW50IGFuZApsYXRlciBvbmVzLiBDYXBzIG9mIDAgYXJlIG5vIGNhcHMsIGEgaGlnaGVzdCBmZWUgb2YgMCBpcyBubyBmZWUuCgpTaWduZXI6IHRoZSB1c2VyLiBFcnJvcnM6IEludmFsaWRBbW91bnQuIEV2ZW50czogcnVubmVyLGxpbWl0cy4AAAAAEHNldF9ncmFudF9saW1pdHMAAAAEAAAAAAAAAAR1c2VyAAAAEwAAAAAAAAAGcnVubmVyAAAAAAATAAAAAAAAAAhhZ2VudF9pZAAAAAQAAAAAAAAABmxpbWl0cwAAAAAH0AAAAAtHcmFudExpbWl0cwAAAAABAAAD6QAAAAIAAAfQAAAAClZhdWx0RXJyb3IAAA==", "AAAAAAAAADpXaGF0IHRoZSBkZXZlbG9wZXIgY2FuIGNsYWltLgoKU2lnbmVyOiBub25lLiBFcnJvcnM6IG5vbmUuAAAAAAARZGV2ZWxvcGVyX2JhbGFuY2UAAAAAAAABAAAAAAAAAAlkZXZlbG9wZXIAAAAAAAATAAAAAQAAAAs=", "AAAAAAAAADRUaGUgdXNlcidzIGxpdmUgZ3JhbnRzLgoKU2lnbmVyOiBub25lLiBFcnJvcnM6IG5vbmUuAAAAEmxpc3RfcnVubmVyX2dyYW50cwAAAAAAAQAAAAAAAAAEdXNlcgAAABMAAAABAAAD6gAAB9AAAAALUnVubmVyR3JhbnQA", "AAAAAAAAAJdXaGV0aGVyIHRoZSBydW5uZXIgY291bGQgb3BlbiBhIHJ1biBvZiB0aGUgYWdlbnQgZm9yIHRoZSB1c2VyIG5vdzogYSBsaXZlIGdyYW50LCBhbmQgbGlzdGVkLgoKU2lnbmVyOiBub25lLiBFcnJvcnM6IEFnZW50Tm90Rm91bmQsIFJlZ2lzdHJ5VW5hdmFpbGFibGUuAAAAABRpc19ydW5uZXJfYXV0aG9yaXplZAAAAAMAAAAAAAAABHVzZXIAAAATAAAAAAAAAAZydW5uZXIAAAAAABMAAAAAAAAACGFnZW50X2lkAAAABAAAAAEAAAPpAAAAAQAAB9AAAAAKVmF1bHRFcnJvcgAA", "AAAAAAAAAMRCcmluZ3MgdGhlIGRhdGEgdG8gdGhlIGZvcm0gdGhhdCBuZXcgY29kZSBrZWVwcyB0aGVtIGluOyB1bnRpbCB0aGVuIG5vIHJ1biBvcGVucy4gV2hlcmUKdGhlcmUgaXMgbm90aGluZyB0byBkbywgaXQgZG9lcyBub3RoaW5nLgoKU2lnbmVyOiB0aGUgYWRtaW4uIEVycm9yczogTm90SW5pdGlhbGl6ZWQuIEV2ZW50czogYWRtaW4sbWlncmF0ZWQuAAAAB21pZ3JhdGUAAAAAAAAAAAEAAAPpAAAAAgAAB9AAAAAKVmF1bHRFcnJvcgAA", "AAAAAAAAANBQdXRzIHRoZSBhbm5vdW5jZWQgY29kZSBpbiBwbGFjZSB3aXRoaW4gaXRzIHRpbWUuIFRoZSBXYXNtIG11c3QgYmUgdXBsb2FkZWQuCgpTaWduZXI6IHRoZSBhZG1pbi4gRXJyb3JzOiBOb3RJbml0aWFsaXplZCwgVXBncmFkZU5vdFNjaGVkdWxlZCAoYW5vdGhlciBoYXNoLCBvciBsYXBzZWQpLApVcGdyYWRlTm90UmVhZHkuIEV2ZW50czogYWRtaW4sdXBncmFkZWQuAAAAB3VwZ3JhZGUAAAAAAQAAAAAAAAAJd2FzbV9oYXNoAAAAAAAD7gAAACAAAAABAAAD6QAAAAIAAAfQAAAAClZhdWx0RXJyb3IAAA==", "AAAAAAAAAKFTdG9wcyBuZXcgcnVuczsgZXZlcnl0aGluZyBlbHNlIGdvZXMgb24uIFdoZXJlIG9wZW5zIGFyZSBwYXVzZWQgYWxyZWFkeSwgaXQgZG9lcyBub3RoaW5nLgoKU2lnbmVyOiB0aGUgYWRtaW4uIEVycm9yczogTm90SW5pdGlhbGl6ZWQuIEV2ZW50czogYWRtaW4sb3BlbnNfcGF1c2VkLgAAAAAAAAtwYXVzZV9vcGVucwAAAAAAAAAAAQAAA+kAAAACAAAH0AAAAApWYXVsdEVycm9yAAA=", "AAAAAAAAAMVUYWtlcyBhZG1pbmlzdHJhdGlvbiBvdmVyIGFuZCB3aXRoZHJhd3MgYW5ub3VuY2VkIGNvZGUuCgpTaWduZXI6IHRoZSBwcm9wb3NlZCBhZG1pbi4gRXJyb3JzOiBOb3RJbml0aWFsaXplZCwgQWRtaW5Ob3RQcm9wb3NlZC4gRXZlbnRzOgphZG1pbixhY2NlcHRlZDsgYWRtaW4sdXBncmFkZV9jYW5jZWxsZWQgaWYgY29kZSB3YXMgYW5ub3VuY2VkLgAAAAAAAAxhY2NlcHRfYWRtaW4AAAAAAAAAAQAAA+kAAAACAAAH0AAAAApWYXVsdEVycm9yAAA=", "AAAAAAAAAItMZXRzIHJ1bnMgb3BlbiBhZ2Fpbi4gV2hlcmUgb3BlbnMgYXJlIG5vdCBwYXVzZWQsIGl0IGRvZXMgbm90aGluZy4KClNpZ25lcjogdGhlIGFkbWluLiBFcnJvcnM6IE5vdEluaXRpYWxpemVkLiBFdmVudHM6IGFkbWluLG9wZW5zX3Jlc3VtZWQuAAAAAAxyZXN1bWVfb3BlbnMAAAAAAAAAAQAAA+kAAAACAAAH0AAAAApWYXVsdEVycm9yAAA=", "AAAAAAAAALVOYW1lcyB3aG8gbWF5IHRha2UgYWRtaW5pc3RyYXRpb24gb3Zlci4gQSBsYXRlciBwcm9wb3NhbCByZXBsYWNlcyBhbiBlYXJsaWVyIG9uZTsgbmFtaW5nIHRoZQphZG1pbiB0YWtlcyBpdCBiYWNrLgoKU2lnbmVyOiB0aGUgYWRtaW4uIEVycm9yczogTm90SW5pdGlhbGl6ZWQuIEV2ZW50czogYWRtaW4scHJvcG9zZWQuAAAAAAAADXByb3Bvc2VfYWRtaW4AAAAAAAABAAAAAAAAAAhwcm9wb3NlZAAAABMAAAABAAAD6QAAAAIAAAfQAAAAClZhdWx0RXJyb3IAAA==", "AAAAAAAAAENUaGUgc3RhdGUgb2YgYWRtaW5pc3RyYXRpb24uCgpTaWduZXI6IG5vbmUuIEVycm9yczogTm90SW5pdGlhbGl6ZWQuAAAAAA5hZG1pbmlzdHJhdGlvbgAAAAAAAAAAAAEAAAPpAAAH0AAAAA5BZG1pbmlzdHJhdGlvbgAAAAAH0AAAAApWYXVsdEVycm9yAAA=", "AAAAAAAAAH9XaXRoZHJhd3MgdGhlIGFubm91bmNlZCBjb2RlLgoKU2lnbmVyOiB0aGUgYWRtaW4uIEVycm9yczogTm90SW5pdGlhbGl6ZWQsIFVwZ3JhZGVOb3RTY2hlZHVsZWQuIEV2ZW50czoKYWRtaW4sdXBncmFkZV9jYW5jZWxsZWQuAAAAAA5jYW5jZWxfdXBncmFkZQAAAAAAAAAAAAEAAAPpAAAAAgAAB9AAAAAKVmF1bHRFcnJvcgAA", "AAAAAAAAANNBbm5vdW5jZXMgbmV3IGNvZGUgYW5kIGFuc3dlcnMgZnJvbSB3aGVuIGl0IG1heSBiZSBwdXQgaW4gcGxhY2U6IGFmdGVyIHNldmVuIGRheXMsIGZvciAxNApkYXlzLiBJdCByZXBsYWNlcyB3aGF0IHdhcyBhbm5vdW5jZWQgYmVmb3JlLgoKU2lnbmVyOiB0aGUgYWRtaW4uIEVycm9yczogTm90SW5pdGlhbGl6ZWQuIEV2ZW50czogYWRtaW4sdXBncmFkZV9zY2hlZHVsZWQuAAAAABBzY2hlZHVsZV91cGdyYWRlAAAAAQAAAAAAAAAJd2FzbV9oYXNoAAAAAAAD7gAAACAAAAABAAAD6QAAAAYAAAfQAAAAClZhdWx0RXJyb3IAAA==", "AAAABQAAAC1UaGUgZGF0YSBoYXZlIHRoZSBmb3JtIHRoYXQgdGhlIGNvZGUgZXhwZWN0cy4AAAAAAAAAAAAACE1pZ3JhdGVkAAAAAgAAAAVhZG1pbgAAAAAAAAhtaWdyYXRlZAAAAAIAAAAQVGhlIGZvcm0gYmVmb3JlLgAAAARmcm9tAAAABAAAAAAAAAANVGhlIGZvcm0gbm93LgAAAAAAAAJ0bwAAAAAABAAAAAAAAAAB", "AAAABQAAABVOZXcgY29kZSBpcyBpbiBwbGFjZS4AAAAAAAAAAAAACFVwZ3JhZGVkAAAAAgAAAAVhZG1pbgAAAAAAAAh1cGdyYWRlZAAAAAEAAAAXc2hhMjU2IG9mIHRoZSBuZXcgV2FzbS4AAAAACXdhc21faGFzaAAAAAAAA+4AAAAgAAAAAAAAAAE=", "AAAABQAAAB1BZG1pbmlzdHJhdGlvbiBjaGFuZ2VkIGhhbmRzLgAAAAAAAAAAAAANQWRtaW5BY2NlcHRlZAAAAAAAAAIAAAAFYWRtaW4AAAAAAAAIYWNjZXB0ZWQAAAACAAAAEVdobyBhZG1pbmlzdGVyZWQuAAAAAAAACHByZXZpb3VzAAAAEwAAAAAAAAAUV2hvIGFkbWluaXN0ZXJzIG5vdy4AAAAFYWRtaW4AAAAAAAATAAAAAAAAAAE=", "AAAABQAAADVBbiBhZGRyZXNzIG1heSB0YWtlIGFkbWluaXN0cmF0aW9uIG92ZXIgYnkgYWNjZXB0aW5nLgAAAAAAAAAAAAANQWRtaW5Qcm9wb3NlZAAAAAAAAAIAAAAFYWRtaW4AAAAAAAAIcHJvcG9zZWQAAAACAAAAEFdobyBhZG1pbmlzdGVycy4AAAAFYWRtaW4AAAAAAAATAAAAAAAAAE5XaG8gbWF5IGFjY2VwdDsgdGhlIGFkbWluJ3Mgb3duIGFkZHJlc3MgaWYgYW4gZWFybGllciBwcm9wb3NhbCB3YXMgdGFrZW4gYmFjay4AAAAAAAhwcm9wb3NlZAAAABMAAAAAAAAAAQ==", "AAAABQAAAB1Bbm5vdW5jZWQgY29kZSB3YXMgd2l0aGRyYXduLgAAAAAAAAAAAAAQVXBncmFkZUNhbmNlbGxlZAAAAAIAAAAFYWRtaW4AAAAAAAARdXBncmFkZV9jYW5jZWxsZWQAAAAAAAABAAAAJnNoYTI1NiBvZiB0aGUgV2FzbSB0aGF0IHdpbGwgbm90IGNvbWUuAAAAAAAJd2FzbV9oYXNoAAAAAAAD7gAAACAAAAAAAAAAAQ==", "AAAABQAAABdOZXcgY29kZSB3YXMgYW5ub3VuY2VkLgAAAAAAAAAAEFVwZ3JhZGVTY2hlZHVsZWQAAAACAAAABWFkbWluAAAAAAAAEXVwZ3JhZGVfc2NoZWR1bGVkAAAAAAAAAwAAABdzaGEyNTYgb2YgdGhlIG5ldyBXYXNtLgAAAAAJd2FzbV9oYXNoAAAAAAAD7gAAACAAAAAAAAAAIUZyb20gd2hlbiBpdCBtYXkgYmUgcHV0IGluIHBsYWNlLgAAAAAAAAhyZWFkeV9hdAAAAAYAAAAAAAAALkZyb20gd2hlbiBpdCBtYXkgbm90IGJlIHB1dCBpbiBwbGFjZSBhbnkgbW9yZS4AAAAAAAlsYXBzZXNfYXQAAAAAAAAGAAAAAAAAAAE="]),
      options
    );
  }

   static deploy<T = Client>(args: { admin: string | Address; registry: string | Address; token: string | Address }, options: MethodOptions & Omit<ContractClientOptions, 'contractId'> & { salt?: Uint8Array; address?: string; } & ({ wasmHash: Uint8Array | string; format?: "hex" | "base64"; externalRef?: never; } | { externalRef: ExternalExecutableRef; wasmHash?: never; format?: never; })): Promise<AssembledTransaction<T>> {
    return ContractClient.deploy(args, options);
  }
  public readonly fromJson = {
    sweep : this.txFromJson<Result<bigint, VaultError>>,  config : this.txFromJson<Result<Config, VaultError>>,  account : this.txFromJson<Result<Account, VaultError>>,  deficit : this.txFromJson<Result<bigint, VaultError>>,  deposit : this.txFromJson<Result<null, VaultError>>,  get_run : this.txFromJson<Result<RunRecord, VaultError>>,  surplus : this.txFromJson<Result<bigint, VaultError>>,  open_run : this.txFromJson<Result<Uint8Array, VaultError>>,  void_run : this.txFromJson<Result<null, VaultError>>,  withdraw : this.txFromJson<Result<null, VaultError>>,  open_runs : this.txFromJson<Result<Array<number>, VaultError>>,  balance_of : this.txFromJson<Result<bigint, VaultError>>,  cancel_run : this.txFromJson<Result<null, VaultError>>,  get_policy : this.txFromJson<Result<UserPolicy, VaultError>>,  set_policy : this.txFromJson<Result<null, VaultError>>,  reclaim_run : this.txFromJson<Result<null, VaultError>>,  claim_runner : this.txFromJson<Result<null, VaultError>>,  finalize_run : this.txFromJson<Result<RunReceipt, VaultError>>,  grant_limits : this.txFromJson<GrantLimits | null>,  grant_runner : this.txFromJson<Result<null, VaultError>>,  finalize_runs : this.txFromJson<Result<Array<number>, VaultError>>,  revoke_runner : this.txFromJson<Result<null, VaultError>>,  runner_balance : this.txFromJson<bigint>,  claim_developer : this.txFromJson<Result<null, VaultError>>,  set_grant_limits : this.txFromJson<Result<null, VaultError>>,  developer_balance : this.txFromJson<bigint>,  list_runner_grants : this.txFromJson<Array<RunnerGrant>>,  is_runner_authorized : this.txFromJson<Result<boolean, VaultError>>,  migrate : this.txFromJson<Result<null, VaultError>>,  upgrade : this.txFromJson<Result<null, VaultError>>,  pause_opens : this.txFromJson<Result<null, VaultError>>,  accept_admin : this.txFromJson<Result<null, VaultError>>,  resume_opens : this.txFromJson<Result<null, VaultError>>,  propose_admin : this.txFromJson<Result<null, VaultError>>,  administration : this.txFromJson<Result<Administration, VaultError>>,  cancel_upgrade : this.txFromJson<Result<null, VaultError>>,  schedule_upgrade : this.txFromJson<Result<bigint, VaultError>>
  };

  /** @deprecated Use fromJson instead. */
  public readonly fromJSON = this.fromJson;

  /**
   * Parse a raw contract event (topics + data) into a typed {@link ContractEvent}.
   */
  parseEvent(topics: xdr.ScVal[] | string[], data: xdr.ScVal | string): ContractEvent | undefined {
    return this.spec.parseEvent(topics, data) as ContractEvent | undefined;
  }
  /**
   * Build a topics filter row for the "PolicySet" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  policySetEventFilter(topicValues?: { user?: string | Address }): string[] {
    return this.spec.eventTopicFilter("PolicySet", topicValues);
  }
  /**
   * Build a topics filter row for the "RunOpened" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  runOpenedEventFilter(): string[] {
    return this.spec.eventTopicFilter("RunOpened");
  }
  /**
   * Build a topics filter row for the "RunVoided" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  runVoidedEventFilter(topicValues?: { user?: string | Address }): string[] {
    return this.spec.eventTopicFilter("RunVoided", topicValues);
  }
  /**
   * Build a topics filter row for the "OpensPaused" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  opensPausedEventFilter(): string[] {
    return this.spec.eventTopicFilter("OpensPaused");
  }
  /**
   * Build a topics filter row for the "AccountSwept" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  accountSweptEventFilter(topicValues?: { user?: string | Address }): string[] {
    return this.spec.eventTopicFilter("AccountSwept", topicValues);
  }
  /**
   * Build a topics filter row for the "OpensResumed" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  opensResumedEventFilter(): string[] {
    return this.spec.eventTopicFilter("OpensResumed");
  }
  /**
   * Build a topics filter row for the "PayeeClaimed" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  payeeClaimedEventFilter(topicValues?: { payee?: string | Address }): string[] {
    return this.spec.eventTopicFilter("PayeeClaimed", topicValues);
  }
  /**
   * Build a topics filter row for the "RunFinalized" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  runFinalizedEventFilter(): string[] {
    return this.spec.eventTopicFilter("RunFinalized");
  }
  /**
   * Build a topics filter row for the "RunReclaimed" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  runReclaimedEventFilter(topicValues?: { user?: string | Address }): string[] {
    return this.spec.eventTopicFilter("RunReclaimed", topicValues);
  }
  /**
   * Build a topics filter row for the "RunnerExpired" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  runnerExpiredEventFilter(topicValues?: { user?: string | Address }): string[] {
    return this.spec.eventTopicFilter("RunnerExpired", topicValues);
  }
  /**
   * Build a topics filter row for the "RunnerGranted" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  runnerGrantedEventFilter(): string[] {
    return this.spec.eventTopicFilter("RunnerGranted");
  }
  /**
   * Build a topics filter row for the "RunnerRevoked" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  runnerRevokedEventFilter(): string[] {
    return this.spec.eventTopicFilter("RunnerRevoked");
  }
  /**
   * Build a topics filter row for the "RunnerLimitsSet" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  runnerLimitsSetEventFilter(topicValues?: { user?: string | Address }): string[] {
    return this.spec.eventTopicFilter("RunnerLimitsSet", topicValues);
  }
  /**
   * Build a topics filter row for the "AccountDeposited" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  accountDepositedEventFilter(topicValues?: { user?: string | Address }): string[] {
    return this.spec.eventTopicFilter("AccountDeposited", topicValues);
  }
  /**
   * Build a topics filter row for the "AccountWithdrawn" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  accountWithdrawnEventFilter(topicValues?: { user?: string | Address }): string[] {
    return this.spec.eventTopicFilter("AccountWithdrawn", topicValues);
  }
  /**
   * Build a topics filter row for the "Migrated" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  migratedEventFilter(): string[] {
    return this.spec.eventTopicFilter("Migrated");
  }
  /**
   * Build a topics filter row for the "Upgraded" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  upgradedEventFilter(): string[] {
    return this.spec.eventTopicFilter("Upgraded");
  }
  /**
   * Build a topics filter row for the "AdminAccepted" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  adminAcceptedEventFilter(): string[] {
    return this.spec.eventTopicFilter("AdminAccepted");
  }
  /**
   * Build a topics filter row for the "AdminProposed" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  adminProposedEventFilter(): string[] {
    return this.spec.eventTopicFilter("AdminProposed");
  }
  /**
   * Build a topics filter row for the "UpgradeCancelled" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  upgradeCancelledEventFilter(): string[] {
    return this.spec.eventTopicFilter("UpgradeCancelled");
  }
  /**
   * Build a topics filter row for the "UpgradeScheduled" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  upgradeScheduledEventFilter(): string[] {
    return this.spec.eventTopicFilter("UpgradeScheduled");
  }
}
