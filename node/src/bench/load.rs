//! The load: funded senders and their transfers, signed and encoded before the clock starts.

use std::time::Duration;

use anyhow::{Context as _, bail};
use basalt_primitives::{
    Address, B256, Bytes, Height, SecretKey, U256,
    tx::{NativeTx, SecurityLevel},
};
use serde_json::json;
use tokio::time::Instant;

use super::{Plan, client::Node};
use crate::{client::quantity, keys};

/// One request, ready to send.
#[derive(Debug)]
pub(super) struct Batch {
    pub json: String,
    pub hashes: Vec<B256>,
}

/// Everything that will be sent, by node.
#[derive(Debug)]
pub(super) struct Load {
    pub shares: Vec<Vec<Batch>>,
}

const FUND_WITHIN: Duration = Duration::from_secs(60);
const GAS: u64 = 21_000;

struct Terms {
    chain_id: u64,
    max_fee: u128,
}

impl Load {
    /// Makes senders, funds them on the chain, and signs their transfers to each other's neighbours.
    pub async fn prepare(plan: &Plan, nodes: &[Node]) -> anyhow::Result<Self> {
        let terms = terms(&nodes[0]).await?;
        let senders = (0..plan.senders).map(|_| keys::generate()).collect::<Result<Vec<_>, _>>()?;
        let total =
            plan.rate.map_or(plan.max_transactions, |r| usize::try_from(r * plan.seconds).unwrap_or(usize::MAX));
        let per_sender = total.div_ceil(plan.senders);
        fund(plan, &nodes[0], &terms, &senders, per_sender).await?;
        let runtime_plan = (plan.batch, plan.hash_fn, nodes.len());
        let shares = tokio::task::spawn_blocking(move || sign(&senders, per_sender, &terms, runtime_plan)).await?;
        Ok(Self { shares })
    }
}

async fn terms(node: &Node) -> anyhow::Result<Terms> {
    let chain_id = u64::try_from(node.rpc().quantity("eth_chainId", json!([])).await?)?;
    let block = node.rpc().call("eth_getBlockByNumber", json!(["latest", false])).await?;
    let base_fee = quantity(&block["baseFeePerGas"]).unwrap_or(0);
    // Full blocks raise the base fee by an eighth each; room for a long run.
    Ok(Terms { chain_id, max_fee: base_fee * 1000 })
}

fn transfer(terms: &Terms, nonce: u64, to: Address, value: U256) -> NativeTx {
    NativeTx {
        chain_id: terms.chain_id,
        nonce,
        valid_from: Height::GENESIS,
        valid_until: None,
        max_fee_per_gas: terms.max_fee,
        max_priority_fee_per_gas: 0,
        gas_limit: GAS,
        to: Some(to),
        value,
        input: Bytes::new(),
        level: SecurityLevel::Public,
        payload: None,
    }
}

async fn fund(plan: &Plan, node: &Node, terms: &Terms, senders: &[SecretKey], each: usize) -> anyhow::Result<()> {
    let funder = plan.funder.public_key().address();
    let mut nonce = u64::try_from(node.rpc().quantity("eth_getTransactionCount", json!([funder, "pending"])).await?)?;
    let need = U256::from(each) * (U256::from(GAS) * U256::from(terms.max_fee) + U256::from(1));
    let txs: Vec<_> = senders
        .iter()
        .map(|s| {
            let tx = transfer(terms, nonce, s.public_key().address(), need).sign(&plan.funder);
            nonce += 1;
            basalt_proto::tx::encode_native(&tx)
        })
        .collect();
    for chunk in txs.chunks(plan.batch) {
        let answer = node.rpc().call("basalt_sendRawTransactions", json!([chunk])).await?;
        let results = answer.as_array().context("no list came back")?;
        if let Some(refused) =
            results.iter().find_map(|r| r["error"]["message"].as_str().or_else(|| r["error"].as_str()))
        {
            bail!("funding a sender was refused: {refused}");
        }
    }
    let deadline = Instant::now() + FUND_WITHIN;
    let last = senders.last().context("there are senders")?.public_key().address();
    while node.rpc().quantity("eth_getBalance", json!([last, "latest"])).await? == 0 {
        if Instant::now() > deadline {
            bail!("the senders are not funded after {FUND_WITHIN:?}; is the network making blocks?");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Signs in rounds over the senders, so that every batch has few nonces of each. Sender i belongs to node i mod n.
fn sign(
    senders: &[SecretKey],
    each: usize,
    terms: &Terms,
    (batch, hash_fn, nodes): (usize, basalt_primitives::HashFn, usize),
) -> Vec<Vec<Batch>> {
    let mut pending: Vec<Vec<(B256, Bytes)>> = (0..nodes).map(|_| Vec::new()).collect();
    let mut shares: Vec<Vec<Batch>> = (0..nodes).map(|_| Vec::new()).collect();
    for nonce in 0..each as u64 {
        for (i, key) in senders.iter().enumerate() {
            let to = senders[(i + 1) % senders.len()].public_key().address();
            let signed = transfer(terms, nonce, to, U256::from(1)).sign(key);
            let waiting = &mut pending[i % nodes];
            waiting.push((signed.hash(hash_fn), basalt_proto::tx::encode_native(&signed)));
            if waiting.len() == batch {
                shares[i % nodes].push(request(std::mem::take(waiting)));
            }
        }
    }
    for (share, rest) in shares.iter_mut().zip(pending) {
        if !rest.is_empty() {
            share.push(request(rest));
        }
    }
    shares
}

fn request(txs: Vec<(B256, Bytes)>) -> Batch {
    let (hashes, raws): (Vec<B256>, Vec<Bytes>) = txs.into_iter().unzip();
    let json = json!({ "jsonrpc": "2.0", "id": 1, "method": "basalt_sendRawTransactions", "params": [raws] });
    Batch { json: json.to_string(), hashes }
}
