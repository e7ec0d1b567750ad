// Somebody who has never been here, with nothing but the address that ./dev up prints: no
// terminal, no wallet, no account. Everything is found by what the pages show.

import assert from "node:assert/strict";
import { test } from "node:test";

import { balance, input, opening, reached, visit, withinTwoMinutes } from "./environment.ts";

const opened = opening();

test("a newcomer pays for a run, looks at what it left, and verifies it within two minutes", async () => {
  const began = Date.now();
  const { page, context, complaints } = await visit(opened.browser, { url: opened.served.url });
  const dialog = page.getByTestId("modal");
  const press = (name: string) => page.getByRole("button", { name, exact: true }).first().click();
  const confirm = async (name: string) => {
    await dialog.getByRole("button", { name, exact: true }).click();
    await dialog.waitFor({ state: "hidden" });
  };

  await press("Connect wallet");
  await dialog.getByText("Local test key").click();
  await page.getByText("Start your first run").waitFor();

  await press("Deposit");
  await dialog.getByLabel("Amount").fill("5");
  await confirm("Deposit");
  await balance(page, "50000000");
  await press("Authorise runner");
  await confirm("Authorise");

  await page.getByRole("link", { name: "Build a run" }).click();
  await page.getByText("JSON", { exact: true }).click();
  await page.getByLabel("Input (JSON)").fill("{");
  await page.getByText("This is not JSON").waitFor();
  assert.ok(await page.getByRole("button", { name: "Start the run" }).isDisabled());
  await page.getByLabel("Input (JSON)").fill(input);
  await press("Start the run");
  await reached(page, "finalized");

  const outputs = page.getByTestId("outputs");
  await outputs.getByRole("button", { name: "Look" }).last().click();
  await page.getByText("rain.csv").first().waitFor();
  await press("Verify this run");
  await page.locator('[data-testid="proof"][data-verdict="proven"]').waitFor();

  withinTwoMinutes(began);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a module that gives up says why, in words, and everything goes back", async () => {
  const { page, context } = await visit(opened.browser, { url: opened.served.url });
  const dialog = page.getByTestId("modal");
  await page.getByTestId("connect").first().click();
  await page.getByTestId("local-key").click();
  await page.getByRole("button", { name: "Deposit", exact: true }).click();
  await dialog.getByLabel("Amount").fill("5");
  await dialog.getByRole("button", { name: "Deposit", exact: true }).click();
  await dialog.waitFor({ state: "hidden" });
  await page.getByRole("button", { name: "Authorise runner" }).click();
  await dialog.getByRole("button", { name: "Authorise", exact: true }).click();
  await dialog.waitFor({ state: "hidden" });
  await page.getByRole("link", { name: "Build", exact: true }).click();
  await page.getByText("JSON", { exact: true }).click();
  // A text, as the module's form asks for, and yet no table.
  await page.getByLabel("Input (JSON)").fill('{"csv": " "}');
  await page.getByRole("button", { name: "Start the run" }).click();
  await reached(page, "failed");
  await page.getByText("The module ended with an error").first().waitFor();
  await page.getByText("correct it and start a new run").first().waitFor();
  await page.getByText("all of it went back").first().waitFor();
  await context.close();
});
