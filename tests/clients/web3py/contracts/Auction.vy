# pragma version 0.4.3
"""
@title An open auction: a struct, a map, events, a reentrancy lock, internal functions, raw calls and reverts with reasons.
"""

struct Bid:
    bidder: address
    amount: uint256

event HighestBid:
    bidder: indexed(address)
    amount: uint256

event Closed:
    winner: indexed(address)
    amount: uint256
    note: String[32]

beneficiary: public(immutable(address))
best: public(Bid)
refunds: public(HashMap[address, uint256])
history: public(DynArray[Bid, 16])
closed: public(bool)

@deploy
def __init__(beneficiary_: address):
    beneficiary = beneficiary_

@internal
def _record(bid: Bid):
    self.best = bid
    self.history.append(bid)

@external
@payable
def bid():
    assert not self.closed, "closed"
    assert msg.value > self.best.amount, "too low"
    if self.best.bidder != empty(address):
        self.refunds[self.best.bidder] += self.best.amount
    self._record(Bid(bidder=msg.sender, amount=msg.value))
    log HighestBid(bidder=msg.sender, amount=msg.value)

@external
@nonreentrant
def withdraw() -> uint256:
    amount: uint256 = self.refunds[msg.sender]
    self.refunds[msg.sender] = 0
    raw_call(msg.sender, b"", value=amount)
    return amount

@external
def close(note: String[32]):
    assert msg.sender == beneficiary, "not yours"
    self.closed = True
    send(beneficiary, self.best.amount)
    log Closed(winner=self.best.bidder, amount=self.best.amount, note=note)

@external
@view
def mean() -> uint256:
    total: uint256 = 0
    for b: Bid in self.history:
        total += b.amount
    return total // len(self.history)

@external
@pure
def root(x: uint256) -> uint256:
    return isqrt(x)
