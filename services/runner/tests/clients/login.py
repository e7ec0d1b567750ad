"""Logs in with the Python SDK of Stellar, as a wallet does: python login.py URL SECRET [CONTRACT].

With CONTRACT by SEP-45, else by SEP-10. Prints the gateway's answer.
"""

import json
import sys
import urllib.parse
import urllib.request

from stellar_sdk import Keypair, TransactionEnvelope
from stellar_sdk import xdr as stellar_xdr
from stellar_sdk.auth import authorize_entry
from stellar_sdk.sep import stellar_soroban_web_authentication as sep45
from stellar_sdk.sep import stellar_web_authentication as sep10
from stellar_sdk.sep.stellar_toml import fetch_stellar_toml


def ask(url, body=None, form=False):
    """The JSON answer to a request; refusals are answers too."""
    headers = {"Content-Type": "application/x-www-form-urlencoded" if form else "application/json"}
    if body is not None:
        body = (urllib.parse.urlencode(body) if form else json.dumps(body)).encode()
    request = urllib.request.Request(url, data=body, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return {"status": answer.status, **json.load(answer)}
    except urllib.error.HTTPError as error:
        return {"status": error.code, **json.load(error)}


def main(url, secret, contract=None):
    key = Keypair.from_secret(secret)
    home = urllib.parse.urlsplit(url).netloc
    toml = fetch_stellar_toml(home, use_http=True)
    query = urllib.parse.urlencode({"account": contract or key.public_key, "home_domain": home})
    if contract is None:
        endpoint = toml["WEB_AUTH_ENDPOINT"]
        challenge = ask(f"{endpoint}?{query}")
        network = challenge["network_passphrase"]
        domain = urllib.parse.urlsplit(endpoint).netloc
        sep10.read_challenge_transaction(
            challenge["transaction"], toml["SIGNING_KEY"], home, domain, network
        )
        envelope = TransactionEnvelope.from_xdr(challenge["transaction"], network)
        envelope.sign(key)
        sep10.verify_challenge_transaction_signed_by_client_master_key(
            envelope.to_xdr(), toml["SIGNING_KEY"], home, domain, network
        )
        return ask(endpoint, {"transaction": envelope.to_xdr()}, form=True)

    endpoint = toml["WEB_AUTH_FOR_CONTRACTS_ENDPOINT"]
    challenge = ask(f"{endpoint}?{query}")
    network = challenge["network_passphrase"]
    domain = urllib.parse.urlsplit(endpoint).netloc
    text = challenge["authorization_entries"]
    read = sep45.read_challenge_authorization_entries(
        text, toml["SIGNING_KEY"], home, domain, toml["WEB_AUTH_CONTRACT_ID"]
    )
    assert read.client_account_id == contract, read
    entries = stellar_xdr.SorobanAuthorizationEntries.from_xdr(text).soroban_authorization_entries
    server = next(e for e in entries if e.credentials.address.signature.vec is not None)
    until = server.credentials.address.signature_expiration_ledger.uint32
    signed = [e if e is server else authorize_entry(e, key, until, network) for e in entries]
    return ask(
        endpoint,
        {"authorization_entries": stellar_xdr.SorobanAuthorizationEntries(signed).to_xdr()},
    )


print(json.dumps(main(*sys.argv[1:])))
