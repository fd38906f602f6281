# pragma version 0.4.3
"""
@title Copies a blueprint (EIP-5202) and makes minimal proxies (EIP-1167) at addresses known beforehand.
"""

event Made:
    auction: indexed(address)

@external
def make(blueprint: address, beneficiary: address, salt: bytes32) -> address:
    made: address = create_from_blueprint(blueprint, beneficiary, salt=salt)
    log Made(auction=made)
    return made

@external
def proxy(target: address, salt: bytes32) -> address:
    made: address = create_minimal_proxy_to(target, salt=salt)
    log Made(auction=made)
    return made
