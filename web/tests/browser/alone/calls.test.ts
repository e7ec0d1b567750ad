// A run whose module asks a model: llama.cpp on this machine, started by ./dev up --with-model. It
// keeps both processors busy, so nothing else runs beside it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { connectAs, json, newUser, opening, reached, type Visit, visit } from "../environment.ts";

const module = fileURLToPath(
  new URL("../../../../examples/modules/document-answer", import.meta.url),
);
const METERS = { "Tokens in": "20000", "Tokens out": "1000", "HTTP calls": "10" };

let user: Visit;
let agent: number;

opening(async ({ browser, served }) => {
  agent = json(
    ...["module", "publish", module, "--as", "developer", "--runner", "runner", "--rates"],
    "llm_in=100stroops,llm_out=300stroops,http_calls=1000stroops,runtime_ms=100stroops",
  ).agentId as number;
  const gina = newUser("gina", "50", agent);
  user = await visit(browser, { url: served.url });
  await connectAs(user.page, gina);
});

after(() => user?.context.close());

describe("a run that asks a model", () => {
  test("is priced in all meters, and shows what was asked and answered", async () => {
    const { page } = user;
    await page.getByRole("link", { name: "Build", exact: true }).click();
    await page.getByRole("button", { name: new RegExp(`^Agent ${agent}\\b`) }).click();
    const question = readFileSync(`${module}/oracles/fixtures/question.json`, "utf8");
    await page.getByLabel("Input (JSON)").fill(question);
    for (const [meter, budget] of Object.entries(METERS)) await page.getByLabel(meter).fill(budget);
    await page.getByLabel("Runtime, ms").fill("60000");
    await page.getByRole("button", { name: "Start the run" }).click();
    await page.waitForURL(/#\/runs\//);
    await reached(page, "finalized");

    const outputs = page.getByTestId("outputs");
    const list = outputs.getByRole("listitem").filter({ hasText: "_lumio/calls.jsonl" });
    await list.getByRole("button", { name: "Look" }).click();
    await page.getByText('"path":"/chat/completions"').first().waitFor();
  });

  test("is proven with its calls: their sums, their list and their bodies", async () => {
    const { page } = user;
    const id = /#\/runs\/([0-9a-f-]{36})/.exec(page.url())![1]!;
    const { usage } = json("run", "show", id);
    assert.ok(usage.httpCalls > 0 && usage.llmIn > 0 && usage.llmOut > 0, JSON.stringify(usage));

    await page.getByRole("button", { name: "Verify this run" }).click();
    const proof = page.getByTestId("proof");
    await proof.waitFor();
    assert.equal(await proof.getAttribute("data-verdict"), "proven", (await proof.textContent())!);
    const link = proof.locator('[data-link="calls"]');
    assert.equal(await link.getAttribute("data-state"), "ok");
    const said = (await link.textContent())!;
    const calls = usage.httpCalls === 1 ? "1 call of model" : `${usage.httpCalls} calls of model`;
    assert.ok(said.includes(calls), said);
    assert.match(said, /with root [0-9a-f]{64}/);
    assert.match(said, /bod(y|ies) kept, as listed/);
  });

  const lies: [string, (body: Buffer) => Buffer][] = [
    ["a call's tokens", (body) => change(body, "_lumio/calls.jsonl", /"llm_in":\d/)],
    ["an answer's bytes", (body) => change(body, "_lumio/bodies.jsonl", /"answer":"\{\\"[a-z]/)],
  ];
  for (const [what, lie] of lies) {
    test(`a gateway that changes ${what} is found out`, async () => {
      const { page } = user;
      await page.route(/\/bundle\?/, async (route) => {
        const answer = await route.fetch();
        await route.fulfill({ response: answer, body: lie(Buffer.from(await answer.body())) });
      });
      await page.getByRole("button", { name: /^Verify (this run|again)$/ }).click();
      const proof = page.locator('[data-testid="proof"][data-verdict="broken"]');
      await proof.waitFor();
      await page.unroute(/\/bundle\?/);
      assert.equal(
        await proof.locator('[data-link="calls"]').getAttribute("data-state"),
        "broken",
        (await proof.textContent())!,
      );
      assert.equal(await page.getByText("The run cost").count(), 0, "nothing is called proven");
    });
  }
});

/** Changes the last character of what is found first in a file of the bundle. */
function change(body: Buffer, file: string, what: RegExp): Buffer {
  const begin = body.indexOf(file);
  assert.ok(begin >= 0, `${file} is not in the bundle`);
  // One character a byte, so that places are the same.
  const found = what.exec(body.toString("latin1", begin));
  assert.ok(found, `${what} is not in ${file}`);
  const at = begin + found.index + found[0].length - 1;
  body[at] = body[at] === 0x31 ? 0x32 : 0x31;
  return body;
}
