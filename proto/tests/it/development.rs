//! Transactions of development networks: one encoding each, and no transactions at all anywhere else.

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use basalt_primitives::{
    Address, B256, Block, Bytes, TxError, U256,
    block::transactions_root,
    tx::{
        MAX_TX_BYTES, Payload, StateEdit,
        development::{Change, TX_TYPE, sent},
    },
};
use basalt_proto::{block, tx};
use proptest::prelude::*;

use crate::samples::{self, CHAIN_ID, F};

const WHO: Address = Address::repeat_byte(0xaa);

fn envelope(chain_id: u64) -> TxEnvelope {
    let call = TxEip1559 {
        chain_id,
        nonce: 3,
        gas_limit: 21_000,
        max_fee_per_gas: 2,
        max_priority_fee_per_gas: 1,
        to: alloy_primitives::TxKind::Call(Address::repeat_byte(1)),
        value: U256::from(5),
        ..TxEip1559::default()
    };
    call.into_signed(alloy_primitives::Signature::new(U256::ZERO, U256::ZERO, false)).into()
}

fn edits() -> Vec<StateEdit> {
    let code = Bytes::from_static(&[0x60, 0x01]);
    let changes = [
        Change::Balance(U256::MAX),
        Change::Nonce(u64::MAX),
        Change::Code(code),
        Change::Code(Bytes::new()),
        Change::Slot(U256::from(7), U256::from(9)),
    ];
    changes.into_iter().map(|c| StateEdit::new(CHAIN_ID, 12, WHO, c)).collect()
}

fn all() -> Vec<Bytes> {
    let edits = edits().into_iter().map(|e| e.into_unverified().raw().clone());
    edits.chain([sent(WHO, envelope(CHAIN_ID)).raw().clone()]).collect()
}

#[test]
fn no_other_network_decodes_them() {
    for raw in all() {
        assert!(matches!(tx::decode(raw, CHAIN_ID, F), Err(TxError::Unsupported(why)) if why.contains("development")));
    }
}

#[test]
fn no_other_networks_block_holds_them() {
    let good = samples::certified();
    let mut bad: Block = good.block.clone();
    for raw in all() {
        bad.transactions = vec![raw.clone()];
        let hash = tx::decode_on_devnet(raw, CHAIN_ID, F).unwrap().hash();
        bad.header.transactions_root = transactions_root(F, &[hash]);
        let refused = block::check(&bad, F).unwrap_err().to_string();
        assert!(refused.contains("only inside blocks of development networks"), "{refused}");
        assert_eq!(block::check_on_devnet(&bad, F).unwrap()[0].hash(), hash);
    }
}

#[test]
fn they_come_back_as_they_were() {
    for edit in edits() {
        let raw = edit.clone().into_unverified().raw().clone();
        let back = tx::decode_on_devnet(raw.clone(), CHAIN_ID, F).unwrap();
        assert_eq!((back.raw(), back.payload()), (&raw, &Payload::Edit(Box::new(edit))));
        let tx = back.verify().unwrap();
        assert_eq!((tx.sender(), tx.is_unsigned()), (Address::ZERO, true));
    }
    let raw = sent(WHO, envelope(CHAIN_ID)).raw().clone();
    let tx = tx::decode_on_devnet(raw.clone(), CHAIN_ID, F).unwrap().verify().unwrap();
    assert_eq!((tx.sender(), tx.raw(), tx.payload().nonce()), (WHO, &raw, 3));
    let other = sent(Address::repeat_byte(0xbb), envelope(CHAIN_ID));
    assert_ne!(other.hash(), tx.hash(), "the sender is part of what is hashed");
}

/// A disk format: a change here makes the ledgers of development networks unreadable.
#[test]
fn golden() {
    let raw = edits().swap_remove(4).into_unverified().raw().clone();
    let (who, slot, value) = ("aa".repeat(20), "00".repeat(31) + "07", "00".repeat(31) + "09");
    assert_eq!(raw.to_string(), format!("0x44010000000000007a69000000000000000c{who}03{slot}{value}"));
    let raw = sent(WHO, envelope(CHAIN_ID)).raw().to_string();
    assert!(raw.starts_with(&format!("0x4400{who}02")), "{raw}");
}

#[test]
fn broken_ones_are_refused() {
    let at = |raw: Vec<u8>| tx::decode_on_devnet(raw.into(), CHAIN_ID, F);
    for raw in all() {
        let code = raw[1] == 1 && raw[38] == 2;
        for cut in 1..raw.len() {
            let shorter = at(raw[..cut].to_vec());
            // Shorter code is other code.
            assert!(shorter.is_err() || (code && cut > 38), "cut at {cut}: {raw}");
        }
        let longer = at([&raw[..], &[0]].concat());
        assert!(longer.is_err() || code, "{raw}");
    }
    assert!(matches!(at(vec![TX_TYPE, 2, 0]), Err(TxError::Malformed(_))));
    assert!(matches!(at(vec![TX_TYPE; MAX_TX_BYTES + 1]), Err(TxError::TooLarge(_))));
    let foreign = sent(WHO, envelope(1)).raw().clone();
    assert_eq!(at(foreign.to_vec()).unwrap_err(), TxError::ChainId { have: 1, want: CHAIN_ID });
    let foreign = StateEdit::new(1, 0, WHO, Change::Nonce(1)).into_unverified().raw().clone();
    assert_eq!(at(foreign.to_vec()).unwrap_err(), TxError::ChainId { have: 1, want: CHAIN_ID });
}

proptest! {
    /// Whatever decodes is the one encoding of what it decodes to.
    #[test]
    fn canonical(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), kind in 0u8..4, change in 0u8..5) {
        bytes.splice(0..0, [TX_TYPE, kind]);
        bytes[2..].iter_mut().take(8).zip(CHAIN_ID.to_be_bytes()).for_each(|(b, c)| *b = c);
        if bytes.len() > 38 {
            bytes[38] = change;
        }
        if let Ok(tx) = tx::decode_on_devnet(bytes.clone().into(), CHAIN_ID, F)
            && let Payload::Edit(edit) = tx.payload()
        {
            let unsigned = StateEdit::new(CHAIN_ID, edit.sequence(), edit.address(), edit.change().clone());
            prop_assert_eq!(unsigned.into_unverified().raw().to_vec(), bytes);
        }
    }
}

#[test]
fn hashes_are_keccak_of_the_encoding() {
    for raw in all() {
        let hash: B256 = alloy_primitives::keccak256(&raw);
        assert_eq!(tx::decode_on_devnet(raw, CHAIN_ID, F).unwrap().hash(), hash);
    }
}
