//! A node in memory: a short chain with every kind of transaction, and answers that tests can set.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEip2930, TxEip7702, TxEnvelope, TxLegacy};
use alloy_eips::{
    eip2718::Encodable2718 as _,
    eip2930::{AccessList, AccessListItem},
    eip7702::{Authorization, SignedAuthorization},
};
use alloy_primitives::{Address, B256, Bloom, Bytes, Signature, TxKind, U256, keccak256};
use basalt_execution::{
    Accessed, CallEnd, CallOutcome,
    trace::{Trace, TraceError, TraceLimit, TraceLimits, TraceOptions, Traced},
    trie::{AccountProof, StorageProof},
};
use basalt_primitives::{
    Block, ChainSpec, Height, Log, PublicKey, Receipt, SealedBlock, Transaction, Validator, ValidatorSet,
    chainspec::{self, BftParams},
    merkle,
    receipt::receipts_root,
    state::Account,
    tx::{NativeTx, Payload, TxError, Unverified},
};
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::{
    auth::Auth,
    explain::{Explanation, Recorder, View, explain},
    mempool::{AccountView, MempoolConfig, PoolContext, SharedPool, test_util},
    monitor::{Metrics, Monitor, MonitorParts, NodeLabels, alert::Origin, config::MonitorConfig, traces::Arrival},
    rpc::{App, BlockEvent, EventHub, RpcConfig, ports::*},
};

/// A contract with code, storage and logs.
pub const CONTRACT: Address = Address::repeat_byte(0xc0);
/// Topics of its logs.
pub const TOPIC: B256 = B256::repeat_byte(0x70);

/// What a call answers.
pub type CallAnswer = Box<dyn Fn(&CallRequest) -> Result<Bytes, CallError> + Send + Sync>;

struct Stored {
    view: Arc<BlockView>,
    txs: Vec<Transaction>,
    receipts: Vec<Receipt>,
}

/// For webhooks of tests that have no runtime.
static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| tokio::runtime::Runtime::new().expect("runtime"));

/// The node.
pub struct Fake {
    blocks: Mutex<Vec<Stored>>,
    spec: Arc<ChainSpec>,
    pub pool: SharedPool,
    pub events: EventHub,
    pub commit_age_ms: AtomicU64,
    pub highest: AtomicU64,
    pub call: Mutex<CallAnswer>,
    pub submitted: Mutex<Vec<Bytes>>,
    /// How often transactions were handed in, however many.
    pub submissions: AtomicUsize,
    data_dir: tempfile::TempDir,
}

pub fn spec() -> ChainSpec {
    let key = test_util::key(9).public_key();
    let consensus = serde_json::json!({
        "engine": "pbft", "blockIntervalMs": 100, "roundTimeoutMs": 1000, "roundTimeoutCapMs": 10_000,
        "emptyBlockMs": null, "clockToleranceMs": 500,
    });
    ChainSpec {
        name: "test".into(),
        chain_id: test_util::CHAIN_ID,
        genesis_time_ms: 1_700_000_000_123,
        hash_fn: Default::default(),
        development: true,
        consensus: serde_json::from_value(consensus).expect("pbft"),
        gas_limit: 30_000_000,
        max_block_bytes: 1 << 20,
        essential: Default::default(),
        fees: chainspec::Fees::Eip1559 { initial_base_fee: 1_000, min_base_fee: 7 },
        forks: BTreeMap::from([(Height::GENESIS, chainspec::EvmFork::Osaka)]),
        validators: vec![chainspec::GenesisValidator {
            name: "v0".into(),
            validator: basalt_primitives::Validator { public_key: key, power: 1 },
        }],
        alloc: BTreeMap::new(),
    }
}

/// Signs an Ethereum transaction as a fixed key.
fn ethereum(build: impl FnOnce(&dyn Fn(B256) -> Signature) -> TxEnvelope) -> Transaction {
    let secret = secp256k1::SecretKey::from_byte_array([0x5e; 32]).expect("in range");
    let sign = |hash: B256| {
        let message = secp256k1::Message::from_digest(hash.0);
        let signature = secp256k1::SECP256K1.sign_ecdsa_recoverable(message, &secret);
        let (id, bytes) = signature.serialize_compact();
        Signature::from_bytes_and_parity(&bytes, i32::from(id) == 1)
    };
    let envelope = build(&sign);
    let raw = envelope.encoded_2718();
    Unverified::from_canonical(raw.into(), Payload::Ethereum(Box::new(envelope)), Default::default())
        .verify()
        .expect("signed")
}

