// The playbook's first step for everybody at once: an operator pauses new runs of the service, and
// the vault's administrator those of the whole vault. No other test may run beside these.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, describe, test } from "node:test";

import { Keypair } from "@stellar/stellar-sdk";

import {
  connectAs,
  gateway,
  goTo,
  input,
  json,
  lumio,
  lumioWith,
  opening,
  prepare,
  reached,
  start,
  type Visit,
  visit,
} from "../environment.ts";

let user: Visit;
let operator: Visit;

opening(async ({ browser, served }) => {
  user = await visit(browser, { url: served.url });
  await prepare(user.page);
  operator = await visit(browser, { url: served.url });
  await connectAs(operator.page, "operator");
  await goTo(operator.page, "/operator");
});

describe("an operator who pauses new runs of the service", () => {
  test("says why, and whoever starts one is refused with the reason and pays nothing", async () => {
    const { page } = operator;
    await page.getByLabel("Reason of a pause (optional)").fill("a disk is being replaced");
    await page.getByRole("switch", { name: "Pause new runs of this service" }).click();
    await page.getByText("New runs are refused").waitFor();
    assert.equal((await ask("/summary")).status.intakePaused, true, "the service says so too");

    await fill(user, "refused meanwhile");
    await user.page.getByRole("button", { name: "Start the run" }).click();
    await user.page.getByText("New runs are paused by the operator").first().waitFor();
    await user.page.getByText("a disk is being replaced").first().waitFor();
    await user.page.getByText("INTAKE_PAUSED").first().waitFor();
  });

  test("accepts them again, and the same click goes through", async () => {
    await operator.page.getByRole("switch", { name: "Pause new runs of this service" }).click();
    await operator.page.getByText("New runs are refused").waitFor({ state: "detached" });
    assert.equal((await ask("/summary")).status.intakePaused, false);

    await user.page.getByRole("button", { name: "Start the run" }).click();
    await user.page.waitForURL(/#\/runs\//);
    await reached(user.page, "finalized");
  });

  test("sees the pauses of single agents and users, and ends one", async () => {
    const { page } = operator;
    await ask("/operator/intake/pause", { agent: 77, reason: "its module is looked at" });
    await page.reload();
    const others = page.getByRole("list", { name: "Pauses of single agents and users" });
    await others.getByText("Agent 77").waitFor();
    await others.getByText("its module is looked at").waitFor();
    await others.getByRole("button", { name: "Resume" }).click();
    await others.waitFor({ state: "detached" });
  });
});

describe("the vault's administrator", () => {
  // On the local network the deployer is the administrator, and its key follows from a public
  // sentence. The page is an operator's, so the operator takes over for these tests.
  const deployer = Keypair.fromRawEd25519Seed(
    createHash("sha256").update("lumio local deployer").digest(),
  );
  const name = `deployer-${Date.now().toString(36)}`;
  const handOver = (from: string, to: string) => {
    lumio("contract", "propose-admin", "vault", to, "--as", from);
    lumio("contract", "accept-admin", "vault", "--as", to);
  };
  after(() => handOver("operator", name));

  test("alone may pause all opens on chain: another operator is told who can", async () => {
    await operator.page.getByText("Only the vault's administrator").waitFor();
    assert.equal(await operator.page.getByRole("switch", { name: "Pause all opens" }).count(), 0);
    lumioWith(`${deployer.secret()}\n`, "keys", "import", name);
    handOver(name, "operator");
    await operator.page.reload();
    await operator.page.getByRole("switch", { name: "Pause all opens" }).waitFor();
  });

  let failed: string;

  test("pauses them, and a run fails before anything is held", async () => {
    await operator.page.getByRole("switch", { name: "Pause all opens" }).click();
    await operator.page.getByText("All new runs are paused by the vault's administrator").waitFor();
    assert.equal(json("contract", "show", "vault").opensPaused, true, "the vault says so too");

    failed = await start(user.page, "while all opens are paused");
    await reached(user.page, "failed");
    await user.page.getByText("The vault's administrator has paused all new runs.").waitFor();
    assert.equal(json("run", "show", failed).escrow ?? "none", "none");
  });

  test("resumes them, and the same run goes through", async () => {
    await operator.page.getByRole("switch", { name: "Pause all opens" }).click();
    await operator.page
      .getByText("All new runs are paused by the vault's administrator")
      .waitFor({ state: "detached" });
    assert.equal(json("contract", "show", "vault").opensPaused, false);
    await user.page.getByRole("button", { name: "Retry" }).click();
    await reached(user.page, "finalized");
    assert.deepEqual([...user.complaints, ...operator.complaints], []);
  });
});

/** Asks the gateway as the operator; what has a body is sent by POST. */
async function ask(path: string, body?: object) {
  lumio("login", "--as", "operator");
  const headers = { authorization: `Bearer ${json("whoami", "--token").token}` };
  const order = {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify(body),
  };
  const answer = await fetch(gateway + path, body ? order : { headers });
  assert.equal(answer.status, 200, path);
  return answer.json();
}

/** Makes a run ready in the Builder. */
async function fill({ page }: Visit, label: string): Promise<void> {
  await page.getByRole("link", { name: "Build", exact: true }).click();
  await page.getByText("JSON", { exact: true }).click();
  await page.getByLabel("Input (JSON)").fill(input);
  await page.getByLabel("Name of the run (optional)").fill(label);
}
