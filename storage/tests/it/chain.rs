//! A small chain: blocks as a validator would commit them, with state and trie nodes that are consistent but made up.

use std::{path::Path, sync::Arc};

use basalt_primitives::{
    Address, B256, Block, Bytes, ChainSpec, CommitCertificate, CommitSignature, Header, Height, Log, Receipt, Round,
    Seal, SealedBlock, SecretKey, Signature, U256,
    block::transactions_root,
    header::HEADER_VERSION,
    keccak256,
    receipt::receipts_root,
    state::{Account, StateChanges, StorageChanges, TrieKey, TrieUpdates},
    tx::{NativeTx, SecurityLevel},
};
use basalt_storage::{BlockCommit, GenesisState, Head, Ledger, OpenOptions, Outcome, Skipped, StorageError};

pub const ALICE: Address = Address::repeat_byte(0xa1);
pub const CONTRACT: Address = Address::repeat_byte(0xc0);

pub fn spec(chain_id: u64) -> ChainSpec {
    let key = SecretKey::from_bytes(&[1; 32]).public_key();
    ChainSpec::from_json(&format!(
        r#"{{
            "name": "test", "chainId": {chain_id}, "genesisTimeMs": 1700000000000, "hashFn": "sha256", "development": true,
            "consensus": {{"engine": "pbft", "blockIntervalMs": 1000, "roundTimeoutMs": 1000, "roundTimeoutCapMs": 10000,
                           "emptyBlockMs": null, "clockToleranceMs": 1000}},
            "gasLimit": 30000000, "maxBlockBytes": 1048576, "fees": {{"kind": "zero"}}, "forks": {{"0": "osaka"}},
            "validators": [{{"name": "a", "public_key": "{key}", "power": 1}}], "alloc": {{}}
        }}"#
    ))
    .unwrap()
}

/// The root node of a made-up state trie; the ledger only compares its hash with the state root.
fn root_node(height: u64) -> Bytes {
    Bytes::from(format!("root node of the state after block {height}").into_bytes())
}

fn account_root() -> TrieKey {
    TrieKey { account: None, path: Vec::new() }
}

pub fn account(nonce: u64, balance: u64) -> Account {
    Account { nonce, balance: U256::from(balance), ..Account::default() }
}

pub fn genesis() -> GenesisState {
    let mut changes = StateChanges::default();
    changes.accounts.insert(ALICE, Some(account(0, 1_000_000)));
    let mut trie = TrieUpdates::default();
    trie.nodes.insert(account_root(), Some(root_node(0)));
    GenesisState { changes, trie, root: keccak256(root_node(0)) }
}

pub fn options() -> OpenOptions {
    OpenOptions {
        cache_bytes: 4 << 20,
        memtable_bytes: 4 << 20,
        max_open_files: 64,
        background_threads: 1,
        memory: None,
    }
}

pub fn open(path: &Path) -> Result<Ledger, StorageError> {
    Ledger::open(path, &spec(31337), &options(), genesis)
}

/// Everything of one commit.
pub struct Made {
    pub block: SealedBlock,
    pub certificate: CommitCertificate,
    pub tx_hashes: Vec<B256>,
    pub receipts: Vec<Receipt>,
    pub skipped: Vec<Skipped>,
    pub changes: StateChanges,
    pub trie: TrieUpdates,
    pub outcome: Outcome,
}

impl Made {
    pub fn commit(&self) -> BlockCommit<'_> {
        BlockCommit {
            block: &self.block,
            certificate: Some(&self.certificate),
            work: None,
            tx_hashes: &self.tx_hashes,
            receipts: &self.receipts,
            skipped: &self.skipped,
            changes: &self.changes,
            trie: &self.trie,
            outcome: self.outcome,
        }
    }
}

