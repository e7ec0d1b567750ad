// What a user may change or take back: caps and money.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import {
  balance,
  goTo,
  json,
  opening,
  prepare,
  reached,
  start,
  type Visit,
  visit,
} from "./environment.ts";

let user: Visit;
let address: string;

opening(async ({ browser, served }) => {
  user = await visit(browser, { url: served.url });
  address = await prepare(user.page);
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

  test("a run that waits is cancelled, and its money was never held", async () => {
    const { page } = user;
    // As another frontend asks for it: not before tomorrow.
    await page.route(/\/runs$/, (route) => {
      if (route.request().method() !== "POST") return route.fallback();
      const startAt = new Date(Date.now() + 86_400_000).toISOString();
      const body = { ...route.request().postDataJSON(), startAt };
      return route.continue({ postData: JSON.stringify(body) });
    });
    const run = await start(page, "tomorrow");
    await page.unroute(/\/runs$/);
    await reached(page, "pending");
    await goTo(page, "/");
    const row = page.locator(`[data-run="${run}"]`);
    await row.getByRole("button", { name: "Cancel" }).click();
    await row.locator('[data-run-status="cancelled"]').waitFor();
    assert.equal(await row.getByRole("button", { name: "Cancel" }).count(), 0);
    await balance(page, "50000000");
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
