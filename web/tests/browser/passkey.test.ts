// An account that a passkey signs for, with an authenticator that Chromium imitates: made, logged
// in, paid from and found again, and nothing signed that was not shown and asked for.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import type { CDPSession, Page } from "playwright-core";

import { install } from "./freighter.ts";
import {
  balance,
  elsewhere,
  gateway,
  goTo,
  input,
  opening,
  reached,
  rpc,
  type Visit,
  visit,
} from "./environment.ts";

let user: Visit;
let keys: CDPSession;
let authenticatorId: string;
let account: string;

async function plugIn(page: Page): Promise<void> {
  keys = await page.context().newCDPSession(page);
  await keys.send("WebAuthn.enable");
  const added = await keys.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  authenticatorId = added.authenticatorId;
}

const opened = opening(async ({ browser, served }) => {
  user = await visit(browser, { url: served.url });
  await plugIn(user.page);
});

/** Reads what is to be signed, and signs it. */
async function sign(page: Page, ...shown: string[]): Promise<void> {
  const dialog = page.getByTestId("signing");
  for (const text of shown) await dialog.getByText(text).first().waitFor();
  await dialog.getByRole("button", { name: "Sign with passkey" }).click();
  await dialog.waitFor({ state: "hidden" });
}

async function connect(page: Page, choice: string): Promise<string> {
  await page.getByTestId("connect").first().click();
  await page.getByTestId("modal").getByText(choice).click();
  await sign(page, "the login, which moves nothing", "web_auth_verify");
  await page.getByTestId("stream").waitFor();
  return (await page.getByTestId("connect").first().getAttribute("data-address"))!;
}

async function beginDeposit(page: Page, amount: string) {
  await page.getByRole("button", { name: "Deposit", exact: true }).click();
  const dialog = page.getByTestId("modal");
  await dialog.getByLabel("Amount").fill(amount);
  await dialog.getByRole("button", { name: "Deposit", exact: true }).click();
  return dialog;
}

/** Replaces bytes in base64 text. */
function swap(text: string, from: Buffer, to: Buffer): string {
  const bytes = Buffer.from(text, "base64");
  for (let at = bytes.indexOf(from); at >= 0; at = bytes.indexOf(from, at + 1)) to.copy(bytes, at);
  return bytes.toString("base64");
}

/** An amount as an entry has it. */
function amountBytes(stroops: bigint): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64BE(stroops, 8);
  return bytes;
}

