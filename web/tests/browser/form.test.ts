// The form that the Builder draws from a module's schema, and inputs that a request cannot hold.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { goTo, lumio, opening, prepare, reached, type Visit, visit } from "./environment.ts";

let user: Visit;

opening(async ({ browser, served }) => {
  user = await visit(browser, { url: served.url });
  await prepare(user.page);
});

describe("the form of a module's schema", () => {
  test("names what is missing or wrong before anything is sent, and starts a run that fits", async () => {
    const { page } = user;
    await goTo(page, "/build");
    const start = page.getByRole("button", { name: "Start the run" });
    await page.getByLabel("CSV (required)").waitFor();
    assert.ok(await start.isDisabled(), "the table is required");

    await page.getByLabel("CSV (required)").fill("day,rain\n1,3.5\n2,none\n3,7\n");
    await page.getByLabel("Title of the report").fill("Rain");
    const most = page.getByLabel("Frequent values to list for each column");
    await most.fill("99");
    await page.getByRole("status").getByText("top").first().waitFor();
    assert.ok(await start.isDisabled(), "at most 50 are listed");
    await most.fill("3");
    await page.getByRole("button", { name: /^Add an entry to Texts that mean/ }).click();
    await page.getByLabel(/^Texts that mean .* 1/).fill("none");

    await start.click();
    await page.waitForURL(/#\/runs\//);
    await reached(page, "finalized");
    await page.getByTestId("outputs").getByRole("button", { name: "Look" }).first().click();
    // The text that means "no value" was heeded: it is counted as one.
    await page.getByText('"nulls": 1').first().waitFor();
  });

  test("a file that a request cannot hold is stored, run and verified", async () => {
    const { page } = user;
    await goTo(page, "/build");
    await page.getByText("File", { exact: true }).click();
    const asked: string[] = [];
    page.on("request", (request) => {
      if (request.method() === "POST") asked.push(new URL(request.url()).pathname);
    });
    const row = `${"rain ".repeat(2_000)},1\n`;
    const csv = `text,number\n${row.repeat(120)}`;
    await page.getByLabel("File, at most 8 MiB").setInputFiles({
      name: "rain.csv",
      mimeType: "text/csv",
      buffer: Buffer.from(csv),
    });
    const start = page.getByRole("button", { name: "Start the run" });
    await page.waitForFunction(
      () => !document.querySelector<HTMLButtonElement>("button[type=submit]")?.disabled,
    );
    await start.click();
    await page.waitForURL(/#\/runs\//);
    assert.ok(asked.indexOf("/inputs") >= 0, asked.join(" "));
    assert.ok(asked.indexOf("/inputs") < asked.indexOf("/runs"), asked.join(" "));
    await reached(page, "finalized");
    await page.getByRole("button", { name: "Verify this run" }).click();
    await page.locator('[data-testid="proof"][data-verdict="proven"]').waitFor();
  });

  test("the gateway holds everybody to it, with the place of each mistake", async () => {
    const { page } = user;
    // A frontend that checks nothing itself.
    await page.route(/\/runs$/, (route) => {
      if (route.request().method() !== "POST") return route.fallback();
      const body = route.request().postDataJSON();
      return route.continue({ postData: JSON.stringify({ ...body, input: { csv: 7, top: 0 } }) });
    });
    await goTo(page, "/");
    await goTo(page, "/build");
    await page.getByLabel("CSV (required)").fill("a\n1\n");
    await page.getByRole("button", { name: "Start the run" }).click();
    await page.getByText("/input/csv").first().waitFor();
    await page.getByText("/input/top").first().waitFor();
    await page.unroute(/\/runs$/);
    assert.deepEqual(user.complaints, []);
  });

  test("a pattern that is tried for ever does not stop the page, and the gateway checks instead", async () => {
    const { page } = user;
    await page.route(/\/agents\/1$/, async (route) => {
      const answer = await route.fetch();
      const csv = { type: "string", title: "CSV", pattern: "^(a+)+$" };
      const inputSchema = { type: "object", required: ["csv"], properties: { csv } };
      await route.fulfill({ response: answer, json: { ...(await answer.json()), inputSchema } });
    });
    await page.reload();
    await page.getByTestId("stream").waitFor();
    await goTo(page, "/build");
    const csv = page.getByLabel("CSV (required)");
    await csv.fill(`${"a".repeat(60)}!`);
    // The page answers while the pattern is tried, and what is typed next is judged anew.
    await page.getByLabel("Name of the run (optional)").fill("still here");
    await page.getByText("The gateway checks it when you start the run.").waitFor();
    const start = page.getByRole("button", { name: "Start the run" });
    assert.ok(await start.isEnabled());
    await csv.fill("b");
    await page.getByRole("status").getByText("csv").first().waitFor();
    assert.ok(await start.isDisabled());
    await csv.fill("aaa");
    await page.waitForFunction(
      () => !document.querySelector<HTMLButtonElement>("button[type=submit]")?.disabled,
    );
    await page.unroute(/\/agents\/1$/);
    assert.deepEqual(user.complaints, []);
  });

  test("an agent is shown with the schema on the command line's way as well", () => {
    lumio("login", "--as", "alice");
    assert.throws(
      () =>
        lumio(
          ...["run", "start", "--user", "alice", "--agent", "1", "--budgets", "runtime_ms=1000"],
          ...["--input", "package.json"],
        ),
      (error: { stderr: string }) => /\/input/.test(error.stderr),
    );
  });
});
