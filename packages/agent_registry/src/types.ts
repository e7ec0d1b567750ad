import {Address} from '@stellar/stellar-sdk';

    /**
 * What the registry refuses.
 */
export const AgentRegistryError = {
  /**
   * Kept for its number: the constructor runs once by itself (V2).
   */
  1 : { message: "AlreadyInitialized" },
  /**
   * No agent has this id.
   */
  2 : { message: "AgentNotFound" },
  /**
   * The instance names no admin. A missing signature is the host's own error.
   */
  3 : { message: "Unauthorized" },
  /**
   * No runner at registration, or more than 16.
   */
  4 : { message: "InvalidRunnerList" },
  /**
   * A rate is negative or above 2^63 − 1 (V19).
   */
  5 : { message: "InvalidRates" },
  /**
   * The agent does not list this runner.
   */
  6 : { message: "RunnerNotFound" },
  /**
   * The agent has no rate card of this version.
   */
  7 : { message: "RateCardNotFound" },
  /**
   * A metadata URI of more than 256 bytes.
   */
  8 : { message: "InvalidMetadataUri" },
  /**
   * More than 4 attestation keys.
   */
  9 : { message: "InvalidAttesters" },
  /**
   * No id or version is left to give.
   */
  10 : { message: "CounterExhausted" },
  /**
   * No one was proposed as admin.
   */
  11 : { message: "AdminNotProposed" },
  /**
   * No upgrade to this Wasm is scheduled, or it lapsed 14 days after it became ready (V20).
   */
  12 : { message: "UpgradeNotScheduled" },
  /**
   * The scheduled upgrade's time has not come.
   */
  13 : { message: "UpgradeNotReady" }
}

/**
 * The description moved.
 */
export interface MetadataSetEvent {
  name: "MetadataSet";
  data: {
    /**
     * The agent.
     */
    agent_id: number;
    /**
     * Where its description is now.
     */
    metadata_uri: string | null;
  };
}

/**
 * A runner may run the agent from now on.
 */
export interface RunnerAddedEvent {
  name: "RunnerAdded";
  data: {
    /**
     * The agent.
     */
    agent_id: number;
    /**
     * The runner.
     */
    runner: string;
  };
}

/**
 * Which attestation keys count changed (V12).
 */
export interface AttestersSetEvent {
  name: "AttestersSet";
  data: {
    /**
     * The agent.
     */
    agent_id: number;
    /**
     * The keys that count now.
     */
    attesters: Array<Uint8Array>;
  };
}

/**
 * A runner may neither open nor settle runs of the agent any more (V6).
 */
export interface RunnerRemovedEvent {
  name: "RunnerRemoved";
  data: {
    /**
     * The agent.
     */
    agent_id: number;
    /**
     * The runner.
     */
    runner: string;
  };
}

/**
 * An agent exists. Its first rate card follows as `rates,published`.
 */
export interface AgentRegisteredEvent {
  name: "AgentRegistered";
  data: {
    /**
     * The new agent.
     */
    agent_id: number;
    /**
     * Who may change it and is paid.
     */
    developer: string;
    /**
     * Where its description is.
     */
    metadata_uri: string | null;
    /**
     * Who may run it.
     */
    runners: Array<string>;
  };
}

/**
 * A new version of prices and module.
 */
export interface RateCardPublishedEvent {
  name: "RateCardPublished";
  data: {
    /**
     * The agent.
     */
    agent_id: number;
    /**
     * The new version.
     */
    version: number;
    /**
     * Its prices.
     */
    rates: UsageMeterRates;
    /**
     * Digest of the module's tree.
     */
    manifest_hash: Uint8Array;
  };
}

/**
 * A published version of prices and module; never changes.
 */
export interface RateCard {
  /**
   * Digest of the module's tree.
   */
  manifest_hash: Uint8Array;
  /**
   * Prices, each 0 to 2^63 − 1.
   */
  rates: UsageMeterRates;
}

/**
 * An agent as answered: its record and its id.
 */
export interface AgentDetails {
  /**
   * The agent's number, from 1.
   */
  agent_id: number;
  /**
   * Ed25519 keys whose execution statements count.
   */
  attesters: Array<Uint8Array>;
  /**
   * Who may change the agent and is paid for its runs.
   */
  developer: string;
  /**
   * Newest rate card.
   */
  latest_rate_version: number;
  /**
   * Where its description is.
   */
  metadata_uri: string | null;
  /**
   * Who may open and settle its runs.
   */
  runners: Array<string>;
}

/**
 * What a developer publishes: prices and the module they are for.
 */
export interface RateCardInput {
  /**
   * Digest of the module's tree: what may run under this card (V12).
   */
  manifest_hash: Uint8Array;
  /**
   * Prices, each 0 to 2^63 − 1.
   */
  rates: UsageMeterRates;
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
   * The form of the data; the code's own once `migrate` has run.
   */
  layout: number;
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
 * Price of one unit of each meter, in the token's smallest unit (stroops).
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
    export type ContractEvent = MetadataSetEvent | RunnerAddedEvent | AttestersSetEvent | RunnerRemovedEvent | AgentRegisteredEvent | RateCardPublishedEvent | MigratedEvent | UpgradedEvent | AdminAcceptedEvent | AdminProposedEvent | UpgradeCancelledEvent | UpgradeScheduledEvent;
    
export type AgentRegistryError = (typeof AgentRegistryError)[keyof typeof AgentRegistryError];
