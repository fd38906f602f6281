"""What web3.py's reusable tests want to find: a wallet, contracts, a block with a log.

Basalt keeps no keys of users, so a small wallet stands between `send_transaction` and the node.
"""

import os
import time

import pytest
import pytest_asyncio
from eth_account import Account
from eth_utils import to_checksum_address
from web3 import AsyncHTTPProvider, AsyncWeb3, HTTPProvider, Web3, WebSocketProvider
from web3._utils.contract_sources.contract_data._custom_contract_data import EMITTER_ENUM
from web3._utils.contract_sources.contract_data.emitter_contract import EMITTER_CONTRACT_DATA
from web3._utils.contract_sources.contract_data.math_contract import MATH_CONTRACT_DATA
from web3._utils.contract_sources.contract_data.offchain_lookup import OFFCHAIN_LOOKUP_DATA
from web3._utils.contract_sources.contract_data.panic_errors_contract import PANIC_ERRORS_CONTRACT_DATA
from web3._utils.contract_sources.contract_data.revert_contract import REVERT_CONTRACT_DATA
from web3._utils.contract_sources.contract_data.storage_contract import STORAGE_CONTRACT_DATA
from web3.middleware import Web3Middleware

URL = os.environ.get("NETWORK_RPC", "http://127.0.0.1:8545").split(",")[0]
# Accounts 0, 1 and 9 of the development mnemonic: the tests' own two, and the one that makes blocks happen.
KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
SECOND_KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
OTHER_KEY = "0x2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6"
ZERO = "0x0000000000000000000000000000000000000000"


ADDRESSES = [Account.from_key(key).address for key in (KEY, SECOND_KEY)]


class Wallet(Web3Middleware):
    """Stands where a wallet stands: has the accounts, fills in and signs what is sent. The node keeps no keys.

    web3's own signing middleware takes neither legacy transactions given with their type nor those with a gas price strategy.
    """

    keys = {Account.from_key(key).address: key for key in (KEY, SECOND_KEY)}

    def sign(self, tx, chain_id, nonce, base_fee, gas):
        """The transaction asked for, filled in and signed."""
        tx = {"value": "0x0", "nonce": nonce, "gas": gas, **tx, "chainId": chain_id}
        if "gasPrice" in tx:
            tx.pop("type", None)
        else:
            tx.setdefault("maxPriorityFeePerGas", "0x3b9aca00")
            tx.setdefault("maxFeePerGas", hex(2 * base_fee + int(str(tx["maxPriorityFeePerGas"]), 0)))
        sender = to_checksum_address(tx.pop("from"))
        return "eth_sendRawTransaction", [Account.sign_transaction(tx, self.keys[sender]).raw_transaction.to_0x_hex()]

    def request_processor(self, method, params):
        if method != "eth_sendTransaction":
            return method, params
        (tx,), eth = params, self._w3.eth
        sender = to_checksum_address(tx["from"])
        nonce = tx.get("nonce") or eth.get_transaction_count(sender, "pending")
        gas = tx.get("gas") or eth.estimate_gas(tx)
        return self.sign(tx, eth.chain_id, nonce, eth.get_block("latest")["baseFeePerGas"], gas)

    async def async_request_processor(self, method, params):
        if method != "eth_sendTransaction":
            return method, params
        (tx,), eth = params, self._w3.eth
        sender = to_checksum_address(tx["from"])
        nonce = tx.get("nonce") or await eth.get_transaction_count(sender, "pending")
        gas = tx.get("gas") or await eth.estimate_gas(tx)
        return self.sign(tx, await eth.chain_id, nonce, (await eth.get_block("latest"))["baseFeePerGas"], gas)

    def response_processor(self, method, response):
        return {**response, "result": ADDRESSES} if method == "eth_accounts" else response

    async def async_response_processor(self, method, response):
        return self.response_processor(method, response)


def with_wallet(w3):
    """The same client with the wallet between it and the node."""
    w3.middleware_onion.inject(Wallet, layer=0)
    return w3


