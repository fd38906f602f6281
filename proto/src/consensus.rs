//! Consensus messages and entries of the sign record.
//!
//! Decoding seals the blocks inside, so it needs the chain's hash function. Signatures, quorums and bodies are for
//! [`SignedMessage::verify`] and the driver.

use basalt_bft::{
    Message, Prepared, PreparedCertificate, PreparedClaim, Proposal, Record, RoundChange, SignState, SignStateRequest,
    SignedMessage, SignedRoundChange, Vote,
};
use basalt_primitives::{
    B256, Block, CommitCertificate, HashFn, Height, PublicKey, Round, SealedBlock, Signature, ValidatorSet,
};
use prost::bytes::Bytes;

use crate::{
    DecodeError,
    block::{BLOCK_FIELDS, CERTIFICATE_FIELDS, MAX_BLOCK_BYTES, MAX_CERTIFICATE_BYTES, signature_from_pb},
    block::{signature_to_pb, validator_index},
    codec::{self, Codec as _, Convert, copy, required},
    pb,
    scan::Field,
};

/// Longest consensus message: a proposal with a block, a full justification and a certificate.
pub const MAX_MESSAGE_BYTES: usize = MAX_BLOCK_BYTES + MAX_CERTIFICATE_BYTES + ValidatorSet::MAX * 160 + 1024;
/// Longest entry of the sign record.
pub const MAX_RECORD_BYTES: usize = MAX_BLOCK_BYTES + MAX_CERTIFICATE_BYTES + 1024;

const PREPARED_FIELDS: &[Field] = &[Field::bytes(3, "prepare signatures", ValidatorSet::MAX, 80)];
const PROPOSAL_FIELDS: &[Field] = &[
    Field::message(3, "proposed block", 1, BLOCK_FIELDS),
    Field::bytes(4, "justification", ValidatorSet::MAX, 160),
    Field::message(5, "prepared certificate", 1, PREPARED_FIELDS),
];
const MESSAGE_FIELDS: &[Field] = &[
    Field::bytes(2, "signature", 1, 64),
    Field::message(3, "proposal", 1, PROPOSAL_FIELDS),
    Field::bytes(4, "prepare", 1, 64),
    Field::bytes(5, "commit", 1, 64),
    Field::message(6, "round change", 1, &[Field::message(3, "prepared certificate", 1, PREPARED_FIELDS)]),
    Field::message(7, "decided", 1, CERTIFICATE_FIELDS),
    Field::bytes(8, "sign state request", 1, 64),
    Field::message(9, "sign state", 1, &[Field::message(5, "prepared certificate", 1, PREPARED_FIELDS)]),
];
const RECORD_FIELDS: &[Field] = &[
    Field::bytes(1, "initial entry", 1, 32),
    Field::message(
        2,
        "recorded vote",
        1,
        &[Field::message(2, "prepared certificate", 1, PREPARED_FIELDS), Field::message(3, "block", 1, BLOCK_FIELDS)],
    ),
    Field::bytes(3, "recorded round", 1, 32),
    Field::message(
        4,
        "recorded recovery",
        1,
        &[Field::message(3, "prepared certificate", 1, PREPARED_FIELDS), Field::message(4, "block", 1, BLOCK_FIELDS)],
    ),
];

/// The generated message as it is: bounded and canonical, not yet converted.
struct Raw<T>(T);

macro_rules! raw {
    ($pb:ty, $name:literal, $max:expr, $fields:expr) => {
        impl Convert for Raw<$pb> {
            type Pb = $pb;
            const NAME: &'static str = $name;
            const MAX: usize = $max;
            const FIELDS: &'static [Field] = $fields;

            fn to_pb(&self) -> $pb {
                self.0.clone()
            }

            fn from_pb(pb: $pb) -> Result<Self, DecodeError> {
                Ok(Self(pb))
            }
        }
    };
}

raw!(pb::SignedMessage, "consensus message", MAX_MESSAGE_BYTES, MESSAGE_FIELDS);
raw!(pb::SignRecordEntry, "sign record entry", MAX_RECORD_BYTES, RECORD_FIELDS);

