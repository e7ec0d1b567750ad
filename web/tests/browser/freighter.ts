// Freighter's extension, as far as a page sees it: its protocol, with a key of the local network behind it.

import { Keypair, TransactionBuilder } from "@stellar/stellar-sdk";
import type { Page } from "playwright-core";

import { rpc } from "./environment.ts";

export interface Extension {
  key: Keypair;
  /** Networks that it was asked to sign for. */
  asked: string[];
  declines: boolean;
}

/** Puts the extension into every page of the visit. */
export async function install(page: Page): Promise<Extension> {
  const key = Keypair.random();
  const extension: Extension = { key, asked: [], declines: false };
  await fetch(`${rpc}/friendbot?addr=${key.publicKey()}`);
  await page.exposeFunction("freighterSigns", (envelope: string, network: string) => {
    extension.asked.push(network);
    if (extension.declines) return null;
    const transaction = TransactionBuilder.fromXDR(envelope, network);
    transaction.sign(key);
    return transaction.toXDR();
  });
  await page.addInitScript((publicKey) => {
    const sign = (
      window as unknown as { freighterSigns: (...of: string[]) => Promise<string | null> }
    ).freighterSigns;
    window.addEventListener("message", async ({ data }) => {
      if (data?.source !== "FREIGHTER_EXTERNAL_MSG_REQUEST") return;
      let answer: Record<string, unknown> = {};
      if (data.type === "REQUEST_CONNECTION_STATUS") answer = { isConnected: true };
      if (data.type === "REQUEST_ALLOWED_STATUS") answer = { isAllowed: true };
      if (data.type === "REQUEST_ACCESS" || data.type === "REQUEST_PUBLIC_KEY")
        answer = { publicKey };
      if (data.type === "SUBMIT_TRANSACTION") {
        const signedTransaction = await sign(data.transactionXdr, data.networkPassphrase);
        // The extension answers refusals; it does not throw them.
        const apiError = { code: -4, message: "The user rejected this request." };
        answer =
          signedTransaction === null
            ? { signedTransaction: "", signerAddress: "", apiError }
            : { signedTransaction, signerAddress: publicKey };
      }
      const source = "FREIGHTER_EXTERNAL_MSG_RESPONSE";
      window.postMessage({ source, messagedId: data.messageId, ...answer }, window.location.origin);
    });
  }, key.publicKey());
  return extension;
}
