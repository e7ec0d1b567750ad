// A passkey's own dialog says nothing of what is signed, so the console shows it, and signs only
// what the person has confirmed.

import { Declined } from "./wallet";

/** One call, and what it may call on the account's behalf. */
export interface Call {
  contract: string;
  name: string;
  args: string[];
  calls: Call[];
}

export interface Approval {
  call: Call;
  /** The ledger after which the signature is worth nothing. */
  until: number;
  answer(isApproved: boolean): void;
}

let current: Approval | undefined;
const listeners = new Set<() => void>();

function show(next: Approval | undefined): void {
  current = next;
  for (const listener of listeners) listener();
}

/** What waits for the person's word. */
export const pending = (): Approval | undefined => current;

export function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Resolves when the person confirms; throws {@link Declined} when they do not. */
export async function approve(call: Call, until: number): Promise<void> {
  // One after the other: a later question must not take the place of an earlier one.
  if (current) throw new Error("another signature waits for your word; answer it first");
  const isApproved = await new Promise<boolean>((resolve) => {
    show({ call, until, answer: resolve });
  });
  show(undefined);
  if (!isApproved) throw new Declined("the signature was declined");
}
