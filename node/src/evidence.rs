//! Proof of misbehaviour that this node has seen, kept in its data directory: one JSON object a line, appended and synced,
//! bounded, read again at start. It is small, never secret, and made to be read by people as well.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use basalt_bft::message::{Message, SignedMessage};
use basalt_consensus::Evidence;
use basalt_primitives::{
    B256, Height, PublicKey, Round, Signature, ValidatorSet,
    system::evidence::{Equivocation, Step},
    validators::VoteKind,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// Name of the file in the data directory.
pub const FILE: &str = "evidence.jsonl";
/// Most entries kept; one offender would otherwise fill the disk.
const MAX: usize = 256;
/// Most bytes read at start: far above [`MAX`] lines.
const MAX_BYTES: u64 = 1 << 20;

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Row {
    step: u8,
    validator: PublicKey,
    height: Height,
    round: Round,
    blocks: [B256; 2],
    signatures: [String; 2],
}

/// What this node has seen. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EvidenceBook(Arc<Mutex<Book>>);

#[derive(Debug)]
struct Book {
    path: PathBuf,
    entries: Vec<Equivocation>,
}

/// What two contradicting messages prove; `None` for a kind that the chain does not take.
#[must_use]
pub fn equivocation(evidence: &Evidence<SignedMessage>, set: &ValidatorSet) -> Option<Equivocation> {
    let key = set.get(evidence.validator)?.public_key;
    let (kind, first) = step_and_block(&evidence.first.message)?;
    let (_, second) = step_and_block(&evidence.second.message).filter(|(k, _)| *k == kind)?;
    Some(Equivocation {
        kind,
        key,
        height: evidence.height,
        round: evidence.round,
        blocks: [first, second],
        signatures: [evidence.first.signature, evidence.second.signature],
    })
}

fn step_and_block(message: &Message) -> Option<(Step, B256)> {
    Some(match message {
        Message::Proposal(m) => (Step::Proposal, m.block.hash()),
        Message::Prepare(m) => (Step::Vote(VoteKind::Prepare), m.block_hash),
        Message::Commit(m) => (Step::Vote(VoteKind::Commit), m.block_hash),
        _ => return None,
    })
}

fn offence(e: &Equivocation) -> (PublicKey, Height, Round, u8) {
    (e.key, e.height, e.round, e.kind.code())
}

impl EvidenceBook {
    /// Reads what is there; a line that proves nothing (cut off by a crash, changed by hand) is left out and named in the log.
    pub fn open(data_dir: &Path, genesis: B256) -> io::Result<Self> {
        let path = data_dir.join(FILE);
        let mut text = String::new();
        match File::open(&path) {
            Ok(file) => _ = file.take(MAX_BYTES).read_to_string(&mut text)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let mut entries = Vec::new();
        for (number, line) in text.lines().enumerate().take(MAX) {
            match parse(line).filter(|e| e.holds(genesis)) {
                Some(e) => entries.push(e),
                None => tracing::warn!("line {} of {} is no evidence and is left out", number + 1, path.display()),
            }
        }
        Ok(Self(Arc::new(Mutex::new(Book { path, entries }))))
    }

    /// Keeps an entry, on disk first; false if the same offence is known, or there is no room.
    pub fn add(&self, e: Equivocation) -> io::Result<bool> {
        let mut book = self.0.lock();
        if book.entries.len() >= MAX || book.entries.iter().any(|old| offence(old) == offence(&e)) {
            return Ok(false);
        }
        let row = Row {
            step: e.kind.code(),
            validator: e.key,
            height: e.height,
            round: e.round,
            blocks: e.blocks,
            signatures: e.signatures.map(|s| hex::encode(s.0)),
        };
        let line = serde_json::to_string(&row).map_err(io::Error::other)?;
        let mut file = OpenOptions::new().create(true).append(true).open(&book.path)?;
        // A line cut off by a crash must not swallow this one.
        let begun = file.metadata()?.len() > 0;
        file.write_all(format!("{}{line}", if begun { "\n" } else { "" }).as_bytes())?;
        file.sync_all()?;
        book.entries.push(e);
        Ok(true)
    }

    /// All entries, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Equivocation> {
        self.0.lock().entries.clone()
    }
}

fn parse(line: &str) -> Option<Equivocation> {
    let row: Row = serde_json::from_str(line).ok()?;
    let signature = |text: &str| {
        let mut bytes = [0; 64];
        hex::decode_to_slice(text, &mut bytes).ok().map(|()| Signature(bytes))
    };
    Some(Equivocation {
        kind: Step::from_code(row.step)?,
        key: row.validator,
        height: row.height,
        round: row.round,
        blocks: row.blocks,
        signatures: [signature(&row.signatures[0])?, signature(&row.signatures[1])?],
    })
}

#[cfg(test)]
mod tests {
    use basalt_bft::message::{Proposal, Vote};
    use basalt_primitives::{SecretKey, Validator};

    use super::*;

    const GENESIS: B256 = B256::repeat_byte(7);

    /// Two votes of a validator for different blocks, as the engine reports them.
    fn votes(message: fn(Vote) -> Message, round: u32) -> (Evidence<SignedMessage>, ValidatorSet) {
        let key = SecretKey::from_bytes(&[3; 32]);
        let set = ValidatorSet::new(vec![Validator { public_key: key.public_key(), power: 1 }]).expect("one validator");
        let signed = |n: u8| {
            let vote = Vote { height: Height(9), round: Round(round), block_hash: B256::repeat_byte(n) };
            let message = message(vote);
            let signature = key.sign(message.signing_layout(GENESIS).as_slice());
            SignedMessage { from: 0, message, signature }
        };
        let (first, second) = (signed(1), signed(2));
        (Evidence { validator: 0, height: Height(9), round: Round(round), first, second }, set)
    }

    #[test]
    fn what_the_engine_reports_holds_for_every_kind_of_vote() {
        for message in [Message::Prepare, Message::Commit] {
            let (evidence, set) = votes(message, 2);
            let proof = equivocation(&evidence, &set).expect("votes are taken");
            assert!(proof.holds(GENESIS));
            assert!(!proof.holds(B256::ZERO), "no evidence on another chain");
        }
    }

    /// The contract rebuilds these bytes from height, round and hash alone.
    #[test]
    fn what_a_proposer_signs_is_what_the_chain_checks() {
        let json = serde_json::json!({
            "name": "test", "chainId": 1, "genesisTimeMs": 1, "hashFn": "sha256", "development": true,
            "consensus": { "engine": "pbft", "blockIntervalMs": 0, "roundTimeoutMs": 1000, "roundTimeoutCapMs": 1000,
                "emptyBlockMs": null, "clockToleranceMs": 1 },
            "gasLimit": 30_000_000, "maxBlockBytes": 1 << 20, "fees": { "kind": "zero" }, "forks": { "0": "osaka" },
            "validators": [{ "name": "one", "public_key": SecretKey::from_bytes(&[3; 32]).public_key(), "power": 1 }],
            "alloc": {},
        });
        let key = SecretKey::from_bytes(&[3; 32]);
        let signed = |time: u64| {
            let mut json = json.clone();
            json["genesisTimeMs"] = time.into();
            let block = basalt_primitives::ChainSpec::from_json(&json.to_string()).expect("sound").genesis_block();
            let (height, round) = (block.height(), Round(4));
            let message =
                Message::Proposal(Proposal { height, round, block, justification: Vec::new(), prepared: None });
            let signature = key.sign(message.signing_layout(GENESIS).as_slice());
            SignedMessage { from: 0, message, signature }
        };
        let set = ValidatorSet::new(vec![Validator { public_key: key.public_key(), power: 1 }]).expect("one validator");
        let evidence =
            Evidence { validator: 0, height: Height(0), round: Round(4), first: signed(1), second: signed(2) };
        let proof = equivocation(&evidence, &set).expect("proposals are taken");
        assert_eq!(proof.kind, Step::Proposal);
        assert!(proof.holds(GENESIS));
    }

    #[test]
    fn evidence_survives_a_restart_and_a_torn_line() {
        let dir = tempfile::tempdir().expect("tempdir");
        let proof = |round| {
            let (evidence, set) = votes(Message::Commit, round);
            equivocation(&evidence, &set).expect("votes are taken")
        };
        let book = EvidenceBook::open(dir.path(), GENESIS).expect("opens");
        assert!(book.add(proof(0)).expect("writes"));
        assert!(!book.add(proof(0)).expect("the same offence"));
        let path = dir.path().join(FILE);
        let mut text = std::fs::read_to_string(&path).expect("reads");
        text.push_str("\n{\"step\":2,\"valid");
        std::fs::write(&path, text).expect("writes");
        let book = EvidenceBook::open(dir.path(), GENESIS).expect("opens");
        assert_eq!(book.all(), [proof(0)]);
        assert!(book.add(proof(1)).expect("writes"));
        assert_eq!(EvidenceBook::open(dir.path(), GENESIS).expect("opens").all(), [proof(0), proof(1)]);
        assert_eq!(EvidenceBook::open(dir.path(), B256::ZERO).expect("opens").all(), [], "of another chain");
    }

    #[test]
    fn one_offender_cannot_fill_the_disk() {
        let dir = tempfile::tempdir().expect("tempdir");
        let book = EvidenceBook::open(dir.path(), GENESIS).expect("opens");
        let (evidence, set) = votes(Message::Prepare, 0);
        let proof = equivocation(&evidence, &set).expect("votes are taken");
        let added =
            (0..MAX as u32 + 10).filter(|r| book.add(Equivocation { round: Round(*r), ..proof }).expect("writes"));
        assert_eq!(added.count(), MAX);
    }
}
