// The console in a browser against the whole stack: the playbook's five manual steps and its four
// steps of an incident, and what must never happen.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import {
  authorise,
  balance,
  connect,
  deposit,
  goTo,
  lumio,
  opening,
  reached,
  revoke,
  start,
  type Visit,
  visit,
  withinTwoMinutes,
} from "./environment.ts";

const opened = opening();

describe("the playbook's manual validation", () => {
  let user: Visit;
  let address: string;
  let run: string;
  const began = Date.now();

  before(async () => {
    user = await visit(opened.browser, { url: opened.served.url });
  });
  after(async () => {
    await user?.context.close();
  });

  test("1 the service runs and the console connects to it", async () => {
    address = await connect(user.page);
    assert.match(address, /^G/);
    await deposit(user.page, "20");
    await balance(user.page, "200000000");
  });

  test("2 the runner is authorised in the wallet", async () => {
    await authorise(user.page);
    assert.match(lumio("grant", "list", address), /agent/i);
  });

  test("3 and 4 a run from the builder goes from pending to finalized without the wallet", async () => {
    run = await start(user.page, "rain");
    await reached(user.page, "finalized");
    const shown = user.statuses.filter((status, at, all) => all.indexOf(status) === at);
    const way = ["pending", "opening", "running", "finalizing", "finalized"];
    assert.deepEqual(
      shown,
      way.filter((status) => shown.includes(status)),
      "in their order",
    );
    assert.ok(shown.includes("pending") && shown.includes("finalized"), shown.join(" "));
    // The status comes by the stream, and the timeline is asked for because of it.
    await user.page.getByTestId("timeline").locator('[data-event="finalized"]').waitFor();
    const entries = await user.page
      .getByTestId("timeline")
      .locator("[data-event]")
      .evaluateAll((items) => items.map((entry) => entry.getAttribute("data-event")));
    assert.deepEqual(entries, ["queued", "opening", "running", "finalizing", "finalized"]);
    const charged = await user.page.getByTestId("total").getAttribute("data-stroops");
    assert.ok(BigInt(charged!) > 0n, "something was charged");

    await user.page.getByTestId("outputs").getByRole("button", { name: "Look" }).first().click();
    await user.page.getByText('"columns"').waitFor();
    const download = user.page.waitForEvent("download");
    await user.page.getByTestId("outputs").getByRole("button", { name: "Download" }).last().click();
    assert.equal((await download).suggestedFilename(), "report.md");
    await user.page.getByRole("button", { name: "Verify this run" }).click();
    await user.page.locator('[data-testid="proof"][data-verdict="proven"]').waitFor();
    withinTwoMinutes(began);

    await goTo(user.page, "/");
    // The newest comes first, once the list is asked for again.
    await user.page.locator(`[data-testid="runs"] > li:first-child[data-run="${run}"]`).waitFor();
  });

  test("5 after revoking, a run fails fast and says why", async () => {
    await revoke(user.page);
    await start(user.page, "refused");
    await reached(user.page, "failed");
    await user.page.getByText("The runner is not authorised for this agent.").waitFor();
  });

  test("nothing was blocked, thrown or logged meanwhile", () => {
    assert.deepEqual(user.complaints, []);
  });
});
