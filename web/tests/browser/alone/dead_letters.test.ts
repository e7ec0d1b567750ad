// Runs that no worker can go on with, on the operator's page: one is replayed and goes through, the
// other one is given up and its user gets the money back. The runner is restarted with other settings
// for this, so no other test may run beside it.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import type { Locator } from "playwright-core";

import {
  balance,
  connectAs,
  goTo,
  json,
  newUser,
  opening,
  picture,
  reached,
  restartRunner,
  type Visit,
  visit,
} from "../environment.ts";

let user: Visit;
let operator: Visit;
let replayed: string;
let discarded: string;

opening(async ({ browser, served }) => {
  const module = fileURLToPath(new URL("../../../../tests/e2e/modules/two-faced", import.meta.url));
  const agent = json(
    ...["module", "publish", module, "--as", "developer", "--runner", "runner"],
    ...["--rates", "runtime_ms=100stroops"],
  ).agentId as number;
  const hugo = newUser("hugo", "5", agent);
  const folder = mkdtempSync(join(tmpdir(), "lumio-console-"));
  const input = join(folder, "input.json");
  writeFileSync(input, '{"deed":"wait","ms":2000}');
  const start = (): string =>
    json(
      ...["run", "start", "--user", hugo, "--agent", String(agent)],
      ...["--budgets", "runtime_ms=20000", "--input", input],
    ).id;

  // A runner that stops executions early and leaves the escrow of what failed open (R3).
  const restore = await restartRunner({
    RUNNER_WALL_LIMIT_MS: "500",
    RUNNER_FINALIZE_ON_ERROR: "false",
  });
  [replayed, discarded] = [start(), start()];
  rmSync(folder, { recursive: true });
  user = await visit(browser, { url: served.url });
  await connectAs(user.page, hugo);
  for (const id of [replayed, discarded]) {
    await user.page.locator(`[data-run="${id}"] [data-run-status="failed"]`).waitFor();
  }
  // The same runner as before finds them.
  await restore();
  operator = await visit(browser, { url: served.url });
  await connectAs(operator.page, "operator");
  await goTo(operator.page, "/operator");
  await operator.page.getByRole("tab", { name: "Dead letters" }).click();
});

const decide = (id: string): Locator =>
  operator.page.getByRole("button", { name: `Decide about run ${id}` });

describe("dead letters", () => {
  test("are listed with their reason and where their money is", async () => {
    const { page } = operator;
    await decide(discarded).waitFor();
    const row = page.getByRole("row").filter({ has: decide(replayed) });
    await row.getByText("held by the vault").waitFor();
    assert.match((await row.textContent())!, /The module ended with an error|used more than/);
    await picture(page, "dead-letters-light");
    await decide(replayed).click();
    const dialog = page.getByTestId("dead-letter");
    await dialog.locator('[data-proof="open"]').waitFor();
    await dialog.getByText("Opening transaction").waitFor();
    await picture(page, "dead-letter-light");
  });

  test("are replayed: the next attempt goes through and is paid once", async () => {
    const { page } = operator;
    const dialog = page.getByTestId("dead-letter");
    await dialog.getByRole("button", { name: "Replay", exact: true }).click();
    await page.getByText("Workers go on with the run").first().waitFor();
    await dialog.waitFor({ state: "hidden" });
    await decide(replayed).waitFor({ state: "detached" });
    await goTo(user.page, `/runs/${replayed}`);
    await reached(user.page, "finalized");
    const run = json("run", "show", replayed);
    assert.equal(run.attempt, 2);
    const charges = run.attempts.map(({ receipt }: { receipt?: { actualCharge: string } }) =>
      BigInt(receipt?.actualCharge ?? 0),
    );
    assert.equal(charges[0], 0n, "the attempt that was left is settled with zero");
    assert.ok(charges[1] > 0n, "and the one that delivered is charged");
  });

  test("are discarded after a second question, and the user has the money back", async () => {
    const { page } = operator;
    await decide(discarded).click();
    const dialog = page.getByTestId("dead-letter");
    await dialog.getByRole("button", { name: "Discard…" }).click();
    await dialog.getByRole("button", { name: "Cancel" }).click();
    await dialog.getByRole("button", { name: "Discard…" }).click();
    await dialog.getByText("Discard this run for good?").waitFor();
    assert.equal(json("run", "show", discarded).escrow, "open", "nothing happened before the yes");
    await dialog.getByLabel("Reason (optional)").fill("its module waits for ever");
    await dialog.getByRole("button", { name: "Discard the run" }).click();
    await dialog.waitFor({ state: "hidden" });
    await page.getByText("No run waits for an operator.").waitFor();

    await goTo(user.page, `/runs/${discarded}`);
    await user.page.getByText("all of it went back").first().waitFor();
    const paid = BigInt(json("run", "show", replayed).attempts[1].receipt.actualCharge);
    await goTo(user.page, "/");
    await balance(user.page, String(50_000_000n - paid));
    assert.deepEqual([...user.complaints, ...operator.complaints], []);
  });
});
