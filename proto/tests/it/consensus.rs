//! Messages between validators and entries of the sign record.

use basalt_bft::{
    Message, Prepared, PreparedCertificate, PreparedClaim, Proposal, Record, RoundChange, SignState, SignStateRequest,
    SignedMessage, SignedRoundChange, Vote,
};
use basalt_primitives::{
    B256, CommitSignature, Height, Round, SealedBlock, ValidatorSet,
    validators::{VoteKind, vote_bytes},
};
use basalt_proto::{
    DecodeError,
    consensus::{decode_message, decode_record, encode_message, encode_record},
};

use crate::{
    golden::{entry, golden},
    samples::{F, GENESIS, certificate, empty_block, key, set},
};

const HEIGHT: Height = Height(7);

/// A message as validator 0 (key 1) signs it.
fn sign(message: Message) -> SignedMessage {
    let signature = key(1).sign(message.signing_layout(GENESIS).as_slice());
    SignedMessage { from: 0, message, signature }
}

fn prepared(round: Round, block_hash: B256) -> PreparedCertificate {
    let bytes = vote_bytes(GENESIS, VoteKind::Prepare, HEIGHT, round, block_hash);
    let one = |validator: u16| CommitSignature {
        validator,
        signature: key(u8::try_from(validator).unwrap() + 1).sign(bytes.as_slice()),
    };
    PreparedCertificate { round, block_hash, signatures: [0, 1, 3].map(one).to_vec() }
}

/// The round change of a validator to round 5, as it stands in a justification.
fn round_change(from: u16, prepared: Option<PreparedCertificate>) -> SignedRoundChange {
    let claim = prepared.as_ref().map(PreparedCertificate::claim);
    let message = Message::RoundChange(RoundChange { height: HEIGHT, round: Round(5), prepared });
    let signature = key(u8::try_from(from).unwrap() + 1).sign(message.signing_layout(GENESIS).as_slice());
    SignedRoundChange { from, prepared: claim, signature }
}

/// A re-proposal in round 5 of the block prepared in round 3.
fn proposal(block: &SealedBlock) -> Proposal {
    let certificate = prepared(Round(3), block.hash());
    let justification = vec![round_change(0, None), round_change(1, Some(certificate.clone())), round_change(2, None)];
    Proposal { height: HEIGHT, round: Round(5), block: block.clone(), justification, prepared: Some(certificate) }
}

/// One message of each kind, well-formed and well-signed.
pub fn messages() -> Vec<(&'static str, SignedMessage)> {
    let block = empty_block();
    let vote = Vote { height: HEIGHT, round: Round(5), block_hash: block.hash() };
    let asker = key(1).public_key();
    let certificate_3 = Some(prepared(Round(3), block.hash()));
    let all = [
        Message::Proposal(proposal(&block)),
        Message::Prepare(vote),
        Message::Commit(vote),
        Message::RoundChange(RoundChange { height: HEIGHT, round: Round(5), prepared: certificate_3.clone() }),
        Message::Decided(certificate(HEIGHT, Round(2), block.hash(), &[0, 2, 3])),
        Message::SignStateRequest(SignStateRequest { height: HEIGHT, key: asker, nonce: 77 }),
        Message::SignState(SignState { height: HEIGHT, asker, nonce: 77, round: Round(4), prepared: certificate_3 }),
    ];
    all.into_iter().map(|m| (m.name(), sign(m))).collect()
}

fn records() -> Vec<(&'static str, Record)> {
    let block = empty_block();
    let prepared = Prepared { certificate: prepared(Round(3), block.hash()), block };
    vec![
        ("initial", Record::Initial { genesis: GENESIS }),
        ("vote", Record::Vote { height: HEIGHT, prepared: prepared.clone() }),
        ("round", Record::Round { height: HEIGHT, round: Round(4) }),
        (
            "recovered",
            Record::Recovered { height: HEIGHT, round: Round(4), prepared: Some(prepared.clone()), answers: 0 },
        ),
        ("recovered_without_block", Record::Recovered { height: HEIGHT, round: Round(0), prepared: None, answers: 0 }),
        (
            "recovered_by_answers",
            Record::Recovered { height: HEIGHT, round: Round(4), prepared: Some(prepared), answers: 3 },
        ),
        ("released", Record::Released { genesis: GENESIS, answers: 2 }),
    ]
}

