// What a contract account is asked to sign is looked at first: a node or a gateway that lies must
// not get a signature under something else than what the person started.

import { Address, type OperationRecord, scValToNative, xdr } from "@stellar/stellar-sdk";

import { type Config, isLocal } from "@/config";

/** Something else is to be signed than what was asked for. */
export class NotAsked extends Error {
  readonly code = "NOT_ASKED";

  constructor(what: string) {
    super(`${what}; nothing was signed`);
  }
}

const same = (one: xdr.XdrValue, other: xdr.XdrValue): boolean =>
  one.toXdr("hex") === other.toXdr("hex");

function calledBy(invocation: xdr.SorobanAuthorizedInvocation): xdr.InvokeContractArgs {
  const called = invocation.function;
  if (called.type !== "sorobanAuthorizedFunctionTypeContractFn") {
    throw new NotAsked("the node proposes to create a contract");
  }
  return called.contractFn;
}

const addressOf = (call: xdr.InvokeContractArgs): string =>
  Address.fromScAddress(call.contractAddress).toString();

/**
 * Throws unless the entry authorises exactly this transaction's call. Below it only one thing is
 * allowed: the token's transfer of a deposit, from the account to the vault, of the same amount.
 */
export function checkEntry(
  entry: xdr.SorobanAuthorizationEntry,
  operation: OperationRecord | undefined,
  account: string,
  config: Config,
): void {
  const isCall =
    operation?.type === "invokeHostFunction" &&
    operation.func.type === "hostFunctionTypeInvokeContract";
  if (!isCall) throw new NotAsked("the transaction is no call of a contract");
  const asked = operation.func.value as xdr.InvokeContractArgs;
  const root = entry.rootInvocation;
  if (!same(calledBy(root), asked)) {
    throw new NotAsked("the node proposes another call than the one that was asked for");
  }
  for (const below of root.subInvocations) {
    const call = calledBy(below);
    const [from, to, amount] = call.args.map((value) => scValToNative(value));
    const isDeposit =
      root.subInvocations.length === 1 &&
      below.subInvocations.length === 0 &&
      asked.functionName.toString() === "deposit" &&
      (config.token === null || addressOf(call) === config.token) &&
      call.functionName.toString() === "transfer" &&
      call.args.length === 3 &&
      from === account &&
      to === config.contractId &&
      amount === scValToNative(asked.args[1]!);
    if (!isDeposit) throw new NotAsked("the node proposes to authorise more than the call needs");
  }
}

/** A login's entries, of which the account's is to be signed. */
export interface Login {
  own: string;
  /** All entries as the gateway wants them back, with the signed one. */
  signed(own: string): string;
}

const NAMES = ["account", "home_domain", "nonce", "web_auth_domain", "web_auth_domain_account"];

/** Throws unless these are the entries of a login (SEP-45) of this account at this gateway. */
export function readLogin(text: string, config: Config, account: string): Login {
  const entries = decode(text);
  const [first, second] = entries;
  if (!first || !second || entries.length !== 2) {
    throw new NotAsked("the login has not the two entries of the account and the gateway");
  }
  if (!same(first.rootInvocation, second.rootInvocation)) {
    throw new NotAsked("the login's entries authorise different calls");
  }
  const call = calledBy(first.rootInvocation);
  if (first.rootInvocation.subInvocations.length > 0) {
    throw new NotAsked("the login authorises further calls");
  }
  if (
    addressOf(call) !== config.webAuthContractId ||
    call.functionName.toString() !== "web_auth_verify" ||
    call.args.length !== 1
  ) {
    throw new NotAsked("what is called a login authorises something else");
  }
  const given = scValToNative(call.args[0]!) as Record<string, unknown>;
  if (Object.keys(given).sort().join() !== NAMES.join() || given.account !== account) {
    throw new NotAsked("the login is not one of this account");
  }
  const here = new URL(config.apiBase || "/", location.href).host;
  if (hostOf(String(given.web_auth_domain), config) !== hostOf(here, config)) {
    throw new NotAsked(`the login is for ${given.web_auth_domain}, and this gateway is ${here}`);
  }
  const index = entries.findIndex((entry) => signerOf(entry) === account);
  const server = entries.find((entry) => signerOf(entry) === given.web_auth_domain_account);
  if (index < 0 || !server) throw new NotAsked("the login lacks the account's or gateway's entry");
  return {
    own: entries[index]!.toXdr("base64"),
    signed(own) {
      const answer = [...entries];
      answer[index] = xdr.SorobanAuthorizationEntry.fromXdr(own, "base64");
      return encode(answer);
    },
  };
}

/** On the local network one machine has several names. */
const hostOf = (host: string, config: Config): string =>
  isLocal(config) ? host.replace(/^(127\.0\.0\.1|\[::1\])(?=:|$)/, "localhost") : host;

function signerOf(entry: xdr.SorobanAuthorizationEntry): string | undefined {
  const { credentials } = entry;
  if (credentials.type === "sorobanCredentialsAddress") {
    return Address.fromScAddress(credentials.address.address).toString();
  }
  return undefined;
}

// The SDK names no type for a list of entries by itself. An operation ends with such a list.
const PREFIX = xdr.HostFunction.hostFunctionTypeUploadContractWasm(new Uint8Array());

function decode(text: string): xdr.SorobanAuthorizationEntry[] {
  const list = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const bytes = new Uint8Array([...(PREFIX.toXdr() as Uint8Array), ...list]);
  return xdr.InvokeHostFunctionOp.fromXdr(bytes).auth;
}

function encode(auth: xdr.SorobanAuthorizationEntry[]): string {
  const bytes = new xdr.InvokeHostFunctionOp({ hostFunction: PREFIX, auth }).toXdr() as Uint8Array;
  const list = bytes.slice((PREFIX.toXdr() as Uint8Array).length);
  return btoa(String.fromCharCode(...list));
}