/// One transaction of each type, in the order of their nonces.
pub fn one_of_each() -> Vec<Transaction> {
    let to = TxKind::Call(CONTRACT);
    let list = AccessList(vec![AccessListItem { address: CONTRACT, storage_keys: vec![B256::with_last_byte(1)] }]);
    let chain_id = test_util::CHAIN_ID;
    let (gas_limit, value) = (100_000, U256::from(5));
    let authorization = Authorization { chain_id: U256::from(chain_id), address: CONTRACT, nonce: 4 };
    vec![
        ethereum(|sign| {
            let tx = TxLegacy {
                chain_id: Some(chain_id),
                nonce: 0,
                gas_price: 2_000,
                gas_limit,
                to,
                value,
                input: Bytes::new(),
            };
            let s = sign(tx.signature_hash());
            tx.into_signed(s).into()
        }),
        ethereum(|sign| {
            let tx = TxLegacy { chain_id: None, nonce: 1, gas_price: 2_000, gas_limit, to, value, input: Bytes::new() };
            let s = sign(tx.signature_hash());
            tx.into_signed(s).into()
        }),
        ethereum(|sign| {
            let access_list = list.clone();
            let input = Bytes::from_static(&[1, 2]);
            let tx = TxEip2930 { chain_id, nonce: 2, gas_price: 2_000, gas_limit, to, value, access_list, input };
            let s = sign(tx.signature_hash());
            tx.into_signed(s).into()
        }),
        ethereum(|sign| {
            let tx = TxEip1559 {
                chain_id,
                nonce: 3,
                max_fee_per_gas: 3_000,
                max_priority_fee_per_gas: 10,
                gas_limit,
                to: TxKind::Create,
                value,
                access_list: list.clone(),
                input: Bytes::from_static(&[0x60, 0x00]),
            };
            let s = sign(tx.signature_hash());
            tx.into_signed(s).into()
        }),
        ethereum(|sign| {
            let signed = SignedAuthorization::new_unchecked(authorization, 1, U256::from(7), U256::from(8));
            let tx = TxEip7702 {
                chain_id,
                nonce: 4,
                max_fee_per_gas: 3_000,
                max_priority_fee_per_gas: 10,
                gas_limit,
                to: CONTRACT,
                value,
                access_list: AccessList::default(),
                authorization_list: vec![signed],
                input: Bytes::new(),
            };
            let s = sign(tx.signature_hash());
            tx.into_signed(s).into()
        }),
        native(1, 0),
    ]
}

/// A native transfer that offers a fee.
pub fn native(seed: u8, nonce: u64) -> Transaction {
    let fees = NativeTx { max_fee_per_gas: 3_000, max_priority_fee_per_gas: 20, ..test_util::transfer(nonce) };
    test_util::sign(seed, fees)
}

fn receipt(tx: &Transaction, index: usize, base_fee: u64) -> Receipt {
    let log = |n: u8| Log { address: CONTRACT, topics: vec![TOPIC, B256::with_last_byte(n)], data: vec![n].into() };
    let creates = tx.payload().to().is_none();
    Receipt {
        tx_hash: tx.hash(),
        tx_type: tx.payload().tx_type(),
        success: index != 1,
        gas_used: 21_000,
        cumulative_gas_used: 21_000 * (index as u64 + 1),
        effective_gas_price: tx.payload().effective_gas_price(base_fee).map_or(0, |(p, _)| p),
        contract_address: (creates && index != 1).then_some(CONTRACT),
        logs: (0..index as u8).map(log).collect(),
        revert_data: Bytes::new(),
    }
}

impl Fake {
    /// A chain of the genesis block, a block with every kind of transaction, and an empty one.
    pub fn new() -> Arc<Self> {
        let spec = Arc::new(spec());
        let fake = Arc::new(Self {
            blocks: Mutex::default(),
            spec: spec.clone(),
            pool: SharedPool::new(MempoolConfig::default()),
            events: EventHub::new(16),
            commit_age_ms: AtomicU64::new(5),
            highest: AtomicU64::new(0),
            call: Mutex::new(Box::new(|r| Ok(r.input.clone()))),
            submitted: Mutex::default(),
            submissions: AtomicUsize::new(0),
            data_dir: tempfile::tempdir().expect("tempdir"),
        });
        fake.store(spec.genesis_block(), Vec::new());
        fake.add_block(one_of_each());
        fake.add_block(Vec::new());
        fake
    }

