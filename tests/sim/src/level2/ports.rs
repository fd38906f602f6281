//! What a simulated driver's effects become: entries of an outbox, and a real sign record on a disk that can lose what was
//! being written.

use std::{cell::RefCell, fs, path::PathBuf, rc::Rc, sync::Arc};

use basalt_bft::{
    Bft,
    message::{Message, SignedMessage},
    record::Record,
};
use basalt_consensus::{BuildRequest, Evidence, InputOf, Target};
use basalt_node::driver::{Choice, Fatal, Ports, Signer, executor::Job, record::RecordFile, sign::handed_back};
use basalt_primitives::{B256, CommitCertificate, Height, Millis, SealedBlock};
use basalt_storage::{Ledger, sign_record::FILE_NAME};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Sabotage;

/// Something a driver wants done, in order.
#[derive(Debug)]
pub enum Action {
    /// A record is on the disk.
    Recorded(Record),
    /// A message leaves, so many milliseconds after the step began (syncing takes time).
    Send(Target, Box<SignedMessage>, Millis),
    /// A block is looked for.
    Fetch(B256, Height, u16),
    /// A job for execution.
    Job(Job),
    /// A block to judge.
    Validate(SealedBlock),
    /// Evidence against a validator.
    Report(Box<Evidence<SignedMessage>>),
}

/// How a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doom {
    /// After so many more effects.
    Fuse(u32),
    /// In the middle of its next sync.
    Syncing,
}

/// What a driver has done in one step, and what will end it.
#[derive(Debug, Default)]
pub struct Outbox {
    /// In order.
    pub actions: Vec<Action>,
    /// How long it has spent syncing.
    pub busy: Millis,
    /// When it dies.
    pub doom: Option<Doom>,
    /// It has died: nothing more leaves.
    pub dead: bool,
}

impl Outbox {
    /// One effect is carried out, unless the process is dead or dies before it.
    fn carries_out(&mut self) -> bool {
        if let Some(Doom::Fuse(left)) = &mut self.doom {
            self.dead |= *left == 0;
            *left = left.saturating_sub(1);
        }
        !self.dead
    }

    fn push(&mut self, action: Action) {
        if self.carries_out() {
            self.actions.push(action);
        }
    }
}

/// The ports of one process.
pub struct SimPorts {
    /// Where effects go.
    pub outbox: Rc<RefCell<Outbox>>,
    /// The node's key.
    pub signer: Signer,
    /// The real sign record.
    pub record: RecordFile,
    /// Where it lies.
    pub dir: PathBuf,
    /// The head, for what may be dropped from the record.
    pub ledger: Arc<Ledger>,
    /// The longest sync.
    pub sync_ms: Millis,
    /// What the disk draws.
    pub rng: ChaCha8Rng,
    /// Deliberate bugs.
    pub sabotage: Sabotage,
}

impl SimPorts {
    /// A generator of its own for a process's disk.
    pub fn rng(seed: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(seed)
    }

    /// The process dies while the last entry is being written: some of it reached the disk, perhaps as zeros.
    fn tear(&mut self, before: u64) -> std::io::Result<bool> {
        let path = self.dir.join(FILE_NAME);
        if before == 0 {
            // It was being made: the rename has happened or not.
            let there = self.rng.random_bool(0.5);
            return if there { Ok(true) } else { fs::remove_file(path).map(|()| false) };
        }
        let file = fs::File::options().write(true).open(&path)?;
        let whole = file.metadata()?.len();
        let keep = self.rng.random_range(before..=whole);
        file.set_len(keep)?;
        if keep < whole && self.rng.random_bool(0.3) {
            file.set_len(whole)?;
        }
        Ok(keep == whole)
    }

    fn length(&self) -> u64 {
        fs::metadata(self.dir.join(FILE_NAME)).map_or(0, |m| m.len())
    }
}

impl Ports<Bft> for SimPorts {
    fn persist(&mut self, record: &Record) -> Result<(), Fatal> {
        let killed = || Err(Fatal("killed".into()));
        let (carries_out, syncing) = {
            let mut outbox = self.outbox.borrow_mut();
            (outbox.carries_out(), outbox.doom == Some(Doom::Syncing))
        };
        if !carries_out {
            return killed();
        }
        let before = self.length();
        if self.sabotage == Sabotage::UnsyncedRecord {
            // The call returns; the disk has nothing.
            return Ok(());
        }
        self.record.append(record, self.ledger.head().height())?;
        let mut whole = true;
        if syncing {
            whole = self.tear(before).map_err(|e| Fatal(format!("the simulated disk: {e}")))?;
        }
        let mut outbox = self.outbox.borrow_mut();
        outbox.busy += self.rng.random_range(0..=self.sync_ms);
        if whole {
            outbox.actions.push(Action::Recorded(record.clone()));
        }
        outbox.dead |= syncing;
        if syncing { killed() } else { Ok(()) }
    }

    fn send(&mut self, to: Target, message: Message) -> Option<InputOf<Bft>> {
        let signed = self.signer.sign(message)?;
        let mut outbox = self.outbox.borrow_mut();
        let busy = outbox.busy;
        outbox.push(Action::Send(to, Box::new(signed.clone()), busy));
        handed_back(to, signed)
    }

    fn fetch(&mut self, block: B256, height: Height, hint: u16) {
        self.outbox.borrow_mut().push(Action::Fetch(block, height, hint));
    }

    fn build(&mut self, request: BuildRequest) {
        self.outbox.borrow_mut().push(Action::Job(Job::Build(request)));
    }

    fn validate(&mut self, block: SealedBlock) {
        self.outbox.borrow_mut().push(Action::Validate(block));
    }

    fn execute(&mut self, block: SealedBlock, certificate: Arc<CommitCertificate>) {
        self.outbox.borrow_mut().push(Action::Job(Job::Execute { block, certificate }));
    }

    fn forkchoice(&mut self, _choice: Choice) {}

    fn report(&mut self, evidence: Evidence<SignedMessage>) {
        self.outbox.borrow_mut().push(Action::Report(Box::new(evidence)));
    }
}
