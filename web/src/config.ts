// Which network, contracts and runner this console is for. The gateway writes `/config.json`; what
// was given at build time is used where no such file is served.

import { networks as registryNetworks } from "../../packages/agent_registry/src/networks.ts";
import { networks as vaultNetworks } from "../../packages/prepaid_vault/src/networks.ts";

export interface Config {
  networkPassphrase: string;
  /** The node that the browser asks by itself; without one nothing can be signed or verified. */
  rpcUrl: string | null;
  contractId: string;
  agentRegistryId: string;
  token: string | null;
  /** The runner that the gateway names; undefined where only build-time defaults are known. */
  runner: string | undefined;
  /** Prefix of every route of the gateway; empty for the console's own host. */
  apiBase: string;
  auth: "none" | "login";
  /** The contract by which contract accounts log in (SEP-45); null where they cannot. */
  webAuthContractId: string | null;
  /** SHA-256 of the code of accounts for passkeys; null where none are made. */
  passkeyWasmHash: string | null;
  /** Who pays for passkey accounts: a key of this browser (local network only), or a browser wallet. */
  passkeyPayer: "local-key" | "wallet";
  runnerFee: string;
  version: string;
  /** The key that this build was made for, which has to be the one that is served. */
  builtFor: string | undefined;
}

export const LOCAL_PASSPHRASE = "Standalone Network ; February 2017";

const text = (value: unknown): string | undefined =>
  typeof value === "string" && value !== "" ? value : undefined;

const digest = (value: unknown): string | undefined =>
  typeof value === "string" && /^[0-9a-f]{64}$/.test(value) ? value : undefined;

/** Joins what is served with the defaults of the build. Anything malformed counts as absent. */
export function configOf(served: Record<string, unknown>, built: Record<string, unknown>): Config {
  const builtFor = text(built.VITE_RUNNER_PUBLIC_KEY);
  const apiBase = text(served.apiBase) ?? text(built.VITE_RUNNER_API_BASE) ?? "";
  const networkPassphrase = text(served.networkPassphrase) ?? LOCAL_PASSPHRASE;
  const isForWallet = networkPassphrase !== LOCAL_PASSPHRASE || served.passkeyPayer === "wallet";
  return {
    networkPassphrase,
    rpcUrl: served.rpcUrl === null ? null : (text(served.rpcUrl) ?? vaultNetworks.local.rpcUrl),
    contractId: text(served.contractId) ?? vaultNetworks.local.contractId,
    agentRegistryId: text(served.agentRegistryId) ?? registryNetworks.local.contractId,
    token: text(served.token) ?? null,
    runner: text(served.runner) ?? builtFor,
    apiBase: apiBase.replace(/\/+$/, ""),
    auth: served.auth === "none" ? "none" : "login",
    webAuthContractId: text(served.webAuthContractId) ?? null,
    passkeyWasmHash: digest(served.passkeyWasmHash) ?? null,
    passkeyPayer: isForWallet ? "wallet" : "local-key",
    runnerFee: text(served.runnerFee) ?? "0",
    version: text(served.version) ?? "",
    builtFor,
  };
}

/** Whether the network is the local one, where a key without a wallet is allowed. */
export const isLocal = (config: Config): boolean => config.networkPassphrase === LOCAL_PASSPHRASE;

/**
 * Whether accounts with a passkey can be used here. "elsewhere": not at this address, since a passkey
 * is made for a name and this page was opened by a number.
 */
export function passkeys(config: Config): "here" | "elsewhere" | "unavailable" {
  const isOffered =
    config.passkeyWasmHash !== null &&
    config.rpcUrl !== null &&
    (config.auth === "none" || config.webAuthContractId !== null);
  if (!isOffered) return "unavailable";
  const isNumber = /^[\d.]+$|^\[/.test(location.hostname);
  if (isNumber) return "elsewhere";
  return typeof PublicKeyCredential === "undefined" ? "unavailable" : "here";
}

/** Reads `/config.json`; throws when the host answers something that is no configuration. */
export async function loadConfig(): Promise<Config> {
  const built = import.meta.env as Record<string, unknown>;
  const base = text(built.VITE_RUNNER_API_BASE) ?? "";
  // The console's own host first; a gateway elsewhere second.
  for (const url of new Set(["/config.json", `${base}/config.json`])) {
    const answer = await fetch(url, { headers: { accept: "application/json" } }).catch(() => null);
    const isJson = answer?.headers.get("content-type")?.includes("json");
    if (answer?.ok && isJson) return configOf(await answer.json(), built);
    if (answer && answer.status >= 500) throw new Error(`${url}: ${answer.status}`);
  }
  if (base === "" && text(built.VITE_RUNNER_PUBLIC_KEY) === undefined) {
    throw new Error("no /config.json is served here, and the build has no defaults");
  }
  return configOf({}, built);
}