    fn store(&self, block: SealedBlock, txs: Vec<Transaction>) -> Arc<BlockView> {
        let base_fee = block.header().base_fee;
        let receipts: Vec<_> = txs.iter().enumerate().map(|(i, t)| receipt(t, i, base_fee)).collect();
        let view = Arc::new(BlockView {
            hash: block.hash(),
            header: block.header().clone(),
            state_root: keccak256(block.hash()),
            receipts_root: receipts_root(self.spec.hash_fn, &receipts),
            gas_used: receipts.iter().map(|r| r.gas_used).sum(),
            bloom: receipts.iter().fold(Bloom::ZERO, |b, r| b | r.bloom()),
            tx_hashes: txs.iter().map(Transaction::hash).collect(),
            size_bytes: 600,
            fork: self.spec.fork_at(block.height()),
        });
        self.blocks.lock().push(Stored { view: view.clone(), txs, receipts });
        view
    }

    /// Appends a block and announces it.
    pub fn add_block(&self, txs: Vec<Transaction>) -> Arc<BlockView> {
        let parent = self.view(self.head());
        let mut header = parent.header.clone();
        header.height = header.height.next();
        header.timestamp_ms += 1_500;
        header.parent_hash = parent.hash;
        header.transactions_root =
            merkle::root(self.spec.hash_fn, &txs.iter().map(Transaction::hash).collect::<Vec<_>>());
        header.parent_gas_used = parent.gas_used;
        let p = &parent.header;
        header.base_fee = self.spec.next_base_fee(p.height, p.base_fee, parent.gas_used, p.gas_limit);
        let raws = txs.iter().map(|t| t.raw().clone()).collect();
        let block = SealedBlock::new(Block { header, last_certificate: None, transactions: raws }, self.spec.hash_fn);
        let view = self.store(block, txs);
        let receipts = Arc::new(self.receipts(view.height()).expect("in memory").expect("just stored"));
        self.events.block(BlockEvent::new(view.clone(), receipts));
        view
    }

    pub fn view(&self, height: Height) -> Arc<BlockView> {
        self.blocks.lock()[height.0 as usize].view.clone()
    }

    pub fn app(self: &Arc<Self>, config: RpcConfig) -> Arc<App> {
        self.guarded(config, None)
    }

    pub fn guarded(self: &Arc<Self>, config: RpcConfig, auth: Option<Arc<Auth>>) -> Arc<App> {
        let labels = NodeLabels { version: "0".into(), name: "n".into(), chain: "c".into(), chain_id: "1".into() };
        let ports = Ports {
            chain: self.clone(),
            calls: self.clone(),
            tracer: self.clone(),
            submit: self.clone(),
            pool: Arc::new(self.pool.clone()),
            network: self.clone(),
            consensus: self.clone(),
            miner: Some(crate::miner::tests::busy()),
            dev: None,
        };
        let metrics = Arc::new(Metrics::new(labels));
        let monitor = self.monitor(Arc::clone(&metrics));
        App::new(
            ports,
            self.spec.clone(),
            config,
            "basalt/v0/test".into(),
            self.events.clone(),
            metrics,
            monitor,
            auth,
            None,
        )
    }

    fn monitor(&self, metrics: Arc<Metrics>) -> Arc<Monitor> {
        let config = MonitorConfig::default();
        let parts = MonitorParts {
            config: &config,
            origin: Origin { network: "test".into(), node: "n".into() },
            thresholds: config.thresholds(30_000, false),
            development: true,
            data_dir: self.data_dir.path(),
            hub: self.events.clone(),
            metrics,
            runtime: tokio::runtime::Handle::try_current().unwrap_or_else(|_| RUNTIME.handle().clone()),
        };
        Arc::new(Monitor::new(parts).expect("the default settings are good"))
    }

    /// Puts transactions into the pool, of senders at nonce 0.
    pub fn admit(&self, txs: Vec<Transaction>) {
        let ctx = PoolContext {
            next_height: self.head().next(),
            base_fee: 7,
            gas_limit: 30_000_000,
            fork: chainspec::EvmFork::Osaka,
            now_ms: 1,
        };
        let account = AccountView { nonce: 0, balance: U256::from(u64::MAX) };
        let insert = |t| self.pool.lock().insert(t, account, &ctx).expect("admitted").tx;
        self.events.pending(txs.into_iter().map(insert).collect());
    }
}