# Tests of methods that Basalt leaves out, each with the reason.
NO_KEYS = "the node keeps no keys of users: eth_sign, eth_signTransaction and eth_signTypedData are the wallet's"
LEFT_OUT = {
    **dict.fromkeys(
        (
            "test_eth_sign",
            "test_eth_sign_ens_names",
            "test_eth_sign_typed_data",
            "test_invalid_eth_sign_typed_data",
            "test_eth_sign_transaction_legacy",
            "test_eth_sign_transaction",
            "test_eth_sign_transaction_hex_fees",
            "test_eth_sign_transaction_ens_names",
            "test_async_eth_sign",
            "test_async_eth_sign_ens_names",
            "test_async_eth_sign_transaction_legacy",
            "test_async_eth_sign_transaction",
            "test_async_eth_sign_transaction_hex_fees",
            "test_async_eth_sign_transaction_ens_names",
        ),
        NO_KEYS,
    ),
}


def pytest_collection_modifyitems(items):
    """Skips what is left out; a name that no test has any more is a mistake here."""
    names = {item.originalname for item in items}
    if len(names) > 100:
        assert LEFT_OUT.keys() <= names, LEFT_OUT.keys() - names
    for item in items:
        if item.originalname in LEFT_OUT:
            item.add_marker(pytest.mark.skip(reason=LEFT_OUT[item.originalname]))


@pytest.fixture(scope="session")
def w3():
    return with_wallet(Web3(HTTPProvider(URL)))


@pytest_asyncio.fixture
async def async_w3(request):
    """Over HTTP, or over a WebSocket for the tests of persistent connections."""
    if "WebSocket" in (request.node.cls.__name__ if request.node.cls else ""):
        async with AsyncWeb3(WebSocketProvider(URL.replace("http", "ws"))) as client:
            yield with_wallet(client)
    else:
        client = with_wallet(AsyncWeb3(AsyncHTTPProvider(URL)))
        yield client
        await client.provider.disconnect()


def pay_someone(w3):
    """A transaction that none of the tests knows of; back once it is in a block, so that the next is an interval away."""
    other = Account.from_key(OTHER_KEY)
    signed = other.sign_transaction(
        {
            "to": ZERO,
            "value": 1,
            "gas": 21_000,
            "maxFeePerGas": w3.to_wei(3, "gwei"),
            "maxPriorityFeePerGas": 1,
            "nonce": w3.eth.get_transaction_count(other.address, "pending"),
            "chainId": w3.eth.chain_id,
        }
    )
    return w3.eth.wait_for_transaction_receipt(w3.eth.send_raw_transaction(signed.raw_transaction), poll_latency=0.02)


@pytest.fixture(autouse=True)
def a_quiet_moment(request, w3):
    """Before the tests that count on it: nothing of the tests' accounts waits, and a block has just come."""
    name = request.node.name
    if request.cls is None or not any(w in name for w in ("unmined", "replace", "modify", "pending", "set_code", "subscri")):
        return
    for address in ADDRESSES:
        while w3.eth.get_transaction_count(address, "pending") != w3.eth.get_transaction_count(address, "latest"):
            time.sleep(0.02)
    pay_someone(w3)


@pytest.fixture(scope="session", autouse=True)
def chain(w3):
    """Deploys the tests' contracts, one of them leaving the chain's first log; addresses and hashes by name."""
    sender = ADDRESSES[0]

    def deploy(data, *args):
        hash_ = w3.eth.contract(**data).constructor(*args).transact({"from": sender})
        return w3.eth.wait_for_transaction_receipt(hash_, poll_latency=0.02)

    # What genesis calls the miner is to have another balance than at genesis.
    pay_someone(w3)
    made = {
        "emitter": deploy(EMITTER_CONTRACT_DATA),
        "math": deploy(MATH_CONTRACT_DATA),
        "revert": deploy(REVERT_CONTRACT_DATA),
        "storage": deploy(STORAGE_CONTRACT_DATA),
        "panic": deploy(PANIC_ERRORS_CONTRACT_DATA),
        "offchain": deploy(OFFCHAIN_LOOKUP_DATA),
    }
    emitter = w3.eth.contract(address=made["emitter"]["contractAddress"], abi=EMITTER_CONTRACT_DATA["abi"])
    call = emitter.functions.logDouble(which=EMITTER_ENUM["LogDoubleWithIndex"], arg0=12345, arg1=54321)
    made["log"] = w3.eth.wait_for_transaction_receipt(call.transact({"from": sender}))
    made["payment"] = w3.eth.wait_for_transaction_receipt(
        w3.eth.send_transaction({"from": sender, "to": sender, "value": 1, "gas": 21_000})
    )
    return made


