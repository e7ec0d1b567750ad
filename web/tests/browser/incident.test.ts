// The playbook's four steps of an incident, by the console alone.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import {
  authorise,
  connectAs,
  goTo,
  json,
  opening,
  prepare,
  reached,
  revoke,
  start,
  type Visit,
  visit,
} from "./environment.ts";

let user: Visit;
let address: string;
let failed: string;

const opened = opening(async ({ browser, served }) => {
  user = await visit(browser, { url: served.url });
  address = await prepare(user.page);
});

describe("the playbook's incident response", () => {
  test("1 executions stop: new runs are paused on chain", async () => {
    const { page } = user;
    await page.getByRole("switch", { name: "Pause new runs" }).click();
    await page.getByText("New runs are paused on chain").waitFor();
    assert.equal(json("policy", "show", address).paused, true, "the vault says so too");

    failed = await start(page, "while paused");
    await reached(page, "failed");
    await page.getByText("You have paused new runs.").waitFor();
    await page.getByText("POLICY_PAUSED").first().waitFor();
  });

  test("2 access is revoked", async () => {
    await goTo(user.page, "/");
    await revoke(user.page);
    assert.deepEqual(json("grant", "list", address).grants ?? json("grant", "list", address), []);
  });

  test("3 the queue is inspected by an operator, and the run by its user", async () => {
    const operator = await visit(opened.browser, { url: opened.served.url });
    await connectAs(operator.page, "operator");
    await operator.page.getByRole("link", { name: "Operator" }).click();
    await operator.page.getByRole("heading", { level: 1, name: "Operator" }).waitFor();
    for (const tab of ["Queue", "Dead letters", "Verdicts", "Packs", "Charts"]) {
      await operator.page.getByRole("tab", { name: tab }).click();
    }
    assert.deepEqual(operator.complaints, []);
    await operator.context.close();

    const row = user.page.locator(`[data-run="${failed}"]`);
    await row.getByRole("button", { name: "Retry" }).click();
    await user.page.getByText("The run is queued again").waitFor();
    // Still paused and revoked: it fails again, as an attempt of its own.
    await row.getByText("attempt 2").waitFor();
    await row.locator('[data-run-status="failed"]').waitFor();
  });

  test("4 runs are allowed again, and the same run goes through", async () => {
    const { page } = user;
    await page.getByRole("switch", { name: "Pause new runs" }).click();
    await page.getByText("New runs are allowed again").waitFor();
    await authorise(page);
    const row = page.locator(`[data-run="${failed}"]`);
    await row.getByRole("button", { name: "Retry" }).click();
    await row.locator('[data-run-status="finalized"]').waitFor();
    assert.deepEqual(user.complaints, []);
  });
});
