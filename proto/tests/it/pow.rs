//! Proof of work: messages and records come back, their limits hold.

use basalt_primitives::{B256, Block, Header, Height, Seal, U256};
use basalt_proto::{
    Codec as _,
    pow::{MAX_HEADERS, MAX_LOCATOR, PowMessage, PowRecord},
};

use crate::samples;

fn header() -> Header {
    Header { seal: Seal::Work { target: U256::MAX >> 20, nonce: u64::MAX }, ..samples::certified().block.header }
}

fn block() -> Block {
    Block { header: header(), last_certificate: None, ..samples::certified().block }
}

#[test]
fn what_is_said_and_written_comes_back() {
    let messages = [
        PowMessage::Headers(vec![header()]),
        PowMessage::Headers(vec![header(); MAX_HEADERS]),
        PowMessage::GetHeaders(vec![B256::repeat_byte(7); MAX_LOCATOR]),
    ];
    for m in messages {
        assert_eq!(PowMessage::decode(m.encode()).expect("own encoding"), m);
        assert!(m.encode().len() <= PowMessage::MAX_BYTES);
    }
    let checkpoint = PowRecord::Checkpoint { height: Height(9), block: B256::repeat_byte(3) };
    for r in [PowRecord::Block(Box::new(block())), checkpoint] {
        assert_eq!(PowRecord::decode(r.encode()).expect("own encoding"), r);
    }
}

#[test]
fn more_than_the_limits_and_nothing_at_all_are_refused() {
    let bad = [
        PowMessage::Headers(vec![header(); MAX_HEADERS + 1]).encode(),
        PowMessage::Headers(Vec::new()).encode(),
        PowMessage::GetHeaders(vec![B256::ZERO; MAX_LOCATOR + 1]).encode(),
        PowMessage::GetHeaders(Vec::new()).encode(),
        Vec::new(),
    ];
    for bytes in bad {
        assert!(PowMessage::decode(bytes).is_err());
    }
    assert!(PowRecord::decode(Vec::new()).is_err());
}

/// Every bit counts: a message with one flipped is another message or none.
#[test]
fn every_flipped_bit_is_found() {
    let message = PowMessage::Headers(vec![header()]);
    let bytes = message.encode();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(PowMessage::decode(flipped).map_or(true, |m| m != message), "bit {bit}");
    }
}

/// Sent and stored: a change here needs a new protocol version.
#[test]
fn golden_encodings() {
    let asked = PowMessage::GetHeaders(vec![B256::repeat_byte(7)]).encode();
    assert_eq!(hex::encode(&asked), format!("12220a20{}", "07".repeat(32)));
    let word = PowRecord::Checkpoint { height: Height(9), block: B256::repeat_byte(3) }.encode();
    assert_eq!(hex::encode(&word), format!("122408091220{}", "03".repeat(32)));
}
