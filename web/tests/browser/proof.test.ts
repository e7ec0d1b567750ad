// Verifying in the browser: what holds is proven, what was changed is found, and what could not be
// looked at is never called proven.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import type { Page } from "playwright-core";

import {
  control,
  json,
  lumio,
  opening,
  prepare,
  reached,
  rpc,
  start,
  type Visit,
  visit,
} from "./environment.ts";

let user: Visit;
let run: string;

opening(async ({ browser, served }) => {
  user = await visit(browser, { url: served.url });
  await prepare(user.page);
  run = await start(user.page, "to be verified");
  await reached(user.page, "finalized");
});

async function verify(page: Page): Promise<{ verdict: string; states: Record<string, string> }> {
  await page.getByRole("button", { name: /^Verify (this run|again)$/ }).click();
  const proof = page.getByTestId("proof");
  await proof.waitFor();
  const links = await proof
    .locator("[data-link]")
    .evaluateAll((items) =>
      items.map((item) => [item.getAttribute("data-link"), item.getAttribute("data-state")]),
    );
  const verdict = (await proof.getAttribute("data-verdict"))!;
  return { verdict, states: Object.fromEntries(links) };
}

describe("verifying in the browser", () => {
  test("an honest run is proven, link by link, as lumio verify says", async () => {
    const { verdict, states } = await verify(user.page);
    assert.equal(verdict, "proven", JSON.stringify(states));
    const others = Object.entries(states).filter(([, state]) => state !== "ok");
    assert.deepEqual(others, [], "every link holds, also that the input is the one that was sent");
    assert.equal(Object.keys(states).length, 16);
  });

  const lies: [string, string, (body: Buffer) => Buffer][] = [
    ["an output's byte", "files", (body) => swap(body, '"columns"', '"Columns"')],
    ["a module's byte", "module", (body) => swap(body, "export", "EXPORT", 2)],
    ["the seal's nonce", "seal", (body) => swapAfter(body, '"nonce":"', 1)],
    ["the receipt's charge", "receipt", (body) => swapAfter(body, '"actualCharge": "', 1)],
    ["the execution statement", "statement", (body) => swapAfter(body, '"payload":"', 40)],
    ["the facts view's bundle hash", "gates", (body) => swapAfter(body, '"bundle_hash":"', 1)],
    ["the seed in the document", "terms", (body) => swapAfter(body, '"request_hash": "', 1)],
  ];
  for (const [what, link, change] of lies) {
    test(`a gateway that changes ${what} is found out`, async () => {
      const { page } = user;
      await page.route(/\/bundle\?/, async (route) => {
        const answer = await route.fetch();
        await route.fulfill({ response: answer, body: change(Buffer.from(await answer.body())) });
      });
      const { verdict, states } = await verify(page);
      await page.unroute(/\/bundle\?/);
      assert.equal(verdict, "broken", JSON.stringify(states));
      assert.equal(states[link], "broken", JSON.stringify(states));
      assert.equal(await page.getByText("The run cost").count(), 0, "nothing is called proven");
    });
  }

  // The topic "finalized" as the node is asked for it.
  for (const [which, topic] of [
    ["events", ""],
    ["settlements", "AAAADwAAAAlmaW5hbGl6ZWQAAAA="],
  ] as const) {
    test(`a node that keeps the vault's ${which} back proves nothing`, async () => {
      const { page } = user;
      let hidden = 0;
      // With the gateway's list of receipts the running hash would prove it all the same.
      await page.route(/\/receipts\//, (route) => route.fulfill({ status: 404, body: "{}" }));
      await page.route(`${rpc}/**`, async (route) => {
        const asked = route.request().postData() ?? "";
        if (!asked.includes("getEvents") || !asked.includes(topic)) return route.fallback();
        hidden += 1;
        const answer = await route.fetch();
        const body = await answer.json();
        const result = { ...body.result, events: [] };
        await route.fulfill({ response: answer, json: { ...body, result } });
      });
      const { verdict, states } = await verify(page);
      await page.unroute(`${rpc}/**`);
      await page.unroute(/\/receipts\//);
      assert.ok(hidden > 0, "something was kept back");
      assert.notEqual(verdict, "proven", JSON.stringify(states));
      assert.notEqual(states.attempts, "ok");
    });
  }

  test("where the node has forgotten the events, the gateway's list of receipts stands in, and no other", async () => {
    const { page } = user;
    await control("close", { count: 40 });
    const { url } = await control("node", { lag: 0, history: 20 });
    await page.route(`${rpc}/**`, async (route) => {
      await route.fulfill({ response: await route.fetch({ url }) });
    });

    const proven = await verify(page);
    assert.equal(proven.verdict, "proven", JSON.stringify(proven.states));
    assert.equal(proven.states.account, "ok");
    await page.getByText("all receipts of the account are at hand").first().waitFor();

    // One letter of a receipt, and no list at all: then nothing says what was charged.
    for (const change of [
      (body: Buffer) => swapAfter(body, '"text":"', 60),
      () => Buffer.from('{"title":"not found"}'),
    ]) {
      let asked = 0;
      await page.route(/\/receipts\//, async (route) => {
        asked += 1;
        const answer = await route.fetch();
        await route.fulfill({ response: answer, body: change(Buffer.from(await answer.body())) });
      });
      const { verdict, states } = await verify(page);
      await page.unroute(/\/receipts\//);
      assert.ok(asked > 0, "the list was asked for");
      assert.equal(verdict, "unknown", JSON.stringify(states));
      assert.notEqual(states.attempts, "ok");
    }
    await page.unroute(`${rpc}/**`);
  });

  test("a node that is away leaves it open, in words", async () => {
    const { page } = user;
    await page.route(`${rpc}/**`, (route) => route.abort());
    await page.getByRole("button", { name: /^Verify/ }).click();
    await page.getByText("Could not tell").first().waitFor();
    assert.equal(await page.getByTestId("proof").count(), 0);
    await page.unroute(`${rpc}/**`);
  });

  test("lumio verify says the same of every link", async () => {
    lumio("login", "--as", "operator");
    const said: { links: { link: string; state: string }[] } = json("verify", run);
    const { states } = await verify(user.page);
    // The terminal does not know what this browser sent.
    const others = said.links.filter(({ link }) => link !== "request");
    assert.deepEqual(
      Object.fromEntries(others.map(({ link, state }) => [link, state])),
      Object.fromEntries(others.map(({ link }) => [link, states[link]])),
    );
  });
});

/** Replaces the nth occurrence of a text by another of the same length. */
function swap(body: Buffer, from: string, to: string, nth = 1): Buffer {
  let at = -1;
  for (let count = 0; count < nth; count += 1) {
    at = body.indexOf(from, at + 1);
    assert.ok(at >= 0, `${from} is not in the bundle`);
  }
  body.write(to, at);
  return body;
}

/** Changes the character that stands `offset` behind a text. */
function swapAfter(body: Buffer, text: string, offset: number): Buffer {
  const at = body.indexOf(text);
  assert.ok(at >= 0, `${text} is not in the bundle`);
  const place = at + text.length + offset;
  body[place] = body[place] === 0x31 ? 0x32 : 0x31;
  return body;
}