impl ChainReader for Fake {
    fn head(&self) -> Height {
        Height(self.blocks.lock().len() as u64 - 1)
    }
    fn finalized(&self) -> Height {
        self.head()
    }
    fn height_of(&self, block: &B256) -> Result<Option<Height>, ReadError> {
        Ok(self.blocks.lock().iter().find(|b| b.view.hash == *block).map(|b| b.view.height()))
    }
    fn block(&self, height: Height) -> Result<Option<Arc<BlockView>>, ReadError> {
        Ok(self.blocks.lock().get(height.0 as usize).map(|b| b.view.clone()))
    }
    fn transactions(&self, height: Height) -> Result<Option<Vec<Transaction>>, ReadError> {
        Ok(self.blocks.lock().get(height.0 as usize).map(|b| b.txs.clone()))
    }
    fn raw_block(&self, height: Height) -> Result<Option<Bytes>, ReadError> {
        Ok(self.block(height)?.map(|v| Bytes::copy_from_slice(v.hash.as_slice())))
    }
    fn receipts(&self, height: Height) -> Result<Option<Vec<Receipt>>, ReadError> {
        Ok(self.blocks.lock().get(height.0 as usize).map(|b| b.receipts.clone()))
    }
    fn locate(&self, tx: &B256) -> Result<Option<(Height, u32)>, ReadError> {
        let blocks = self.blocks.lock();
        let mut found = blocks.iter().filter_map(|b| {
            let index = b.view.tx_hashes.iter().position(|h| h == tx)?;
            Some((b.view.height(), index as u32))
        });
        Ok(found.next())
    }
    fn skipped(&self, height: Height) -> Result<Vec<SkippedTx>, ReadError> {
        let skipped = SkippedTx { hash: TOPIC, index: 3, reason: "nonce too low".into() };
        Ok(if height == Height(1) { vec![skipped] } else { Vec::new() })
    }
    fn account(&self, at: StateAt, address: &Address) -> Result<Option<Account>, ReadError> {
        match at {
            StateAt::Height(height) if height != self.head() => {
                Err(ReadError::StateNotKept { height, first: self.head(), head: self.head() })
            }
            _ => Ok((*address == test_util::address(1)).then(|| Account {
                nonce: 0,
                balance: U256::from(1_000),
                ..Account::default()
            })),
        }
    }
    fn storage(&self, _: StateAt, address: &Address, slot: U256) -> Result<U256, ReadError> {
        Ok(if *address == CONTRACT { slot + U256::from(1) } else { U256::ZERO })
    }
    fn code(&self, _: StateAt, address: &Address) -> Result<Bytes, ReadError> {
        Ok(if *address == CONTRACT { Bytes::from_static(&[0xfe]) } else { Bytes::new() })
    }
    fn proof(&self, at: StateAt, address: &Address, slots: &[U256]) -> Result<AccountProof, ReadError> {
        let slot = |slot: &U256| StorageProof { slot: *slot, value: *slot + U256::from(1), nodes: vec![bytes()] };
        let storage = slots.iter().map(slot).collect();
        Ok(AccountProof { account: self.account(at, address)?, storage_root: TOPIC, nodes: vec![bytes()], storage })
    }
}

fn bytes() -> Bytes {
    Bytes::from_static(&[0xc0])
}

impl CallExecutor for Fake {
    fn call(&self, request: &CallRequest, _: &Scene) -> Result<Bytes, CallError> {
        (self.call.lock())(request)
    }
    fn estimate_gas(&self, request: &CallRequest, _: &Scene) -> Result<u64, CallError> {
        (self.call.lock())(request).map(|_| 21_000)
    }
    fn access_list(&self, request: &CallRequest, _: &Scene) -> Result<Accessed, CallError> {
        let output = (self.call.lock())(request)?;
        let outcome = CallOutcome { end: CallEnd::Success, gas_used: 21_000, output, logs: Vec::new() };
        let storage_keys = vec![B256::with_last_byte(1)];
        Ok(Accessed { list: AccessList(vec![AccessListItem { address: CONTRACT, storage_keys }]), outcome })
    }
    fn simulate(&self, _: &SimulationPlan, _: StateAt) -> Result<Vec<SimulatedBlock>, SimulateError> {
        Ok(Vec::new())
    }
}