/// Encodes a consensus message.
#[must_use]
pub fn encode_message(message: &SignedMessage) -> Vec<u8> {
    use pb::signed_message::Message as Pb;
    let vote = |v: &Vote| pb::Vote { height: v.height.0, round: v.round.0, block_hash: copy(v.block_hash.as_slice()) };
    let body = match &message.message {
        Message::Proposal(m) => Pb::Proposal(pb::Proposal {
            height: m.height.0,
            round: m.round.0,
            block: Some(m.block.block().to_pb()),
            justification: m.justification.iter().map(round_change_to_pb).collect(),
            prepared: m.prepared.as_ref().map(prepared_to_pb),
        }),
        Message::Prepare(v) => Pb::Prepare(vote(v)),
        Message::Commit(v) => Pb::Commit(vote(v)),
        Message::RoundChange(m) => Pb::RoundChange(pb::RoundChange {
            height: m.height.0,
            round: m.round.0,
            prepared: m.prepared.as_ref().map(prepared_to_pb),
        }),
        Message::Decided(c) => Pb::Decided(c.to_pb()),
        Message::SignStateRequest(m) => Pb::SignStateRequest(pb::SignStateRequest {
            height: m.height.0,
            key: copy(&m.key.0),
            nonce: m.nonce,
        }),
        Message::SignState(m) => Pb::SignState(pb::SignState {
            height: m.height.0,
            asker: copy(&m.asker.0),
            nonce: m.nonce,
            round: m.round.0,
            prepared: m.prepared.as_ref().map(prepared_to_pb),
        }),
    };
    let (from, signature) = (message.from.into(), copy(&message.signature.0));
    Raw(pb::SignedMessage { from, signature, message: Some(body) }).encode()
}

/// Decodes a consensus message of a peer.
pub fn decode_message(bytes: impl Into<Bytes>, hash_fn: HashFn) -> Result<SignedMessage, DecodeError> {
    use pb::signed_message::Message as Pb;
    let Raw(m) = Raw::<pb::SignedMessage>::decode(bytes)?;
    let message = match required("consensus message", m.message)? {
        Pb::Proposal(p) => Message::Proposal(Proposal {
            height: codec::height("proposal height", p.height)?,
            round: Round(p.round),
            block: sealed(p.block, hash_fn)?,
            justification: p.justification.iter().map(round_change_from_pb).collect::<Result<_, _>>()?,
            prepared: p.prepared.map(prepared_from_pb).transpose()?,
        }),
        Pb::Prepare(v) => Message::Prepare(vote_from_pb(&v)?),
        Pb::Commit(v) => Message::Commit(vote_from_pb(&v)?),
        Pb::RoundChange(r) => Message::RoundChange(RoundChange {
            height: codec::height("round change height", r.height)?,
            round: Round(r.round),
            prepared: r.prepared.map(prepared_from_pb).transpose()?,
        }),
        Pb::Decided(c) => Message::Decided(CommitCertificate::from_pb(c)?),
        Pb::SignStateRequest(r) => Message::SignStateRequest(SignStateRequest {
            height: codec::height("sign state height", r.height)?,
            key: PublicKey(codec::array("validator key", &r.key)?),
            nonce: r.nonce,
        }),
        Pb::SignState(s) => Message::SignState(SignState {
            height: codec::height("sign state height", s.height)?,
            asker: PublicKey(codec::array("validator key", &s.asker)?),
            nonce: s.nonce,
            round: Round(s.round),
            prepared: s.prepared.map(prepared_from_pb).transpose()?,
        }),
    };
    let signature = Signature(codec::array("signature", &m.signature)?);
    Ok(SignedMessage { from: validator_index(m.from)?, message, signature })
}

