//! A bench for one engine: blocks with names, inputs in, effects out in words.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;

use basalt_consensus::{Effect, EffectOf, Engine, Input, Restored, Target, Verdict, Verified};
use basalt_pow::{Config, Message, Pow, Record, SealedHeader, Sealing, asert::Schedule, sim::test_params};
use basalt_primitives::{B256, Block, HashFn, Header, Height, Millis, PowParams, Seal, SealedBlock, U256, WorkHash};

pub const GENESIS_MS: Millis = 1_000_000_000;
pub const SEALING: Sealing = Sealing { hash_fn: HashFn::Sha256, work_hash: WorkHash::Sha256d };

/// One engine, its clocks and every block by name.
pub struct Bench {
    pub engine: Pow,
    pub now: Millis,
    pub wall: Millis,
    pub params: PowParams,
    pub genesis: SealedBlock,
    pub blocks: BTreeMap<String, SealedBlock>,
    pub names: BTreeMap<B256, String>,
    pub records: Vec<Record>,
    firsts: BTreeMap<B256, Millis>,
}

impl Bench {
    /// A started engine. Difficulty 4, final at 6 blocks, safe at 3, one block every 10 s.
    pub fn new() -> Self {
        let mut bench = Self::unstarted();
        bench.start(Vec::new());
        bench
    }

    pub fn unstarted() -> Self {
        let params = PowParams {
            finality_depth: 6,
            safe_depth: 3,
            initial_target: U256::MAX >> 2,
            max_target: U256::MAX >> 1,
            ..test_params()
        };
        Self::with(params)
    }

    pub fn with(params: PowParams) -> Self {
        let genesis =
            Block { header: header(B256::ZERO, 0, GENESIS_MS), last_certificate: None, transactions: Vec::new() };
        let genesis = SealedBlock::new(genesis, HashFn::Sha256);
        let engine = Pow::new(Self::config(&params, &genesis));
        let names = BTreeMap::from([(genesis.hash(), "genesis".to_owned())]);
        let blocks = BTreeMap::from([("genesis".to_owned(), genesis.clone())]);
        Self {
            engine,
            now: 0,
            wall: GENESIS_MS + 10_000_000,
            params,
            genesis,
            blocks,
            names,
            records: Vec::new(),
            firsts: BTreeMap::new(),
        }
    }

    pub fn config(params: &PowParams, genesis: &SealedBlock) -> Config {
        let (params, genesis) = (params.clone(), genesis.clone());
        Config { params, sealing: SEALING, genesis, capacity: 1 << 16, margin: 32, mine: false }
    }

    pub fn start(&mut self, records: Vec<Record>) -> Vec<String> {
        let head = match records.iter().rev().find_map(|r| if let Record::Trunk(h) = r { Some(h.hash()) } else { None })
        {
            Some(hash) => self.blocks[&self.names[&hash]].clone(),
            None => self.genesis.clone(),
        };
        let restored = Restored {
            head,
            certificate: None,
            had_transactions: false,
            sets: Vec::new(),
            past: Vec::new(),
            records: Some(records),
            nonce: 0,
        };
        self.input(Input::Restored(restored))
    }

    pub fn restart(&mut self, records: Vec<Record>) -> Vec<String> {
        self.engine = Pow::new(Self::config(&self.params, &self.genesis));
        self.start(records)
    }

    /// A sealed block on one that has a name, so long after it.
    pub fn block(&mut self, name: &str, parent: &str, after: Millis) -> SealedBlock {
        self.block_with(name, parent, after, |_| {})
    }

    /// The same, changed before it is sealed.
    pub fn block_with(
        &mut self,
        name: &str,
        parent: &str,
        after: Millis,
        change: impl FnOnce(&mut Header),
    ) -> SealedBlock {
        let parent = self.blocks[parent].clone();
        let mut new = header(parent.hash(), parent.height().0 + 1, parent.header().timestamp_ms + after);
        new.transactions_root = B256::from(U256::from(self.blocks.len()));
        let first = self.first_ms(&parent);
        let target = Schedule::of(&self.params).after(parent.height().0, parent.header().timestamp_ms, first);
        new.seal = Seal::Work { target, nonce: 0 };
        change(&mut new);
        let nonce = SEALING.search(&new, 0, 1 << 20).expect("an easy target");
        if let Seal::Work { nonce: n, .. } = &mut new.seal {
            *n = nonce;
        }
        let block =
            SealedBlock::new(Block { header: new, last_certificate: None, transactions: Vec::new() }, HashFn::Sha256);
        let first = if block.height() == Height(1) { block.header().timestamp_ms } else { first };
        self.firsts.insert(block.hash(), first);
        self.names.insert(block.hash(), name.to_owned());
        self.blocks.insert(name.to_owned(), block.clone());
        block
    }

    /// A row of blocks, one every interval: `a1`, `a2`, … on a parent.
    pub fn row(&mut self, prefix: &str, parent: &str, count: u64) -> Vec<SealedBlock> {
        let mut below = parent.to_owned();
        let mut row = Vec::new();
        for i in 1..=count {
            let name = format!("{prefix}{i}");
            row.push(self.block(&name, &below, 10_000));
            below = name;
        }
        row
    }

