// What an unmodified @stellar/stellar-sdk does against the network at URL. Arguments: the folder
// that holds node_modules, the URL, the contract's Wasm, the version to expect.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, url, wasmPath] = process.argv.slice(2);
const require = createRequire(join(folder, "package.json"));
const sdk = await import(pathToFileURL(require.resolve("@stellar/stellar-sdk")).href).then((module) =>
  module.Keypair ? module : module.default,
);
const { Keypair, Operation, TransactionBuilder, Account, Address, Asset, Contract, contract, hash, nativeToScVal, rpc, xdr } = sdk;

const server = new rpc.Server(url, { allowHttp: true });
const { passphrase: networkPassphrase, friendbotUrl } = await server.getNetwork();
const seen = [];
const check = async (name, work) => {
  await work();
  seen.push(name);
};
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const toBase64 = (value) => (typeof value === "string" ? value : value.toXDR("base64"));

/** Waits for a transaction's ledger, for a minute at most. */
async function settled(sent) {
  assert.equal(sent.status, "PENDING", JSON.stringify(sent));
  for (let attempt = 0; attempt < 1200; attempt++) {
    const found = await server.getTransaction(sent.hash);
    if (found.status !== "NOT_FOUND") {
      assert.equal(found.status, "SUCCESS", sent.hash);
      return found;
    }
    await pause(50);
  }
  assert.fail(`${sent.hash} was not applied`);
}

async function send(key, operation, { prepare = false } = {}) {
  const source = await server.getAccount(key.publicKey());
  let transaction = new TransactionBuilder(source, { fee: "1000", networkPassphrase })
    .addOperation(operation)
    .setTimeout(60)
    .build();
  if (prepare) transaction = await server.prepareTransaction(transaction);
  transaction.sign(key);
  return settled(await server.sendTransaction(transaction));
}

await check("getHealth", async () => assert.equal((await server.getHealth()).status, "healthy"));
await check("getVersionInfo", async () => assert.equal((await server.getVersionInfo()).protocolVersion, 30));
await check("getFeeStats", async () => assert.ok((await server.getFeeStats()).sorobanInclusionFee.p99));
await check("getLatestLedger", async () => assert.ok((await server.getLatestLedger()).sequence > 1));

const anna = Keypair.random();
const ben = Keypair.random();
await check("requestAirdrop", async () => {
  const account = await server.requestAirdrop(anna.publicKey(), friendbotUrl);
  assert.equal(account.accountId(), anna.publicKey());
  await server.requestAirdrop(ben.publicKey(), friendbotUrl);
});
let paid;
await check("payment and getTransaction", async () => {
  paid = await send(anna, Operation.payment({ destination: ben.publicKey(), asset: Asset.native(), amount: "1" }));
});
await check("fee bump, found by its inner hash", async () => {
  const source = await server.getAccount(anna.publicKey());
  const inner = new TransactionBuilder(source, { fee: "100", networkPassphrase })
    .addOperation(Operation.bumpSequence({ bumpTo: "0" }))
    .setTimeout(60)
    .build();
  inner.sign(anna);
  const bump = TransactionBuilder.buildFeeBumpTransaction(ben, "1000", inner, networkPassphrase);
  bump.sign(ben);
  await settled(await server.sendTransaction(bump));
  const found = await server.getTransaction(Buffer.from(inner.hash()).toString("hex"));
  assert.equal(found.status, "SUCCESS");
});

let counter;
await check("upload and deploy", async () => {
  const wasm = readFileSync(wasmPath);
  await send(anna, Operation.uploadContractWasm({ wasm }), { prepare: true });
  const create = Operation.createCustomContract({
    address: new Address(anna.publicKey()),
    wasmHash: hash(wasm),
    constructorArgs: [xdr.ScVal.scvU32(7)],
    salt: Buffer.alloc(32, 5),
  });
  const done = await send(anna, create, { prepare: true });
  counter = Address.fromScVal(done.returnValue).toString();
});

