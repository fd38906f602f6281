//! Messages between validators and entries of the sign record.
//!
//! Blocks inside are sealed while decoding, so both ways in need the chain's hash function. Shape, quorums and signatures
//! are checked by [`SignedMessage::verify`]; the body of a proposed block by [`crate::block::check`].

use basalt_bft::{
    Message, Prepared, PreparedCertificate, PreparedClaim, Proposal, Record, RoundChange, SignState, SignStateRequest,
    SignedMessage, SignedRoundChange, Vote,
};
use basalt_primitives::{
    Block, CommitCertificate, CommitSignature, HashFn, PublicKey, Round, SealedBlock, Signature, ValidatorSet,
};
use prost::{Message as _, bytes::Bytes};

use crate::{
    DecodeError,
    block::{
        BLOCK_FIELDS, CERTIFICATE_FIELDS, MAX_BLOCK_BYTES, MAX_CERTIFICATE_BYTES, signature_from_pb, signature_to_pb,
        validator_index,
    },
    codec,
    codec::{Convert, copy, required},
    pb,
    scan::Field,
};

/// Longest encoding of one round change in a justification.
const MAX_ROUND_CHANGE_BYTES: usize = 160;

/// Longest message: a proposal with its justification.
pub const MAX_MESSAGE_BYTES: usize =
    MAX_BLOCK_BYTES + ValidatorSet::MAX * (MAX_ROUND_CHANGE_BYTES + 4) + MAX_CERTIFICATE_BYTES + 256;

/// Longest entry of the sign record: a block with its prepared certificate.
pub const MAX_RECORD_BYTES: usize = MAX_BLOCK_BYTES + MAX_CERTIFICATE_BYTES + 256;

const PREPARED_CERTIFICATE_FIELDS: &[Field] = &[Field::bytes(3, "prepare signatures", ValidatorSet::MAX, 80)];
const PROPOSAL_FIELDS: &[Field] = &[
    Field::message(3, "block", 1, BLOCK_FIELDS),
    Field::bytes(4, "round changes", ValidatorSet::MAX, MAX_ROUND_CHANGE_BYTES),
    Field::message(5, "prepared certificate", 1, PREPARED_CERTIFICATE_FIELDS),
];
const MESSAGE_FIELDS: &[Field] = &[
    Field::message(3, "proposal", 1, PROPOSAL_FIELDS),
    Field::bytes(4, "prepare vote", 1, 64),
    Field::bytes(5, "commit vote", 1, 64),
    Field::message(6, "round change", 1, &[Field::message(3, "certificate", 1, PREPARED_CERTIFICATE_FIELDS)]),
    Field::message(7, "decision", 1, CERTIFICATE_FIELDS),
    Field::bytes(8, "sign state request", 1, 64),
    Field::message(9, "sign state", 1, &[Field::message(5, "certificate", 1, PREPARED_CERTIFICATE_FIELDS)]),
];
const PREPARED_FIELDS: &[Field] = &[
    Field::message(1, "prepared certificate", 1, PREPARED_CERTIFICATE_FIELDS),
    Field::message(2, "prepared block", 1, BLOCK_FIELDS),
];
const RECORD_FIELDS: &[Field] = &[
    Field::bytes(1, "initial entry", 1, 64),
    Field::message(2, "vote", 1, &[Field::message(2, "prepared block", 1, PREPARED_FIELDS)]),
    Field::bytes(3, "round", 1, 64),
    Field::message(4, "recovered entry", 1, &[Field::message(3, "prepared block", 1, PREPARED_FIELDS)]),
    Field::bytes(5, "released entry", 1, 64),
];

/// The encoding of a signed message.
#[must_use]
pub fn encode_message(m: &SignedMessage) -> Vec<u8> {
    pb::SignedMessage { from: m.from.into(), signature: copy(&m.signature.0), message: Some(message_to_pb(&m.message)) }
        .encode_to_vec()
}

/// Decodes a signed message; its signatures are not checked yet.
pub fn decode_message(bytes: impl Into<Bytes>, hash_fn: HashFn) -> Result<SignedMessage, DecodeError> {
    let m: pb::SignedMessage =
        codec::decode_canonical("consensus message", MAX_MESSAGE_BYTES, MESSAGE_FIELDS, bytes.into())?;
    Ok(SignedMessage {
        from: validator_index(m.from)?,
        signature: Signature(codec::array("signature", &m.signature)?),
        message: message_from_pb(required("content of the consensus message", m.message)?, hash_fn)?,
    })
}

