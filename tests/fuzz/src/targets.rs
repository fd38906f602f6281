//! The decoders, each with its seeds and what must hold of it.

use alloy_primitives::{Address, Bytes, keccak256};
use basalt_execution::{StateError, TrieReader, trie};
use basalt_node::rpc::params;
use basalt_primitives::{
    Block, ChainSpec, CommitCertificate, HashFn, Header, SetOverride, ValidatorSet, state::TrieKey,
    system::header_proof::HeaderProof,
};
use basalt_proto::{BlockReceipts, CertifiedBlock, Codec, consensus, tx, wire};
use basalt_storage::rows;

const CHAIN_ID: u64 = 31337;
const F: HashFn = HashFn::Sha256;

/// One decoder.
pub struct Target {
    /// Name on the command line and of crash files.
    pub name: &'static str,
    /// Files of golden vectors, from the root of the repository, and the ends of the names of values to take.
    pub golden: &'static [(&'static str, &'static [&'static str])],
    /// Seeds that are text.
    pub texts: &'static [&'static str],
    /// Whether the input is accepted; an error if the decoder contradicts itself. May panic: that is found out.
    pub decode: fn(&[u8]) -> Result<bool, String>,
}

/// What is accepted must be the only encoding of its value.
fn canonical<T: Codec>(input: &[u8]) -> Result<bool, String> {
    match T::decode(input.to_vec()) {
        Err(_) => Ok(false),
        Ok(value) => same(&value.encode(), input),
    }
}

/// Skips what it does not know, so it need not encode the same; but what it has understood it must understand again.
fn lenient<T: Codec + PartialEq>(input: &[u8]) -> Result<bool, String> {
    let Ok(value) = T::decode(input.to_vec()) else { return Ok(false) };
    match T::decode(value.encode()) {
        Ok(again) if again == value => Ok(true),
        Ok(_) => Err("another value when encoded and decoded again".into()),
        Err(e) => Err(format!("its own encoding is refused: {e}")),
    }
}

fn same(ours: &[u8], input: &[u8]) -> Result<bool, String> {
    if ours == input { Ok(true) } else { Err(format!("accepted, but encodes as {}", hex::encode(ours))) }
}

fn transaction(input: &[u8]) -> Result<bool, String> {
    let Ok(tx) = tx::decode(Bytes::copy_from_slice(input), CHAIN_ID, F) else { return Ok(false) };
    let (hash, raw) = (tx.hash(), tx.raw().clone());
    let again = tx::decode(raw, CHAIN_ID, F).map_err(|e| format!("refused the second time: {e}"))?;
    if again.hash() == hash { Ok(true) } else { Err("two hashes".into()) }
}

fn consensus_message(input: &[u8]) -> Result<bool, String> {
    match consensus::decode_message(input.to_vec(), F) {
        Err(_) => Ok(false),
        Ok(message) => same(&consensus::encode_message(&message), input),
    }
}

fn record(input: &[u8]) -> Result<bool, String> {
    match consensus::decode_record(input.to_vec(), F) {
        Err(_) => Ok(false),
        Ok(record) => same(&consensus::encode_record(&record), input),
    }
}

fn header_proof(input: &[u8]) -> Result<bool, String> {
    HeaderProof::decode(input).map_or(Ok(false), |proof| same(&proof.encode(), input))
}

/// A store whose every node is this one.
struct OneNode(Bytes);

impl TrieReader for OneNode {
    fn node(&self, _: &TrieKey) -> Result<Option<Bytes>, StateError> {
        Ok(Some(self.0.clone()))
    }
}

/// A trie node under its right name, so that the decoder sees it: an account is looked for below it.
fn trie_node(input: &[u8]) -> Result<bool, String> {
    let store = OneNode(Bytes::copy_from_slice(input));
    Ok(trie::proof(&store, keccak256(input), &Address::ZERO, &[]).is_ok())
}

fn chain_spec(input: &[u8]) -> Result<bool, String> {
    Ok(std::str::from_utf8(input).is_ok_and(|text| ChainSpec::from_json(text).is_ok()))
}

fn set_override(input: &[u8]) -> Result<bool, String> {
    Ok(SetOverride::from_json(input).is_ok())
}

/// A row of the ledger; the first byte says of which kind.
fn ledger_row(input: &[u8]) -> Result<bool, String> {
    let Some((kind, row)) = input.split_first() else { return Ok(false) };
    let (name, rewrite) = rows::ALL[usize::from(*kind) % rows::ALL.len()];
    rewrite(row).map_or(Ok(false), |again| same(&again, row).map_err(|e| format!("{name}: {e}")))
}

const SPEC: &str = r#"{"name":"bench","chainId":31337,"genesisTimeMs":1700000000000,"hashFn":"sha256","development":true,
"consensus":{"engine":"pbft","blockIntervalMs":1000,"roundTimeoutMs":1000,"roundTimeoutCapMs":10000,"emptyBlockMs":null,"clockToleranceMs":1000},
"gasLimit":30000000,"maxBlockBytes":1048576,"fees":{"kind":"zero"},"forks":{"0":"osaka"},
"validators":[{"name":"a","public_key":"8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c","power":1}],
"alloc":{"0x0000000000000000000000000000000000000077":{"balance":"0x10","nonce":1,"code":"0x6001","storage":{}}}}"#;

