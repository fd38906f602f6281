//! The engine: inputs in, effects out. [`Pow::step`] files the input, then applies the rules until none has anything to do. Rule
//! numbers are those of the crate documentation.

use std::collections::BTreeSet;

use basalt_consensus::{Effect, Engine, Input, Restored, Target};
use basalt_primitives::{B256, Height, Millis, PowParams, SealedBlock, U256};

use crate::{
    Message, Record, Root, SealedHeader, Sealing, Work,
    bodies::Bodies,
    message::{MAX_HEADERS, MAX_LOCATOR},
    miner::Miner,
    mutation::Mutation,
    sync::Sync,
    tree::{Body, Slot, Standing, Tree},
};

/// What the engine says.
pub(crate) type Out = Effect<Message, Message, Record>;

/// Headers for which there must be room beside the chain itself.
const ROOM: u64 = 64;

/// What an engine is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The chain's parameters.
    pub params: PowParams,
    /// What sealing a header takes.
    pub sealing: Sealing,
    /// The genesis block.
    pub genesis: SealedBlock,
    /// Most headers kept. A local setting: it bounds memory (about 250 bytes each) and how far headers run ahead of bodies. It is raised
    /// to what margin and finality need, with some room for branches.
    pub capacity: usize,
    /// Final blocks kept below the newest final one, so that branches that leave the chain there are known for what they are.
    pub margin: u64,
    /// Whether it looks for blocks from the start.
    pub mine: bool,
}

impl Config {
    /// Headers kept unless a node says otherwise: some 60 MB.
    pub const DEFAULT_CAPACITY: usize = 1 << 18;
    /// Final blocks kept unless a node says otherwise.
    pub const DEFAULT_MARGIN: u64 = 4_096;
}

/// The chain as this node sees it.
#[derive(Debug)]
pub(crate) struct Chain {
    pub tree: Tree,
    /// Newest block of the chain with most work among those judged valid.
    pub head: Slot,
    /// Its header, to announce; `None` while the head is what the ledger held.
    pub head_header: Option<SealedHeader>,
    /// Newest final block.
    pub finalized: Slot,
    /// The operator's last word.
    pub checkpoint: Option<(Height, B256)>,
    /// The checkpoint's block, as long as the head's chain does not go through it.
    pub redirect: Option<Slot>,
    /// First blocks of the deep branches that were reported.
    pub alarmed: BTreeSet<B256>,
    /// When the head is announced again.
    pub announce_at: Millis,
}

/// The proof-of-work engine. See the crate documentation for the protocol.
#[derive(Debug)]
pub struct Pow {
    pub(crate) config: Config,
    pub(crate) now: Millis,
    pub(crate) wall: Millis,
    pub(crate) chain: Option<Chain>,
    pub(crate) sync: Sync,
    pub(crate) bodies: Bodies,
    pub(crate) miner: Miner,
    pub(crate) out: Vec<Out>,
}

impl Engine for Pow {
    type Message = Message;
    type Signed = Message;
    type Record = Record;

    fn step(&mut self, mono: Millis, wall: Millis, input: Input<Message, Record>) -> Vec<Out> {
        self.now = self.now.max(if Mutation::WallTimer.on() { wall } else { mono });
        self.wall = wall;
        match input {
            Input::Restored(restored) => self.restore(restored),
            Input::Mine { on } => self.miner.on = on,
            Input::Work { pending } => self.miner.pending = pending,
            _ if self.chain.is_none() => {}
            Input::Message { from, message } => self.on_message(from, message.into_inner()),
            Input::Built { height, block, .. } => self.on_built(height, &block),
            Input::BuildFailed { height, .. } => self.on_build_failed(height),
            Input::Sealed { block } => self.on_sealed(block),
            Input::Fetched { block } => self.on_fetched(block),
            Input::FetchFailed { block } => self.on_fetch_failed(&block),
            Input::Validated { block, verdict } => self.on_validated(block, verdict),
            Input::Checkpoint { height, block } => self.on_checkpoint(height, block),
            // Time has passed; or of other families, where blocks are certified and executed when final.
            Input::Tick | Input::Executed { .. } | Input::Synced { .. } | Input::ValidatorSet { .. } => {}
        }
        if self.chain.is_some() {
            self.apply_rules();
        }
        std::mem::take(&mut self.out)
    }

    fn deadline(&self) -> Option<Millis> {
        let chain = self.chain.as_ref()?;
        let announce = chain.head_header.as_ref().map(|_| chain.announce_at);
        let early = self.sync.next_early(self.now, self.wall, &self.config.params);
        let all = [announce, early, self.bodies.deadline(self.now), self.build_at()];
        all.into_iter().flatten().min()
    }

    /// None: what the engine announces has been written before, so the store has it.
    fn block(&self, _: &B256) -> Option<SealedBlock> {
        None
    }
}

impl Pow {
    /// An engine that waits for [`Input::Restored`].
    #[must_use]
    pub fn new(config: Config) -> Self {
        let miner = Miner::new(config.mine);
        let needed = config.margin.saturating_add(config.params.finality_depth).saturating_add(ROOM);
        let capacity = config.capacity.max(usize::try_from(needed).unwrap_or(usize::MAX));
        let config = Config { capacity, ..config };
        Self {
            config,
            now: 0,
            wall: 0,
            chain: None,
            sync: Sync::default(),
            bodies: Bodies::default(),
            miner,
            out: Vec::new(),
        }
    }

    /// The chain. Only called after Restored.
    pub(crate) const fn chain(&self) -> &Chain {
        self.chain.as_ref().expect("Restored is the first input")
    }

    pub(crate) const fn chain_mut(&mut self) -> &mut Chain {
        self.chain.as_mut().expect("Restored is the first input")
    }

