// Both packages against a local network: deploy, register, deposit, cap, grant, and read back.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, test } from "node:test";

import { Asset, type Keypair } from "@stellar/stellar-sdk";
import { Client as Registry, networks as registryNetworks, refusalOf as registryRefusalOf } from "agent_registry";
import { Client as Vault, VaultError, VaultRefusal, networks as vaultNetworks, refusalOf } from "prepaid_vault";

import { Localnet, networkPassphrase } from "./localnet.ts";

const rates = { llm_in: 10n, llm_out: 20n, http_calls: 1_000n, runtime_ms: 100n };
const digest = new Uint8Array(32).fill(7);

let localnet: Localnet;
let admin: Keypair;
let registryId: string;
let vaultId: string;

const registryAs = (key: Keypair) => new Registry({ ...localnet.signer(key), contractId: registryId });
const vaultAs = (key: Keypair) => new Vault({ ...localnet.signer(key), contractId: vaultId });

before(async () => {
  localnet = await Localnet.start();
  admin = await localnet.account();
  const registryCode = await localnet.upload("agent_registry", admin);
  const vaultCode = await localnet.upload("prepaid_vault", admin);
  const registry = await Registry.deploy<Registry>(
    { admin: admin.publicKey() },
    { ...localnet.signer(admin), wasmHash: registryCode },
  );
  registryId = (await registry.signAndSend()).result.options.contractId;
  const token = Asset.native().contractId(networkPassphrase);
  const vault = await Vault.deploy<Vault>(
    { admin: admin.publicKey(), registry: registryId, token },
    { ...localnet.signer(admin), wasmHash: vaultCode },
  );
  vaultId = (await vault.signAndSend()).result.options.contractId;
});

after(async () => {
  await localnet?.stop();
});

test("a user deposits, sets caps, grants, and reads it all back", async () => {
  const [user, developer, runner] = await Promise.all([localnet.account(), localnet.account(), localnet.account()]);
  const registry = registryAs(developer);
  const registered = await registry.register_agent({
    developer: developer.publicKey(),
    metadata_uri: "https://example.org/agent.json",
    runners: [runner.publicKey()],
    initial_rate_card: { rates, manifest_hash: digest },
  });
  const agent_id = (await registered.signAndSend()).result.unwrap();

  const vault = vaultAs(user);
  const me = user.publicKey();
  const deposited = await (await vault.deposit({ user: me, amount: 50_000_000n })).signAndSend();
  assert.ok(deposited.result.isOk());
  await (await vault.set_policy({ user: me, policy: { per_run_cap: 5_000_000n, daily_cap: 0n, paused: false } })).signAndSend();
  await (await vault.grant_runner({ user: me, runner: runner.publicKey(), agent_id, expires_at: null })).signAndSend();

  const agent = (await registry.get_agent({ agent_id })).result.unwrap();
  assert.equal(agent.developer, developer.publicKey());
  assert.deepEqual(agent.runners, [runner.publicKey()]);
  const card = (await registry.get_rate_card({ agent_id, version: 1 })).result.unwrap();
  assert.deepEqual(card.rates, rates);
  assert.deepEqual(new Uint8Array(card.manifest_hash), digest);
  assert.equal((await vault.balance_of({ user: me })).result.unwrap(), 50_000_000n);
  assert.equal((await vault.get_policy({ user: me })).result.unwrap().per_run_cap, 5_000_000n);
  const grants = (await vault.list_runner_grants({ user: me })).result;
  assert.deepEqual(grants.map((grant) => [grant.runner, grant.agent_id, grant.expires_at ?? null]), [
    [runner.publicKey(), agent_id, null],
  ]);
  const asked = { user: me, runner: runner.publicKey(), agent_id };
  assert.equal((await vault.is_runner_authorized(asked)).result.unwrap(), true);
});

test("the events are found by their generated filters and read by their generated types", async () => {
  const user = await localnet.account();
  const vault = vaultAs(user);
  const sent = await (await vault.deposit({ user: user.publicKey(), amount: 3n })).signAndSend();
  const done = sent.getTransactionResponse;
  assert.equal(done?.status, "SUCCESS");
  const { events } = await localnet.server.getEvents({
    startLedger: done.ledger,
    filters: [
      { type: "contract", contractIds: [vaultId], topics: [vault.accountDepositedEventFilter({ user: user.publicKey() })] },
    ],
  });
  assert.equal(events.length, 1);
  const parsed = vault.parseEvent(events[0]!.topic, events[0]!.value);
  assert.equal(parsed?.name, "AccountDeposited");
  assert.deepEqual({ ...parsed?.data }, { user: user.publicKey(), amount: 3n, balance: 3n });
});

test("a refusal comes as the contract's own error", async () => {
  const user = await localnet.account();
  const refused = await vaultAs(user).withdraw({ user: user.publicKey(), amount: 1n });
  assert.ok(refused.result.isErr());
  const refusal = refusalOf(refused.result.unwrapErr());
  assert.ok(refusal instanceof VaultRefusal);
  assert.deepEqual([refusal.number, refusal.name], [5, "InsufficientBalance"]);
  const missing = await registryAs(user).get_agent({ agent_id: 999 });
  assert.equal(registryRefusalOf(missing.result.unwrapErr())?.name, "AgentNotFound");
  assert.equal(refusalOf(new Error("connect ECONNREFUSED")), undefined);
  const names = Object.values(VaultError).map((error) => error.message);
  assert.equal(VaultError[5].message, "InsufficientBalance");
  assert.ok(names.includes("RunNotOpen"));
});

test("the local network's ids are those that lumio deploy makes", async (context) => {
  const lumio = process.env.LUMIO;
  if (lumio === undefined) return context.skip("LUMIO names no program");
  const options = { env: { ...process.env, LUMIO_RPC_URL: localnet.url }, encoding: "utf8" } as const;
  const deployed = JSON.parse(execFileSync(lumio, ["--output", "json", "deploy"], options));
  assert.equal(deployed.vault, vaultNetworks.local.contractId);
  assert.equal(deployed.registry, registryNetworks.local.contractId);
});
