// The real stack, the command line, and a browser. scripts/console.sh starts the stack and says
// where everything is.

import { execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";

import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";

import { type Host, host } from "./host.ts";

function given(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; start these tests with: ./dev test console`);
  return value;
}

export const gateway = given("LUMIO_GATEWAY_URL");
export const rpc = given("LUMIO_RPC_URL");
/** What `./dev up` printed as the console's address. */
const printed = given("LUMIO_CONSOLE_URL").replace(/\/$/, "");

/** How long something may take, in milliseconds. A machine that does other work beside is slow, and what works
 * waits no longer than it has to. */
const PATIENCE = 120_000;

/** Where the command line remembers who is logged in: files of tests run at one time. */
const remembered = mkdtempSync(join(tmpdir(), "lumio-console-"));
process.on("exit", () => rmSync(remembered, { recursive: true }));
const env = { ...process.env, LUMIO_CONFIG_DIR: remembered };

/** The command line, with the stack's keys. */
export const lumio = (...words: string[]): string =>
  execFileSync(given("LUMIO"), words, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    env,
  });

/** The command line with a text on its standard input. */
export const lumioWith = (input: string, ...words: string[]): string =>
  execFileSync(given("LUMIO"), words, { encoding: "utf8", input, env });

export const json = (...words: string[]) => JSON.parse(lumio("--output", "json", ...words));

export const addressOf = (key: string): string =>
  /G[A-Z2-7]{55}/.exec(lumio("keys", "show", key))![0];

export const secretOf = (key: string): string =>
  /S[A-Z2-7]{55}/.exec(lumio("keys", "show", key, "--secret"))![0];

/** A user of a test's own: a key that has money in the vault, has granted the runner this agent, and is
 * logged in at the command line. Returns the key's name. */
export function newUser(prefix: string, amount: string, agent: number): string {
  const name = `${prefix}-${Date.now().toString(36)}`;
  lumio("keys", "generate", name);
  lumio("fund", name);
  lumio("balance", "deposit", amount, "--as", name);
  lumio(
    ...["grant", "add", "--as", name, "--runner", "runner", "--agent", String(agent)],
    ...["--expires-in", "20d"],
  );
  lumio("login", "--as", name);
  return name;
}

/** The console at the address that a person is given. */
async function consoleHost(): Promise<Host> {
  const answer = await fetch(`${printed}/config.json`);
  if (!answer.ok) throw new Error(`${printed} serves no console: ${answer.status}`);
  return { url: printed, config: await answer.json(), stop() {} };
}

/** The console on a host of its own, whose configuration a test may change. */
export async function elsewhere(changed: Record<string, unknown> = {}): Promise<Host> {
  const { config } = await consoleHost();
  return host({ ...config, apiBase: gateway, ...changed }, gateway, rpc);
}

const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath: given("LUMIO_CHROMIUM"),
    // Chromium's own sandbox does not start as root.
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
  });

/** What the tests of a file share. */
interface Opened {
  browser: Browser;
  served: Host;
}

/**
 * Opens a browser and the console before the tests of a file, and closes both after them. What else
 * has to be there first is made in the same hook: Node begins a file's hooks without waiting.
 */
export function opening(more?: (opened: Opened) => Promise<void>): Opened {
  const opened = {} as Opened;
  before(async () => {
    opened.browser = await launch();
    opened.served = await consoleHost();
    await more?.(opened);
  });
  after(async () => {
    await opened.browser?.close();
    opened.served?.stop();
  });
  return opened;
}

export interface Visit {
  page: Page;
  context: BrowserContext;
  /** What the page complained about: blocked by the policy, thrown, or logged as an error. */
  complaints: string[];
  /** Every status of a run that was shown, in their order. */
  statuses: string[];
}

interface Options {
  url: string;
  scheme?: "light" | "dark";
  phone?: boolean;
}

/** A browser profile of its own with the console open. */
export async function visit(
  browser: Browser,
  { url, scheme = "light", phone }: Options,
): Promise<Visit> {
  const context = await browser.newContext({
    colorScheme: scheme,
    viewport: phone ? { width: 390, height: 844 } : { width: 1280, height: 900 },
    deviceScaleFactor: 1,
    reducedMotion: "reduce",
    acceptDownloads: true,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const complaints: string[] = [];
  const statuses: string[] = [];
  page.on("pageerror", (error) => complaints.push(`thrown: ${error.message}`));
  page.on("console", (message) => {
    // A refusal that a page expects is logged by the browser as well.
    const isAnswer = /Failed to load resource/.test(message.text());
    if (message.type() === "error" && !isAnswer) complaints.push(message.text());
  });
  await page.exposeFunction("noteStatus", (status: string) => statuses.push(status));
  await page.addInitScript(() => {
    const note = (window as unknown as { noteStatus: (status: string) => void }).noteStatus;
    const seen = new WeakMap<Element, string>();
    const look = () => {
      for (const chip of document.querySelectorAll("[data-run-status]")) {
        const status = chip.getAttribute("data-run-status") ?? "";
        if (seen.get(chip) !== status) note(status);
        seen.set(chip, status);
      }
    };
    new MutationObserver(look).observe(document, {
      subtree: true,
      childList: true,
      attributes: true,
    });
  });
  await page.goto(url);
  return { page, context, complaints, statuses };
}

/** Connects the local test key and waits for the login. */
export async function connect(page: Page): Promise<string> {
  await page.getByTestId("connect").first().click();
  await page.getByTestId("local-key").click();
  await page.getByTestId("stream").waitFor();
  return (await page.getByTestId("connect").first().getAttribute("data-address"))!;
}

/** Connects with a key of the stack's, such as the operator's, and waits for the login. */
export async function connectAs(page: Page, key: string): Promise<void> {
  await chooseKey(page, key);
  await page.getByTestId("stream").waitFor();
}

/** Gives the page a key of the stack's, whatever becomes of the login. */
export async function chooseKey(page: Page, key: string): Promise<void> {
  await page.getByTestId("connect").first().click();
  await page.getByText("Use a secret key of the local network instead").click();
  await page.getByLabel("Secret key (S…)").fill(secretOf(key));
  await page.getByRole("button", { name: "Use this key" }).click();
}

export async function deposit(page: Page, amount: string): Promise<void> {
  await page.getByRole("button", { name: "Deposit", exact: true }).click();
  const dialog = page.getByTestId("modal");
  await dialog.getByLabel("Amount").fill(amount);
  await dialog.getByRole("button", { name: "Deposit", exact: true }).click();
  await dialog.waitFor({ state: "hidden" });
}

/** Waits until the balance is this many stroops. */
export const balance = (page: Page, stroops: string) =>
  page.locator(`[data-testid="balance"][data-stroops="${stroops}"]`).waitFor();

export async function authorise(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Authorise runner" }).click();
  const dialog = page.getByTestId("modal");
  await dialog.getByRole("button", { name: "Authorise", exact: true }).click();
  await dialog.waitFor({ state: "hidden" });
  await page.getByTestId("grants").waitFor();
}

/** Connects the local test key, deposits and authorises the runner; answers the account. */
export async function prepare(page: Page): Promise<string> {
  const address = await connect(page);
  await deposit(page, "5");
  await authorise(page);
  return address;
}

export async function revoke(page: Page): Promise<void> {
  await page.getByTestId("grants").getByRole("button", { name: "Revoke" }).first().click();
  const dialog = page.getByTestId("modal");
  await dialog.getByRole("button", { name: "Revoke" }).click();
  await dialog.waitFor({ state: "hidden" });
  await page.getByText("You have authorised no runner.").waitFor();
}

export const input = JSON.stringify({ csv: "day,rain\n1,3.5\n2,0\n3,7\n", name: "rain.csv" });

/** Starts a run from the Builder and answers its id. */
export async function start(page: Page, label: string): Promise<string> {
  await page.getByRole("link", { name: "Build", exact: true }).click();
  await page.getByText("JSON", { exact: true }).click();
  await page.getByLabel("Input (JSON)").fill(input);
  await page.getByLabel("Name of the run (optional)").fill(label);
  await page.getByRole("button", { name: "Start the run" }).click();
  await page.waitForURL(/#\/runs\//);
  return /#\/runs\/([0-9a-f-]{36})/.exec(page.url())![1]!;
}

/** Waits until the page shows that the run has this status. */
export const reached = (page: Page, status: string) =>
  page.locator(`[data-run-status="${status}"]`).first().waitFor();

export const goTo = (page: Page, path: string) =>
  page.evaluate((hash) => {
    location.hash = hash;
  }, path);

/** What only the local network can: its control is there where ./dev up was started with it. */
export async function control(what: string, body: object): Promise<{ url: string }> {
  const answer = await fetch(`${rpc}/control/${what}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${what}: ${answer.status}`);
  return (await answer.json().catch(() => ({}))) as { url: string };
}

/** What the file `name` of a process in /proc says, one entry for each zero byte. */
const ofProcess = (pid: number, name: string): string[] =>
  readFileSync(`/proc/${pid}/${name}`, "utf8").split("\0").filter(Boolean);

/**
 * Ends the stack's runner and starts it with these settings changed; `undefined` takes one away. No
 * other test may run beside one that does this. Returns what undoes it.
 */
export async function restartRunner(
  changed: Record<string, string | undefined>,
): Promise<() => Promise<unknown>> {
  const folder = given("LUMIO_RUN");
  const pid = Number(readFileSync(`${folder}/runner.pid`, "utf8"));
  const [program, ...words] = ofProcess(pid, "cmdline");
  const pairs = ofProcess(pid, "environ").map((pair) => {
    const at = pair.indexOf("=");
    return [pair.slice(0, at), pair.slice(at + 1)] as const;
  });
  const before = Object.fromEntries(pairs);
  process.kill(pid, "SIGTERM");
  await until(() => !existsSync(`/proc/${pid}`) || ofProcess(pid, "cmdline").length === 0);
  const log = openSync(`${folder}/log/runner.log`, "a");
  const started = spawn(program!, words, {
    env: { ...before, ...changed },
    detached: true,
    stdio: ["ignore", log, log],
  });
  started.unref();
  // Where ./dev down looks for what it stops.
  writeFileSync(`${folder}/runner.pid`, `${started.pid}\n`);
  await until(async () => (await fetch(`${gateway}/ready`).catch(() => undefined))?.ok === true);
  const names = Object.keys(changed);
  return () => restartRunner(Object.fromEntries(names.map((name) => [name, before[name]])));
}

/** Holds the console to what a newcomer is promised, from the first page to the verdict. */
export function withinTwoMinutes(began: number): void {
  const seconds = (Date.now() - began) / 1000;
  console.log(`from the first page to the verdict: ${seconds} s`);
  // A machine that is busy with other work says nothing about the console.
  const isBusy = loadavg()[0]! > availableParallelism();
  if (!isBusy && seconds >= 120) throw new Error(`a newcomer needs two minutes, not ${seconds} s`);
}

/** Waits until something holds. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + PATIENCE;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`it does not hold after ${PATIENCE} ms: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const pictures = fileURLToPath(new URL("../../../docs/console/", import.meta.url));

/** A picture for the documentation; made only where it is asked for, since they change every time. */
export async function picture(page: Page, name: string): Promise<void> {
  if (!process.env.LUMIO_PICTURES) return;
  mkdirSync(pictures, { recursive: true });
  // What was said of an earlier click, and what the pointer was left on, belong to no page.
  await page.mouse.move(0, 0);
  await page.waitForFunction(() => document.querySelector(".toast, .stream.connecting") === null);
  // The window takes the page's length: what is fixed to its edge would lie on the page's middle else.
  const before = page.viewportSize()!;
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  await page.setViewportSize({ ...before, height: Math.max(before.height, height) });
  await page.screenshot({ path: `${pictures}${name}.png`, animations: "disabled", scale: "css" });
  await page.setViewportSize(before);
}
