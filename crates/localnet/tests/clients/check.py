"""What an unmodified stellar-sdk of PyPI does against the network at URL.

Arguments: the folder of the packages, the URL, the contract's Wasm.
"""

import sys
import time
import urllib.request
from importlib.metadata import version

packages, url, wasm_path = sys.argv[1:4]
sys.path.insert(0, packages)

from stellar_sdk import Asset, Keypair, Network, SorobanServer, TransactionBuilder, scval, xdr
from stellar_sdk.contract import ContractClient
from stellar_sdk.soroban_rpc import EventFilter, EventFilterType, GetTransactionStatus, SendTransactionStatus

server = SorobanServer(url)
passphrase = server.get_network().passphrase
seen = []


def settled(sent):
    """Waits for a transaction's ledger, for a minute at most."""
    assert sent.status == SendTransactionStatus.PENDING, sent
    for _ in range(1200):
        found = server.get_transaction(sent.hash)
        if found.status != GetTransactionStatus.NOT_FOUND:
            assert found.status == GetTransactionStatus.SUCCESS, found
            return found
        time.sleep(0.05)
    raise AssertionError(f"{sent.hash} was not applied")


def builder(key):
    source = server.load_account(key.public_key)
    return TransactionBuilder(source, passphrase, base_fee=1000).set_timeout(60)


def check(name):
    def run(work):
        work()
        seen.append(name)

    return run


anna, ben = Keypair.random(), Keypair.random()
state = {}


@check("getHealth, getVersionInfo, getFeeStats, getLatestLedger")
def _():
    assert server.get_health().status == "healthy"
    assert server.get_version_info().protocol_version == 30
    assert int(server.get_fee_stats().soroban_inclusion_fee.p99) >= 0
    assert server.get_latest_ledger().sequence > 1


@check("friendbot")
def _():
    for key in (anna, ben):
        urllib.request.urlopen(f"{url}/friendbot?addr={key.public_key}").read()


@check("payment and getTransaction")
def _():
    transaction = builder(anna).append_payment_op(ben.public_key, Asset.native(), "1").build()
    transaction.sign(anna)
    state["paid"] = settled(server.send_transaction(transaction))


@check("fee bump, found by its inner hash")
def _():
    inner = builder(anna).append_bump_sequence_op(0).build()
    inner.sign(anna)
    bump = TransactionBuilder.build_fee_bump_transaction(ben, 5000, inner, passphrase)
    bump.sign(ben)
    settled(server.send_transaction(bump))
    assert server.get_transaction(inner.hash_hex()).status == GetTransactionStatus.SUCCESS


@check("ContractClient: upload, deploy and invoke")
def _():
    wasm_id = ContractClient.upload_contract_wasm(open(wasm_path, "rb").read(), anna.public_key, anna, server)
    arguments = [scval.to_uint32(7)]
    state["counter"] = ContractClient.create_contract(wasm_id, anna.public_key, anna, server, arguments)
    client = ContractClient(state["counter"], url, passphrase)
    assert scval.from_uint32(client.invoke("count", [], source=anna.public_key).result()) == 7
    bump = client.invoke("bump", [scval.to_address(anna.public_key)], source=anna.public_key, signer=anna)
    assert scval.from_uint32(bump.sign_and_submit()) == 8


@check("ContractClient: another party signs")
def _():
    client = ContractClient(state["counter"], url, passphrase)
    bump = client.invoke("bump", [scval.to_address(ben.public_key)], source=anna.public_key, signer=anna)
    assert bump.needs_non_invoker_signing_by() == {ben.public_key}
    bump.sign_auth_entries(ben)
    assert scval.from_uint32(bump.sign_and_submit()) == 9


@check("getEvents: a tail loop at the tip")
def _():
    filters = [EventFilter(event_type=EventFilterType.CONTRACT, contract_ids=[state["counter"]])]
    page = server.get_events(state["paid"].ledger, filters=filters, limit=10)
    assert len(page.events) == 2, page
    for _ in range(3):
        page = server.get_events(filters=filters, cursor=page.cursor, limit=10)
        assert page.events == []


@check("getLedgers and getTransactions")
def _():
    ledgers = server.get_ledgers(state["paid"].ledger, limit=2).ledgers
    xdr.LedgerCloseMeta.from_xdr(ledgers[0].metadata_xdr)
    page = server.get_transactions(state["paid"].ledger, limit=5)
    assert page.transactions and page.cursor


@check("getLedgerEntries and getContractData")
def _():
    assert server.get_contract_data(state["counter"], scval.to_symbol("count")).live_until_ledger > 0


print(f"stellar-sdk {version('stellar-sdk')} (PyPI): {', '.join(seen)}")
