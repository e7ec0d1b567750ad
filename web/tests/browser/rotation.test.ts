// Steps of a rotation that are the user's: the new key is granted with the old limits, and the old
// grant is revoked.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { addressOf, connectAs, json, lumio, opening, visit } from "./environment.ts";

const AGENT = "1";

const opened = opening();

describe("a runner with a new key", () => {
  test("is granted with the old limits, and the old grant is offered for revoking", async () => {
    // Names of their own, so that the test can be repeated on the same stack.
    const mark = Date.now().toString(36);
    const [oldKey, user] = [`replaced-${mark}`, `carol-${mark}`];
    for (const name of [oldKey, user]) lumio("keys", "generate", name);
    lumio("fund", user, oldKey);
    // The developer lists the old key until everybody has changed over.
    lumio("agent", "add-runner", AGENT, "--as", "developer", "--runner", oldKey);
    const grant = ["--as", user, "--runner", oldKey, "--agent", AGENT];
    lumio("grant", "add", ...grant, "--expires-in", "20d");
    lumio("grant", "limits", ...grant, "--per-run-cap", "2", "--total-cap", "9");
    const before = json("grant", "list", addressOf(user));

    const { page, context, complaints } = await visit(opened.browser, { url: opened.served.url });
    await connectAs(page, user);
    await page.getByText("The runner has a new key").waitFor();
    await page.getByRole("button", { name: /^Authorise the new key for agent 1/ }).click();
    const rows = page.getByTestId("grants").getByRole("listitem");
    await rows.nth(1).waitFor();
    await page.getByText("The runner has a new key").waitFor({ state: "hidden" });
    for (const text of await rows.allInnerTexts()) {
      assert.match(text, /of 9(\.0*)? XLM · 2(\.0*)? XLM a run/);
    }
    assert.equal(new Set(ends(json("grant", "list", addressOf(user)))).size, 1, "the same end");

    await page.getByText("An old key may still act for you").waitFor();
    await page.getByRole("button", { name: "Revoke the old key for agent 1" }).click();
    await rows.nth(1).waitFor({ state: "detached" });
    const left = json("grant", "list", addressOf(user));
    assert.equal(ends(left).length, 1);
    assert.deepEqual(ends(left), ends(before));
    assert.ok(JSON.stringify(left).includes(addressOf("runner")));
    await page.getByText("An old key may still act for you").waitFor({ state: "hidden" });

    lumio("agent", "remove-runner", AGENT, "--as", "developer", "--runner", oldKey);
    assert.deepEqual(complaints, []);
    await context.close();
  });

  test("a grant of a key that its agent lists no more is offered for revoking", async () => {
    const mark = Date.now().toString(36);
    const [oldKey, user] = [`delisted-${mark}`, `dora-${mark}`];
    for (const name of [oldKey, user]) lumio("keys", "generate", name);
    lumio("fund", user, oldKey);
    lumio("agent", "add-runner", AGENT, "--as", "developer", "--runner", oldKey);
    for (const runner of [oldKey, addressOf("runner")]) {
      lumio(
        ...["grant", "add", "--as", user, "--runner", runner, "--agent", AGENT],
        ...["--expires-in", "20d"],
      );
    }
    lumio("agent", "remove-runner", AGENT, "--as", "developer", "--runner", oldKey);

    const { page, context } = await visit(opened.browser, { url: opened.served.url });
    await connectAs(page, user);
    await page.getByRole("button", { name: "Revoke the old key for agent 1" }).click();
    const rows = page.getByTestId("grants").getByRole("listitem");
    await rows.nth(1).waitFor({ state: "detached" });
    assert.equal(await rows.count(), 1);
    assert.ok(JSON.stringify(json("grant", "list", addressOf(user))).includes(addressOf("runner")));
    await context.close();
  });
});

/** When each grant ends. */
const ends = (list: { grants?: { expiresAt: unknown }[] } | { expiresAt: unknown }[]): unknown[] =>
  (Array.isArray(list) ? list : (list.grants ?? [])).map(({ expiresAt }) => expiresAt);
