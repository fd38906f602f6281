//! Blocks, transactions, receipts and logs as Ethereum's execution API writes them.
//!
//! A native transaction appears as type `0x42` with placeholder `r`, `s`, `v` and `yParity` of zero, because clients
//! (ethers 6 above all) throw on transactions without them; what was really signed is in the fields that only it has.

use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_primitives::{Address, B64, B256, Bloom, Bytes, U256, b256};
use basalt_execution::trie::EMPTY_ROOT;
use basalt_primitives::{
    Log, PublicKey, Receipt, Seal, Transaction, chainspec::EvmFork, tx::Payload, tx::SignedNative,
};
use serde::Serialize;

use super::{
    ports::{BlockView, FoundLog},
    types::{AccessItem, AuthorizationItem, Hex64, Hex128},
};

/// Keccak-256 of an empty RLP list: what a block without uncles says.
const NO_UNCLES: B256 = b256!("1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347");

/// SHA-256 of nothing: what a block without requests to the consensus layer says (EIP-7685).
const NO_REQUESTS: B256 = b256!("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

/// A block.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockJson {
    /// None of a block to come.
    hash: Option<B256>,
    number: Hex64,
    parent_hash: B256,
    nonce: Option<B64>,
    sha3_uncles: B256,
    logs_bloom: Bloom,
    transactions_root: B256,
    state_root: B256,
    receipts_root: B256,
    miner: Address,
    mix_hash: B256,
    difficulty: U256,
    extra_data: Bytes,
    gas_limit: Hex64,
    gas_used: Hex64,
    timestamp: Hex64,
    base_fee_per_gas: Hex64,
    #[serde(flatten)]
    beacon: BeaconJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<Hex64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transactions: Option<TransactionsJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uncles: Option<[B256; 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    withdrawals: Option<[(); 0]>,
}

/// What Ethereum's blocks carry from the beacon chain and the blob market, from the fork on that brought it: clients look
/// for these fields. There is neither here (ADR-0008), so they say that nothing came.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BeaconJson {
    withdrawals_root: B256,
    #[serde(skip_serializing_if = "Option::is_none")]
    blob_gas_used: Option<Hex64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    excess_blob_gas: Option<Hex64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_beacon_block_root: Option<B256>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_hash: Option<B256>,
}

impl BeaconJson {
    fn nothing(fork: EvmFork) -> Self {
        let cancun = fork >= EvmFork::Cancun;
        Self {
            withdrawals_root: EMPTY_ROOT,
            blob_gas_used: cancun.then_some(Hex64(0)),
            excess_blob_gas: cancun.then_some(Hex64(0)),
            parent_beacon_block_root: cancun.then_some(B256::ZERO),
            requests_hash: (fork >= EvmFork::Prague).then_some(NO_REQUESTS),
        }
    }
}

/// A block's transactions, in one of two forms.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum TransactionsJson {
    /// Hashes only.
    Hashes(Vec<B256>),
    /// In full.
    Full(Vec<TxJson>),
}

impl BlockJson {
    /// A block with its transactions, in full if they are given.
    #[must_use]
    pub fn new(view: &BlockView, full: Option<(&[Transaction], &[Receipt])>) -> Self {
        let transactions = match full {
            None => TransactionsJson::Hashes(view.tx_hashes.clone()),
            Some((txs, receipts)) => TransactionsJson::Full(
                txs.iter().zip(receipts).enumerate().map(|(i, (t, r))| TxJson::mined(t, view, i, r)).collect(),
            ),
        };
        let size = Some(Hex64(view.size_bytes as u64));
        Self { size, transactions: Some(transactions), uncles: Some([]), withdrawals: Some([]), ..Self::header(view) }
    }

    /// An imagined block, with these transactions in full if there are any.
    #[must_use]
    pub fn imagined(view: &BlockView, full: Option<Vec<TxJson>>) -> Self {
        let hashes = || TransactionsJson::Hashes(view.tx_hashes.clone());
        Self { transactions: Some(full.map_or_else(hashes, TransactionsJson::Full)), ..Self::new(view, None) }
    }