/// Encodes an entry of the sign record.
#[must_use]
pub fn encode_record(record: &Record) -> Vec<u8> {
    use pb::sign_record_entry::Entry;
    let entry = match record {
        Record::Initial { genesis } => Entry::Initial(copy(genesis.as_slice())),
        Record::Vote { height, prepared } => Entry::Vote(pb::RecordedVote {
            height: height.0,
            certificate: Some(prepared_to_pb(&prepared.certificate)),
            block: Some(prepared.block.block().to_pb()),
        }),
        Record::Round { height, round } => Entry::Round(pb::RecordedRound { height: height.0, round: round.0 }),
        Record::Recovered { height, round, prepared } => Entry::Recovered(pb::RecordedRecovery {
            height: height.0,
            round: round.0,
            certificate: prepared.as_ref().map(|p| prepared_to_pb(&p.certificate)),
            block: prepared.as_ref().map(|p| p.block.block().to_pb()),
        }),
    };
    Raw(pb::SignRecordEntry { entry: Some(entry) }).encode()
}

/// Decodes an entry of the sign record.
pub fn decode_record(bytes: impl Into<Bytes>, hash_fn: HashFn) -> Result<Record, DecodeError> {
    use pb::sign_record_entry::Entry;
    let Raw(r) = Raw::<pb::SignRecordEntry>::decode(bytes)?;
    Ok(match required("sign record entry", r.entry)? {
        Entry::Initial(genesis) => Record::Initial { genesis: codec::hash("genesis hash", &genesis)? },
        Entry::Vote(v) => Record::Vote {
            height: codec::height("recorded height", v.height)?,
            prepared: Prepared {
                certificate: prepared_from_pb(required("prepared certificate", v.certificate)?)?,
                block: sealed(v.block, hash_fn)?,
            },
        },
        Entry::Round(r) => {
            Record::Round { height: codec::height("recorded height", r.height)?, round: Round(r.round) }
        }
        Entry::Recovered(r) => Record::Recovered {
            height: codec::height("recorded height", r.height)?,
            round: Round(r.round),
            prepared: match (r.certificate, r.block) {
                (None, None) => None,
                (certificate, block) => Some(Prepared {
                    certificate: prepared_from_pb(required("prepared certificate", certificate)?)?,
                    block: sealed(block, hash_fn)?,
                }),
            },
        },
    })
}

fn sealed(block: Option<pb::Block>, hash_fn: HashFn) -> Result<SealedBlock, DecodeError> {
    Ok(SealedBlock::new(Block::from_pb(required("block", block)?)?, hash_fn))
}

fn vote_from_pb(v: &pb::Vote) -> Result<Vote, DecodeError> {
    Ok(Vote {
        height: codec::height("vote height", v.height)?,
        round: Round(v.round),
        block_hash: codec::hash("block hash", &v.block_hash)?,
    })
}

fn prepared_to_pb(p: &PreparedCertificate) -> pb::PreparedCertificate {
    pb::PreparedCertificate {
        round: p.round.0,
        block_hash: copy(p.block_hash.as_slice()),
        signatures: p.signatures.iter().map(signature_to_pb).collect(),
    }
}

fn prepared_from_pb(p: pb::PreparedCertificate) -> Result<PreparedCertificate, DecodeError> {
    Ok(PreparedCertificate {
        round: Round(p.round),
        block_hash: codec::hash("block hash", &p.block_hash)?,
        signatures: p.signatures.iter().map(signature_from_pb).collect::<Result<_, _>>()?,
    })
}

fn round_change_to_pb(r: &SignedRoundChange) -> pb::SignedRoundChange {
    let claim = |c: PreparedClaim| pb::PreparedClaim { round: c.round.0, block_hash: copy(c.block_hash.as_slice()) };
    pb::SignedRoundChange { from: r.from.into(), prepared: r.prepared.map(claim), signature: copy(&r.signature.0) }
}

