//! Signing and verification with real keys, and the bytes that are signed.

use basalt_bft::{
    Message, MessageError, PreparedCertificate, Proposal, RoundChange, SignState, SignStateRequest, SignedMessage,
    SignedRoundChange, Vote,
};
use basalt_primitives::{
    B256, Block, CommitCertificate, CommitSignature, HashFn, Header, Height, PublicKey, Round, SealedBlock, SecretKey,
    Validator, ValidatorSet,
};
use proptest::prelude::*;

const GENESIS: B256 = B256::repeat_byte(0x47);

fn keys() -> Vec<SecretKey> {
    (1..=4).map(|i| SecretKey::from_bytes(&[i; 32])).collect()
}

fn set() -> ValidatorSet {
    let validators = keys().iter().map(|k| Validator { public_key: k.public_key(), power: 1 }).collect();
    ValidatorSet::new(validators).expect("made above")
}

fn sign(from: u16, message: Message) -> SignedMessage {
    let signature = keys()[usize::from(from)].sign(message.signing_layout(GENESIS).as_slice());
    SignedMessage { from, message, signature }
}

fn block(round: u32) -> SealedBlock {
    let header = Header {
        version: 1,
        chain_id: 7,
        height: Height(5),
        timestamp_ms: 1_700_000_000_000,
        parent_hash: B256::repeat_byte(1),
        transactions_root: B256::repeat_byte(2),
        parent_state_root: B256::repeat_byte(3),
        parent_receipts_root: B256::repeat_byte(4),
        parent_gas_used: 21_000,
        gas_limit: 30_000_000,
        base_fee: 0,
        proposer: Default::default(),
        first_round: Round(round),
        next_validators_hash: B256::repeat_byte(5),
        last_certificate_hash: B256::repeat_byte(6),
        seal: basalt_primitives::Seal::None,
    };
    SealedBlock::new(Block { header, last_certificate: None, transactions: Vec::new() }, HashFn::Sha256)
}

fn vote(round: u32) -> Vote {
    Vote { height: Height(5), round: Round(round), block_hash: block(0).hash() }
}

fn votes(make: impl Fn(Vote) -> Message, round: u32, by: &[u16]) -> Vec<CommitSignature> {
    let one = |v: &u16| CommitSignature { validator: *v, signature: sign(*v, make(vote(round))).signature };
    by.iter().map(one).collect()
}

fn prepared() -> PreparedCertificate {
    PreparedCertificate {
        round: Round(1),
        block_hash: block(0).hash(),
        signatures: votes(Message::Prepare, 1, &[0, 1, 2]),
    }
}

fn change(round: u32, prepared: Option<PreparedCertificate>) -> Message {
    Message::RoundChange(RoundChange { height: Height(5), round: Round(round), prepared })
}

fn proposal() -> Message {
    let entry = |from: u16| {
        let prepared = Some(prepared()).filter(|_| from == 2);
        let signature = sign(from, change(3, prepared.clone())).signature;
        SignedRoundChange { from, prepared: prepared.map(|p| p.claim()), signature }
    };
    Message::Proposal(Proposal {
        height: Height(5),
        round: Round(3),
        block: block(0),
        justification: [0, 2, 3].map(entry).into(),
        prepared: Some(prepared()),
    })
}

fn certificate() -> CommitCertificate {
    let signatures = votes(Message::Commit, 1, &[1, 2, 3]);
    CommitCertificate { height: Height(5), round: Round(1), block_hash: block(0).hash(), signatures }
}

fn asker() -> PublicKey {
    keys()[0].public_key()
}

fn one_of_each() -> Vec<Message> {
    let request = SignStateRequest { height: Height(5), key: asker(), nonce: 9 };
    let state = SignState { height: Height(5), asker: asker(), nonce: 9, round: Round(2), prepared: Some(prepared()) };
    vec![
        proposal(),
        Message::Prepare(vote(0)),
        Message::Commit(vote(0)),
        change(2, None),
        change(2, Some(prepared())),
        Message::Decided(certificate()),
        Message::SignStateRequest(request),
        Message::SignState(state),
    ]
}

#[test]
fn good_messages_verify() {
    for message in one_of_each() {
        let name = message.name();
        assert_eq!(sign(0, message).verify(&set(), GENESIS), Ok(()), "{name}");
    }
}

#[test]
fn another_chain_another_signer_another_signature_do_not() {
    for message in one_of_each() {
        let signed = sign(0, message);
        assert_eq!(signed.verify(&set(), B256::ZERO), Err(MessageError::Signature(0)));
        assert!(SignedMessage { from: 1, ..signed.clone() }.verify(&set(), GENESIS).is_err());
        assert_eq!(
            SignedMessage { from: 4, ..signed.clone() }.verify(&set(), GENESIS),
            Err(MessageError::UnknownSigner(4))
        );
        let mut flipped = signed;
        flipped.signature.0[40] ^= 1;
        assert_eq!(flipped.verify(&set(), GENESIS), Err(MessageError::Signature(0)));
    }
}

