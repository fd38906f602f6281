//! A simulated node: the real parts of one process, and what survives when it dies.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fs,
    path::PathBuf,
    rc::Rc,
    sync::{Arc, atomic::AtomicU64},
};

use basalt_bft::{Bft, record::Record};
use basalt_consensus::Restored;
use basalt_node::{
    chain::Chain,
    driver::{
        Driver, Signer,
        bodies::Bodies,
        executor::{Job, Worker},
        judge::Judge,
        verify::Verifier,
    },
    ingress::{Admission, Repeater},
    mempool::{MempoolConfig, SharedPool},
    proposer::Proposer,
    service::restore,
    sync::{Blocks, Patience},
};
use basalt_primitives::{Bytes, Height, Millis, SealedBlock, SecretKey};
use basalt_storage::{MemoryDisk, OpenOptions};

use super::{
    Sabotage,
    chain::Setup,
    clock::SimClock,
    ports::{Outbox, SimPorts},
};

/// Bytes of the state trie kept in memory.
const TRIE_BYTES: usize = 1 << 20;

/// What is alive of a node.
pub struct Process {
    /// Which start this is: events for an earlier one are void.
    pub epoch: u64,
    pub clock: Arc<SimClock>,
    pub driver: Driver<Bft, SimPorts>,
    pub outbox: Rc<RefCell<Outbox>>,
    pub chain: Chain,
    pub worker: Worker,
    pub judge: Judge,
    pub verifier: Verifier,
    pub admission: Admission,
    pub blocks: Blocks,
    pub patience: Patience,
    pub repeater: Repeater,
    /// Jobs of the execution thread; the first is being done.
    pub jobs: VecDeque<Job>,
    /// Blocks of the validation thread; the first is being judged.
    pub judging: VecDeque<SealedBlock>,
    /// Blocks that were fetched and wait for those before them to be executed.
    pub fetched: VecDeque<Bytes>,
    /// The engine's thread is syncing until then.
    pub busy_until: Millis,
    /// The next tick, in true time.
    pub tick_at: Option<Millis>,
    /// For how long it stays down once it dies.
    pub down: Millis,
}

/// One node.
pub struct Node {
    pub key: SecretKey,
    /// Its data folder; the sign record is a real file there.
    pub dir: PathBuf,
    /// The disk of its ledger.
    pub disk: MemoryDisk,
    pub process: Option<Process>,
    pub starts: u64,
    /// What has reached its sign record since it was last lost, as the oracles know it.
    pub records: Option<Vec<Record>>,
    /// It has lost its record once.
    pub wiped: bool,
    /// It never starts.
    pub silent: bool,
    pub sabotage: Sabotage,
}

/// What a start needs beside the node.
pub struct Start<'a> {
    pub setup: &'a Setup,
    pub now: &'a Arc<AtomicU64>,
    pub mono_base: Millis,
    pub nonce: u64,
    pub sync_ms: Millis,
}

fn memory() -> MemoryDisk {
    MemoryDisk::new().expect("memory")
}

impl Node {
    /// A node with an empty ledger and a fresh sign record, as `network create` makes it.
    pub fn new(setup: &Setup, key: SecretKey, dir: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(&dir)?;
        restore::init_sign_record(&dir, &setup.spec)?;
        let genesis = setup.spec.genesis_block().hash();
        let records = Some(vec![Record::Initial { genesis }]);
        let (disk, sabotage) = (memory(), Sabotage::None);
        Ok(Self { key, dir, disk, process: None, starts: 0, records, wiped: false, silent: false, sabotage })
    }

    /// Loses the ledger.
    pub fn lose_ledger(&mut self) {
        self.disk = memory();
    }

    /// Loses the sign record.
    pub fn lose_record(&mut self) -> std::io::Result<()> {
        (self.records, self.wiped) = (None, true);
        match fs::remove_file(self.dir.join(basalt_storage::sign_record::FILE_NAME)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Starts the process, as the service does: the ledger opens and checks itself, the sign record is read back. Gives the
    /// engine's first input.
    pub fn start(&mut self, start: &Start<'_>) -> anyhow::Result<Restored<Record>> {
        self.starts += 1;
        let options = OpenOptions {
            memory: Some(self.disk.clone()),
            cache_bytes: 1 << 20,
            memtable_bytes: 4 << 20,
            background_threads: 1,
            ..OpenOptions::default()
        };
        let (chain, trie) = restore::open_chain(&self.dir, start.setup.spec.clone(), &options, TRIE_BYTES, Vec::new())?;
        let record = restore::open_record(&self.dir, &chain, Some(self.key.public_key()))?;
        let restored = restore::restored(&chain, &record, start.nonce)?;
        let clock = Arc::new(SimClock::new(Arc::clone(start.now), chain.spec.genesis_time_ms, start.mono_base));
        let outbox = Rc::new(RefCell::new(Outbox::default()));
        let ports = SimPorts {
            outbox: Rc::clone(&outbox),
            signer: Signer { key: Some(self.key.clone()), genesis: chain.genesis, sets: chain.sets.clone() },
            record,
            dir: self.dir.clone(),
            ledger: Arc::clone(&chain.ledger),
            sync_ms: start.sync_ms,
            rng: SimPorts::rng(start.nonce),
            sabotage: self.sabotage,
        };
        self.process = Some(self.assemble(chain, trie, clock, ports, outbox));
        Ok(restored)
    }

    fn assemble(
        &self,
        chain: Chain,
        trie: basalt_execution::StateTrie,
        clock: Arc<SimClock>,
        ports: SimPorts,
        outbox: Rc<RefCell<Outbox>>,
    ) -> Process {
        let pool = SharedPool::new(MempoolConfig::default());
        let bodies = Bodies::new(clock.clone());
        let verifier = Verifier {
            spec: Arc::clone(&chain.spec),
            genesis: chain.genesis,
            sets: chain.sets.clone(),
            pool: pool.clone(),
            bodies: bodies.clone(),
        };
        let own = self.key.public_key();
        let config = basalt_bft::Config { key: Some(own), genesis: chain.genesis, params: chain.spec.bft().clone() };
        let worker = Worker {
            chain: chain.clone(),
            clock: clock.clone(),
            trie,
            verifier: verifier.clone(),
            pool: pool.clone(),
            proposer: Some(Proposer { address: own.address() }),
            dump_dir: self.dir.join("dumps"),
            observer: Box::new(|_| {}),
            ahead: Vec::new(),
        };
        Process {
            epoch: self.starts,
            driver: Driver::new(Bft::new(config), ports),
            outbox,
            worker,
            judge: Judge { chain: chain.clone(), verifier: verifier.clone(), clock: clock.clone() },
            verifier,
            admission: Admission { chain: chain.clone(), pool, clock: clock.clone() },
            blocks: Blocks { chain: chain.clone(), bodies },
            patience: Patience::default(),
            repeater: Repeater::default(),
            chain,
            clock,
            jobs: VecDeque::new(),
            judging: VecDeque::new(),
            fetched: VecDeque::new(),
            busy_until: 0,
            tick_at: None,
            down: 0,
        }
    }

    /// Newest executed height, while it runs.
    pub fn height(&self) -> Option<Height> {
        self.process.as_ref().map(|p| p.chain.ledger.head().height())
    }
}