/// Parameters as clients send them, of every kind.
const PARAMS: &[&str] = &[
    r#"[{"from":"0x0000000000000000000000000000000000000077","to":"0x00000000000000000000000000000000000000c0","gas":"0x5208","gasPrice":"0x1","value":"0x10","data":"0x6001","nonce":"0x0","chainId":"0x7a69"},"latest"]"#,
    r#"{"maxFeePerGas":"0x77359400","maxPriorityFeePerGas":"0x1","input":"0x","accessList":[{"address":"0x0000000000000000000000000000000000000077","storageKeys":["0x0000000000000000000000000000000000000000000000000000000000000001"]}]}"#,
    r#"{"authorizationList":[{"chainId":"0x7a69","address":"0x0000000000000000000000000000000000000077","nonce":"0x1","yParity":"0x0","r":"0x1","s":"0x2"}]}"#,
    r#"{"chainId":"0x7a69","address":"0x0000000000000000000000000000000000000077","nonce":"0x1","yParity":"0x1","r":"0x1","s":"0x2"}"#,
    r#"["pending","finalized","0x1b4",{"blockNumber":"0x1"},{"blockHash":"0x0000000000000000000000000000000000000000000000000000000000000001","requireCanonical":true}]"#,
    r#"{"fromBlock":"0x0","toBlock":"latest","address":["0x0000000000000000000000000000000000000077"],"topics":[null,["0x0000000000000000000000000000000000000000000000000000000000000001",null]]}"#,
    r#"{"0x0000000000000000000000000000000000000077":{"balance":"0x10","nonce":"0x1","code":"0x6001","stateDiff":{"0x0000000000000000000000000000000000000000000000000000000000000001":"0x2"}}}"#,
    r#"{"number":"0x10","time":"0x6553f100","gasLimit":"0x1c9c380","feeRecipient":"0x0000000000000000000000000000000000000077","baseFeePerGas":"0x7","prevRandao":"0x0000000000000000000000000000000000000000000000000000000000000001"}"#,
    r#"{"blockStateCalls":[{"blockOverrides":{"number":"0x10"},"stateOverrides":{},"calls":[{"to":"0x0000000000000000000000000000000000000077"}]}],"validation":true,"traceTransfers":true}"#,
    r#"{"tracer":"callTracer","tracerConfig":{"withLog":true,"onlyTopCall":false},"timeout":"1m30s","disableStorage":true,"limit":7}"#,
    r#"["0x0","0xffffffffffffffffffffffffffffffff",17,"0x0000000000000000000000000000000000000000000000000000000000000000"]"#,
];

const MESSAGES: &str = "proto/tests/golden/consensus_messages.txt";
const WIRE: &str = "proto/tests/golden/wire_messages.txt";

const fn target(
    name: &'static str,
    golden: &'static [(&'static str, &'static [&'static str])],
    decode: fn(&[u8]) -> Result<bool, String>,
) -> Target {
    Target { name, golden, texts: &[], decode }
}

/// Every target.
pub static ALL: &[Target] = &[
    target(
        "transaction",
        &[
            ("proto/tests/golden/ethereum_transactions.txt", &[".encoding"]),
            ("proto/tests/golden/native_transaction.txt", &[".encoding"]),
        ],
        transaction,
    ),
    target("header", &[("proto/tests/golden/header.txt", &[".encoding"])], canonical::<Header>),
    target("block", &[("proto/tests/golden/block.txt", &["encoding"])], canonical::<Block>),
    target("certified-block", &[("proto/tests/golden/block.txt", &["encoding"])], canonical::<CertifiedBlock>),
    target(
        "certificate",
        &[("proto/tests/golden/commit_certificate.txt", &["encoding"])],
        canonical::<CommitCertificate>,
    ),
    target("validator-set", &[("proto/tests/golden/validator_set.txt", &["encoding"])], canonical::<ValidatorSet>),
    target("receipts", &[("proto/tests/golden/receipts.txt", &["encoding"])], canonical::<BlockReceipts>),
    target(
        "consensus-message",
        &[(
            MESSAGES,
            &["proposal", "prepare", "commit", "round_change", "decided", "sign_state_request", "sign_state"],
        )],
        consensus_message,
    ),
    target(
        "sign-record",
        &[(
            "proto/tests/golden/sign_record.txt",
            &["initial", "vote", "round", "recovered", "block", "answers", "released"],
        )],
        record,
    ),
    target("hello", &[(WIRE, &["hello"])], lenient::<wire::Hello>),
    target("tx-batch", &[(WIRE, &["tx_batch"])], canonical::<wire::TxBatch>),
    target("block-range-request", &[(WIRE, &["block_range_request"])], canonical::<wire::BlockRangeRequest>),
    target("peers-request", &[(WIRE, &["peers_request"])], canonical::<wire::PeersRequest>),
    target("peers-response", &[(WIRE, &["peers_response"])], canonical::<wire::PeersResponse>),
    target("blocks-response", &[(WIRE, &["blocks_response"])], canonical::<wire::BlocksResponse>),
    target("block-by-hash-request", &[(WIRE, &["block_by_hash_request"])], canonical::<wire::BlockByHashRequest>),
    target("block-by-hash-response", &[(WIRE, &["none", "some"])], canonical::<wire::BlockByHashResponse>),
    target("head-announce", &[(WIRE, &["head_announce"])], canonical::<wire::HeadAnnounce>),
    target("header-proof", &[("execution/tests/golden/header_verify.txt", &["input"])], header_proof),
    target("trie-node", &[("proto/tests/golden/ethereum_transactions.txt", &[".encoding"])], trie_node),
    Target { name: "chain-spec", golden: &[], texts: &[SPEC], decode: chain_spec },
    Target {
        name: "set-override",
        golden: &[],
        texts: &["{\"height\":5,\"lost\":[],\"signatures\":[]}"],
        decode: set_override,
    },
    target("ledger-row", &[("tests/fuzz/seeds/ledger_rows.txt", &["row"])], ledger_row),
    Target { name: "rpc-params", golden: &[], texts: PARAMS, decode: params::read_all },
];
