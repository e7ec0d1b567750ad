import assert from "node:assert/strict";
import { test } from "node:test";

import { configOf, isLocal } from "../../src/config.ts";

test("what is served beats the build, and a build for another key is remembered", () => {
  const built = { VITE_RUNNER_PUBLIC_KEY: "GBUILT", VITE_RUNNER_API_BASE: "https://api.example/" };
  const served = { runner: "GSERVED", apiBase: "", auth: "login", rpcUrl: "https://rpc.example" };
  const config = configOf(served, built);
  assert.equal(config.runner, "GSERVED");
  assert.equal(config.builtFor, "GBUILT", "so that the two can be compared");
  assert.equal(config.apiBase, "https://api.example");
  assert.equal(configOf({}, built).runner, "GBUILT");
});

test("a console without a login is never guessed", () => {
  assert.equal(configOf({}, {}).auth, "login");
  assert.equal(configOf({ auth: "off" }, {}).auth, "login");
  assert.equal(configOf({ auth: "none" }, {}).auth, "none");
});

test("only the local network is local", () => {
  const public_ = { networkPassphrase: "Public Global Stellar Network ; September 2015" };
  assert.ok(!isLocal(configOf(public_, {})));
  assert.ok(isLocal(configOf({ networkPassphrase: "Standalone Network ; February 2017" }, {})));
  assert.equal(configOf({ rpcUrl: null }, {}).rpcUrl, null, "no node is not the local one");
});