/// Gives a struct log per transaction, without running any; what tracers see is tested on the executor.
impl Tracer for Fake {
    fn trace(&self, target: TraceTarget, _: &TraceOptions, _: TraceLimits) -> Result<Vec<Traced>, TraceFailure> {
        let (height, only) = match target {
            TraceTarget::Block(height) => (height, None),
            TraceTarget::Transaction(height, index) => (height, Some(index as usize)),
        };
        let hashes = self.view(height).tx_hashes.clone();
        let picked = hashes.into_iter().enumerate().filter(|(i, _)| only.is_none_or(|o| o == *i));
        Ok(picked.map(|(_, tx)| Traced { tx, trace: Trace::Default(Default::default()) }).collect())
    }
    fn trace_call(
        &self,
        _: &CallRequest,
        _: &Scene,
        options: &TraceOptions,
        limits: TraceLimits,
    ) -> Result<Trace, TraceFailure> {
        if options.config.limit == Some(7) {
            return Err(TraceError::from(TraceLimit::Steps(limits.max_steps)).into());
        }
        Ok(Trace::Default(Default::default()))
    }
}

impl TxSubmitter for Fake {
    fn submit(&self, raw: Vec<Bytes>, _: Option<Arrival>) -> BoxFuture<'static, Vec<Result<B256, SubmitError>>> {
        self.submitted.lock().extend(raw.iter().cloned());
        self.submissions.fetch_add(1, Ordering::Relaxed);
        let answer = |r: &Bytes| match r.first() {
            Some(0xff) => Err(SubmitError::Tx(TxError::Malformed("type 255".into()))),
            _ => Ok(keccak256(r)),
        };
        let answers = raw.iter().map(answer).collect();
        Box::pin(std::future::ready(answers))
    }
}

impl NetworkInfo for Fake {
    fn node(&self) -> NodeInfo {
        NodeInfo { id: "id".into(), name: "n".into(), listen_addresses: vec!["/ip4/127.0.0.1/tcp/1".into()] }
    }
    fn peers(&self) -> Vec<PeerInfo> {
        Vec::new()
    }
    fn add_peer(&self, address: &str) -> BoxFuture<'static, Result<(), String>> {
        let known = address.starts_with('/');
        Box::pin(async move { if known { Ok(()) } else { Err("not an address".to_owned()) } })
    }
    fn remove_peer(&self, peer: &str) -> BoxFuture<'static, Result<bool, String>> {
        let known = peer == "id";
        Box::pin(async move { Ok(known) })
    }
    fn syncing(&self) -> Option<(Height, Height)> {
        let highest = self.highest.load(Ordering::Relaxed);
        (highest > 0).then_some((Height::GENESIS, Height(highest)))
    }
}

impl ConsensusInfo for Fake {
    fn status(&self) -> ConsensusStatus {
        let age = self.commit_age_ms.load(Ordering::Relaxed);
        ConsensusStatus { engine: "pbft".into(), last_commit_age_ms: Some(age), ..Default::default() }
    }
    fn explain(&self) -> Explanation {
        explained_without_engine()
    }
    fn validators(&self, height: Option<Height>) -> Option<Vec<ValidatorInfo>> {
        height.is_none().then(Vec::new)
    }
    fn validator_name(&self, key: &basalt_primitives::PublicKey) -> Option<String> {
        spec().validators.into_iter().find(|v| v.validator.public_key == *key).map(|v| v.name)
    }
    fn evidence(&self) -> Vec<basalt_primitives::system::evidence::Equivocation> {
        Vec::new()
    }
    fn uptime_ms(&self) -> u64 {
        1
    }
}

/// What a node says whose engine has not started.
fn explained_without_engine() -> Explanation {
    let set = ValidatorSet::new(vec![Validator { public_key: PublicKey([1; 32]), power: 1 }]).expect("a set");
    let params = BftParams {
        block_interval_ms: 0,
        round_timeout_ms: 1,
        round_timeout_cap_ms: 1,
        empty_block_ms: None,
        clock_tolerance_ms: 0,
    };
    explain(&View {
        node: "fake",
        now: 0,
        recorder: &Recorder::default(),
        set: &set,
        name: &|_| "v0".to_owned(),
        name_of_account: &|_| "v0".to_owned(),
        own: None,
        connected: &|_| false,
        round_trip_ms: None,
        params: &params,
        work_ms: None,
        syncing: None,
    })
}
