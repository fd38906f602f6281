//! Values with every field set to something of its own.

use alloy_primitives::{Address, B256, Bytes, U256};
use basalt_primitives::{
    CommitCertificate, CommitSignature, Header, Height, Log, Receipt, Round, Seal, SecretKey, Validator, ValidatorSet,
    header::HEADER_VERSION,
    tx::{NativeTx, SecurityLevel},
    validators::{VoteKind, vote_bytes},
};

pub fn key(i: u8) -> SecretKey {
    SecretKey::from_bytes(&[i; 32])
}

pub fn header() -> Header {
    Header {
        version: HEADER_VERSION,
        chain_id: 31337,
        height: Height(7),
        timestamp_ms: 1_700_000_000_123,
        parent_hash: B256::repeat_byte(1),
        transactions_root: B256::repeat_byte(2),
        parent_state_root: B256::repeat_byte(3),
        parent_receipts_root: B256::repeat_byte(4),
        parent_gas_used: 21_000,
        gas_limit: 30_000_000,
        base_fee: 1_000_000_000,
        proposer: Address::repeat_byte(5),
        first_round: Round(2),
        next_validators_hash: B256::repeat_byte(6),
        last_certificate_hash: B256::repeat_byte(7),
        seal: Seal::None,
    }
}

pub fn native() -> NativeTx {
    NativeTx {
        chain_id: 31337,
        nonce: 3,
        valid_from: Height(1),
        valid_until: Some(Height(99)),
        max_fee_per_gas: 2_000_000_000,
        max_priority_fee_per_gas: 1_000_000,
        gas_limit: 50_000,
        to: Some(Address::repeat_byte(9)),
        value: U256::from(1_000_000_000_000_000_000u64),
        input: Bytes::from_static(b"\x01\x02\x03"),
        level: SecurityLevel::Internal,
        payload: Some(Bytes::from_static(b"sealed")),
    }
}

pub fn receipt() -> Receipt {
    Receipt {
        tx_hash: B256::repeat_byte(1),
        tx_type: 2,
        success: true,
        gas_used: 30_000,
        cumulative_gas_used: 51_000,
        effective_gas_price: 7,
        contract_address: Some(Address::repeat_byte(2)),
        logs: vec![Log {
            address: Address::repeat_byte(3),
            topics: vec![B256::repeat_byte(4), B256::repeat_byte(5)],
            data: Bytes::from_static(b"data"),
        }],
        revert_data: Bytes::new(),
    }
}

/// `n` validators with one vote each, keys 1 to n.
pub fn set(n: u8) -> ValidatorSet {
    let one = |i| Validator { public_key: key(i).public_key(), power: 1 };
    ValidatorSet::new((1..=n).map(one).collect()).unwrap()
}

/// A certificate of the set above, signed by the validators at these indexes.
pub fn certificate(genesis: B256, height: Height, round: Round, block: B256, signers: &[u16]) -> CommitCertificate {
    let bytes = vote_bytes(genesis, VoteKind::Commit, height, round, block);
    let sign = |&i: &u16| CommitSignature {
        validator: i,
        signature: key(u8::try_from(i).unwrap() + 1).sign(bytes.as_slice()),
    };
    CommitCertificate { height, round, block_hash: block, signatures: signers.iter().map(sign).collect() }
}
