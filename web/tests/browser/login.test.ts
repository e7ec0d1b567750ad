// A login that fails while a wallet connects: the page says at once why, with what to do, keeps the
// wallet, and one click tries again.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Account, BASE_FEE, Operation, TransactionBuilder } from "@stellar/stellar-sdk";
import type { Page, Route } from "playwright-core";

import { install } from "./freighter.ts";
import { chooseKey, opening, visit } from "./environment.ts";

const LOCAL = "Standalone Network ; February 2017";

const opened = opening();

/** What the page says of the login that failed, in words, and its code. */
async function said(page: Page, means: string, todo: RegExp, code: string): Promise<void> {
  const notice = page.getByRole("alert").filter({ hasText: means });
  await notice.waitFor();
  await notice.getByText(todo).waitFor();
  await notice.getByText(code, { exact: true }).waitFor();
  // It is on the page, not below a dialog that is still open.
  await page.getByTestId("modal").waitFor({ state: "hidden" });
}

async function logInAgain(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.getByTestId("stream").waitFor();
  assert.equal(await page.getByRole("alert").count(), 0, "what was wrong is said no more");
}

async function connectLocalKey(page: Page): Promise<void> {
  await page.getByTestId("connect").first().click();
  await page.getByTestId("local-key").click();
}

describe("a login that fails while a wallet connects", () => {
  test("says that the gateway does not answer", async () => {
    const { page, context } = await visit(opened.browser, { url: opened.served.url });
    await page.route(/\/auth\?/, (route) => route.abort());
    await connectLocalKey(page);
    await said(page, "The gateway cannot be reached.", /Check your connection/, "UNREACHABLE");
    await page.unroute(/\/auth\?/);
    await logInAgain(page);
    await context.close();
  });

  test("says with which code and words the gateway refuses", async () => {
    const { page, context } = await visit(opened.browser, { url: opened.served.url });
    const refuse = async (route: Route) => {
      if (route.request().method() !== "POST") return route.fallback();
      const problem = { status: 503, code: "UNAVAILABLE", detail: "the database is away" };
      await route.fulfill({ status: 503, json: problem });
    };
    await page.route(/\/auth$/, refuse);
    await connectLocalKey(page);
    const means = "Something that the service needs is away.";
    await said(page, means, /Try again in a moment/, "UNAVAILABLE");
    await page.getByText("the database is away").waitFor();
    await page.unroute(/\/auth$/);
    await logInAgain(page);
    await context.close();
  });

  test("says that a challenge could be money, and signs nothing", async () => {
    const { page, context } = await visit(opened.browser, { url: opened.served.url });
    let sent = 0;
    await page.route(/\/auth(\?|$)/, async (route) => {
      if (route.request().method() === "POST") {
        sent += 1;
        return route.fallback();
      }
      const account = new URL(route.request().url()).searchParams.get("account")!;
      // The next sequence number of an account is one that the network takes.
      const built = new TransactionBuilder(new Account(account, "0"), {
        fee: BASE_FEE,
        networkPassphrase: LOCAL,
      });
      const name = { name: "localhost auth", value: "x", source: account };
      const transaction = built.addOperation(Operation.manageData(name)).setTimeout(300).build();
      await route.fulfill({
        json: { transaction: transaction.toXDR(), network_passphrase: LOCAL },
      });
    });
    await chooseKey(page, "alice");
    await said(page, "Something else was to be signed", /Do not try again/, "NOT_ASKED");
    await page.getByText("the login's challenge could be sent as a transaction").waitFor();
    assert.equal(sent, 0, "no signature left the browser");
    await page.unroute(/\/auth(\?|$)/);
    await logInAgain(page);
    await context.close();
  });

  test("says that the wallet declined, also where the wallet's own dialog was open", async () => {
    const { page, context, complaints } = await visit(opened.browser, { url: "about:blank" });
    const extension = await install(page);
    extension.declines = true;
    await page.goto(opened.served.url);
    await page.getByTestId("connect").first().click();
    await page.getByRole("button", { name: /^Browser wallet/ }).click();
    await page.getByText("Freighter", { exact: true }).first().click();
    await said(page, "You declined in your wallet.", /Try again if you change/, "DECLINED");
    const shown = await page.getByTestId("connect").first().getAttribute("data-address");
    assert.equal(shown, extension.key.publicKey(), "the wallet stays");
    extension.declines = false;
    await logInAgain(page);
    assert.deepEqual(complaints, []);
    await context.close();
  });

  test("a reload whose login fails says so as well", async () => {
    const { page, context } = await visit(opened.browser, { url: opened.served.url });
    await connectLocalKey(page);
    await page.getByTestId("stream").waitFor();
    await page.route(/\/auth\?/, (route) => route.abort());
    await page.reload();
    await said(page, "The gateway cannot be reached.", /Check your connection/, "UNREACHABLE");
    await page.unroute(/\/auth\?/);
    await logInAgain(page);
    await context.close();
  });
});