/// The encoding of an entry of the sign record.
#[must_use]
pub fn encode_record(r: &Record) -> Vec<u8> {
    use pb::record::Record as R;
    let record = match r {
        Record::Initial { genesis } => R::Initial(pb::InitialRecord { genesis: copy(genesis.as_slice()) }),
        Record::Vote { height, prepared } => {
            R::Vote(pb::VoteRecord { height: height.0, prepared: Some(prepared_to_pb(prepared)) })
        }
        Record::Round { height, round } => R::Round(pb::RoundRecord { height: height.0, round: round.0 }),
        Record::Recovered { height, round, prepared, answers } => R::Recovered(pb::RecoveredRecord {
            height: height.0,
            round: round.0,
            prepared: prepared.as_ref().map(prepared_to_pb),
            answers: *answers,
        }),
        Record::Released { genesis, answers } => {
            R::Released(pb::ReleasedRecord { genesis: copy(genesis.as_slice()), answers: *answers })
        }
    };
    pb::Record { record: Some(record) }.encode_to_vec()
}

/// Decodes an entry of the sign record.
pub fn decode_record(bytes: impl Into<Bytes>, hash_fn: HashFn) -> Result<Record, DecodeError> {
    use pb::record::Record as R;
    let r: pb::Record = codec::decode_canonical("sign record entry", MAX_RECORD_BYTES, RECORD_FIELDS, bytes.into())?;
    Ok(match required("content of the sign record entry", r.record)? {
        R::Initial(r) => Record::Initial { genesis: codec::hash("genesis hash", &r.genesis)? },
        R::Vote(r) => Record::Vote {
            height: codec::height("vote height", r.height)?,
            prepared: prepared_from_pb(required("prepared block", r.prepared)?, hash_fn)?,
        },
        R::Round(r) => Record::Round { height: codec::height("round's height", r.height)?, round: Round(r.round) },
        R::Recovered(r) => Record::Recovered {
            height: codec::height("recovered height", r.height)?,
            round: Round(r.round),
            prepared: r.prepared.map(|p| prepared_from_pb(p, hash_fn)).transpose()?,
            answers: r.answers,
        },
        R::Released(r) => Record::Released { genesis: codec::hash("genesis hash", &r.genesis)?, answers: r.answers },
    })
}

fn message_to_pb(m: &Message) -> pb::signed_message::Message {
    use pb::signed_message::Message as M;
    match m {
        Message::Proposal(m) => M::Proposal(pb::Proposal {
            height: m.height.0,
            round: m.round.0,
            block: Some(m.block.block().to_pb()),
            justification: m.justification.iter().map(round_change_to_pb).collect(),
            prepared: m.prepared.as_ref().map(prepared_certificate_to_pb),
        }),
        Message::Prepare(m) => M::Prepare(vote_to_pb(m)),
        Message::Commit(m) => M::Commit(vote_to_pb(m)),
        Message::RoundChange(m) => M::RoundChange(pb::RoundChange {
            height: m.height.0,
            round: m.round.0,
            prepared: m.prepared.as_ref().map(prepared_certificate_to_pb),
        }),
        Message::Decided(m) => M::Decided(m.to_pb()),
        Message::SignStateRequest(m) => {
            M::SignStateRequest(pb::SignStateRequest { height: m.height.0, key: copy(&m.key.0), nonce: m.nonce })
        }
        Message::SignState(m) => M::SignState(pb::SignState {
            height: m.height.0,
            asker: copy(&m.asker.0),
            nonce: m.nonce,
            round: m.round.0,
            prepared: m.prepared.as_ref().map(prepared_certificate_to_pb),
        }),
    }
}