/// A block on the head with so many transactions; every fifth is skipped.
pub fn next(head: &Head, transactions: u32) -> Made {
    let spec = spec(31337);
    let height = head.height().next();
    let raw: Vec<Bytes> = (0..transactions).map(|i| transaction(height, i)).collect();
    let hash = |raw: &Bytes| basalt_proto::tx::decode(raw.clone(), spec.chain_id, spec.hash_fn).unwrap().hash();
    let tx_hashes: Vec<B256> = raw.iter().map(hash).collect();
    // The certificate a block carries need not be the one this node collected.
    let last_certificate = head.certificate.as_ref().map(|c| certificate(c.height, c.block_hash, 2));
    let header = Header {
        version: HEADER_VERSION,
        chain_id: spec.chain_id,
        height,
        timestamp_ms: head.block.header().timestamp_ms + 1000,
        parent_hash: head.hash(),
        transactions_root: transactions_root(spec.hash_fn, &tx_hashes),
        parent_state_root: head.outcome.state_root,
        parent_receipts_root: head.outcome.receipts_root,
        parent_gas_used: head.outcome.gas_used,
        gas_limit: spec.gas_limit,
        base_fee: 0,
        proposer: ALICE,
        first_round: Round(0),
        next_validators_hash: B256::repeat_byte(3),
        last_certificate_hash: last_certificate.as_ref().map_or(B256::ZERO, |c| c.hash(spec.hash_fn)),
        seal: Seal::None,
    };
    let block = SealedBlock::new(Block { header, last_certificate, transactions: raw }, spec.hash_fn);
    let skips = |i: u32| i % 5 == 4;
    let skipped = (0..transactions)
        .filter(|i| skips(*i))
        .map(|index| Skipped { index, tx_hash: tx_hashes[index as usize], reason: format!("nonce too low: {index}") })
        .collect();
    let ran = tx_hashes.iter().zip(0u32..).filter(|(_, i)| !skips(*i)).map(|(hash, _)| *hash);
    let receipts: Vec<Receipt> = ran.zip(1..).map(|(hash, n)| receipt(hash, n)).collect();
    let (changes, trie) = state(height);
    let outcome = Outcome {
        state_root: keccak256(root_node(height.0)),
        receipts_root: receipts_root(spec.hash_fn, &receipts),
        gas_used: 21_000 * receipts.len() as u64,
    };
    let certificate = certificate(height, block.hash(), 1);
    Made { block, certificate, tx_hashes, receipts, skipped, changes, trie, outcome }
}

fn transaction(height: Height, index: u32) -> Bytes {
    let tx = NativeTx {
        chain_id: 31337,
        nonce: height.0 * 1000 + u64::from(index),
        valid_from: Height(0),
        valid_until: None,
        max_fee_per_gas: 0,
        max_priority_fee_per_gas: 0,
        gas_limit: 21_000,
        to: Some(CONTRACT),
        value: U256::from(index),
        input: Bytes::from(vec![index as u8; 20]),
        level: SecurityLevel::Public,
        payload: None,
    };
    basalt_proto::tx::encode_native(&tx.sign(&SecretKey::from_bytes(&[1; 32])))
}

fn certificate(height: Height, block_hash: B256, signer: u8) -> CommitCertificate {
    let signatures = vec![CommitSignature { validator: signer.into(), signature: Signature([signer; 64]) }];
    CommitCertificate { height, round: Round(0), block_hash, signatures }
}

fn receipt(tx_hash: B256, n: u64) -> Receipt {
    Receipt {
        tx_hash,
        tx_type: 0x42,
        success: !n.is_multiple_of(3),
        gas_used: 21_000,
        cumulative_gas_used: 21_000 * n,
        effective_gas_price: 0,
        contract_address: None,
        logs: vec![Log {
            address: CONTRACT,
            topics: vec![B256::repeat_byte(n as u8)],
            data: Bytes::from_static(b"log"),
        }],
        revert_data: Bytes::new(),
    }
}

/// Every block moves Alice's nonce and writes slot `height`; code comes with block 1.
fn state(height: Height) -> (StateChanges, TrieUpdates) {
    let code = Bytes::from_static(b"\x60\x00");
    let contract = Account { code_hash: keccak256(&code), ..account(1, height.0) };
    let mut changes = StateChanges::default();
    changes.accounts.insert(ALICE, Some(account(height.0, 1_000_000 - height.0)));
    changes.accounts.insert(CONTRACT, Some(contract));
    let slots = [(U256::from(height.0), U256::from(height.0 * 7)), (U256::ZERO, U256::from(height.0))];
    changes.storage.insert(CONTRACT, StorageChanges { wiped: false, slots: slots.into() });
    if height.0 == 1 {
        changes.code.insert(keccak256(&code), code);
    }
    let mut trie = TrieUpdates::default();
    trie.nodes.insert(account_root(), Some(root_node(height.0)));
    let storage = TrieKey { account: Some(keccak256(CONTRACT)), path: vec![height.0 as u8 % 16] };
    trie.nodes.insert(storage, Some(Bytes::from(format!("storage node {height}").into_bytes())));
    (changes, trie)
}

/// Commits so many blocks of three to six transactions.
pub fn grow(ledger: &Ledger, blocks: u32) -> Vec<Made> {
    let mut made = Vec::new();
    for i in 0..blocks {
        let next = next(&ledger.head(), 3 + i % 4);
        let head: Arc<Head> = ledger.commit(&next.commit()).unwrap();
        assert_eq!(head.hash(), next.block.hash());
        made.push(next);
    }
    made
}