fn round_change_from_pb(r: &pb::SignedRoundChange) -> Result<SignedRoundChange, DecodeError> {
    let claim = |c: &pb::PreparedClaim| -> Result<PreparedClaim, DecodeError> {
        let block_hash: B256 = codec::hash("block hash", &c.block_hash)?;
        Ok(PreparedClaim { round: Round(c.round), block_hash })
    };
    Ok(SignedRoundChange {
        from: validator_index(r.from)?,
        prepared: r.prepared.as_ref().map(claim).transpose()?,
        signature: Signature(codec::array("signature", &r.signature)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_record_survives_the_way_to_disk_and_back() {
        let spec_block = |height: u64| {
            let genesis = test_block();
            let mut block = genesis.block().clone();
            block.header.height = Height(height);
            SealedBlock::new(block, HashFn::Sha256)
        };
        let block = spec_block(3);
        let certificate =
            PreparedCertificate { round: Round(1), block_hash: block.hash(), signatures: vec![test_signature(0)] };
        let prepared = Prepared { certificate, block };
        let records = [
            Record::Initial { genesis: B256::repeat_byte(7) },
            Record::Vote { height: Height(3), prepared: prepared.clone() },
            Record::Round { height: Height(3), round: Round(2) },
            Record::Recovered { height: Height(3), round: Round(2), prepared: Some(prepared) },
            Record::Recovered { height: Height(4), round: Round(0), prepared: None },
        ];
        for record in records {
            let bytes = encode_record(&record);
            assert_eq!(decode_record(bytes.clone(), HashFn::Sha256).expect("decodes"), record);
            let mut longer = bytes;
            longer.push(0);
            assert!(decode_record(longer, HashFn::Sha256).is_err());
        }
    }

    #[test]
    fn every_kind_of_message_survives_the_wire() {
        let block = test_block();
        let hash = block.hash();
        let prepared =
            Some(PreparedCertificate { round: Round(0), block_hash: hash, signatures: vec![test_signature(1)] });
        let claim = prepared.as_ref().map(PreparedCertificate::claim);
        let rc = SignedRoundChange { from: 2, prepared: claim, signature: test_signature(2).signature };
        let (height, round) = (Height(1), Round(1));
        let vote = Vote { height, round, block_hash: hash };
        let decided = CommitCertificate { height, round, block_hash: hash, signatures: vec![test_signature(3)] };
        let key = PublicKey([9; 32]);
        let all = [
            Message::Proposal(Proposal { height, round, block, justification: vec![rc], prepared: prepared.clone() }),
            Message::Prepare(vote),
            Message::Commit(vote),
            Message::RoundChange(RoundChange { height, round, prepared: prepared.clone() }),
            Message::Decided(decided),
            Message::SignStateRequest(SignStateRequest { height, key, nonce: 5 }),
            Message::SignState(SignState { height, asker: key, nonce: 5, round, prepared }),
        ];
        for message in all {
            let signed = SignedMessage { from: 3, message, signature: test_signature(0).signature };
            let bytes = encode_message(&signed);
            assert_eq!(decode_message(bytes.clone(), HashFn::Sha256).expect("decodes"), signed);
            for cut in 0..bytes.len() {
                assert!(decode_message(bytes[..cut].to_vec(), HashFn::Sha256).is_err(), "cut at {cut}");
            }
        }
    }

    fn test_signature(validator: u16) -> basalt_primitives::CommitSignature {
        basalt_primitives::CommitSignature { validator, signature: Signature([validator as u8 + 1; 64]) }
    }

    fn test_block() -> SealedBlock {
        let header = basalt_primitives::Header {
            version: basalt_primitives::header::HEADER_VERSION,
            chain_id: 1,
            height: Height(1),
            timestamp_ms: 5,
            parent_hash: B256::repeat_byte(1),
            transactions_root: B256::repeat_byte(2),
            parent_state_root: B256::repeat_byte(3),
            parent_receipts_root: B256::repeat_byte(4),
            parent_gas_used: 6,
            gas_limit: 7,
            base_fee: 8,
            proposer: basalt_primitives::Address::repeat_byte(9),
            first_round: Round(0),
            next_validators_hash: B256::repeat_byte(10),
            last_certificate_hash: B256::ZERO,
            seal: basalt_primitives::Seal::None,
        };
        SealedBlock::new(Block { header, last_certificate: None, transactions: vec![] }, HashFn::Sha256)
    }
}