describe("a passkey account", () => {
  test("is created, logs in, deposits, authorises, and pays for a run that is proven", async () => {
    const { page, complaints } = user;
    account = await connect(page, "Create a passkey account");
    assert.match(account, /^C[A-Z2-7]{55}$/);

    const deposit = await beginDeposit(page, "5");
    await sign(page, "the vault's token", "deposit", "transfer", "50000000");
    await deposit.waitFor({ state: "hidden" });
    await balance(page, "50000000");

    await page.getByRole("button", { name: "Authorise runner" }).click();
    const dialog = page.getByTestId("modal");
    await dialog.getByRole("button", { name: "Authorise", exact: true }).click();
    await sign(page, "set_grant_limits");
    await sign(page, "grant_runner");
    await dialog.waitFor({ state: "hidden" });
    await page.getByTestId("grants").waitFor();

    await page.getByRole("link", { name: "Build", exact: true }).click();
    await page.getByText("JSON", { exact: true }).click();
    await page.getByLabel("Input (JSON)").fill(input);
    await page.getByRole("button", { name: "Start the run" }).click();
    await reached(page, "finalized");
    await page.getByRole("button", { name: "Verify this run" }).click();
    await page.locator('[data-testid="proof"][data-verdict="proven"]').waitFor();
    assert.deepEqual(complaints, []);
  });

  test("is found again by the passkey alone, where nothing else of it is kept", async () => {
    const { page } = user;
    const origin = new URL(page.url()).origin;
    await goTo(page, "/");
    await keys.send("Storage.clearDataForOrigin", { origin, storageTypes: "all" });
    await page.reload();
    assert.equal(await connect(page, "Sign in with a passkey"), account);
    await page.getByTestId("balance").waitFor();
    assert.equal(
      await page.evaluate(() => JSON.stringify(localStorage)),
      '{"lumio.wallet":"passkey"}',
    );
  });

  test("signs nothing that the person declines, in the console or at the authenticator", async () => {
    const { page } = user;
    const held = await page.getByTestId("balance").getAttribute("data-stroops");
    const deposit = await beginDeposit(page, "1");
    await page.getByTestId("signing").getByRole("button", { name: "Decline" }).click();
    await deposit.getByText("You declined in your wallet.").waitFor();

    await keys.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
    await deposit.getByRole("button", { name: "Deposit", exact: true }).click();
    await sign(page, "deposit", "10000000");
    await deposit.getByText("You declined in your wallet.").waitFor();
    await keys.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });
    await page.keyboard.press("Escape");
    await deposit.waitFor({ state: "hidden" });
    assert.equal(await page.getByTestId("balance").getAttribute("data-stroops"), held);
  });

  test("is not asked to sign another amount than the one that was typed", async () => {
    const { page } = user;
    let changed = 0;
    await page.route(`${rpc}/**`, async (route) => {
      if (!route.request().postData()?.includes("simulateTransaction")) return route.fallback();
      const answer = await route.fetch();
      const body = await answer.json();
      for (const result of body.result?.results ?? []) {
        result.auth = result.auth?.map((entry: string) => {
          const lie = swap(entry, amountBytes(10_000_000n), amountBytes(20_000_000n));
          if (lie !== entry) changed += 1;
          return lie;
        });
      }
      await route.fulfill({ response: answer, json: body });
    });
    const deposit = await beginDeposit(page, "1");
    await deposit.getByText("NOT_ASKED").waitFor();
    await page.unrouteAll({ behavior: "wait" });
    assert.equal(changed, 1, "the node lied once");
    assert.equal(await page.getByTestId("signing").count(), 0, "nothing was shown to be signed");
    await page.keyboard.press("Escape");
  });

  test("logs in at no other gateway than the one it speaks to", async () => {
    const { page } = user;
    await page.reload();
    let changed = false;
    await page.route(/\/sep45\?/, async (route) => {
      const answer = await route.fetch();
      const body = await answer.json();
      const { host } = new URL(gateway);
      const authorization_entries = swap(
        body.authorization_entries,
        Buffer.from(host),
        Buffer.from(host.replace("localhost", "evil.test")),
      );
      changed ||= authorization_entries !== body.authorization_entries;
      await route.fulfill({ response: answer, json: { ...body, authorization_entries } });
    });
    await page.getByTestId("connect").first().click();
    await page.getByTestId("modal").getByText("Sign in with a passkey").click();
    await page.getByText("NOT_ASKED").first().waitFor();
    await page.unrouteAll({ behavior: "wait" });
    assert.ok(changed, "the gateway lied");
    assert.equal(await page.getByTestId("signing").count(), 0);
  });

  test("is paid for by a browser wallet where the console is told so", async () => {
    const host = await elsewhere({ passkeyPayer: "wallet" });
    const { page, context, complaints } = await visit(opened.browser, { url: "about:blank" });
    const extension = await install(page);
    await plugIn(page);
    await page.goto(host.url);
    await page.getByTestId("connect").first().click();
    await page.getByTestId("modal").getByText("Create a passkey account").click();
    await page.getByText("Freighter", { exact: true }).first().click();
    await sign(page, "web_auth_verify");
    await page.getByTestId("stream").waitFor();
    const deposit = await beginDeposit(page, "1");
    await sign(page, "deposit", "10000000");
    await deposit.waitFor({ state: "hidden" });
    await balance(page, "10000000");
    assert.equal(extension.asked.length, 2, "the wallet carries the creation and the deposit");
    assert.deepEqual(complaints, []);
    await context.close();
    host.stop();
  });

  test("says by which name to open a page that was opened by a number", async () => {
    const url = opened.served.url.replace("localhost", "127.0.0.1");
    const { page, context } = await visit(opened.browser, { url });
    await page.getByTestId("connect").first().click();
    const link = page.getByTestId("modal").getByRole("link");
    assert.match((await link.getAttribute("href"))!, /^http:\/\/localhost:/);
    await context.close();
  });
});
