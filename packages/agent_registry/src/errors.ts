import { Client } from "./client.js";
import { networks } from "./networks.js";
import { AgentRegistryError } from "./types.js";

/** The number of an error of the agent registry, as the contract returns it. */
export type AgentRegistryErrorNumber = keyof typeof AgentRegistryError;

/** The name of an error of the agent registry. */
export type AgentRegistryErrorName = (typeof AgentRegistryError)[AgentRegistryErrorNumber]["message"];

/** A refusal by the agent registry: `number` and `name` are the contract's own, frozen ones. */
export class AgentRegistryRefusal extends Error {
  override readonly name: AgentRegistryErrorName;
  readonly number: AgentRegistryErrorNumber;

  constructor(number: AgentRegistryErrorNumber, options?: ErrorOptions) {
    super(`${AgentRegistryError[number].message} (${number})`, options);
    this.number = number;
    this.name = AgentRegistryError[number].message as AgentRegistryErrorName;
  }
}

/**
 * The refusal that `failure` carries, or `undefined` if it is something else, such as a network that cannot be reached.
 *
 * Takes what the client gives: the error inside a result (`result.unwrapErr()`), whose message is the contract's own
 * sentence about the error, and whatever a call throws, whose text names the error as `Error(Contract, #5)`.
 */
export function refusalOf(failure: unknown): AgentRegistryRefusal | undefined {
  if (failure instanceof AgentRegistryRefusal) return failure;
  const text = textOf(failure);
  const reported = /Error\(Contract, #(\d+)\)/.exec(text)?.[1];
  const number = reported === undefined ? numbersBySentence().get(text) : Number(reported);
  if (number === undefined || !(number in AgentRegistryError)) return undefined;
  return new AgentRegistryRefusal(number as AgentRegistryErrorNumber, { cause: failure });
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
