// A browser wallet by Stellar Wallets Kit. What speaks here is the protocol of Freighter's
// extension, with a key of the local network behind it.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { install } from "./freighter.ts";
import { balance, deposit, opening, visit } from "./environment.ts";

const opened = opening();

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