    pub(crate) const fn tree(&self) -> &Tree {
        &self.chain().tree
    }

    pub(crate) const fn tree_mut(&mut self) -> &mut Tree {
        &mut self.chain_mut().tree
    }

    /// H3, then B1 to B4, A1, M1, T1, in this order: what arrives first is looked at first.
    fn apply_rules(&mut self) {
        self.take_early();
        self.follow_heaviest();
        self.judge_next();
        self.fetch_missing();
        self.raise_alarm();
        self.build_if_due();
        self.announce_again();
    }

    pub(crate) fn send(&mut self, to: Target, message: Message) {
        self.out.push(Effect::Send { to, message });
    }

    /// What genesis is to the rules above it.
    fn genesis_root(&self) -> Root {
        let genesis = &self.config.genesis;
        Root {
            hash: genesis.hash(),
            height: Height::GENESIS,
            time_ms: genesis.header().timestamp_ms,
            target: self.config.params.initial_target,
            work: Work::ZERO,
            first_ms: 0,
            times_below: Vec::new(),
        }
    }

    /// R1: what the ledger holds is final and the head; what the records hold above it is judged again, in its old order.
    fn restore(&mut self, restored: Restored<Record>) {
        let mut records = restored.records.unwrap_or_default().into_iter().peekable();
        let root = match records.next_if(|r| matches!(r, Record::Root(_))) {
            Some(Record::Root(root)) => root,
            _ => self.genesis_root(),
        };
        let tree = Tree::new(root);
        let head = tree.root();
        self.chain = Some(Chain {
            tree,
            head,
            head_header: None,
            finalized: head,
            checkpoint: None,
            redirect: None,
            alarmed: BTreeSet::new(),
            announce_at: self.now,
        });
        let mut checkpoint = None;
        for record in records {
            match record {
                Record::Root(_) => {}
                Record::Trunk(header) => self.restore_trunk(&header),
                Record::Block(block) => self.restore_block(&block),
                Record::Checkpoint { height, block } => checkpoint = Some((height, block)),
            }
        }
        let chain = self.chain();
        let ledger = chain.tree.get(chain.head).hash;
        assert_eq!(ledger, restored.head.hash(), "the trunk of the records ends in the ledger's head");
        self.chain_mut().checkpoint = checkpoint;
        self.announce_forkchoice(None);
        self.apply_checkpoint();
        self.ask_all();
    }

    fn restore_trunk(&mut self, header: &SealedHeader) {
        let parent = self.tree().find(&header.parent());
        let Some(parent) = parent else { return };
        let work = Work::of(header.target()).and_then(|own| self.tree().get(parent).work.plus(own));
        let work = work.expect("the ledger's chain was checked when it was accepted");
        let slot = self.tree_mut().insert(header, work, parent, None, Standing::Open);
        let node = self.tree_mut().get_mut(slot);
        (node.body, node.written) = (Body::Valid, true);
        let chain = self.chain_mut();
        (chain.head, chain.finalized) = (slot, slot);
    }

    fn restore_block(&mut self, block: &SealedBlock) {
        if Mutation::RecordsForgotten.on() {
            return;
        }
        let header = self.config.sealing.check(block.header().clone());
        let Ok(header) = header else { return };
        if let Ok(slot) = self.place(None, &header) {
            let node = self.tree_mut().get_mut(slot);
            (node.body, node.written) = (Body::Here(block.clone()), true);
        }
    }

    fn on_message(&mut self, from: u16, message: Message) {
        match message {
            Message::Headers(headers) if headers.len() <= MAX_HEADERS => self.on_headers(from, headers),
            // The driver answers questions, and its decoder refuses longer lists.
            Message::Headers(_) | Message::GetHeaders { .. } => {}
        }
    }

    /// T1: what may have got lost is said again.
    fn announce_again(&mut self) {
        let (now, interval) = (self.now, self.config.params.block_interval_ms);
        let chain = self.chain_mut();
        if now < chain.announce_at {
            return;
        }
        chain.announce_at = now + interval;
        if let Some(header) = chain.head_header.clone().filter(|_| !Mutation::AnnouncedOnce.on()) {
            self.send(Target::All, Message::Headers(vec![header]));
        }
    }

    /// Answers the driver, which answers a peer: the hashes of this node's chain after the first of these that is on it, at most
    /// `limit`. `None` where none is as far as the engine remembers: then the ledger says.
    #[must_use]
    pub fn after(&self, locator: &[B256], limit: usize) -> Option<Vec<B256>> {
        let chain = self.chain.as_ref()?;
        let tree = &chain.tree;
        let on_chain = |hash: &B256| tree.find(hash).filter(|slot| tree.descends(chain.head, *slot));
        let from = locator.iter().take(MAX_LOCATOR).find_map(on_chain)?;
        let mut after: Vec<B256> =
            tree.below(chain.head).take_while(|slot| *slot != from).map(|slot| tree.get(slot).hash).collect();
        after.reverse();
        after.truncate(limit);
        Some(after)
    }

    /// Peers whose headers were refused for good since this was last asked, and why; the first 64. For the driver, which tells the
    /// network side.
    #[must_use]
    pub fn take_refusals(&mut self) -> Vec<(u16, crate::Refusal)> {
        std::mem::take(&mut self.sync.refusals)
    }

    /// Hash of the head; `None` before the first input.
    #[must_use]
    pub fn head(&self) -> Option<B256> {
        self.chain.as_ref().map(|chain| chain.tree.get(chain.head).hash)
    }

    /// Target that a block on the head must meet; `None` before the first input.
    #[must_use]
    pub fn next_target(&self) -> Option<U256> {
        let chain = self.chain.as_ref()?;
        Some(crate::rules::target_after(&self.config.params, &chain.tree, chain.head))
    }
}