@pytest.fixture
def keyfile_account_pkey(request):
    """Of the classes' accounts: what one class leaves behind in its account's storage (EIP-7702) is not the other's."""
    return SECOND_KEY if request.cls and "Async" in request.cls.__name__ else KEY


@pytest.fixture
def keyfile_account_address(keyfile_account_pkey):
    return Account.from_key(keyfile_account_pkey).address


@pytest.fixture
def keyfile_account_address_dual_type(keyfile_account_address):
    return keyfile_account_address


@pytest.fixture
def async_keyfile_account_address(keyfile_account_address):
    return keyfile_account_address


@pytest.fixture
def async_keyfile_account_address_dual_type(keyfile_account_address):
    return keyfile_account_address


@pytest.fixture
def skip_if_testrpc():
    return lambda _: None


@pytest.fixture
def async_skip_if_testrpc():
    return lambda _: None


@pytest.fixture(scope="session")
def empty_block(w3):
    return w3.eth.get_block(0)


@pytest.fixture(scope="session")
def block_with_txn(w3, chain):
    return w3.eth.get_block(chain["payment"]["blockNumber"])


@pytest.fixture(scope="session")
def block_with_txn_with_log(w3, chain):
    return w3.eth.get_block(chain["log"]["blockNumber"])


@pytest.fixture
def mined_txn_hash(chain):
    return chain["payment"]["transactionHash"].to_0x_hex()


@pytest.fixture
def txn_hash_with_log(chain):
    return chain["log"]["transactionHash"].to_0x_hex()


@pytest.fixture
def math_contract_deploy_txn_hash(chain):
    return chain["math"]["transactionHash"].to_0x_hex()


def contract_fixtures(name, data, made):
    """Fixtures NAME, NAME_address and their async_ twins."""

    def address(chain):
        return chain[made]["contractAddress"]

    def contract(w3, chain):
        return w3.eth.contract(address=address(chain), abi=data["abi"])

    def async_contract(async_w3, chain):
        return async_w3.eth.contract(address=address(chain), abi=data["abi"])

    return {
        name: pytest.fixture(contract, name=name),
        f"async_{name}": pytest.fixture(async_contract, name=f"async_{name}"),
        f"{name}_address": pytest.fixture(address, name=f"{name}_address"),
        f"async_{name}_address": pytest.fixture(address, name=f"async_{name}_address"),
    }


for _name, _data, _made in (
    ("math_contract", MATH_CONTRACT_DATA, "math"),
    ("emitter_contract", EMITTER_CONTRACT_DATA, "emitter"),
    ("revert_contract", REVERT_CONTRACT_DATA, "revert"),
    ("storage_contract", STORAGE_CONTRACT_DATA, "storage"),
    ("panic_errors_contract", PANIC_ERRORS_CONTRACT_DATA, "panic"),
    ("offchain_lookup_contract", OFFCHAIN_LOOKUP_DATA, "offchain"),
):
    globals().update(contract_fixtures(_name, _data, _made))


@pytest.fixture(scope="session")
def async_empty_block(empty_block):
    return empty_block


@pytest.fixture(scope="session")
def async_block_with_txn(block_with_txn):
    return block_with_txn


@pytest.fixture(scope="session")
def async_block_with_txn_with_log(block_with_txn_with_log):
    return block_with_txn_with_log
