// What a user may change or take back: caps and money.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import type { Browser } from "playwright-core";

import type { Host } from "./host.ts";
import {
  balance,
  consoleHost,
  goTo,
  json,
  launch,
  prepare,
  reached,
  start,
  type Visit,
  visit,
} from "./world.ts";

let browser: Browser;
let served: Host;
let user: Visit;
let address: string;

before(async () => {
  browser = await launch();
  served = await consoleHost();
  user = await visit(browser, { url: served.url });
  address = await prepare(user.page);
});

after(async () => {
  await browser?.close();
  served?.stop();
});

describe("money", () => {
  test("a cap is kept on chain, holds, and is lifted again", async () => {
    const { page } = user;
    await goTo(page, "/");
    await page.getByLabel("Most for one run").first().fill("0.0001");
    await page.getByRole("button", { name: "Save limits" }).click();
    await page.getByText("Limits saved on chain").waitFor();
    assert.match(JSON.stringify(json("policy", "show", address)), /"1000"|0\.0001/);

    await goTo(page, "/build");
    await page.getByText("It would not start now").waitFor();
    await start(page, "too dear");
    await reached(page, "failed");
    await page.getByText("PREFLIGHT_PER_RUN_CAP_EXCEEDED").first().waitFor();

    await goTo(page, "/");
    await page.getByLabel("Most for one run").first().fill("");
    // The word about the first save must be gone: the next test signs only after the second one.
    const saved = page.getByText("Limits saved on chain");
    await saved.first().waitFor({ state: "detached" });
    await page.getByRole("button", { name: "Save limits" }).click();
    await saved.first().waitFor();
  });

  test("everything is withdrawn, and not more than there is", async () => {
    const { page } = user;
    await goTo(page, "/");
    await page.getByRole("button", { name: "Withdraw", exact: true }).click();
    const dialog = page.getByTestId("modal");
    await dialog.getByLabel("Amount").fill("6");
    await dialog.getByRole("button", { name: "Withdraw", exact: true }).click();
    await dialog.getByText(/^At most .* is there\.$/).waitFor();
    await dialog.getByRole("button", { name: "All" }).click();
    await dialog.getByRole("button", { name: "Withdraw", exact: true }).click();
    await dialog.waitFor({ state: "hidden" });
    await balance(page, "0");
    assert.deepEqual(user.complaints, []);
  });
});
