"""Contracts in Vyper, compiled by Vyper itself, deployed and used through web3.py."""

from pathlib import Path

import pytest
import vyper
from conftest import ADDRESSES
from web3.exceptions import ContractLogicError
from web3.logs import DISCARD

FIRST, SECOND = ADDRESSES


def compiled(name):
    source = (Path(__file__).parent / "contracts" / f"{name}.vy").read_text()
    return vyper.compile_code(source, output_formats=["abi", "bytecode", "blueprint_bytecode"])


def mined(w3, hash_):
    receipt = w3.eth.wait_for_transaction_receipt(hash_, poll_latency=0.02)
    assert receipt["status"] == 1
    return receipt


@pytest.fixture(scope="module")
def auction_code():
    return compiled("Auction")


@pytest.fixture(scope="module")
def auction(w3, auction_code):
    factory = w3.eth.contract(abi=auction_code["abi"], bytecode=auction_code["bytecode"])
    receipt = mined(w3, factory.constructor(FIRST).transact({"from": FIRST}))
    return w3.eth.contract(address=receipt["contractAddress"], abi=auction_code["abi"])


def test_an_auction_from_the_first_bid_to_the_last(w3, auction):
    f = auction.functions
    assert f.beneficiary().call() == FIRST
    receipt = mined(w3, f.bid().transact({"from": FIRST, "value": 100}))
    (event,) = auction.events.HighestBid().process_receipt(receipt)
    assert (event["args"]["bidder"], event["args"]["amount"]) == (FIRST, 100)
    with pytest.raises(ContractLogicError, match="too low"):
        f.bid().transact({"from": SECOND, "value": 100})
    mined(w3, f.bid().transact({"from": SECOND, "value": 300}))
    assert f.best().call() == (SECOND, 300)
    assert f.history(0).call() == (FIRST, 100)
    assert f.mean().call() == 200
    assert f.root(10**18 + 1).call() == 10**9
    assert f.refunds(FIRST).call() == 100
    mined(w3, f.withdraw().transact({"from": FIRST}))
    assert (f.refunds(FIRST).call(), w3.eth.get_balance(auction.address)) == (0, 300)
    with pytest.raises(ContractLogicError, match="not yours"):
        f.close("mine").transact({"from": SECOND})
    receipt = mined(w3, f.close("sold").transact({"from": FIRST}))
    (closed,) = auction.events.Closed().process_receipt(receipt, errors=DISCARD)
    assert dict(closed["args"]) == {"winner": SECOND, "amount": 300, "note": "sold"}
    with pytest.raises(ContractLogicError, match="closed"):
        f.bid().transact({"from": SECOND, "value": 900})
    logs = auction.events.HighestBid().get_logs(from_block=0, argument_filters={"bidder": SECOND})
    assert [log["args"]["amount"] for log in logs] == [300]


def test_blueprints_and_minimal_proxies(w3, auction, auction_code):
    code = compiled("Factory")
    receipt = mined(w3, w3.eth.contract(abi=code["abi"], bytecode=code["bytecode"]).constructor().transact({"from": FIRST}))
    factory = w3.eth.contract(address=receipt["contractAddress"], abi=code["abi"])
    # The blueprint is code that never runs itself: it begins with 0xFE71 (EIP-5202).
    blueprint = mined(w3, w3.eth.send_transaction({"from": FIRST, "data": auction_code["blueprint_bytecode"]}))["contractAddress"]
    assert w3.eth.get_code(blueprint)[:2] == b"\xfe\x71"
    salt = b"\x17" * 32
    expected = factory.functions.make(blueprint, SECOND, salt).call()
    receipt = mined(w3, factory.functions.make(blueprint, SECOND, salt).transact({"from": FIRST}))
    (made,) = factory.events.Made().process_receipt(receipt)
    assert made["args"]["auction"] == expected
    assert w3.eth.contract(address=expected, abi=auction_code["abi"]).functions.beneficiary().call() == SECOND
    receipt = mined(w3, factory.functions.proxy(auction.address, salt).transact({"from": FIRST}))
    (made,) = factory.events.Made().process_receipt(receipt)
    assert auction.address[2:].lower() in w3.eth.get_code(made["args"]["auction"]).hex()
    with pytest.raises(ContractLogicError):
        factory.functions.make(blueprint, SECOND, salt).transact({"from": FIRST})
