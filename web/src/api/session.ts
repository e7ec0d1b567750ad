// Logging in (SEP-10, SEP-45): the gateway's challenge, signed by the wallet. Tokens live in this tab's
// memory alone: what is not stored cannot be read by whatever runs in the page later.

import type { Config } from "@/config";
import type { Wallet } from "@/wallet/wallet";

import { GatewayError, Unreachable } from "./gateway";

export interface Session {
  account: string;
  token: string;
  expiresAt: number;
  refreshToken: string;
  role: "user" | "operator";
}

interface Tokens {
  token: string;
  expires_at: number;
  refresh_token: string;
}

async function call<T>(config: Config, path: string, init?: RequestInit): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(config.apiBase + path, { ...init, credentials: "omit" });
  } catch (cause) {
    throw new Unreachable("the gateway cannot be reached", { cause });
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new GatewayError(answer.status, body);
  return body as T;
}

const json = (body: unknown): RequestInit => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
});

async function withRole(config: Config, account: string, tokens: Tokens): Promise<Session> {
  const headers = { authorization: `Bearer ${tokens.token}` };
  const { role } = await call<{ role: "user" | "operator" }>(config, "/auth/session", { headers });
  return {
    account,
    token: tokens.token,
    expiresAt: tokens.expires_at * 1000,
    refreshToken: tokens.refresh_token,
    role,
  };
}

/** Proves to the gateway that the wallet holds its account's key. */
export async function logIn(config: Config, wallet: Wallet): Promise<Session> {
  const query = new URLSearchParams({ account: wallet.address });
  if (wallet.authorise) {
    const asked = await call<{ authorization_entries: string }>(config, `/sep45?${query}`);
    const { readLogin } = await import("@/chain/authorisation");
    const login = readLogin(asked.authorization_entries, config, wallet.address);
    const authorization_entries = login.signed(await wallet.authorise(login.own));
    const tokens = await call<Tokens>(config, "/sep45", json({ authorization_entries }));
    return withRole(config, wallet.address, tokens);
  }
  const challenge = await call<{ transaction: string; network_passphrase?: string }>(
    config,
    `/auth?${query}`,
  );
  // Signs nothing that could be sent: SEP-10 demands sequence number 0 and this very account.
  const { checkChallenge } = await import("@/chain/challenge");
  checkChallenge(challenge.transaction, config, wallet.address);
  const transaction = await wallet.sign(challenge.transaction);
  return withRole(config, wallet.address, await call(config, "/auth", json({ transaction })));
}

/** New tokens for old ones; the old refresh token is worthless afterwards. */
export async function refresh(config: Config, session: Session): Promise<Session> {
  const body = json({ refresh_token: session.refreshToken });
  return withRole(config, session.account, await call(config, "/auth/refresh", body));
}

/** Ends the session at the gateway too. */
export async function logOut(config: Config, session: Session): Promise<void> {
  const headers = { authorization: `Bearer ${session.token}` };
  await fetch(`${config.apiBase}/auth/logout`, { method: "POST", headers }).catch(() => undefined);
}