#[test]
fn every_inner_signature_counts() {
    let inner = |message: &mut Message, i: usize| match message {
        Message::Proposal(m) if i < 3 => m.justification[i].signature.0[0] ^= 1,
        Message::Proposal(m) => m.prepared.as_mut().expect("made above").signatures[i - 3].signature.0[0] ^= 1,
        Message::RoundChange(m) => m.prepared.as_mut().expect("made above").signatures[i % 3].signature.0[0] ^= 1,
        Message::SignState(m) => m.prepared.as_mut().expect("made above").signatures[i % 3].signature.0[0] ^= 1,
        Message::Decided(m) => m.signatures[i % 3].signature.0[0] ^= 1,
        _ => unreachable!(),
    };
    let state = one_of_each().pop().expect("made above");
    for message in [proposal(), change(2, Some(prepared())), Message::Decided(certificate()), state] {
        for i in 0..6 {
            let mut broken = message.clone();
            inner(&mut broken, i);
            assert_eq!(
                sign(0, broken).verify(&set(), GENESIS),
                Err(MessageError::Signature(0)),
                "{} {i}",
                message.name()
            );
        }
    }
}

#[test]
fn votes_and_certificates_are_the_same_signatures() {
    assert_eq!(set().verify_certificate(GENESIS, &certificate()), Ok(()));
}

#[test]
fn shapes_are_refused_before_any_signature_is_checked() {
    let certificate_of = |by: &[u16]| PreparedCertificate { signatures: votes(Message::Prepare, 1, by), ..prepared() };
    let bad = [
        change(0, None),
        change(1, Some(prepared())),
        change(2, Some(certificate_of(&[0, 1]))),
        change(2, Some(certificate_of(&[0, 1, 1]))),
        change(2, Some(certificate_of(&[2, 1, 0]))),
        change(2, Some(PreparedCertificate { signatures: vec![prepared().signatures[0]; 1_000], ..prepared() })),
        change(1 << 31, None),
        Message::SignStateRequest(SignStateRequest { height: Height(5), key: keys()[1].public_key(), nonce: 1 }),
    ];
    for message in bad {
        let verdict = sign(0, message).verify_with(&set(), GENESIS, |_| panic!("a signature was checked"));
        assert!(verdict.is_err());
    }
    let mut unknown = certificate_of(&[0, 1, 2]);
    unknown.signatures[2].validator = 4;
    assert!(sign(0, change(2, Some(unknown))).check(&set()).is_err());
}

#[test]
fn signed_bytes_are_stable() {
    let digests: Vec<String> = one_of_each()
        .iter()
        .map(|m| format!("{} {}", m.name(), HashFn::Sha256.of(&m.signing_layout(GENESIS))))
        .collect();
    let golden = include_str!("golden/signing.txt");
    assert_eq!(digests.join("\n"), golden.trim_end(), "the bytes validators sign have changed: a fork of the protocol");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// No two different statements are signed by the same bytes.
    #[test]
    fn different_statements_have_different_bytes(
        a in (0u8..4, 0u64..3, 1u32..4, 0u8..2, any::<bool>()),
        b in (0u8..4, 0u64..3, 1u32..4, 0u8..2, any::<bool>()),
    ) {
        let make = |(kind, height, round, block, with): (u8, u64, u32, u8, bool)| {
            let vote = Vote { height: Height(height), round: Round(round), block_hash: B256::repeat_byte(block) };
            let claim = PreparedCertificate { round: Round(0), block_hash: vote.block_hash, signatures: vec![] };
            match kind {
                0 => Message::Prepare(vote),
                1 => Message::Commit(vote),
                2 => Message::RoundChange(RoundChange { height: vote.height, round: vote.round, prepared: with.then_some(claim) }),
                _ => Message::SignState(SignState {
                    height: vote.height,
                    asker: asker(),
                    nonce: u64::from(block),
                    round: vote.round,
                    prepared: with.then_some(claim),
                }),
            }
        };
        let (a, b) = (make(a), make(b));
        let same = a.signing_layout(GENESIS).as_slice() == b.signing_layout(GENESIS).as_slice();
        prop_assert_eq!(same, a == b || covered_alike(&a, &b));
    }
}

/// A round change without a claim says nothing of a block.
fn covered_alike(a: &Message, b: &Message) -> bool {
    match (a, b) {
        (Message::RoundChange(a), Message::RoundChange(b)) => {
            (a.height, a.round) == (b.height, b.round) && a.prepared.is_none() && b.prepared.is_none()
        }
        _ => false,
    }
}
