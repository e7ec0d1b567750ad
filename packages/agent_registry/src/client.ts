import {AgentDetails, RateCard, RateCardInput, AgentRegistryError, Administration, ContractEvent} from './types.js';
import {Result, Spec, AssembledTransaction, Client as ContractClient, ClientOptions as ContractClientOptions, MethodOptions, ExternalExecutableRef} from '@stellar/stellar-sdk/contract';
import {Address, xdr} from '@stellar/stellar-sdk';

export interface Client {
  /**
   * The agent's record and id.
   */
  get_agent(args: { agent_id: number }, options?: MethodOptions): Promise<AssembledTransaction<Result<AgentDetails, Error>>>;
  /**
   * Whether the agent lists the runner. An unknown agent is an error, not a no.
   */
  is_runner(args: { agent_id: number; runner: string | Address }, options?: MethodOptions): Promise<AssembledTransaction<Result<boolean, Error>>>;
  /**
   * Lists a runner. The developer signs. A listed one stays listed, without an event.
   */
  add_runner(args: { agent_id: number; runner: string | Address }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, Error>>>;
  /**
   * Who develops the agent.
   */
  developer_of(args: { agent_id: number }, options?: MethodOptions): Promise<AssembledTransaction<Result<string, Error>>>;
  /**
   * The rate card of a version.
   */
  get_rate_card(args: { agent_id: number; version: number }, options?: MethodOptions): Promise<AssembledTransaction<Result<RateCard, Error>>>;
  /**
   * Takes a runner off the list, the last one too: one whose key is lost must go at once. The
   * developer signs.
   */
  remove_runner(args: { agent_id: number; runner: string | Address }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, Error>>>;
  /**
   * Sets the Ed25519 keys whose execution statements the developer accepts; none means that
   * nobody's count (V12). The developer signs. Keys named twice count once.
   */
  set_attesters(args: { agent_id: number; attesters: Array<Uint8Array> }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, Error>>>;
  /**
   * Registers an agent with its first rate card (version 1) and returns its id. The developer
   * signs. Runners named twice count once.
   */
  register_agent(args: { developer: string | Address; metadata_uri: string | null; runners: Array<string | Address>; initial_rate_card: RateCardInput }, options?: MethodOptions): Promise<AssembledTransaction<Result<number, Error>>>;
  /**
   * Sets or removes where the agent's description stands. The developer signs.
   */
  set_metadata_uri(args: { agent_id: number; metadata_uri: string | null }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, Error>>>;
  /**
   * Adds a rate card and returns its version. The developer signs. Older cards stay readable;
   * the vault opens runs under the latest and the previous one only (V5).
   */
  publish_rate_card(args: { agent_id: number; rate_card: RateCardInput }, options?: MethodOptions): Promise<AssembledTransaction<Result<number, Error>>>;
  /**
   * The newest version.
   */
  latest_rate_version(args: { agent_id: number }, options?: MethodOptions): Promise<AssembledTransaction<Result<number, Error>>>;
  /**
   * Brings the data to the form that new code keeps them in. The admin signs. Where there is
   * nothing to do, it does nothing.
   */
  migrate(options?: MethodOptions): Promise<AssembledTransaction<Result<null, AgentRegistryError>>>;
  /**
   * Puts the scheduled code in place once its time has come. The admin signs, and names the code.
   */
  upgrade(args: { wasm_hash: Uint8Array }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, AgentRegistryError>>>;
  /**
   * Takes administration over. The proposed admin signs.
   */
  accept_admin(options?: MethodOptions): Promise<AssembledTransaction<Result<null, AgentRegistryError>>>;
  /**
   * Names who may take administration over. The admin signs. A later proposal replaces an
   * earlier one; naming the admin himself takes it back.
   */
  propose_admin(args: { proposed: string | Address }, options?: MethodOptions): Promise<AssembledTransaction<Result<null, AgentRegistryError>>>;
  /**
   * Where administration stands.
   */
  administration(options?: MethodOptions): Promise<AssembledTransaction<Result<Administration, AgentRegistryError>>>;
  /**
   * Takes the scheduled code back. The admin signs.
   */
  cancel_upgrade(options?: MethodOptions): Promise<AssembledTransaction<Result<null, AgentRegistryError>>>;
  /**
   * Schedules new code and answers from when it may be put in place: seven days. The admin signs.
   * It replaces what was scheduled before.
   */
  schedule_upgrade(args: { wasm_hash: Uint8Array }, options?: MethodOptions): Promise<AssembledTransaction<Result<bigint, AgentRegistryError>>>;
}

export class Client extends ContractClient {
  constructor(public readonly options: ContractClientOptions) {
    super(
      new Spec(["AAAABAAAABpXaGF0IHRoZSByZWdpc3RyeSByZWZ1c2VzLgAAAAAAAAAAABJBZ2VudFJlZ2lzdHJ5RXJyb3IAAAAAAA0AAAA+S2VwdCBmb3IgaXRzIG51bWJlcjogdGhlIGNvbnN0cnVjdG9yIHJ1bnMgb25jZSBieSBpdHNlbGYgKFYyKS4AAAAAABJBbHJlYWR5SW5pdGlhbGl6ZWQAAAAAAAEAAAAVTm8gYWdlbnQgaGFzIHRoaXMgaWQuAAAAAAAADUFnZW50Tm90Rm91bmQAAAAAAAACAAAAVU5vYm9keSBtYXk6IHRoZSBpbnN0YW5jZSBuYW1lcyBubyBhZG1pbi4gQSBtaXNzaW5nIHNpZ25hdHVyZSBpcyB0aGUgaG9zdCdzIG93biBlcnJvci4AAAAAAAAMVW5hdXRob3JpemVkAAAAAwAAACtObyBydW5uZXIgYXQgcmVnaXN0cmF0aW9uLCBvciBtb3JlIHRoYW4gMTYuAAAAABFJbnZhbGlkUnVubmVyTGlzdAAAAAAAAAQAAAAQQSBuZWdhdGl2ZSByYXRlLgAAAAxJbnZhbGlkUmF0ZXMAAAAFAAAAI1RoZSBhZ2VudCBkb2Vzbid0IGxpc3QgdGhpcyBydW5uZXIuAAAAAA5SdW5uZXJOb3RGb3VuZAAAAAAABgAAACtUaGUgYWdlbnQgaGFzIG5vIHJhdGUgY2FyZCBvZiB0aGlzIHZlcnNpb24uAAAAABBSYXRlQ2FyZE5vdEZvdW5kAAAABwAAACZBIG1ldGFkYXRhIFVSSSBvZiBtb3JlIHRoYW4gMjU2IGJ5dGVzLgAAAAAAEkludmFsaWRNZXRhZGF0YVVyaQAAAAAACAAAAB1Nb3JlIHRoYW4gNCBhdHRlc3RhdGlvbiBrZXlzLgAAAAAAABBJbnZhbGlkQXR0ZXN0ZXJzAAAACQAAACFObyBpZCBvciB2ZXJzaW9uIGlzIGxlZnQgdG8gZ2l2ZS4AAAAAAAAQQ291bnRlckV4aGF1c3RlZAAAAAoAAAAdTm9ib2R5IHdhcyBwcm9wb3NlZCBhcyBhZG1pbi4AAAAAAAAQQWRtaW5Ob3RQcm9wb3NlZAAAAAsAAAAlTm8gdXBncmFkZSB0byB0aGlzIFdhc20gaXMgc2NoZWR1bGVkLgAAAAAAABNVcGdyYWRlTm90U2NoZWR1bGVkAAAAAAwAAAApVGhlIHNjaGVkdWxlZCB1cGdyYWRlJ3MgdGltZSBoYXNuJ3QgY29tZS4AAAAAAAAPVXBncmFkZU5vdFJlYWR5AAAAAA0=", "AAAABQAAABZUaGUgZGVzY3JpcHRpb24gbW92ZWQuAAAAAAAAAAAAC01ldGFkYXRhU2V0AAAAAAIAAAAFYWdlbnQAAAAAAAAIbWV0YWRhdGEAAAACAAAAClRoZSBhZ2VudC4AAAAAAAhhZ2VudF9pZAAAAAQAAAABAAAAIVdoZXJlIGl0cyBkZXNjcmlwdGlvbiBzdGFuZHMgbm93LgAAAAAAAAxtZXRhZGF0YV91cmkAAAPoAAAAEAAAAAAAAAAC", "AAAABQAAACdBIHJ1bm5lciBtYXkgcnVuIHRoZSBhZ2VudCBmcm9tIG5vdyBvbi4AAAAAAAAAAAtSdW5uZXJBZGRlZAAAAAACAAAABWFnZW50AAAAAAAADHJ1bm5lcl9hZGRlZAAAAAIAAAAKVGhlIGFnZW50LgAAAAAACGFnZW50X2lkAAAABAAAAAEAAAALVGhlIHJ1bm5lci4AAAAABnJ1bm5lcgAAAAAAEwAAAAAAAAAC", "AAAABQAAACtXaGljaCBhdHRlc3RhdGlvbiBrZXlzIGNvdW50IGNoYW5nZWQgKFYxMikuAAAAAAAAAAAMQXR0ZXN0ZXJzU2V0AAAAAgAAAAVhZ2VudAAAAAAAAAlhdHRlc3RlcnMAAAAAAAACAAAAClRoZSBhZ2VudC4AAAAAAAhhZ2VudF9pZAAAAAQAAAABAAAAGFRoZSBrZXlzIHRoYXQgY291bnQgbm93LgAAAAlhdHRlc3RlcnMAAAAAAAPqAAAD7gAAACAAAAAAAAAAAg==", "AAAABQAAAEVBIHJ1bm5lciBtYXkgbmVpdGhlciBvcGVuIG5vciBzZXR0bGUgcnVucyBvZiB0aGUgYWdlbnQgYW55IG1vcmUgKFY2KS4AAAAAAAAAAAAADVJ1bm5lclJlbW92ZWQAAAAAAAACAAAABWFnZW50AAAAAAAADnJ1bm5lcl9yZW1vdmVkAAAAAAACAAAAClRoZSBhZ2VudC4AAAAAAAhhZ2VudF9pZAAAAAQAAAABAAAAC1RoZSBydW5uZXIuAAAAAAZydW5uZXIAAAAAABMAAAAAAAAAAg==", "AAAABQAAAEJBbiBhZ2VudCBleGlzdHMuIEl0cyBmaXJzdCByYXRlIGNhcmQgZm9sbG93cyBhcyBgcmF0ZXMscHVibGlzaGVkYC4AAAAAAAAAAAAPQWdlbnRSZWdpc3RlcmVkAAAAAAIAAAAFYWdlbnQAAAAAAAAKcmVnaXN0ZXJlZAAAAAAABAAAAA5UaGUgbmV3IGFnZW50LgAAAAAACGFnZW50X2lkAAAABAAAAAEAAAAeV2hvIG1heSBjaGFuZ2UgaXQgYW5kIGlzIHBhaWQuAAAAAAAJZGV2ZWxvcGVyAAAAAAAAEwAAAAAAAAAdV2hlcmUgaXRzIGRlc2NyaXB0aW9uIHN0YW5kcy4AAAAAAAAMbWV0YWRhdGFfdXJpAAAD6AAAABAAAAAAAAAAD1dobyBtYXkgcnVuIGl0LgAAAAAHcnVubmVycwAAAAPqAAAAEwAAAAAAAAAC", "AAAABQAAACNBIG5ldyB2ZXJzaW9uIG9mIHByaWNlcyBhbmQgbW9kdWxlLgAAAAAAAAAAEVJhdGVDYXJkUHVibGlzaGVkAAAAAAAAAgAAAAVyYXRlcwAAAAAAAAlwdWJsaXNoZWQAAAAAAAAEAAAAClRoZSBhZ2VudC4AAAAAAAhhZ2VudF9pZAAAAAQAAAABAAAAEFRoZSBuZXcgdmVyc2lvbi4AAAAHdmVyc2lvbgAAAAAEAAAAAAAAAAtJdHMgcHJpY2VzLgAAAAAFcmF0ZXMAAAAAAAfQAAAAD1VzYWdlTWV0ZXJSYXRlcwAAAAAAAAAAHERpZ2VzdCBvZiB0aGUgbW9kdWxlJ3MgdHJlZS4AAAANbWFuaWZlc3RfaGFzaAAAAAAAA+4AAAAgAAAAAAAAAAI=", "AAAABQAAACxUaGUgZGF0YSBzdGFuZCBpbiB0aGUgZm9ybSB0aGUgY29kZSBleHBlY3RzLgAAAAAAAAAITWlncmF0ZWQAAAACAAAABWFkbWluAAAAAAAACG1pZ3JhdGVkAAAAAgAAABBUaGUgZm9ybSBiZWZvcmUuAAAABGZyb20AAAAEAAAAAAAAAA1UaGUgZm9ybSBub3cuAAAAAAAAAnRvAAAAAAAEAAAAAAAAAAI=", "AAAABQAAABVOZXcgY29kZSBpcyBpbiBwbGFjZS4AAAAAAAAAAAAACFVwZ3JhZGVkAAAAAgAAAAVhZG1pbgAAAAAAAAh1cGdyYWRlZAAAAAEAAAAXc2hhMjU2IG9mIHRoZSBuZXcgV2FzbS4AAAAACXdhc21faGFzaAAAAAAAA+4AAAAgAAAAAAAAAAI=", "AAAABQAAAB1BZG1pbmlzdHJhdGlvbiBjaGFuZ2VkIGhhbmRzLgAAAAAAAAAAAAANQWRtaW5BY2NlcHRlZAAAAAAAAAIAAAAFYWRtaW4AAAAAAAAIYWNjZXB0ZWQAAAACAAAAEVdobyBhZG1pbmlzdGVyZWQuAAAAAAAACHByZXZpb3VzAAAAEwAAAAAAAAAUV2hvIGFkbWluaXN0ZXJzIG5vdy4AAAAFYWRtaW4AAAAAAAATAAAAAAAAAAI=", "AAAABQAAADNTb21lYm9keSBtYXkgdGFrZSBhZG1pbmlzdHJhdGlvbiBvdmVyIGJ5IGFjY2VwdGluZy4AAAAAAAAAAA1BZG1pblByb3Bvc2VkAAAAAAAAAgAAAAVhZG1pbgAAAAAAAAhwcm9wb3NlZAAAAAIAAAAQV2hvIGFkbWluaXN0ZXJzLgAAAAVhZG1pbgAAAAAAABMAAAAAAAAASFdobyBtYXkgYWNjZXB0OyB0aGUgYWRtaW4gaGltc2VsZiBpZiBhbiBlYXJsaWVyIHByb3Bvc2FsIHdhcyB0YWtlbiBiYWNrLgAAAAhwcm9wb3NlZAAAABMAAAAAAAAAAg==", "AAAABQAAABlOZXcgY29kZSB3YWl0cyBubyBsb25nZXIuAAAAAAAAAAAAABBVcGdyYWRlQ2FuY2VsbGVkAAAAAgAAAAVhZG1pbgAAAAAAABF1cGdyYWRlX2NhbmNlbGxlZAAAAAAAAAEAAAAjc2hhMjU2IG9mIHRoZSBXYXNtIHRoYXQgd29uJ3QgY29tZS4AAAAACXdhc21faGFzaAAAAAAAA+4AAAAgAAAAAAAAAAI=", "AAAABQAAABxOZXcgY29kZSB3YWl0cyBmb3IgaXRzIHRpbWUuAAAAAAAAABBVcGdyYWRlU2NoZWR1bGVkAAAAAgAAAAVhZG1pbgAAAAAAABF1cGdyYWRlX3NjaGVkdWxlZAAAAAAAAAIAAAAXc2hhMjU2IG9mIHRoZSBuZXcgV2FzbS4AAAAACXdhc21faGFzaAAAAAAAA+4AAAAgAAAAAAAAACFGcm9tIHdoZW4gaXQgbWF5IGJlIHB1dCBpbiBwbGFjZS4AAAAAAAAIcmVhZHlfYXQAAAAGAAAAAAAAAAI=", "AAAAAQAAADhBIHB1Ymxpc2hlZCB2ZXJzaW9uIG9mIHByaWNlcyBhbmQgbW9kdWxlOyBuZXZlciBjaGFuZ2VzLgAAAAAAAAAIUmF0ZUNhcmQAAAACAAAAHERpZ2VzdCBvZiB0aGUgbW9kdWxlJ3MgdHJlZS4AAAANbWFuaWZlc3RfaGFzaAAAAAAAA+4AAAAgAAAAFlByaWNlcywgbm9uZSBuZWdhdGl2ZS4AAAAAAAVyYXRlcwAAAAAAB9AAAAAPVXNhZ2VNZXRlclJhdGVzAA==", "AAAAAQAAACxBbiBhZ2VudCBhcyBhbnN3ZXJlZDogaXRzIHJlY29yZCBhbmQgaXRzIGlkLgAAAAAAAAAMQWdlbnREZXRhaWxzAAAABgAAABtUaGUgYWdlbnQncyBudW1iZXIsIGZyb20gMS4AAAAACGFnZW50X2lkAAAABAAAAC5FZDI1NTE5IGtleXMgd2hvc2UgZXhlY3V0aW9uIHN0YXRlbWVudHMgY291bnQuAAAAAAAJYXR0ZXN0ZXJzAAAAAAAD6gAAA+4AAAAgAAAAMldobyBtYXkgY2hhbmdlIHRoZSBhZ2VudCBhbmQgaXMgcGFpZCBmb3IgaXRzIHJ1bnMuAAAAAAAJZGV2ZWxvcGVyAAAAAAAAEwAAABFOZXdlc3QgcmF0ZSBjYXJkLgAAAAAAABNsYXRlc3RfcmF0ZV92ZXJzaW9uAAAAAAQAAAAdV2hlcmUgaXRzIGRlc2NyaXB0aW9uIHN0YW5kcy4AAAAAAAAMbWV0YWRhdGFfdXJpAAAD6AAAABAAAAAhV2hvIG1heSBvcGVuIGFuZCBzZXR0bGUgaXRzIHJ1bnMuAAAAAAAAB3J1bm5lcnMAAAAD6gAAABM=", "AAAAAQAAAD9XaGF0IGEgZGV2ZWxvcGVyIHB1Ymxpc2hlczogcHJpY2VzIGFuZCB0aGUgbW9kdWxlIHRoZXkgYXJlIGZvci4AAAAAAAAAAA1SYXRlQ2FyZElucHV0AAAAAAAAAgAAAEBEaWdlc3Qgb2YgdGhlIG1vZHVsZSdzIHRyZWU6IHdoYXQgbWF5IHJ1biB1bmRlciB0aGlzIGNhcmQgKFYxMikuAAAADW1hbmlmZXN0X2hhc2gAAAAAAAPuAAAAIAAAABZQcmljZXMsIG5vbmUgbmVnYXRpdmUuAAAAAAAFcmF0ZXMAAAAAAAfQAAAAD1VzYWdlTWV0ZXJSYXRlcwA=", "AAAAAQAAACFXaGVyZSBhZG1pbmlzdHJhdGlvbiBzdGFuZHMgKFYyKS4AAAAAAAAAAAAADkFkbWluaXN0cmF0aW9uAAAAAAAFAAAAE1dobyBtYXkgYWRtaW5pc3Rlci4AAAAABWFkbWluAAAAAAAAEwAAAEhUaGUgZm9ybSBpbiB3aGljaCB0aGUgZGF0YSBzdGFuZDsgdGhlIGNvZGUncyBvd24gb25jZSBgbWlncmF0ZWAgaGFzIHJ1bi4AAAAGbGF5b3V0AAAAAAAEAAAAH1dobyBtYXkgdGFrZSBvdmVyIGJ5IGFjY2VwdGluZy4AAAAACHByb3Bvc2VkAAAD6AAAABMAAAAhRnJvbSB3aGVuIGl0IG1heSBiZSBwdXQgaW4gcGxhY2UuAAAAAAAACnVwZ3JhZGVfYXQAAAAAA+gAAAAGAAAAKnNoYTI1NiBvZiB0aGUgbmV3IFdhc20gdGhhdCB3YWl0cywgaWYgYW55LgAAAAAACnVwZ3JhZGVfdG8AAAAAA+gAAAPuAAAAIA==", "AAAAAQAAAEhQcmljZSBvZiBvbmUgdW5pdCBvZiBlYWNoIG1ldGVyLCBpbiB0aGUgdG9rZW4ncyBzbWFsbGVzdCB1bml0IChzdHJvb3BzKS4AAAAAAAAAD1VzYWdlTWV0ZXJSYXRlcwAAAAAEAAAADlBlciBIVFRQIGNhbGwuAAAAAAAKaHR0cF9jYWxscwAAAAAACwAAACRQZXIgaW5wdXQgdG9rZW4gb2YgYSBsYW5ndWFnZSBtb2RlbC4AAAAGbGxtX2luAAAAAAALAAAAJVBlciBvdXRwdXQgdG9rZW4gb2YgYSBsYW5ndWFnZSBtb2RlbC4AAAAAAAAHbGxtX291dAAAAAALAAAAHFBlciBtaWxsaXNlY29uZCBvZiBydW4gdGltZS4AAAAKcnVudGltZV9tcwAAAAAACw==", "AAAAAAAAABpUaGUgYWdlbnQncyByZWNvcmQgYW5kIGlkLgAAAAAACWdldF9hZ2VudAAAAAAAAAEAAAAAAAAACGFnZW50X2lkAAAABAAAAAEAAAPpAAAH0AAAAAxBZ2VudERldGFpbHMAAAAD", "AAAAAAAAAEtXaGV0aGVyIHRoZSBhZ2VudCBsaXN0cyB0aGUgcnVubmVyLiBBbiB1bmtub3duIGFnZW50IGlzIGFuIGVycm9yLCBub3QgYSBuby4AAAAACWlzX3J1bm5lcgAAAAAAAAIAAAAAAAAACGFnZW50X2lkAAAABAAAAAAAAAAGcnVubmVyAAAAAAATAAAAAQAAA+kAAAABAAAAAw==", "AAAAAAAAAFFMaXN0cyBhIHJ1bm5lci4gVGhlIGRldmVsb3BlciBzaWducy4gQSBsaXN0ZWQgb25lIHN0YXlzIGxpc3RlZCwgd2l0aG91dCBhbiBldmVudC4AAAAAAAAKYWRkX3J1bm5lcgAAAAAAAgAAAAAAAAAIYWdlbnRfaWQAAAAEAAAAAAAAAAZydW5uZXIAAAAAABMAAAABAAAD6QAAAAIAAAAD", "AAAAAAAAABdXaG8gZGV2ZWxvcHMgdGhlIGFnZW50LgAAAAAMZGV2ZWxvcGVyX29mAAAAAQAAAAAAAAAIYWdlbnRfaWQAAAAEAAAAAQAAA+kAAAATAAAAAw==", "AAAAAAAAAFhgYWRtaW5gIG1heSBoYW5kIGFkbWluaXN0cmF0aW9uIG92ZXIgYW5kIHJlcGxhY2UgdGhlIGNvZGU7IGFnZW50cyBhcmUgdGhlaXIgZGV2ZWxvcGVycycuAAAADV9fY29uc3RydWN0b3IAAAAAAAABAAAAAAAAAAVhZG1pbgAAAAAAABMAAAAA", "AAAAAAAAABtUaGUgcmF0ZSBjYXJkIG9mIGEgdmVyc2lvbi4AAAAADWdldF9yYXRlX2NhcmQAAAAAAAACAAAAAAAAAAhhZ2VudF9pZAAAAAQAAAAAAAAAB3ZlcnNpb24AAAAABAAAAAEAAAPpAAAH0AAAAAhSYXRlQ2FyZAAAAAM=", "AAAAAAAAAGpUYWtlcyBhIHJ1bm5lciBvZmYgdGhlIGxpc3QsIHRoZSBsYXN0IG9uZSB0b286IG9uZSB3aG9zZSBrZXkgaXMgbG9zdCBtdXN0IGdvIGF0IG9uY2UuIFRoZQpkZXZlbG9wZXIgc2lnbnMuAAAAAAANcmVtb3ZlX3J1bm5lcgAAAAAAAAIAAAAAAAAACGFnZW50X2lkAAAABAAAAAAAAAAGcnVubmVyAAAAAAATAAAAAQAAA+kAAAACAAAAAw==", "AAAAAAAAAJ9TZXRzIHRoZSBFZDI1NTE5IGtleXMgd2hvc2UgZXhlY3V0aW9uIHN0YXRlbWVudHMgdGhlIGRldmVsb3BlciBhY2NlcHRzOyBub25lIG1lYW5zIHRoYXQKbm9ib2R5J3MgY291bnQgKFYxMikuIFRoZSBkZXZlbG9wZXIgc2lnbnMuIEtleXMgbmFtZWQgdHdpY2UgY291bnQgb25jZS4AAAAADXNldF9hdHRlc3RlcnMAAAAAAAACAAAAAAAAAAhhZ2VudF9pZAAAAAQAAAAAAAAACWF0dGVzdGVycwAAAAAAA+oAAAPuAAAAIAAAAAEAAAPpAAAAAgAAAAM=", "AAAAAAAAAIBSZWdpc3RlcnMgYW4gYWdlbnQgd2l0aCBpdHMgZmlyc3QgcmF0ZSBjYXJkICh2ZXJzaW9uIDEpIGFuZCByZXR1cm5zIGl0cyBpZC4gVGhlIGRldmVsb3BlcgpzaWducy4gUnVubmVycyBuYW1lZCB0d2ljZSBjb3VudCBvbmNlLgAAAA5yZWdpc3Rlcl9hZ2VudAAAAAAABAAAAAAAAAAJZGV2ZWxvcGVyAAAAAAAAEwAAAAAAAAAMbWV0YWRhdGFfdXJpAAAD6AAAABAAAAAAAAAAB3J1bm5lcnMAAAAD6gAAABMAAAAAAAAAEWluaXRpYWxfcmF0ZV9jYXJkAAAAAAAH0AAAAA1SYXRlQ2FyZElucHV0AAAAAAAAAQAAA+kAAAAEAAAAAw==", "AAAAAAAAAEpTZXRzIG9yIHJlbW92ZXMgd2hlcmUgdGhlIGFnZW50J3MgZGVzY3JpcHRpb24gc3RhbmRzLiBUaGUgZGV2ZWxvcGVyIHNpZ25zLgAAAAAAEHNldF9tZXRhZGF0YV91cmkAAAACAAAAAAAAAAhhZ2VudF9pZAAAAAQAAAAAAAAADG1ldGFkYXRhX3VyaQAAA+gAAAAQAAAAAQAAA+kAAAACAAAAAw==", "AAAAAAAAAJ9BZGRzIGEgcmF0ZSBjYXJkIGFuZCByZXR1cm5zIGl0cyB2ZXJzaW9uLiBUaGUgZGV2ZWxvcGVyIHNpZ25zLiBPbGRlciBjYXJkcyBzdGF5IHJlYWRhYmxlOwp0aGUgdmF1bHQgb3BlbnMgcnVucyB1bmRlciB0aGUgbGF0ZXN0IGFuZCB0aGUgcHJldmlvdXMgb25lIG9ubHkgKFY1KS4AAAAAEXB1Ymxpc2hfcmF0ZV9jYXJkAAAAAAAAAgAAAAAAAAAIYWdlbnRfaWQAAAAEAAAAAAAAAAlyYXRlX2NhcmQAAAAAAAfQAAAADVJhdGVDYXJkSW5wdXQAAAAAAAABAAAD6QAAAAQAAAAD", "AAAAAAAAABNUaGUgbmV3ZXN0IHZlcnNpb24uAAAAABNsYXRlc3RfcmF0ZV92ZXJzaW9uAAAAAAEAAAAAAAAACGFnZW50X2lkAAAABAAAAAEAAAPpAAAABAAAAAM=", "AAAAAAAAAHhCcmluZ3MgdGhlIGRhdGEgdG8gdGhlIGZvcm0gdGhhdCBuZXcgY29kZSBrZWVwcyB0aGVtIGluLiBUaGUgYWRtaW4gc2lnbnMuIFdoZXJlIHRoZXJlIGlzCm5vdGhpbmcgdG8gZG8sIGl0IGRvZXMgbm90aGluZy4AAAAHbWlncmF0ZQAAAAAAAAAAAQAAA+kAAAACAAAH0AAAABJBZ2VudFJlZ2lzdHJ5RXJyb3IAAA==", "AAAAAAAAAF1QdXRzIHRoZSBzY2hlZHVsZWQgY29kZSBpbiBwbGFjZSBvbmNlIGl0cyB0aW1lIGhhcyBjb21lLiBUaGUgYWRtaW4gc2lnbnMsIGFuZCBuYW1lcyB0aGUgY29kZS4AAAAAAAAHdXBncmFkZQAAAAABAAAAAAAAAAl3YXNtX2hhc2gAAAAAAAPuAAAAIAAAAAEAAAPpAAAAAgAAB9AAAAASQWdlbnRSZWdpc3RyeUVycm9yAAA=", "AAAAAAAAADRUYWtlcyBhZG1pbmlzdHJhdGlvbiBvdmVyLiBUaGUgcHJvcG9zZWQgYWRtaW4gc2lnbnMuAAAADGFjY2VwdF9hZG1pbgAAAAAAAAABAAAD6QAAAAIAAAfQAAAAEkFnZW50UmVnaXN0cnlFcnJvcgAA", "AAAAAAAAAIpOYW1lcyB3aG8gbWF5IHRha2UgYWRtaW5pc3RyYXRpb24gb3Zlci4gVGhlIGFkbWluIHNpZ25zLiBBIGxhdGVyIHByb3Bvc2FsIHJlcGxhY2VzIGFuCmVhcmxpZXIgb25lOyBuYW1pbmcgdGhlIGFkbWluIGhpbXNlbGYgdGFrZXMgaXQgYmFjay4AAAAAAA1wcm9wb3NlX2FkbWluAAAAAAAAAQAAAAAAAAAIcHJvcG9zZWQAAAATAAAAAQAAA+kAAAACAAAH0AAAABJBZ2VudFJlZ2lzdHJ5RXJyb3IAAA==", "AAAAAAAAABxXaGVyZSBhZG1pbmlzdHJhdGlvbiBzdGFuZHMuAAAADmFkbWluaXN0cmF0aW9uAAAAAAAAAAAAAQAAA+kAAAfQAAAADkFkbWluaXN0cmF0aW9uAAAAAAfQAAAAEkFnZW50UmVnaXN0cnlFcnJvcgAA", "AAAAAAAAAC9UYWtlcyB0aGUgc2NoZWR1bGVkIGNvZGUgYmFjay4gVGhlIGFkbWluIHNpZ25zLgAAAAAOY2FuY2VsX3VwZ3JhZGUAAAAAAAAAAAABAAAD6QAAAAIAAAfQAAAAEkFnZW50UmVnaXN0cnlFcnJvcgAA", "AAAAAAAAAIRTY2hlZHVsZXMgbmV3IGNvZGUgYW5kIGFuc3dlcnMgZnJvbSB3aGVuIGl0IG1heSBiZSBwdXQgaW4gcGxhY2U6IHNldmVuIGRheXMuIFRoZSBhZG1pbiBzaWducy4KSXQgcmVwbGFjZXMgd2hhdCB3YXMgc2NoZWR1bGVkIGJlZm9yZS4AAAAQc2NoZWR1bGVfdXBncmFkZQAAAAEAAAAAAAAACXdhc21faGFzaAAAAAAAA+4AAAAgAAAAAQAAA+kAAAAGAAAH0AAAABJBZ2VudFJlZ2lzdHJ5RXJyb3IAAA=="]),
      options
    );
  }

   static deploy<T = Client>(args: { admin: string | Address }, options: MethodOptions & Omit<ContractClientOptions, 'contractId'> & { salt?: Uint8Array; address?: string; } & ({ wasmHash: Uint8Array | string; format?: "hex" | "base64"; externalRef?: never; } | { externalRef: ExternalExecutableRef; wasmHash?: never; format?: never; })): Promise<AssembledTransaction<T>> {
    return ContractClient.deploy(args, options);
  }
  public readonly fromJson = {
    get_agent : this.txFromJson<Result<AgentDetails, Error>>,  is_runner : this.txFromJson<Result<boolean, Error>>,  add_runner : this.txFromJson<Result<null, Error>>,  developer_of : this.txFromJson<Result<string, Error>>,  get_rate_card : this.txFromJson<Result<RateCard, Error>>,  remove_runner : this.txFromJson<Result<null, Error>>,  set_attesters : this.txFromJson<Result<null, Error>>,  register_agent : this.txFromJson<Result<number, Error>>,  set_metadata_uri : this.txFromJson<Result<null, Error>>,  publish_rate_card : this.txFromJson<Result<number, Error>>,  latest_rate_version : this.txFromJson<Result<number, Error>>,  migrate : this.txFromJson<Result<null, AgentRegistryError>>,  upgrade : this.txFromJson<Result<null, AgentRegistryError>>,  accept_admin : this.txFromJson<Result<null, AgentRegistryError>>,  propose_admin : this.txFromJson<Result<null, AgentRegistryError>>,  administration : this.txFromJson<Result<Administration, AgentRegistryError>>,  cancel_upgrade : this.txFromJson<Result<null, AgentRegistryError>>,  schedule_upgrade : this.txFromJson<Result<bigint, AgentRegistryError>>
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