const spec = new contract.Spec([
  functionSpec("count", [], xdr.ScSpecTypeDef.scSpecTypeU32()),
  functionSpec("bump", [["user", xdr.ScSpecTypeDef.scSpecTypeAddress()]], xdr.ScSpecTypeDef.scSpecTypeU32()),
]);
function functionSpec(name, inputs, output) {
  const entry = new xdr.ScSpecFunctionV0({
    doc: "",
    name,
    inputs: inputs.map(([input, type]) => new xdr.ScSpecFunctionInputV0({ doc: "", name: input, type })),
    outputs: [output],
  });
  return xdr.ScSpecEntry.scSpecEntryFunctionV0(entry);
}
const signer = (key) => contract.basicNodeSigner(key, networkPassphrase);
const clientOf = (key) =>
  new contract.Client(spec, {
    contractId: counter,
    rpcUrl: url,
    allowHttp: true,
    networkPassphrase,
    publicKey: key.publicKey(),
    ...signer(key),
  });
await check("contract.Client: read and invoke", async () => {
  const client = clientOf(anna);
  assert.equal((await client.count()).result, 7);
  const sent = await (await client.bump({ user: anna.publicKey() })).signAndSend();
  assert.equal(sent.result, 8);
});
await check("contract.Client: another party signs", async () => {
  const assembled = await clientOf(anna).bump({ user: ben.publicKey() });
  assert.deepEqual(assembled.needsNonInvokerSigningBy(), [ben.publicKey()]);
  await assembled.signAuthEntries({ address: ben.publicKey(), ...signer(ben) });
  assert.equal((await assembled.signAndSend()).result, 9);
});
await check("getEvents: a tail loop at the tip", async () => {
  const request = { filters: [{ type: "contract", contractIds: [counter] }], limit: 10 };
  let page = await server.getEvents({ ...request, startLedger: paid.ledger });
  assert.equal(page.events.length, 2);
  for (let round = 0; round < 3; round++) {
    page = await server.getEvents({ ...request, cursor: page.cursor });
    assert.equal(page.events.length, 0);
  }
});
await check("getLedgers and getTransactions", async () => {
  const ledgers = await server.getLedgers({ startLedger: paid.ledger, pagination: { limit: 2 } });
  assert.ok(toBase64(ledgers.ledgers[0].metadataXdr).length > 100);
  const transactions = await server.getTransactions({ startLedger: paid.ledger, pagination: { limit: 5 } });
  assert.ok(transactions.transactions.some((one) => one.txHash === paid.txHash));
});
await check("getLedgerEntries and getContractData", async () => {
  const data = await server.getContractData(counter, nativeToScVal("count", { type: "symbol" }), rpc.Durability.Persistent);
  assert.ok(data.liveUntilLedgerSeq > 0);
  const instance = await server.getLedgerEntries(new Contract(counter).getFootprint());
  assert.equal(instance.entries.length, 1);
});
await check("simulateTransaction: a failure with its event log", async () => {
  const transaction = new TransactionBuilder(new Account(anna.publicKey(), "1"), { fee: "100", networkPassphrase })
    .addOperation(new Contract(counter).call("no_such_function"))
    .setTimeout(60)
    .build();
  const simulated = await server.simulateTransaction(transaction);
  assert.ok(rpc.Api.isSimulationError(simulated));
  assert.match(simulated.error, /Event log \(newest first\)/);
});
await check("extend and restore", async () => {
  const footprint = new sdk.SorobanDataBuilder().setReadOnly([new Contract(counter).getFootprint()]).build();
  const source = await server.getAccount(anna.publicKey());
  const extend = new TransactionBuilder(source, { fee: "1000", networkPassphrase })
    .addOperation(Operation.extendFootprintTtl({ extendTo: 2_500_000 }))
    .setSorobanData(footprint)
    .setTimeout(60)
    .build();
  const prepared = await server.prepareTransaction(extend);
  prepared.sign(anna);
  await settled(await server.sendTransaction(prepared));
  const restoring = new TransactionBuilder(await server.getAccount(anna.publicKey()), { fee: "1000", networkPassphrase })
    .addOperation(Operation.restoreFootprint({}))
    .setSorobanData(new sdk.SorobanDataBuilder().setReadWrite([new Contract(counter).getFootprint()]).build())
    .setTimeout(60)
    .build();
  const restored = await server.prepareTransaction(restoring);
  restored.sign(anna);
  await settled(await server.sendTransaction(restored));
});
const { version } = JSON.parse(readFileSync(join(folder, "node_modules/@stellar/stellar-sdk/package.json"), "utf8"));
console.log(`@stellar/stellar-sdk ${version}: ${seen.join(", ")}`);
