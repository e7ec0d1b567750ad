// What concerns everybody on the network: the ledger's time passes a deadline. No other test may run
// beside this one or after it.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { balance, connectAs, control, json, newUser, opening, visit } from "../environment.ts";

const opened = opening();

describe("a deadline that has passed", () => {
  test("gives the escrow back to whoever asks the vault for it", async () => {
    // Its module waits, so that the run is open while the ledger's time goes on.
    const module = fileURLToPath(
      new URL("../../../../tests/e2e/modules/two-faced", import.meta.url),
    );
    const agent = json(
      ...["module", "publish", module, "--as", "developer", "--runner", "runner"],
      ...["--rates", "runtime_ms=100stroops"],
    ).agentId as number;
    const frank = newUser("frank", "5", agent);

    const { page, context } = await visit(opened.browser, { url: opened.served.url });
    await connectAs(page, frank);
    const folder = mkdtempSync(join(tmpdir(), "lumio-console-"));
    const input = join(folder, "input.json");
    writeFileSync(input, '{"deed":"wait","ms":45000}');
    const { id } = json(
      ...["run", "start", "--user", frank, "--agent", String(agent)],
      ...["--budgets", "runtime_ms=60000", "--input", input],
    );
    rmSync(folder, { recursive: true });
    const row = page.locator(`[data-run="${id}"]`);
    await row.locator('[data-run-status="running"]').waitFor();

    // Two days later, for the ledger and for the browser.
    await control("time", { seconds: 2 * 86_400 });
    await control("close", { count: 1 });
    await page.clock.setSystemTime(Date.now() + 2 * 86_400_000);
    await page.reload();
    await row.getByRole("button", { name: "Reclaim" }).click();
    await balance(page, "50000000");
    const run = json("run", "show", id);
    assert.equal(run.escrow === "settled", false, "nothing was charged");
    assert.equal(json("balance", "show", frank).balance, "50000000");
    await context.close();
  });
});