fn message_from_pb(m: pb::signed_message::Message, hash_fn: HashFn) -> Result<Message, DecodeError> {
    use pb::signed_message::Message as M;
    Ok(match m {
        M::Proposal(m) => Message::Proposal(proposal_from_pb(m, hash_fn)?),
        M::Prepare(m) => Message::Prepare(vote_from_pb(&m)?),
        M::Commit(m) => Message::Commit(vote_from_pb(&m)?),
        M::RoundChange(m) => Message::RoundChange(RoundChange {
            height: codec::height("round change height", m.height)?,
            round: Round(m.round),
            prepared: m.prepared.map(prepared_certificate_from_pb).transpose()?,
        }),
        M::Decided(m) => Message::Decided(CommitCertificate::from_pb(m)?),
        M::SignStateRequest(m) => Message::SignStateRequest(SignStateRequest {
            height: codec::height("sign state request height", m.height)?,
            key: PublicKey(codec::array("asker's key", &m.key)?),
            nonce: m.nonce,
        }),
        M::SignState(m) => Message::SignState(SignState {
            height: codec::height("sign state height", m.height)?,
            asker: PublicKey(codec::array("asker's key", &m.asker)?),
            nonce: m.nonce,
            round: Round(m.round),
            prepared: m.prepared.map(prepared_certificate_from_pb).transpose()?,
        }),
    })
}

fn proposal_from_pb(m: pb::Proposal, hash_fn: HashFn) -> Result<Proposal, DecodeError> {
    let block = Block::from_pb(required("proposed block", m.block)?)?;
    Ok(Proposal {
        height: codec::height("proposal height", m.height)?,
        round: Round(m.round),
        block: SealedBlock::new(block, hash_fn),
        justification: m.justification.into_iter().map(round_change_from_pb).collect::<Result<_, _>>()?,
        prepared: m.prepared.map(prepared_certificate_from_pb).transpose()?,
    })
}

fn vote_to_pb(v: &Vote) -> pb::Vote {
    pb::Vote { height: v.height.0, round: v.round.0, block_hash: copy(v.block_hash.as_slice()) }
}

fn vote_from_pb(v: &pb::Vote) -> Result<Vote, DecodeError> {
    Ok(Vote {
        height: codec::height("vote height", v.height)?,
        round: Round(v.round),
        block_hash: codec::hash("block hash", &v.block_hash)?,
    })
}

fn round_change_to_pb(r: &SignedRoundChange) -> pb::SignedRoundChange {
    let claim = |c: PreparedClaim| pb::PreparedClaim { round: c.round.0, block_hash: copy(c.block_hash.as_slice()) };
    pb::SignedRoundChange { from: r.from.into(), prepared: r.prepared.map(claim), signature: copy(&r.signature.0) }
}

fn round_change_from_pb(r: pb::SignedRoundChange) -> Result<SignedRoundChange, DecodeError> {
    let claim = |c: pb::PreparedClaim| {
        let block_hash = codec::hash("block hash", &c.block_hash)?;
        Ok::<_, DecodeError>(PreparedClaim { round: Round(c.round), block_hash })
    };
    Ok(SignedRoundChange {
        from: validator_index(r.from)?,
        prepared: r.prepared.map(claim).transpose()?,
        signature: Signature(codec::array("signature", &r.signature)?),
    })
}

fn prepared_certificate_to_pb(c: &PreparedCertificate) -> pb::PreparedCertificate {
    pb::PreparedCertificate {
        round: c.round.0,
        block_hash: copy(c.block_hash.as_slice()),
        signatures: c.signatures.iter().map(signature_to_pb).collect(),
    }
}

fn prepared_certificate_from_pb(c: pb::PreparedCertificate) -> Result<PreparedCertificate, DecodeError> {
    Ok(PreparedCertificate {
        round: Round(c.round),
        block_hash: codec::hash("block hash", &c.block_hash)?,
        signatures: c.signatures.iter().map(signature_from_pb).collect::<Result<Vec<CommitSignature>, _>>()?,
    })
}

fn prepared_to_pb(p: &Prepared) -> pb::Prepared {
    pb::Prepared { certificate: Some(prepared_certificate_to_pb(&p.certificate)), block: Some(p.block.block().to_pb()) }
}

fn prepared_from_pb(p: pb::Prepared, hash_fn: HashFn) -> Result<Prepared, DecodeError> {
    let block = Block::from_pb(required("prepared block", p.block)?)?;
    Ok(Prepared {
        certificate: prepared_certificate_from_pb(required("prepared certificate", p.certificate)?)?,
        block: SealedBlock::new(block, hash_fn),
    })
}