    /// A block to come: it has no hash yet.
    #[must_use]
    pub fn pending(view: &BlockView) -> Self {
        Self { hash: None, nonce: None, ..Self::new(view, None) }
    }

    /// The header alone, as `newHeads` sends it.
    #[must_use]
    pub fn header(view: &BlockView) -> Self {
        let h = &view.header;
        // Hashes that sealing it took on average.
        let (difficulty, nonce) = match h.seal {
            Seal::None => (U256::ZERO, 0),
            Seal::Work { target, nonce } => (basalt_pow::Work::of(target).unwrap_or_default().get(), nonce),
        };
        Self {
            hash: Some(view.hash),
            number: Hex64(h.height.0),
            parent_hash: h.parent_hash,
            nonce: Some(nonce.into()),
            sha3_uncles: NO_UNCLES,
            logs_bloom: view.bloom,
            transactions_root: h.transactions_root,
            state_root: view.state_root,
            receipts_root: view.receipts_root,
            miner: h.proposer,
            mix_hash: B256::ZERO,
            difficulty,
            extra_data: Bytes::new(),
            gas_limit: Hex64(h.gas_limit),
            gas_used: Hex64(view.gas_used),
            timestamp: Hex64(h.timestamp_s()),
            base_fee_per_gas: Hex64(h.base_fee),
            beacon: BeaconJson::nothing(view.fork),
            size: None,
            transactions: None,
            uncles: None,
            withdrawals: None,
        }
    }
}

/// A transaction.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TxJson {
    block_hash: Option<B256>,
    block_number: Option<Hex64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_timestamp: Option<Hex64>,
    transaction_index: Option<Hex64>,
    hash: B256,
    #[serde(rename = "type")]
    tx_type: Hex64,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain_id: Option<Hex64>,
    from: Address,
    to: Option<Address>,
    nonce: Hex64,
    gas: Hex64,
    gas_price: Hex128,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_fee_per_gas: Option<Hex128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_priority_fee_per_gas: Option<Hex128>,
    value: U256,
    input: Bytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_list: Option<Vec<AccessItem>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_list: Option<Vec<AuthorizationItem>>,
    v: Hex128,
    r: U256,
    s: U256,
    #[serde(skip_serializing_if = "Option::is_none")]
    y_parity: Option<Hex64>,
    #[serde(flatten)]
    native: Option<NativeJson>,
}

/// The fields that only native transactions have.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NativeJson {
    public_key: PublicKey,
    signature: Bytes,
    valid_from: Hex64,
    valid_until: Option<Hex64>,
    security_level: &'static str,
    payload: Option<Bytes>,
}

impl NativeJson {
    fn new(n: &SignedNative) -> Self {
        Self {
            public_key: n.public_key,
            signature: Bytes::copy_from_slice(&n.signature.0),
            valid_from: Hex64(n.tx.valid_from.0),
            valid_until: n.tx.valid_until.map(|h| Hex64(h.0)),
            security_level: security_level(n.tx.level),
            payload: n.tx.payload.clone(),
        }
    }
}

const fn security_level(level: basalt_primitives::tx::SecurityLevel) -> &'static str {
    use basalt_primitives::tx::SecurityLevel as L;
    match level {
        L::Public => "public",
        L::Internal => "internal",
        L::Confidential => "confidential",
        L::Secret => "secret",
    }
}

impl TxJson {
    /// A transaction in a block; the price is what it paid.
    #[must_use]
    pub fn mined(tx: &Transaction, view: &BlockView, index: usize, receipt: &Receipt) -> Self {
        Self {
            block_hash: Some(view.hash),
            block_number: Some(Hex64(view.height().0)),
            block_timestamp: Some(Hex64(view.header.timestamp_s())),
            transaction_index: Some(Hex64(index as u64)),
            gas_price: Hex128(receipt.effective_gas_price),
            ..Self::pending(tx)
        }
    }

