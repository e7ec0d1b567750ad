// What a login asks the wallet to sign is looked at first: a gateway that lies must not get a
// signature under a payment.

import { TransactionBuilder } from "@stellar/stellar-sdk";

import type { Config } from "@/config";

import { NotAsked } from "./authorisation";

/** Throws {@link NotAsked} unless the envelope is a SEP-10 challenge for `account`. */
export function checkChallenge(envelope: string, config: Config, account: string): void {
  const transaction = TransactionBuilder.fromXDR(envelope, config.networkPassphrase);
  if ("innerTransaction" in transaction) throw new NotAsked("the login's challenge is a fee bump");
  // With sequence number 0 no network ever takes it.
  if (transaction.sequence !== "0") {
    throw new NotAsked("the login's challenge could be sent as a transaction");
  }
  const [first, ...rest] = transaction.operations;
  const fits = first?.type === "manageData" && (first.source ?? "") === account;
  if (!fits || rest.some((operation) => operation.type !== "manageData")) {
    throw new NotAsked("the login's challenge is not one for this account");
  }
}
