// A browser wallet by Stellar Wallets Kit. What speaks here is the protocol of Freighter's
// extension, with a key of the local network behind it.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Keypair, TransactionBuilder } from "@stellar/stellar-sdk";
import type { Page } from "playwright-core";

import { balance, deposit, opening, rpc, visit } from "./world.ts";

const opened = opening();

interface Extension {
  key: Keypair;
  /** Networks that it was asked to sign for. */
  asked: string[];
  declines: boolean;
}

/** Puts the extension into every page of the visit. */
async function install(page: Page): Promise<Extension> {
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

describe("a browser wallet", () => {
  test("is chosen, signs the login and a deposit for this network, and its no is understood", async () => {
    const { page, context, complaints } = await visit(opened.browser, { url: "about:blank" });
    const extension = await install(page);
    await page.goto(opened.served.url);
    await page.getByTestId("connect").first().click();
    await page.getByRole("button", { name: /^Browser wallet/ }).click();
    await page.getByText("Freighter", { exact: true }).first().click();
    await page.getByTestId("stream").waitFor();
    const shown = await page.getByTestId("connect").first().getAttribute("data-address");
    assert.equal(shown, extension.key.publicKey());

    await deposit(page, "2");
    await balance(page, "20000000");
    const networks = new Set(extension.asked);
    assert.deepEqual(
      [...networks],
      ["Standalone Network ; February 2017"],
      "always by its passphrase",
    );

    extension.declines = true;
    await page.getByRole("button", { name: "Deposit", exact: true }).click();
    const dialog = page.getByTestId("modal");
    await dialog.getByLabel("Amount").fill("1");
    await dialog.getByRole("button", { name: "Deposit", exact: true }).click();
    await dialog.getByText("You declined in your wallet.").waitFor();
    assert.deepEqual(complaints, []);
    await context.close();
  });
});