    /// A transaction that waits; the price is the most it offers.
    #[must_use]
    pub fn pending(tx: &Transaction) -> Self {
        Self::of(tx.payload(), tx.hash(), tx.sender())
    }

    /// A transaction of an imagined block, which nobody signed.
    #[must_use]
    pub fn simulated(tx: &TxEnvelope, from: Address, view: &BlockView, index: usize) -> Self {
        Self {
            block_hash: Some(view.hash),
            block_number: Some(Hex64(view.height().0)),
            block_timestamp: Some(Hex64(view.header.timestamp_s())),
            transaction_index: Some(Hex64(index as u64)),
            ..Self::of(&Payload::Ethereum(Box::new(tx.clone())), *tx.tx_hash(), from)
        }
    }

    fn of(p: &Payload, hash: B256, from: Address) -> Self {
        let dynamic = !matches!(p.tx_type(), 0 | 1);
        let mut json = Self {
            block_hash: None,
            block_number: None,
            block_timestamp: None,
            transaction_index: None,
            hash,
            tx_type: Hex64(p.tx_type().into()),
            chain_id: p.chain_id().map(Hex64),
            from,
            to: p.to(),
            nonce: Hex64(p.nonce()),
            gas: Hex64(p.gas_limit()),
            gas_price: Hex128(p.max_fee_per_gas()),
            max_fee_per_gas: dynamic.then(|| Hex128(p.max_fee_per_gas())),
            max_priority_fee_per_gas: dynamic.then(|| Hex128(p.max_priority_fee_per_gas())),
            value: p.value(),
            input: p.input().clone(),
            access_list: None,
            authorization_list: None,
            v: Hex128(0),
            r: U256::ZERO,
            s: U256::ZERO,
            y_parity: Some(Hex64(0)),
            native: None,
        };
        match p {
            Payload::Native(n) => {
                json.access_list = Some(Vec::new());
                json.native = Some(NativeJson::new(n));
            }
            Payload::Ethereum(e) => json.sign_as(e),
            Payload::Edit(_) => json.access_list = Some(Vec::new()),
        }
        json
    }

    fn sign_as(&mut self, e: &TxEnvelope) {
        let sig = e.signature();
        let parity = u128::from(sig.v());
        (self.r, self.s) = (sig.r(), sig.s());
        if e.is_legacy() {
            self.y_parity = None;
            self.v = Hex128(e.chain_id().map_or(27 + parity, |id| 35 + 2 * u128::from(id) + parity));
        } else {
            self.y_parity = Some(Hex64(u64::from(sig.v())));
            self.v = Hex128(parity);
        }
        self.access_list = e.access_list().map(|l| l.iter().map(Into::into).collect());
        self.authorization_list = e.authorization_list().map(|l| l.iter().map(Into::into).collect());
    }
}

/// A log.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogJson {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
    block_hash: B256,
    block_number: Hex64,
    block_timestamp: Hex64,
    transaction_hash: B256,
    transaction_index: Hex64,
    log_index: Hex64,
    removed: bool,
}

impl LogJson {
    /// A log that was searched for.
    #[must_use]
    pub fn found(found: FoundLog) -> Self {
        Self {
            address: found.log.address,
            topics: found.log.topics,
            data: found.log.data,
            block_hash: found.block_hash,
            block_number: Hex64(found.height.0),
            block_timestamp: Hex64(found.timestamp_ms / 1000),
            transaction_hash: found.tx_hash,
            transaction_index: Hex64(found.receipt.into()),
            log_index: Hex64(found.position.into()),
            removed: false,
        }
    }

    /// The same log, of a block that was taken back.
    #[must_use]
    pub fn removed(self) -> Self {
        Self { removed: true, ..self }
    }

