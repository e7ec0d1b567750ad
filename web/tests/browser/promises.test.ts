// What must hold on every page, whatever is done there.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { gzipSync } from "node:zlib";

import { AxeBuilder } from "@axe-core/playwright";
import type { Page } from "playwright-core";

import {
  addressOf,
  authorise,
  connect,
  connectAs,
  deposit,
  elsewhere,
  goTo,
  opening,
  picture,
  prepare,
  reached,
  revoke,
  secretOf,
  start,
  type Visit,
  visit,
} from "./environment.ts";

let user: Visit;
let run: string;

const opened = opening(async ({ browser, served }) => {
  user = await visit(browser, { url: served.url });
  await prepare(user.page);
  run = await start(user.page, "weather report");
  await reached(user.page, "finalized");
});

/** Findings of axe that keep somebody out. */
async function findings(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  return serious.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html}`));
}

/** Waits until nothing is loading any more, and no colour is on its way to another. */
async function settled(page: Page): Promise<void> {
  await page.locator(".skeleton").first().waitFor({ state: "detached" });
  await page.waitForFunction(() =>
    document.getAnimations().every(({ playState }) => playState !== "running"),
  );
}

describe("every page", () => {
  const pages = [
    { name: "wallet", path: "/" },
    { name: "run", path: () => `/runs/${run}` },
    { name: "build", path: "/build" },
  ];

  for (const scheme of ["light", "dark"] as const) {
    test(`is without serious findings of axe in ${scheme}`, async () => {
      const { page } = user;
      await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
      for (const { name, path } of pages) {
        await goTo(page, typeof path === "string" ? path : path());
        await page.getByRole("heading", { level: 1 }).waitFor();
        await settled(page);
        if (name === "run" && scheme === "light") {
          await page.getByRole("button", { name: "Verify this run" }).click();
          await page.getByTestId("proof").waitFor();
        }
        assert.deepEqual(await findings(page), [], name);
        await picture(page, `${name}-${scheme}`);
      }
    });
  }

  test("fits a phone, without scrolling sideways", async () => {
    const { page } = user;
    await page.emulateMedia({ colorScheme: "light", reducedMotion: "reduce" });
    await page.setViewportSize({ width: 390, height: 844 });
    for (const { name, path } of pages) {
      await goTo(page, typeof path === "string" ? path : path());
      await page.getByRole("heading", { level: 1 }).waitFor();
      await settled(page);
      const over = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      assert.ok(over <= 0, `${name} is ${over} pixels too wide`);
      assert.deepEqual(await findings(page), [], name);
      await picture(page, `${name}-phone`);
    }
    await page.setViewportSize({ width: 1280, height: 900 });
  });

  test("is used by keys alone: the first stop leads to the content, a dialog keeps the focus", async () => {
    const { page } = user;
    await goTo(page, "/");
    await page.reload();
    await page.getByTestId("balance").waitFor();
    await page.keyboard.press("Tab");
    assert.equal(
      await page.evaluate(() => document.activeElement?.textContent),
      "Skip to the content",
    );
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement?.id), "content");
    await page.getByRole("button", { name: "Deposit", exact: true }).focus();
    await page.keyboard.press("Enter");
    const dialog = page.getByTestId("modal");
    await dialog.waitFor();
    for (let stop = 0; stop < 8; stop += 1) await page.keyboard.press("Tab");
    assert.ok(await dialog.evaluate((element) => element.contains(document.activeElement)));
    assert.deepEqual(await findings(page), [], "dialog");
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
  });
});

describe("the operator's page", () => {
  test("shows queue, packs, verdicts and charts, without serious findings", async () => {
    const operator = await visit(opened.browser, { url: opened.served.url });
    const { page } = operator;
    await connectAs(page, "operator");
    await page.getByRole("link", { name: "Operator" }).click();
    await page.getByRole("tab", { name: "Charts" }).click();
    await page.locator(".uplot").first().waitFor();
    assert.deepEqual(await findings(page), []);
    await picture(page, "operator-light");
    await page.getByRole("tab", { name: "Verdicts" }).click();
    await page.getByText("csv.profile").first().waitFor();
    assert.deepEqual(await findings(page), []);
    await page.getByRole("tab", { name: "Packs" }).click();
    await page.getByRole("button", { name: "Check" }).first().click();
    await page.getByText("passes", { exact: true }).first().waitFor();
    assert.deepEqual(await findings(page), []);
    await page.getByRole("tab", { name: "Reconciliation" }).click();
    for (const place of ["Vault's records", "Events on NATS"])
      await page.getByText(place).waitFor();
    assert.deepEqual(await findings(page), []);
    await picture(page, "reconciliation-light");
    await page.emulateMedia({ colorScheme: "dark" });
    await page.getByRole("tab", { name: "Queue" }).click();
    await settled(page);
    assert.deepEqual(await findings(page), []);
    await picture(page, "operator-dark");
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 390, height: 844 });
    await settled(page);
    await picture(page, "operator-phone");
    assert.deepEqual(operator.complaints, []);
    await operator.context.close();
  });

  test("is not for others", async () => {
    await goTo(user.page, "/operator");
    await user.page.getByText("This page is for operators").waitFor();
    await goTo(user.page, "/");
  });
});

describe("secrets", () => {
  /** Everything that a page could read back later. */
  const stored = (page: Page) =>
    page.evaluate(async () => {
      const found: unknown[] = [{ ...localStorage }, { ...sessionStorage }, document.cookie];
      for (const { name } of await indexedDB.databases()) {
        const database = await new Promise<IDBDatabase>((resolve, reject) => {
          const asked = indexedDB.open(name!);
          asked.onsuccess = () => resolve(asked.result);
          asked.onerror = () => reject(asked.error);
        });
        for (const store of database.objectStoreNames) {
          const values = await new Promise<unknown[]>((resolve) => {
            const asked = database.transaction(store).objectStore(store).getAll();
            asked.onsuccess = () => resolve(asked.result);
          });
          for (const value of values as { privateKey?: CryptoKey }[]) {
            const key = value.privateKey;
            const exported =
              key && (await crypto.subtle.exportKey("pkcs8", key).catch(() => "refused"));
            found.push({ extractable: key?.extractable, exported, kind: key?.type });
          }
        }
        database.close();
      }
      return JSON.stringify(found);
    });

  test("no key and no token is stored, and the local key cannot be exported", async () => {
    const text = await stored(user.page);
    assert.match(text, /"extractable":false/);
    assert.match(text, /"exported":"refused"/);
    assert.doesNotMatch(text, /S[A-Z2-7]{55}/);
    assert.doesNotMatch(text, /eyJ[\w-]+\.[\w-]+\./, "no bearer token");
  });

  test("an imported key cannot be read", async () => {
    const other = await visit(opened.browser, { url: opened.served.url });
    await connectAs(other.page, "alice");
    const secret = secretOf("alice");
    assert.ok(!(await stored(other.page)).includes(secret));
    assert.ok(!(await other.page.content()).includes(secret));
    assert.equal(
      await other.page.getByTestId("connect").first().getAttribute("data-address"),
      addressOf("alice"),
    );
    await other.context.close();
  });

  test("a reload keeps the account, and the login is made anew", async () => {
    const before = await user.page.getByTestId("connect").first().getAttribute("data-address");
    await user.page.reload();
    await user.page.getByTestId("stream").waitFor();
    assert.equal(
      await user.page.getByTestId("connect").first().getAttribute("data-address"),
      before,
    );
  });
});

describe("the canonical key", () => {
  for (const [what, changed] of [
    [
      "the service signs with another key",
      { runner: "GAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAWHF" },
    ],
    [
      "the vault is bound to another registry",
      { agentRegistryId: "CC6MHJKLNLPNXGF5HHRVK5MHMYCPDJRHQOWKNLSX4LRUCOSXUVS4KE57" },
    ],
  ] as const) {
    test(`authorising is blocked when ${what}`, async () => {
      const other = await elsewhere(changed);
      const guest = await visit(opened.browser, { url: other.url });
      await connect(guest.page);
      await guest.page.getByText("Authorising is blocked").waitFor();
      assert.ok(await guest.page.getByRole("button", { name: "Authorise runner" }).isDisabled());
      await guest.context.close();
      other.stop();
    });
  }
});

describe("two browsers", () => {
  test("do not see each other's runs, and both work at once", async () => {
    const other = await visit(opened.browser, { url: opened.served.url });
    await connect(other.page);
    await deposit(other.page, "3");
    await authorise(other.page);
    await goTo(other.page, `/runs/${run}`);
    await other.page.getByText("There is no such run").waitFor();
    const [first, second] = await Promise.all([
      start(user.page, "mine"),
      goTo(other.page, "/").then(() => start(other.page, "theirs")),
    ]);
    await Promise.all([reached(user.page, "finalized"), reached(other.page, "finalized")]);
    assert.notEqual(first, second);
    await goTo(other.page, "/");
    await other.page.getByTestId("runs").waitFor();
    assert.equal(await other.page.getByTestId("runs").getByRole("listitem").count(), 1);
    await revoke(other.page);
    await other.context.close();
  });
});

describe("a bad connection", () => {
  test("offline is said, what is known stays, and it goes on afterwards", async () => {
    const { page, context } = user;
    await goTo(page, "/");
    await page.getByTestId("runs").waitFor();
    await context.setOffline(true);
    await page.getByText("You are offline.").waitFor();
    assert.ok(await page.getByTestId("balance").isVisible());
    await context.setOffline(false);
    await page.getByText("You are offline.").waitFor({ state: "hidden" });
  });

  test("an answer that is lost after a click starts no second run", async () => {
    const { page } = user;
    await goTo(page, "/build");
    await page.getByText("JSON", { exact: true }).click();
    await page.getByLabel("Input (JSON)").fill('{"csv": "a\\n1\\n"}');
    await page.getByLabel("Name of the run (optional)").fill("only once");
    let lost = 0;
    await page.route(/\/runs$/, async (route) => {
      if (route.request().method() !== "POST" || lost > 0) return route.fallback();
      lost += 1;
      // The gateway takes it; its answer never arrives.
      await route.fetch();
      await route.abort();
    });
    await page.getByRole("button", { name: "Start the run" }).click();
    await page.getByText("The gateway cannot be reached.").waitFor();
    await page.getByRole("button", { name: "Start the run" }).click();
    await page.waitForURL(/#\/runs\//);
    await page.unroute(/\/runs$/);
    await goTo(page, "/");
    await page.getByRole("link", { name: "only once" }).first().waitFor();
    assert.equal(await page.getByRole("link", { name: "only once" }).count(), 1);
  });

  test("a run that ends while the page still asks for it for the first time is shown as ended", async () => {
    const { page } = user;
    await goTo(page, "/build");
    // The first answer about the run is of before its end, and arrives after it.
    let held = 0;
    await page.route(/\/runs\/[0-9a-f-]{36}$/, async (route) => {
      if (held > 0) return route.fallback();
      held += 1;
      const early = await route.fetch();
      const before = await early.json();
      // Longer than the run takes; not the page's own timer, which ends with the page.
      await new Promise((resolve) => setTimeout(resolve, 8_000));
      const status = "pending";
      await route.fulfill({ response: early, json: { ...before, status } }).catch(() => {});
    });
    await page.getByText("JSON", { exact: true }).click();
    await page.getByLabel("Input (JSON)").fill('{"csv": "a\\n2\\n"}');
    await page.getByRole("button", { name: "Start the run" }).click();
    await page.waitForURL(/#\/runs\//);
    await reached(page, "finalized");
    assert.equal(held, 1);
    await page.unroute(/\/runs\/[0-9a-f-]{36}$/);
  });

  test("a slow network shows what is awaited, and arrives", async () => {
    const guest = await visit(opened.browser, { url: "about:blank" });
    await guest.page.route("**/*", async (route) => {
      await new Promise((resolve) => setTimeout(resolve, 150));
      await route.continue();
    });
    await guest.page.goto(opened.served.url);
    await connect(guest.page);
    await guest.page.getByTestId("balance").waitFor();
    await guest.context.close();
  });
});

describe("the first load", () => {
  test("is at most 250 kB gzip without wallets", async () => {
    const context = await opened.browser.newContext();
    const page = await context.newPage();
    const sizes: [string, number][] = [];
    page.on("response", async (response) => {
      if (!response.url().startsWith(opened.served.url) || response.status() !== 200) return;
      const body = await response.body().catch(() => Buffer.alloc(0));
      const isPacked = response.url().endsWith(".woff2");
      sizes.push([response.url(), isPacked ? body.length : gzipSync(body).length]);
    });
    await page.goto(opened.served.url, { waitUntil: "networkidle" });
    await page.getByRole("heading", { level: 1 }).waitFor();
    await picture(page, "welcome-light");
    const sum = sizes.reduce((total, [, size]) => total + size, 0);
    assert.ok(sizes.length >= 4, "the page, its code, its style and its font were counted");
    assert.ok(sum <= 250_000, `${sum} bytes: ${JSON.stringify(sizes)}`);
    console.log(`first load: ${sum} bytes gzip, in ${sizes.length} files`);
    await context.close();
  });
});

describe("the content security policy", () => {
  test("is strict, and the choice of wallets opens under it with our own icons", async () => {
    const answer = await fetch(opened.served.url);
    const policy = answer.headers.get("content-security-policy") ?? "";
    assert.doesNotMatch(policy, /unsafe-inline|unsafe-eval(?<!wasm-unsafe-eval)|\*/);
    assert.match(policy, /default-src 'none'/);
    const guest = await visit(opened.browser, { url: opened.served.url });
    const foreign: string[] = [];
    guest.page.on("request", (request) => {
      const { hostname } = new URL(request.url());
      if (hostname !== "127.0.0.1" && hostname !== "localhost") foreign.push(request.url());
    });
    await guest.page.getByTestId("connect").first().click();
    await guest.page.getByRole("button", { name: /^Browser wallet/ }).click();
    await guest.page.getByText("Freighter", { exact: true }).first().waitFor();
    assert.deepEqual(guest.complaints, []);
    assert.deepEqual(foreign, [], "nobody else learns of the visit");
    await guest.context.close();
  });
});

describe("after everything", () => {
  test("nothing was blocked, thrown or logged", () => {
    const ours = user.complaints.filter((text) => !/ERR_INTERNET_DISCONNECTED|net::/.test(text));
    assert.deepEqual(ours, []);
  });
});
