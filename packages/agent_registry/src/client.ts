import {AgentDetails, RateCard, RateCardInput, Administration, ContractEvent} from './types.js';
import {Result, Spec, AssembledTransaction, Client as ContractClient, ClientOptions as ContractClientOptions, MethodOptions, ExternalExecutableRef} from '@stellar/stellar-sdk/contract';
import {Address, xdr} from '@stellar/stellar-sdk';

export interface Client {
  /**
   * The agent's record and id.
   *
   * Signer: none. Errors: AgentNotFound.
   */
  get_agent(args: { agent_id: number }, options?: MethodOptions): Promise<AssembledTransaction<Result<AgentDetails, Error>>>;
  /**
   * Whether the agent lists the runner. An unknown agent is an error, not `false`.
   *
   * Signer: none. Errors: AgentNotFound.
   */
  is_runner(args: { agent_id: number; runner: string | Address }, options?: MethodOptions): Promise<AssembledTransaction<Result<boolean, Error>>>;
  /**
   * Lists a runner. A listed one stays listed, without an event.
   *
   * Signer: the developer. Errors: AgentNotFound, InvalidRunnerList. Events: agent,runner_added.
   */
  add_runner(args: { agent_id: number; runner: string | Address }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, Error>>>;
  /**
   * Who develops the agent.
   *
   * Signer: none. Errors: AgentNotFound.
   */
  developer_of(args: { agent_id: number }, options?: MethodOptions): Promise<AssembledTransaction<Result<string, Error>>>;
  /**
   * The rate card of a version.
   *
   * Signer: none. Errors: AgentNotFound, RateCardNotFound.
   */
  get_rate_card(args: { agent_id: number; version: number }, options?: MethodOptions): Promise<AssembledTransaction<Result<RateCard, Error>>>;
  /**
   * Takes a runner off the list, the last one too: one whose key is lost must go at once.
   *
   * Signer: the developer. Errors: AgentNotFound, RunnerNotFound. Events: agent,runner_removed.
   */
  remove_runner(args: { agent_id: number; runner: string | Address }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, Error>>>;
  /**
   * Sets the Ed25519 keys whose execution statements and settlement signatures the developer
   * accepts (V12, V16). Without any, the vault charges nothing for the agent's runs. Keys named
   * twice count once.
   *
   * Signer: the developer. Errors: AgentNotFound, InvalidAttesters. Events: agent,attesters.
   */
  set_attesters(args: { agent_id: number; attesters: Array<Uint8Array> }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, Error>>>;
  /**
   * Registers an agent with its first rate card (version 1) and returns its id. Runners named
   * twice count once.
   *
   * Signer: the developer. Errors: InvalidRunnerList, InvalidMetadataUri, InvalidRates,
   * CounterExhausted. Events: agent,registered; rates,published.
   */
  register_agent(args: { developer: string | Address; metadata_uri: string | null; runners: Array<string | Address>; initial_rate_card: RateCardInput }, options?: MethodOptions): Promise<AssembledTransaction<Result<number, Error>>>;
  /**
   * Sets or removes the address of the agent's description.
   *
   * Signer: the developer. Errors: AgentNotFound, InvalidMetadataUri. Events: agent,metadata.
   */
  set_metadata_uri(args: { agent_id: number; metadata_uri: string | null }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, Error>>>;
  /**
   * Adds a rate card and returns its version. Older cards stay readable; the vault opens runs
   * under the latest and the previous one only (V5).
   *
   * Signer: the developer. Errors: AgentNotFound, InvalidRates, CounterExhausted. Events:
   * rates,published.
   */
  publish_rate_card(args: { agent_id: number; rate_card: RateCardInput }, options?: MethodOptions): Promise<AssembledTransaction<Result<number, Error>>>;
  /**
   * The newest version of the agent's rate cards.
   *
   * Signer: none. Errors: AgentNotFound.
   */
  latest_rate_version(args: { agent_id: number }, options?: MethodOptions): Promise<AssembledTransaction<Result<number, Error>>>;
  /**
   * Brings the data to the form that new code keeps them in. Where there is nothing to do, it
   * does nothing.
   *
   * Signer: the admin. Errors: Unauthorized. Events: admin,migrated.
   */
  migrate(options?: MethodOptions): Promise<AssembledTransaction<Result<null, Error>>>;
  /**
   * Puts the announced code in place within its time. The Wasm must be uploaded.
   *
   * Signer: the admin. Errors: Unauthorized, UpgradeNotScheduled (another hash, or lapsed),
   * UpgradeNotReady. Events: admin,upgraded.
   */
  upgrade(args: { wasm_hash: Uint8Array }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, Error>>>;
  /**
   * Takes administration over and withdraws announced code.
   *
   * Signer: the proposed admin. Errors: Unauthorized, AdminNotProposed. Events: admin,accepted;
   * admin,upgrade_cancelled if code was announced.
   */
  accept_admin(options?: MethodOptions): Promise<AssembledTransaction<Result<null, Error>>>;
  /**
   * Names who may take administration over. A later proposal replaces an earlier one; naming the
   * admin takes it back.
   *
   * Signer: the admin. Errors: Unauthorized. Events: admin,proposed.
   */
  propose_admin(args: { proposed: string | Address }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, Error>>>;
  /**
   * The state of administration.
   *
   * Signer: none. Errors: Unauthorized.
   */
  administration(options?: MethodOptions): Promise<AssembledTransaction<Result<Administration, Error>>>;
  /**
   * Withdraws the announced code.
   *
   * Signer: the admin. Errors: Unauthorized, UpgradeNotScheduled. Events:
   * admin,upgrade_cancelled.
   */
  cancel_upgrade(options?: MethodOptions): Promise<AssembledTransaction<Result<null, Error>>>;
  /**
   * Announces new code and answers from when it may be put in place: after seven days, for 14
   * days. It replaces what was announced before.
   *
   * Signer: the admin. Errors: Unauthorized. Events: admin,upgrade_scheduled.
   */
  schedule_upgrade(args: { wasm_hash: Uint8Array }, options?: MethodOptions): Promise<AssembledTransaction<Result<bigint, Error>>>;
}

export class Client extends ContractClient {
  constructor(public readonly options: ContractClientOptions) {
    super(
      new Spec(["AAAABAAAABpXaGF0IHRoZSByZWdpc3RyeSByZWZ1c2VzLgAAAAAAAAAAABJBZ2VudFJlZ2lzdHJ5RXJyb3IAAAAAAA0AAAA+S2VwdCBmb3IgaXRzIG51bWJlcjogdGhlIGNvbnN0cnVjdG9yIHJ1bnMgb25jZSBieSBpdHNlbGYgKFYyKS4AAAAAABJBbHJlYWR5SW5pdGlhbGl6ZWQAAAAAAAEAAAAVTm8gYWdlbnQgaGFzIHRoaXMgaWQuAAAAAAAADUFnZW50Tm90Rm91bmQAAAAAAAACAAAASVRoZSBpbnN0YW5jZSBuYW1lcyBubyBhZG1pbi4gQSBtaXNzaW5nIHNpZ25hdHVyZSBpcyB0aGUgaG9zdCdzIG93biBlcnJvci4AAAAAAAAMVW5hdXRob3JpemVkAAAAAwAAACtObyBydW5uZXIgYXQgcmVnaXN0cmF0aW9uLCBvciBtb3JlIHRoYW4gMTYuAAAAABFJbnZhbGlkUnVubmVyTGlzdAAAAAAAAAQAAAAtQSByYXRlIGlzIG5lZ2F0aXZlIG9yIGFib3ZlIDJeNjMg4oiSIDEgKFYxOSkuAAAAAAAADEludmFsaWRSYXRlcwAAAAUAAAAkVGhlIGFnZW50IGRvZXMgbm90IGxpc3QgdGhpcyBydW5uZXIuAAAADlJ1bm5lck5vdEZvdW5kAAAAAAAGAAAAK1RoZSBhZ2VudCBoYXMgbm8gcmF0ZSBjYXJkIG9mIHRoaXMgdmVyc2lvbi4AAAAAEFJhdGVDYXJkTm90Rm91bmQAAAAHAAAAJkEgbWV0YWRhdGEgVVJJIG9mIG1vcmUgdGhhbiAyNTYgYnl0ZXMuAAAAAAASSW52YWxpZE1ldGFkYXRhVXJpAAAAAAAIAAAAHU1vcmUgdGhhbiA0IGF0dGVzdGF0aW9uIGtleXMuAAAAAAAAEEludmFsaWRBdHRlc3RlcnMAAAAJAAAAIU5vIGlkIG9yIHZlcnNpb24gaXMgbGVmdCB0byBnaXZlLgAAAAAAABBDb3VudGVyRXhoYXVzdGVkAAAACgAAAB1ObyBvbmUgd2FzIHByb3Bvc2VkIGFzIGFkbWluLgAAAAAAABBBZG1pbk5vdFByb3Bvc2VkAAAACwAAAFdObyB1cGdyYWRlIHRvIHRoaXMgV2FzbSBpcyBzY2hlZHVsZWQsIG9yIGl0IGxhcHNlZCAxNCBkYXlzIGFmdGVyIGl0IGJlY2FtZSByZWFkeSAoVjIwKS4AAAAAE1VwZ3JhZGVOb3RTY2hlZHVsZWQAAAAADAAAACpUaGUgc2NoZWR1bGVkIHVwZ3JhZGUncyB0aW1lIGhhcyBub3QgY29tZS4AAAAAAA9VcGdyYWRlTm90UmVhZHkAAAAADQ==", "AAAABQAAABZUaGUgZGVzY3JpcHRpb24gbW92ZWQuAAAAAAAAAAAAC01ldGFkYXRhU2V0AAAAAAIAAAAFYWdlbnQAAAAAAAAIbWV0YWRhdGEAAAACAAAAClRoZSBhZ2VudC4AAAAAAAhhZ2VudF9pZAAAAAQAAAABAAAAHVdoZXJlIGl0cyBkZXNjcmlwdGlvbiBpcyBub3cuAAAAAAAADG1ldGFkYXRhX3VyaQAAA+gAAAAQAAAAAAAAAAE=", "AAAABQAAACdBIHJ1bm5lciBtYXkgcnVuIHRoZSBhZ2VudCBmcm9tIG5vdyBvbi4AAAAAAAAAAAtSdW5uZXJBZGRlZAAAAAACAAAABWFnZW50AAAAAAAADHJ1bm5lcl9hZGRlZAAAAAIAAAAKVGhlIGFnZW50LgAAAAAACGFnZW50X2lkAAAABAAAAAEAAAALVGhlIHJ1bm5lci4AAAAABnJ1bm5lcgAAAAAAEwAAAAAAAAAB", "AAAABQAAACtXaGljaCBhdHRlc3RhdGlvbiBrZXlzIGNvdW50IGNoYW5nZWQgKFYxMikuAAAAAAAAAAAMQXR0ZXN0ZXJzU2V0AAAAAgAAAAVhZ2VudAAAAAAAAAlhdHRlc3RlcnMAAAAAAAACAAAAClRoZSBhZ2VudC4AAAAAAAhhZ2VudF9pZAAAAAQAAAABAAAAGFRoZSBrZXlzIHRoYXQgY291bnQgbm93LgAAAAlhdHRlc3RlcnMAAAAAAAPqAAAD7gAAACAAAAAAAAAAAQ==", "AAAABQAAAEVBIHJ1bm5lciBtYXkgbmVpdGhlciBvcGVuIG5vciBzZXR0bGUgcnVucyBvZiB0aGUgYWdlbnQgYW55IG1vcmUgKFY2KS4AAAAAAAAAAAAADVJ1bm5lclJlbW92ZWQAAAAAAAACAAAABWFnZW50AAAAAAAADnJ1bm5lcl9yZW1vdmVkAAAAAAACAAAAClRoZSBhZ2VudC4AAAAAAAhhZ2VudF9pZAAAAAQAAAABAAAAC1RoZSBydW5uZXIuAAAAAAZydW5uZXIAAAAAABMAAAAAAAAAAQ==", "AAAABQAAAEJBbiBhZ2VudCBleGlzdHMuIEl0cyBmaXJzdCByYXRlIGNhcmQgZm9sbG93cyBhcyBgcmF0ZXMscHVibGlzaGVkYC4AAAAAAAAAAAAPQWdlbnRSZWdpc3RlcmVkAAAAAAIAAAAFYWdlbnQAAAAAAAAKcmVnaXN0ZXJlZAAAAAAABAAAAA5UaGUgbmV3IGFnZW50LgAAAAAACGFnZW50X2lkAAAABAAAAAEAAAAeV2hvIG1heSBjaGFuZ2UgaXQgYW5kIGlzIHBhaWQuAAAAAAAJZGV2ZWxvcGVyAAAAAAAAEwAAAAAAAAAZV2hlcmUgaXRzIGRlc2NyaXB0aW9uIGlzLgAAAAAAAAxtZXRhZGF0YV91cmkAAAPoAAAAEAAAAAAAAAAPV2hvIG1heSBydW4gaXQuAAAAAAdydW5uZXJzAAAAA+oAAAATAAAAAAAAAAE=", "AAAABQAAACNBIG5ldyB2ZXJzaW9uIG9mIHByaWNlcyBhbmQgbW9kdWxlLgAAAAAAAAAAEVJhdGVDYXJkUHVibGlzaGVkAAAAAAAAAgAAAAVyYXRlcwAAAAAAAAlwdWJsaXNoZWQAAAAAAAAEAAAAClRoZSBhZ2VudC4AAAAAAAhhZ2VudF9pZAAAAAQAAAABAAAAEFRoZSBuZXcgdmVyc2lvbi4AAAAHdmVyc2lvbgAAAAAEAAAAAAAAAAtJdHMgcHJpY2VzLgAAAAAFcmF0ZXMAAAAAAAfQAAAAD1VzYWdlTWV0ZXJSYXRlcwAAAAAAAAAAHERpZ2VzdCBvZiB0aGUgbW9kdWxlJ3MgdHJlZS4AAAANbWFuaWZlc3RfaGFzaAAAAAAAA+4AAAAgAAAAAAAAAAE=", "AAAAAQAAADhBIHB1Ymxpc2hlZCB2ZXJzaW9uIG9mIHByaWNlcyBhbmQgbW9kdWxlOyBuZXZlciBjaGFuZ2VzLgAAAAAAAAAIUmF0ZUNhcmQAAAACAAAAHERpZ2VzdCBvZiB0aGUgbW9kdWxlJ3MgdHJlZS4AAAANbWFuaWZlc3RfaGFzaAAAAAAAA+4AAAAgAAAAHVByaWNlcywgZWFjaCAwIHRvIDJeNjMg4oiSIDEuAAAAAAAABXJhdGVzAAAAAAAH0AAAAA9Vc2FnZU1ldGVyUmF0ZXMA", "AAAAAQAAACxBbiBhZ2VudCBhcyBhbnN3ZXJlZDogaXRzIHJlY29yZCBhbmQgaXRzIGlkLgAAAAAAAAAMQWdlbnREZXRhaWxzAAAABgAAABtUaGUgYWdlbnQncyBudW1iZXIsIGZyb20gMS4AAAAACGFnZW50X2lkAAAABAAAAC5FZDI1NTE5IGtleXMgd2hvc2UgZXhlY3V0aW9uIHN0YXRlbWVudHMgY291bnQuAAAAAAAJYXR0ZXN0ZXJzAAAAAAAD6gAAA+4AAAAgAAAAMldobyBtYXkgY2hhbmdlIHRoZSBhZ2VudCBhbmQgaXMgcGFpZCBmb3IgaXRzIHJ1bnMuAAAAAAAJZGV2ZWxvcGVyAAAAAAAAEwAAABFOZXdlc3QgcmF0ZSBjYXJkLgAAAAAAABNsYXRlc3RfcmF0ZV92ZXJzaW9uAAAAAAQAAAAZV2hlcmUgaXRzIGRlc2NyaXB0aW9uIGlzLgAAAAAAAAxtZXRhZGF0YV91cmkAAAPoAAAAEAAAACFXaG8gbWF5IG9wZW4gYW5kIHNldHRsZSBpdHMgcnVucy4AAAAAAAAHcnVubmVycwAAAAPqAAAAEw==", "AAAAAQAAAD9XaGF0IGEgZGV2ZWxvcGVyIHB1Ymxpc2hlczogcHJpY2VzIGFuZCB0aGUgbW9kdWxlIHRoZXkgYXJlIGZvci4AAAAAAAAAAA1SYXRlQ2FyZElucHV0AAAAAAAAAgAAAEBEaWdlc3Qgb2YgdGhlIG1vZHVsZSdzIHRyZWU6IHdoYXQgbWF5IHJ1biB1bmRlciB0aGlzIGNhcmQgKFYxMikuAAAADW1hbmlmZXN0X2hhc2gAAAAAAAPuAAAAIAAAAB1QcmljZXMsIGVhY2ggMCB0byAyXjYzIOKIkiAxLgAAAAAAAAVyYXRlcwAAAAAAB9AAAAAPVXNhZ2VNZXRlclJhdGVzAA==", "AAAAAQAAACZUaGUgc3RhdGUgb2YgYWRtaW5pc3RyYXRpb24gKFYyLCBWMjApLgAAAAAAAAAAAA5BZG1pbmlzdHJhdGlvbgAAAAAABgAAABNXaG8gbWF5IGFkbWluaXN0ZXIuAAAAAAVhZG1pbgAAAAAAABMAAAA8VGhlIGZvcm0gb2YgdGhlIGRhdGE7IHRoZSBjb2RlJ3Mgb3duIG9uY2UgYG1pZ3JhdGVgIGhhcyBydW4uAAAABmxheW91dAAAAAAABAAAAB9XaG8gbWF5IHRha2Ugb3ZlciBieSBhY2NlcHRpbmcuAAAAAAhwcm9wb3NlZAAAA+gAAAATAAAAIUZyb20gd2hlbiBpdCBtYXkgYmUgcHV0IGluIHBsYWNlLgAAAAAAAAp1cGdyYWRlX2F0AAAAAAPoAAAABgAAACVzaGEyNTYgb2YgdGhlIGFubm91bmNlZCBXYXNtLCBpZiBhbnkuAAAAAAAACnVwZ3JhZGVfdG8AAAAAA+gAAAPuAAAAIAAAACZGcm9tIHdoZW4gdGhlIGFubm91bmNlbWVudCBoYXMgbGFwc2VkLgAAAAAADXVwZ3JhZGVfdW50aWwAAAAAAAPoAAAABg==", "AAAAAQAAAEhQcmljZSBvZiBvbmUgdW5pdCBvZiBlYWNoIG1ldGVyLCBpbiB0aGUgdG9rZW4ncyBzbWFsbGVzdCB1bml0IChzdHJvb3BzKS4AAAAAAAAAD1VzYWdlTWV0ZXJSYXRlcwAAAAAEAAAADlBlciBIVFRQIGNhbGwuAAAAAAAKaHR0cF9jYWxscwAAAAAACwAAACRQZXIgaW5wdXQgdG9rZW4gb2YgYSBsYW5ndWFnZSBtb2RlbC4AAAAGbGxtX2luAAAAAAALAAAAJVBlciBvdXRwdXQgdG9rZW4gb2YgYSBsYW5ndWFnZSBtb2RlbC4AAAAAAAAHbGxtX291dAAAAAALAAAAHFBlciBtaWxsaXNlY29uZCBvZiBydW4gdGltZS4AAAAKcnVudGltZV9tcwAAAAAACw==", "AAAAAAAAAEBUaGUgYWdlbnQncyByZWNvcmQgYW5kIGlkLgoKU2lnbmVyOiBub25lLiBFcnJvcnM6IEFnZW50Tm90Rm91bmQuAAAACWdldF9hZ2VudAAAAAAAAAEAAAAAAAAACGFnZW50X2lkAAAABAAAAAEAAAPpAAAH0AAAAAxBZ2VudERldGFpbHMAAAAD", "AAAAAAAAAHRXaGV0aGVyIHRoZSBhZ2VudCBsaXN0cyB0aGUgcnVubmVyLiBBbiB1bmtub3duIGFnZW50IGlzIGFuIGVycm9yLCBub3QgYGZhbHNlYC4KClNpZ25lcjogbm9uZS4gRXJyb3JzOiBBZ2VudE5vdEZvdW5kLgAAAAlpc19ydW5uZXIAAAAAAAACAAAAAAAAAAhhZ2VudF9pZAAAAAQAAAAAAAAABnJ1bm5lcgAAAAAAEwAAAAEAAAPpAAAAAQAAAAM=", "AAAAAAAAAJpMaXN0cyBhIHJ1bm5lci4gQSBsaXN0ZWQgb25lIHN0YXlzIGxpc3RlZCwgd2l0aG91dCBhbiBldmVudC4KClNpZ25lcjogdGhlIGRldmVsb3Blci4gRXJyb3JzOiBBZ2VudE5vdEZvdW5kLCBJbnZhbGlkUnVubmVyTGlzdC4gRXZlbnRzOiBhZ2VudCxydW5uZXJfYWRkZWQuAAAAAAAKYWRkX3J1bm5lcgAAAAAAAgAAAAAAAAAIYWdlbnRfaWQAAAAEAAAAAAAAAAZydW5uZXIAAAAAABMAAAABAAAD6QAAAAIAAAAD", "AAAAAAAAAD1XaG8gZGV2ZWxvcHMgdGhlIGFnZW50LgoKU2lnbmVyOiBub25lLiBFcnJvcnM6IEFnZW50Tm90Rm91bmQuAAAAAAAADGRldmVsb3Blcl9vZgAAAAEAAAAAAAAACGFnZW50X2lkAAAABAAAAAEAAAPpAAAAEwAAAAM=", "AAAAAAAAAHNTZXRzIHRoZSByZWdpc3RyeSB1cC4gYGFkbWluYCBtYXkgaGFuZCBhZG1pbmlzdHJhdGlvbiBvdmVyIGFuZCByZXBsYWNlIHRoZSBjb2RlOyBhZ2VudHMKYmVsb25nIHRvIHRoZWlyIGRldmVsb3BlcnMuAAAAAA1fX2NvbnN0cnVjdG9yAAAAAAAAAQAAAAAAAAAFYWRtaW4AAAAAAAATAAAAAA==", "AAAAAAAAAFNUaGUgcmF0ZSBjYXJkIG9mIGEgdmVyc2lvbi4KClNpZ25lcjogbm9uZS4gRXJyb3JzOiBBZ2VudE5vdEZvdW5kLCBSYXRlQ2FyZE5vdEZvdW5kLgAAAAANZ2V0X3JhdGVfY2FyZAAAAAAAAAIAAAAAAAAACGFnZW50X2lkAAAABAAAAAAAAAAHdmVyc2lvbgAAAAAEAAAAAQAAA+kAAAfQAAAACFJhdGVDYXJkAAAAAw==", "AAAAAAAAALJUYWtlcyBhIHJ1bm5lciBvZmYgdGhlIGxpc3QsIHRoZSBsYXN0IG9uZSB0b286IG9uZSB3aG9zZSBrZXkgaXMgbG9zdCBtdXN0IGdvIGF0IG9uY2UuCgpTaWduZXI6IHRoZSBkZXZlbG9wZXIuIEVycm9yczogQWdlbnROb3RGb3VuZCwgUnVubmVyTm90Rm91bmQuIEV2ZW50czogYWdlbnQscnVubmVyX3JlbW92ZWQuAAAAAAANcmVtb3ZlX3J1bm5lcgAAAAAAAAIAAAAAAAAACGFnZW50X2lkAAAABAAAAAAAAAAGcnVubmVyAAAAAAATAAAAAQAAA+kAAAACAAAAAw==", "AAAAAAAAASBTZXRzIHRoZSBFZDI1NTE5IGtleXMgd2hvc2UgZXhlY3V0aW9uIHN0YXRlbWVudHMgYW5kIHNldHRsZW1lbnQgc2lnbmF0dXJlcyB0aGUgZGV2ZWxvcGVyCmFjY2VwdHMgKFYxMiwgVjE2KS4gV2l0aG91dCBhbnksIHRoZSB2YXVsdCBjaGFyZ2VzIG5vdGhpbmcgZm9yIHRoZSBhZ2VudCdzIHJ1bnMuIEtleXMgbmFtZWQKdHdpY2UgY291bnQgb25jZS4KClNpZ25lcjogdGhlIGRldmVsb3Blci4gRXJyb3JzOiBBZ2VudE5vdEZvdW5kLCBJbnZhbGlkQXR0ZXN0ZXJzLiBFdmVudHM6IGFnZW50LGF0dGVzdGVycy4AAAANc2V0X2F0dGVzdGVycwAAAAAAAAIAAAAAAAAACGFnZW50X2lkAAAABAAAAAAAAAAJYXR0ZXN0ZXJzAAAAAAAD6gAAA+4AAAAgAAAAAQAAA+kAAAACAAAAAw==", "AAAAAAAAAP1SZWdpc3RlcnMgYW4gYWdlbnQgd2l0aCBpdHMgZmlyc3QgcmF0ZSBjYXJkICh2ZXJzaW9uIDEpIGFuZCByZXR1cm5zIGl0cyBpZC4gUnVubmVycyBuYW1lZAp0d2ljZSBjb3VudCBvbmNlLgoKU2lnbmVyOiB0aGUgZGV2ZWxvcGVyLiBFcnJvcnM6IEludmFsaWRSdW5uZXJMaXN0LCBJbnZhbGlkTWV0YWRhdGFVcmksIEludmFsaWRSYXRlcywKQ291bnRlckV4aGF1c3RlZC4gRXZlbnRzOiBhZ2VudCxyZWdpc3RlcmVkOyByYXRlcyxwdWJsaXNoZWQuAAAAAAAADnJlZ2lzdGVyX2FnZW50AAAAAAAEAAAAAAAAAAlkZXZlbG9wZXIAAAAAAAATAAAAAAAAAAxtZXRhZGF0YV91cmkAAAPoAAAAEAAAAAAAAAAHcnVubmVycwAAAAPqAAAAEwAAAAAAAAARaW5pdGlhbF9yYXRlX2NhcmQAAAAAAAfQAAAADVJhdGVDYXJkSW5wdXQAAAAAAAABAAAD6QAAAAQAAAAD", "AAAAAAAAAJJTZXRzIG9yIHJlbW92ZXMgdGhlIGFkZHJlc3Mgb2YgdGhlIGFnZW50J3MgZGVzY3JpcHRpb24uCgpTaWduZXI6IHRoZSBkZXZlbG9wZXIuIEVycm9yczogQWdlbnROb3RGb3VuZCwgSW52YWxpZE1ldGFkYXRhVXJpLiBFdmVudHM6IGFnZW50LG1ldGFkYXRhLgAAAAAAEHNldF9tZXRhZGF0YV91cmkAAAACAAAAAAAAAAhhZ2VudF9pZAAAAAQAAAAAAAAADG1ldGFkYXRhX3VyaQAAA+gAAAAQAAAAAQAAA+kAAAACAAAAAw==", "AAAAAAAAAPJBZGRzIGEgcmF0ZSBjYXJkIGFuZCByZXR1cm5zIGl0cyB2ZXJzaW9uLiBPbGRlciBjYXJkcyBzdGF5IHJlYWRhYmxlOyB0aGUgdmF1bHQgb3BlbnMgcnVucwp1bmRlciB0aGUgbGF0ZXN0IGFuZCB0aGUgcHJldmlvdXMgb25lIG9ubHkgKFY1KS4KClNpZ25lcjogdGhlIGRldmVsb3Blci4gRXJyb3JzOiBBZ2VudE5vdEZvdW5kLCBJbnZhbGlkUmF0ZXMsIENvdW50ZXJFeGhhdXN0ZWQuIEV2ZW50czoKcmF0ZXMscHVibGlzaGVkLgAAAAAAEXB1Ymxpc2hfcmF0ZV9jYXJkAAAAAAAAAgAAAAAAAAAIYWdlbnRfaWQAAAAEAAAAAAAAAAlyYXRlX2NhcmQAAAAAAAfQAAAADVJhdGVDYXJkSW5wdXQAAAAAAAABAAAD6QAAAAQAAAAD", "AAAAAAAAAFNUaGUgbmV3ZXN0IHZlcnNpb24gb2YgdGhlIGFnZW50J3MgcmF0ZSBjYXJkcy4KClNpZ25lcjogbm9uZS4gRXJyb3JzOiBBZ2VudE5vdEZvdW5kLgAAAAATbGF0ZXN0X3JhdGVfdmVyc2lvbgAAAAABAAAAAAAAAAhhZ2VudF9pZAAAAAQAAAABAAAD6QAAAAQAAAAD", "AAAAAAAAAKlCcmluZ3MgdGhlIGRhdGEgdG8gdGhlIGZvcm0gdGhhdCBuZXcgY29kZSBrZWVwcyB0aGVtIGluLiBXaGVyZSB0aGVyZSBpcyBub3RoaW5nIHRvIGRvLCBpdApkb2VzIG5vdGhpbmcuCgpTaWduZXI6IHRoZSBhZG1pbi4gRXJyb3JzOiBVbmF1dGhvcml6ZWQuIEV2ZW50czogYWRtaW4sbWlncmF0ZWQuAAAAAAAAB21pZ3JhdGUAAAAAAAAAAAEAAAPpAAAAAgAAAAM=", "AAAAAAAAAM5QdXRzIHRoZSBhbm5vdW5jZWQgY29kZSBpbiBwbGFjZSB3aXRoaW4gaXRzIHRpbWUuIFRoZSBXYXNtIG11c3QgYmUgdXBsb2FkZWQuCgpTaWduZXI6IHRoZSBhZG1pbi4gRXJyb3JzOiBVbmF1dGhvcml6ZWQsIFVwZ3JhZGVOb3RTY2hlZHVsZWQgKGFub3RoZXIgaGFzaCwgb3IgbGFwc2VkKSwKVXBncmFkZU5vdFJlYWR5LiBFdmVudHM6IGFkbWluLHVwZ3JhZGVkLgAAAAAAB3VwZ3JhZGUAAAAAAQAAAAAAAAAJd2FzbV9oYXNoAAAAAAAD7gAAACAAAAABAAAD6QAAAAIAAAAD", "AAAAAAAAAMNUYWtlcyBhZG1pbmlzdHJhdGlvbiBvdmVyIGFuZCB3aXRoZHJhd3MgYW5ub3VuY2VkIGNvZGUuCgpTaWduZXI6IHRoZSBwcm9wb3NlZCBhZG1pbi4gRXJyb3JzOiBVbmF1dGhvcml6ZWQsIEFkbWluTm90UHJvcG9zZWQuIEV2ZW50czogYWRtaW4sYWNjZXB0ZWQ7CmFkbWluLHVwZ3JhZGVfY2FuY2VsbGVkIGlmIGNvZGUgd2FzIGFubm91bmNlZC4AAAAADGFjY2VwdF9hZG1pbgAAAAAAAAABAAAD6QAAAAIAAAAD", "AAAAAAAAALNOYW1lcyB3aG8gbWF5IHRha2UgYWRtaW5pc3RyYXRpb24gb3Zlci4gQSBsYXRlciBwcm9wb3NhbCByZXBsYWNlcyBhbiBlYXJsaWVyIG9uZTsgbmFtaW5nIHRoZQphZG1pbiB0YWtlcyBpdCBiYWNrLgoKU2lnbmVyOiB0aGUgYWRtaW4uIEVycm9yczogVW5hdXRob3JpemVkLiBFdmVudHM6IGFkbWluLHByb3Bvc2VkLgAAAAANcHJvcG9zZV9hZG1pbgAAAAAAAAEAAAAAAAAACHByb3Bvc2VkAAAAEwAAAAEAAAPpAAAAAgAAAAM=", "AAAAAAAAAEFUaGUgc3RhdGUgb2YgYWRtaW5pc3RyYXRpb24uCgpTaWduZXI6IG5vbmUuIEVycm9yczogVW5hdXRob3JpemVkLgAAAAAAAA5hZG1pbmlzdHJhdGlvbgAAAAAAAAAAAAEAAAPpAAAH0AAAAA5BZG1pbmlzdHJhdGlvbgAAAAAAAw==", "AAAAAAAAAH1XaXRoZHJhd3MgdGhlIGFubm91bmNlZCBjb2RlLgoKU2lnbmVyOiB0aGUgYWRtaW4uIEVycm9yczogVW5hdXRob3JpemVkLCBVcGdyYWRlTm90U2NoZWR1bGVkLiBFdmVudHM6CmFkbWluLHVwZ3JhZGVfY2FuY2VsbGVkLgAAAAAAAA5jYW5jZWxfdXBncmFkZQAAAAAAAAAAAAEAAAPpAAAAAgAAAAM=", "AAAAAAAAANFBbm5vdW5jZXMgbmV3IGNvZGUgYW5kIGFuc3dlcnMgZnJvbSB3aGVuIGl0IG1heSBiZSBwdXQgaW4gcGxhY2U6IGFmdGVyIHNldmVuIGRheXMsIGZvciAxNApkYXlzLiBJdCByZXBsYWNlcyB3aGF0IHdhcyBhbm5vdW5jZWQgYmVmb3JlLgoKU2lnbmVyOiB0aGUgYWRtaW4uIEVycm9yczogVW5hdXRob3JpemVkLiBFdmVudHM6IGFkbWluLHVwZ3JhZGVfc2NoZWR1bGVkLgAAAAAAABBzY2hlZHVsZV91cGdyYWRlAAAAAQAAAAAAAAAJd2FzbV9oYXNoAAAAAAAD7gAAACAAAAABAAAD6QAAAAYAAAAD", "AAAABQAAAC1UaGUgZGF0YSBoYXZlIHRoZSBmb3JtIHRoYXQgdGhlIGNvZGUgZXhwZWN0cy4AAAAAAAAAAAAACE1pZ3JhdGVkAAAAAgAAAAVhZG1pbgAAAAAAAAhtaWdyYXRlZAAAAAIAAAAQVGhlIGZvcm0gYmVmb3JlLgAAAARmcm9tAAAABAAAAAAAAAANVGhlIGZvcm0gbm93LgAAAAAAAAJ0bwAAAAAABAAAAAAAAAAB", "AAAABQAAABVOZXcgY29kZSBpcyBpbiBwbGFjZS4AAAAAAAAAAAAACFVwZ3JhZGVkAAAAAgAAAAVhZG1pbgAAAAAAAAh1cGdyYWRlZAAAAAEAAAAXc2hhMjU2IG9mIHRoZSBuZXcgV2FzbS4AAAAACXdhc21faGFzaAAAAAAAA+4AAAAgAAAAAAAAAAE=", "AAAABQAAAB1BZG1pbmlzdHJhdGlvbiBjaGFuZ2VkIGhhbmRzLgAAAAAAAAAAAAANQWRtaW5BY2NlcHRlZAAAAAAAAAIAAAAFYWRtaW4AAAAAAAAIYWNjZXB0ZWQAAAACAAAAEVdobyBhZG1pbmlzdGVyZWQuAAAAAAAACHByZXZpb3VzAAAAEwAAAAAAAAAUV2hvIGFkbWluaXN0ZXJzIG5vdy4AAAAFYWRtaW4AAAAAAAATAAAAAAAAAAE=", "AAAABQAAADVBbiBhZGRyZXNzIG1heSB0YWtlIGFkbWluaXN0cmF0aW9uIG92ZXIgYnkgYWNjZXB0aW5nLgAAAAAAAAAAAAANQWRtaW5Qcm9wb3NlZAAAAAAAAAIAAAAFYWRtaW4AAAAAAAAIcHJvcG9zZWQAAAACAAAAEFdobyBhZG1pbmlzdGVycy4AAAAFYWRtaW4AAAAAAAATAAAAAAAAAE5XaG8gbWF5IGFjY2VwdDsgdGhlIGFkbWluJ3Mgb3duIGFkZHJlc3MgaWYgYW4gZWFybGllciBwcm9wb3NhbCB3YXMgdGFrZW4gYmFjay4AAAAAAAhwcm9wb3NlZAAAABMAAAAAAAAAAQ==", "AAAABQAAAB1Bbm5vdW5jZWQgY29kZSB3YXMgd2l0aGRyYXduLgAAAAAAAAAAAAAQVXBncmFkZUNhbmNlbGxlZAAAAAIAAAAFYWRtaW4AAAAAAAARdXBncmFkZV9jYW5jZWxsZWQAAAAAAAABAAAAJnNoYTI1NiBvZiB0aGUgV2FzbSB0aGF0IHdpbGwgbm90IGNvbWUuAAAAAAAJd2FzbV9oYXNoAAAAAAAD7gAAACAAAAAAAAAAAQ==", "AAAABQAAABdOZXcgY29kZSB3YXMgYW5ub3VuY2VkLgAAAAAAAAAAEFVwZ3JhZGVTY2hlZHVsZWQAAAACAAAABWFkbWluAAAAAAAAEXVwZ3JhZGVfc2NoZWR1bGVkAAAAAAAAAwAAABdzaGEyNTYgb2YgdGhlIG5ldyBXYXNtLgAAAAAJd2FzbV9oYXNoAAAAAAAD7gAAACAAAAAAAAAAIUZyb20gd2hlbiBpdCBtYXkgYmUgcHV0IGluIHBsYWNlLgAAAAAAAAhyZWFkeV9hdAAAAAYAAAAAAAAALkZyb20gd2hlbiBpdCBtYXkgbm90IGJlIHB1dCBpbiBwbGFjZSBhbnkgbW9yZS4AAAAAAAlsYXBzZXNfYXQAAAAAAAAGAAAAAAAAAAE="]),
      options
    );
  }

   static deploy<T = Client>(args: { admin: string | Address }, options: MethodOptions & Omit<ContractClientOptions, 'contractId'> & { salt?: Uint8Array; address?: string; } & ({ wasmHash: Uint8Array | string; format?: "hex" | "base64"; externalRef?: never; } | { externalRef: ExternalExecutableRef; wasmHash?: never; format?: never; })): Promise<AssembledTransaction<T>> {
    return ContractClient.deploy(args, options);
  }
  public readonly fromJson = {
    get_agent : this.txFromJson<Result<AgentDetails, Error>>,  is_runner : this.txFromJson<Result<boolean, Error>>,  add_runner : this.txFromJson<Result<null, Error>>,  developer_of : this.txFromJson<Result<string, Error>>,  get_rate_card : this.txFromJson<Result<RateCard, Error>>,  remove_runner : this.txFromJson<Result<null, Error>>,  set_attesters : this.txFromJson<Result<null, Error>>,  register_agent : this.txFromJson<Result<number, Error>>,  set_metadata_uri : this.txFromJson<Result<null, Error>>,  publish_rate_card : this.txFromJson<Result<number, Error>>,  latest_rate_version : this.txFromJson<Result<number, Error>>,  migrate : this.txFromJson<Result<null, Error>>,  upgrade : this.txFromJson<Result<null, Error>>,  accept_admin : this.txFromJson<Result<null, Error>>,  propose_admin : this.txFromJson<Result<null, Error>>,  administration : this.txFromJson<Result<Administration, Error>>,  cancel_upgrade : this.txFromJson<Result<null, Error>>,  schedule_upgrade : this.txFromJson<Result<bigint, Error>>
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
   * Build a topics filter row for the "MetadataSet" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  metadataSetEventFilter(topicValues?: { agent_id?: number }): string[] {
    return this.spec.eventTopicFilter("MetadataSet", topicValues);
  }
  /**
   * Build a topics filter row for the "RunnerAdded" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  runnerAddedEventFilter(topicValues?: { agent_id?: number }): string[] {
    return this.spec.eventTopicFilter("RunnerAdded", topicValues);
  }
  /**
   * Build a topics filter row for the "AttestersSet" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  attestersSetEventFilter(topicValues?: { agent_id?: number }): string[] {
    return this.spec.eventTopicFilter("AttestersSet", topicValues);
  }
  /**
   * Build a topics filter row for the "RunnerRemoved" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  runnerRemovedEventFilter(topicValues?: { agent_id?: number }): string[] {
    return this.spec.eventTopicFilter("RunnerRemoved", topicValues);
  }
  /**
   * Build a topics filter row for the "AgentRegistered" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  agentRegisteredEventFilter(topicValues?: { agent_id?: number }): string[] {
    return this.spec.eventTopicFilter("AgentRegistered", topicValues);
  }
  /**
   * Build a topics filter row for the "RateCardPublished" event, for use in `Api.EventFilter.topics` when calling `server.getEvents`. Omitted fields match any value.
   */
  rateCardPublishedEventFilter(topicValues?: { agent_id?: number }): string[] {
    return this.spec.eventTopicFilter("RateCardPublished", topicValues);
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