    /// Timestamp of block 1 of a block's chain.
    fn first_ms(&self, block: &SealedBlock) -> Millis {
        self.firsts.get(&block.hash()).copied().unwrap_or_default()
    }

    pub fn sealed(block: &SealedBlock) -> SealedHeader {
        SEALING.check(block.header().clone()).expect("sealed")
    }

    /// Headers of a peer.
    pub fn headers(&mut self, from: u16, blocks: &[SealedBlock]) -> Vec<String> {
        let message = Message::Headers(blocks.iter().map(Self::sealed).collect());
        self.input(Input::Message { from, message: Verified::assume(message) })
    }

    /// Gives everything the engine fetches and judges everything valid, until it wants no more.
    pub fn obey(&mut self, mut words: Vec<String>) -> Vec<String> {
        let mut all = Vec::new();
        while !words.is_empty() {
            let mut next = Vec::new();
            for word in &words {
                if let Some(name) = word.strip_prefix("fetch ") {
                    let block = self.blocks[name.split(' ').next().expect("a name")].clone();
                    next.extend(self.input(Input::Fetched { block }));
                } else if let Some(name) = word.strip_prefix("judge ") {
                    let block = self.blocks[name].hash();
                    next.extend(self.input(Input::Validated { block, verdict: Verdict::Valid }));
                }
            }
            all.append(&mut words);
            words = next;
        }
        all
    }

    /// Headers of a peer, and then everything they lead to.
    pub fn take(&mut self, blocks: &[SealedBlock]) -> Vec<String> {
        let words = self.headers(1, blocks);
        self.obey(words)
    }

    pub fn wait(&mut self, ms: Millis) -> Vec<String> {
        (self.now, self.wall) = (self.now + ms, self.wall + ms);
        self.input(Input::Tick)
    }

    pub fn input(&mut self, input: Input<Message, Record>) -> Vec<String> {
        let effects = self.engine.step(self.now, self.wall, input);
        effects.into_iter().map(|effect| self.say(effect)).collect()
    }

    pub fn name(&self, hash: B256) -> String {
        self.names.get(&hash).cloned().unwrap_or_else(|| hash.to_string())
    }

    fn list(&self, hashes: &[B256]) -> String {
        hashes.iter().map(|h| self.name(*h)).collect::<Vec<_>>().join(",")
    }

    fn say(&mut self, effect: EffectOf<Pow>) -> String {
        let to = |to: Target| if let Target::One(peer) = to { peer.to_string() } else { "all".to_owned() };
        match effect {
            Effect::Persist(record) => {
                self.records.push(record.clone());
                match record {
                    Record::Block(block) => format!("write {}", self.name(block.hash())),
                    Record::Checkpoint { height, block } => format!("write checkpoint {height} {}", self.name(block)),
                    other => format!("{other:?}"),
                }
            }
            Effect::Send { to: who, message: Message::Headers(headers) } => {
                let hashes: Vec<B256> = headers.iter().map(SealedHeader::hash).collect();
                format!("announce {} to {}", self.list(&hashes), to(who))
            }
            Effect::Send { to: who, message: Message::GetHeaders { locator } } => {
                format!("ask {} after {}", to(who), self.name(locator[0]))
            }
            Effect::Fetch { block, hint, .. } => format!("fetch {} from {hint}", self.name(block)),
            Effect::Build(request) => format!("build {} on {}", request.height, self.name(request.parent)),
            Effect::Validate { block } => format!("judge {}", self.name(block.hash())),
            Effect::Seal { block } => format!("seal {}", block.height()),
            Effect::Forkchoice { head, safe, finalized, branch, .. } => {
                let names = [head, safe, finalized].map(|h| self.name(h));
                let change = branch.map(|b| {
                    format!(
                        ": at {} undo [{}] do [{}]",
                        self.name(b.ancestor),
                        self.list(&b.abandoned),
                        self.list(&b.adopted)
                    )
                });
                format!("head {} safe {} final {}{}", names[0], names[1], names[2], change.unwrap_or_default())
            }
            Effect::Alarm(basalt_consensus::Alarm::DeepBranch { tip, ancestor, .. }) => {
                format!("ALARM {} parts at {}", self.name(tip), self.name(ancestor))
            }
            Effect::Execute { .. } | Effect::Report(_) => "of another family".to_owned(),
        }
    }
}

fn header(parent: B256, height: u64, time: Millis) -> Header {
    Header {
        version: basalt_primitives::header::HEADER_VERSION,
        chain_id: 7,
        height: Height(height),
        timestamp_ms: time,
        parent_hash: parent,
        transactions_root: B256::ZERO,
        parent_state_root: B256::ZERO,
        parent_receipts_root: B256::ZERO,
        parent_gas_used: 0,
        gas_limit: 30_000_000,
        base_fee: 0,
        proposer: basalt_primitives::Address::ZERO,
        first_round: basalt_primitives::Round::ZERO,
        next_validators_hash: B256::ZERO,
        last_certificate_hash: B256::ZERO,
        seal: Seal::None,
    }
}
