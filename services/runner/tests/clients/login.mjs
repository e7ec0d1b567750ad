// Logs in by SEP-10 with the JavaScript SDK of Stellar, as a wallet does. Its arguments are the
// last two or three: URL SECRET [MUXED]. Prints the gateway's answer.
import { Keypair, Networks, StellarToml, TransactionBuilder, WebAuth } from "@stellar/stellar-sdk";

const [url, secret, muxed] = process.argv.slice(process.argv.findIndex((arg) => arg.startsWith("http")));
const key = Keypair.fromSecret(secret);
const account = muxed ?? key.publicKey();
const toml = await StellarToml.Resolver.resolve(new URL(url).host, { allowHttp: true });
const endpoint = new URL(toml.WEB_AUTH_ENDPOINT);
const network = toml.NETWORK_PASSPHRASE;
if (network !== Networks.STANDALONE) throw new Error(`another network: ${network}`);

const home = new URL(url).host;
const asked = await fetch(`${endpoint}?${new URLSearchParams({ account, home_domain: home })}`);
const challenge = await asked.json();
if (!asked.ok) throw new Error(JSON.stringify(challenge));
const { transaction, network_passphrase } = challenge;
const read = WebAuth.readChallengeTx(
  transaction, toml.SIGNING_KEY, network_passphrase, home, endpoint.host,
);
if (read.clientAccountID !== account) throw new Error(`for another account: ${read.clientAccountID}`);

const signed = TransactionBuilder.fromXDR(transaction, network_passphrase);
signed.sign(key);
// The SDK's own check of a server, on the very bytes that are sent.
WebAuth.verifyChallengeTxSigners(
  signed.toEnvelope().toXDR("base64"), toml.SIGNING_KEY, network_passphrase, [key.publicKey()], home,
  endpoint.host,
);
const answer = await fetch(endpoint, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ transaction: signed.toEnvelope().toXDR("base64") }),
});
console.log(JSON.stringify({ status: answer.status, ...(await answer.json()) }));