    /// A log of a block; `log_index` counts over the whole block.
    #[must_use]
    pub fn new(log: &Log, view: &BlockView, tx_hash: B256, tx_index: usize, log_index: usize) -> Self {
        Self {
            address: log.address,
            topics: log.topics.clone(),
            data: log.data.clone(),
            block_hash: view.hash,
            block_number: Hex64(view.height().0),
            block_timestamp: Hex64(view.header.timestamp_s()),
            transaction_hash: tx_hash,
            transaction_index: Hex64(tx_index as u64),
            log_index: Hex64(log_index as u64),
            removed: false,
        }
    }
}

/// A receipt.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptJson {
    #[serde(rename = "type")]
    tx_type: Hex64,
    status: Hex64,
    transaction_hash: B256,
    transaction_index: Hex64,
    block_hash: B256,
    block_number: Hex64,
    from: Address,
    to: Option<Address>,
    contract_address: Option<Address>,
    gas_used: Hex64,
    cumulative_gas_used: Hex64,
    effective_gas_price: Hex128,
    logs: Vec<LogJson>,
    logs_bloom: Bloom,
    /// Where finality is a matter of depth: blocks on the chain from this one on.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmations: Option<Hex64>,
}

impl ReceiptJson {
    /// With the number of blocks from its own to the head, both counted.
    #[must_use]
    pub fn confirmed_by(self, blocks: u64) -> Self {
        Self { confirmations: Some(Hex64(blocks)), ..self }
    }

    /// The receipt of the transaction at `index`; `first_log` is how many logs the block has before it.
    #[must_use]
    pub fn new(receipt: &Receipt, tx: &Transaction, view: &BlockView, index: usize, first_log: usize) -> Self {
        let log = |(i, l)| LogJson::new(l, view, receipt.tx_hash, index, first_log + i);
        Self {
            tx_type: Hex64(receipt.tx_type.into()),
            status: Hex64(receipt.success.into()),
            transaction_hash: receipt.tx_hash,
            transaction_index: Hex64(index as u64),
            block_hash: view.hash,
            block_number: Hex64(view.height().0),
            from: tx.sender(),
            to: tx.payload().to(),
            contract_address: receipt.contract_address.or_else(|| would_be_created(tx)),
            gas_used: Hex64(receipt.gas_used),
            cumulative_gas_used: Hex64(receipt.cumulative_gas_used),
            effective_gas_price: Hex128(receipt.effective_gas_price),
            logs: receipt.logs.iter().enumerate().map(log).collect(),
            logs_bloom: receipt.bloom(),
            confirmations: None,
        }
    }

    /// All receipts of a block.
    #[must_use]
    pub fn all(receipts: &[Receipt], txs: &[Transaction], view: &BlockView) -> Vec<Self> {
        let mut first_log = 0;
        let mut out = Vec::with_capacity(receipts.len());
        for (i, (r, t)) in receipts.iter().zip(txs).enumerate() {
            out.push(Self::new(r, t, view, i, first_log));
            first_log += r.logs.len();
        }
        out
    }
}

/// Where a transaction without a recipient would have put its contract: other nodes say so of failed ones too.
fn would_be_created(tx: &Transaction) -> Option<Address> {
    tx.payload().to().is_none().then(|| tx.sender().create(tx.payload().nonce()))
}

/// A receipt in the encoding of EIP-2718, as a receipts trie would hold it.
#[must_use]
pub fn raw_receipt(receipt: &Receipt) -> Bytes {
    let log = |l: &Log| alloy_primitives::Log::new_unchecked(l.address, l.topics.clone(), l.data.clone());
    let body = alloy_consensus::ReceiptWithBloom {
        receipt: alloy_consensus::Receipt {
            status: receipt.success.into(),
            cumulative_gas_used: receipt.cumulative_gas_used,
            logs: receipt.logs.iter().map(log).collect::<Vec<_>>(),
        },
        logs_bloom: receipt.bloom(),
    };
    let mut out = Vec::new();
    if receipt.tx_type != 0 {
        out.push(receipt.tx_type);
    }
    alloy_rlp::Encodable::encode(&body, &mut out);
    out.into()
}