#[test]
fn messages_come_back_and_still_verify() {
    let set = set(4);
    for (name, m) in messages() {
        m.verify(&set, GENESIS).unwrap_or_else(|e| panic!("{name}: {e}"));
        let back = decode_message(encode_message(&m), F).unwrap();
        assert_eq!(back, m, "{name}");
        back.verify(&set, GENESIS).unwrap();
    }
}

#[test]
fn records_come_back() {
    for (name, r) in records() {
        assert_eq!(decode_record(encode_record(&r), F).unwrap(), r, "{name}");
    }
}

#[test]
fn formats_are_the_committed_ones() {
    let mut values: Vec<_> = messages().iter().map(|(name, m)| entry(*name, encode_message(m))).collect();
    let layouts = messages();
    values.extend(
        layouts.iter().map(|(n, m)| entry(format!("{n}.layout"), m.message.signing_layout(GENESIS).as_slice())),
    );
    golden("consensus_messages", &values);
    let values: Vec<_> = records().iter().map(|(name, r)| entry(*name, encode_record(r))).collect();
    golden("sign_record", &values);
}

/// What a driver does with a message: decode, verify, and for a proposal compare the body with its header.
fn accept(bytes: Vec<u8>, set: &ValidatorSet) -> Option<SignedMessage> {
    let m = decode_message(bytes, F).ok()?;
    m.verify(set, GENESIS).ok()?;
    if let Message::Proposal(p) = &m.message {
        basalt_proto::block::check(p.block.block(), F).ok()?;
    }
    Some(m)
}

#[test]
fn every_flipped_bit_of_a_message_is_found() {
    let set = set(4);
    for (name, m) in messages() {
        let bytes = encode_message(&m);
        assert_eq!(accept(bytes.clone(), &set), Some(m));
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(accept(changed, &set), None, "{name}, bit {bit} of {}", bytes.len() * 8);
        }
    }
}

#[test]
fn cut_messages_and_records_are_refused() {
    for (_, m) in messages() {
        let bytes = encode_message(&m);
        for n in 0..bytes.len() {
            assert!(decode_message(bytes[..n].to_vec(), F).is_err());
        }
    }
    for (name, r) in records() {
        let bytes = encode_record(&r);
        for n in 0..bytes.len() {
            // A prefix may be another record (an absent field is a zero), but never this one.
            assert!(decode_record(bytes[..n].to_vec(), F).map_or(true, |other| other != r), "{name} cut to {n}");
        }
    }
}

#[test]
fn lists_longer_than_any_validator_set_are_refused_before_they_are_read() {
    let mut p = proposal(&empty_block());
    p.justification = vec![p.justification[0]; ValidatorSet::MAX + 1];
    let e = decode_message(encode_message(&sign(Message::Proposal(p))), F).unwrap_err();
    assert_eq!(e, DecodeError::TooMany { what: "round changes", max: ValidatorSet::MAX });

    let mut c = prepared(Round(3), B256::ZERO);
    c.signatures = vec![c.signatures[0]; ValidatorSet::MAX + 1];
    let m = Message::RoundChange(RoundChange { height: HEIGHT, round: Round(5), prepared: Some(c) });
    let e = decode_message(encode_message(&sign(m)), F).unwrap_err();
    assert_eq!(e, DecodeError::TooMany { what: "prepare signatures", max: ValidatorSet::MAX });
}

/// The largest justification a proposal can carry fits the limits.
#[test]
fn full_lists_fit() {
    let mut p = proposal(&empty_block());
    let claim = PreparedClaim { round: Round(u32::MAX), block_hash: B256::repeat_byte(0xff) };
    p.justification = (0..ValidatorSet::MAX as u16)
        .map(|i| SignedRoundChange {
            from: u16::MAX - i,
            prepared: Some(claim),
            signature: p.justification[0].signature,
        })
        .collect();
    let c = p.prepared.as_mut().unwrap();
    c.signatures = (0..ValidatorSet::MAX as u16)
        .map(|i| CommitSignature { validator: u16::MAX - i, signature: c.signatures[0].signature })
        .collect();
    let m = sign(Message::Proposal(p));
    assert_eq!(decode_message(encode_message(&m), F).unwrap(), m);
}
