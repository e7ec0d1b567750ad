import { Client } from "./client.js";
import { networks } from "./networks.js";
import { VaultError } from "./types.js";

/** The number of an error of the vault, as the contract returns it. */
export type VaultErrorNumber = keyof typeof VaultError;

/** The name of an error of the vault. */
export type VaultErrorName = (typeof VaultError)[VaultErrorNumber]["message"];

/** A refusal by the vault: `number` and `name` are the contract's own, frozen ones. */
export class VaultRefusal extends Error {
  override readonly name: VaultErrorName;
  readonly number: VaultErrorNumber;

  constructor(number: VaultErrorNumber, options?: ErrorOptions) {
    super(`${VaultError[number].message} (${number})`, options);
    this.number = number;
    this.name = VaultError[number].message as VaultErrorName;
  }
}

/**
 * The refusal that `failure` carries, or `undefined` if it is something else, such as a network that cannot be reached.
 *
 * Takes what the client gives: the error inside a result (`result.unwrapErr()`), whose message is the contract's own
 * sentence about the error, and whatever a call throws, whose text names the error as `Error(Contract, #5)`.
 */
export function refusalOf(failure: unknown): VaultRefusal | undefined {
  if (failure instanceof VaultRefusal) return failure;
  const text = textOf(failure);
  const reported = /Error\(Contract, #(\d+)\)/.exec(text)?.[1];
  const number = reported === undefined ? numbersBySentence().get(text) : Number(reported);
  if (number === undefined || !(number in VaultError)) return undefined;
  return new VaultRefusal(number as VaultErrorNumber, { cause: failure });
}

let sentences: Map<string, number> | undefined;

/** The contract's interface says a sentence about each error; the SDK gives that sentence as the error's message. */
function numbersBySentence(): Map<string, number> {
  if (sentences !== undefined) return sentences;
  const found = new Map<string, number>();
  // The interface is inside the client; making one reaches no network.
  for (const error of new Client(networks.local).spec.errorCases()) {
    found.set(String(error.doc), error.value).set(String(error.name), error.value);
  }
  return (sentences = found);
}

function textOf(failure: unknown): string {
  if (typeof failure === "string") return failure;
  if (typeof failure === "object" && failure !== null && "message" in failure) return String(failure.message);
  return "";
}
