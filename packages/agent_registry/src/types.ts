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
   * Nobody may: the instance names no admin. A missing signature is the host's own error.
   */
  3 : { message: "Unauthorized" },
  /**
   * No runner at registration, or more than 16.
   */
  4 : { message: "InvalidRunnerList" },
  /**
   * A negative rate.
   */
  5 : { message: "InvalidRates" },
  /**
   * The agent doesn't list this runner.
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
   * Nobody was proposed as admin.
   */
  11 : { message: "AdminNotProposed" },
  /**
   * No upgrade to this Wasm is scheduled.
   */
  12 : { message: "UpgradeNotScheduled" },
  /**
   * The scheduled upgrade's time hasn't come.
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
     * Where its description stands now.
     */
    metadata_uri?: string | null;
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
    runner?: string;
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
    attesters?: Array<Uint8Array>;
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
    runner?: string;
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
    developer?: string;
    /**
     * Where its description stands.
     */
    metadata_uri?: string | null;
    /**
     * Who may run it.
     */
    runners?: Array<string>;
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
    version?: number;
    /**
     * Its prices.
     */
    rates?: UsageMeterRates;
    /**
     * Digest of the module's tree.
     */
    manifest_hash?: Uint8Array;
  };
}

/**
 * The data stand in the form the code expects.
 */
export interface MigratedEvent {
  name: "Migrated";
  data: {
    /**
     * The form before.
     */
    from?: number;
    /**
     * The form now.
     */
    to?: number;
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
    wasm_hash?: Uint8Array;
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
    previous?: string;
    /**
     * Who administers now.
     */
    admin?: string;
  };
}

/**
 * Somebody may take administration over by accepting.
 */
export interface AdminProposedEvent {
  name: "AdminProposed";
  data: {
    /**
     * Who administers.
     */
    admin?: string;
    /**
     * Who may accept; the admin himself if an earlier proposal was taken back.
     */
    proposed?: string;
  };
}

/**
 * New code waits no longer.
 */
export interface UpgradeCancelledEvent {
  name: "UpgradeCancelled";
  data: {
    /**
     * sha256 of the Wasm that won't come.
     */
    wasm_hash?: Uint8Array;
  };
}

/**
 * New code waits for its time.
 */
export interface UpgradeScheduledEvent {
  name: "UpgradeScheduled";
  data: {
    /**
     * sha256 of the new Wasm.
     */
    wasm_hash?: Uint8Array;
    /**
     * From when it may be put in place.
     */
    ready_at?: bigint;
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
   * Prices, none negative.
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
   * Where its description stands.
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
   * Prices, none negative.
   */
  rates: UsageMeterRates;
}

/**
 * Where administration stands (V2).
 */
export interface Administration {
  /**
   * Who may administer.
   */
  admin: string;
  /**
   * The form in which the data stand; the code's own once `migrate` has run.
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
   * sha256 of the new Wasm that waits, if any.
   */
  upgrade_to: Uint8Array | null;
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
    export type ContractEvent = MetadataSetEvent | RunnerAddedEvent | AttestersSetEvent | RunnerRemovedEvent | AgentRegisteredEvent | RateCardPublishedEvent | MigratedEvent | UpgradedEvent | AdminAcceptedEvent | AdminProposedEvent | UpgradeCancelledEvent | UpgradeScheduledEvent;
    
export type AgentRegistryError = (typeof AgentRegistryError)[keyof typeof AgentRegistryError];
