//! Before the clock starts: contracts deployed, senders funded and set up, all by the funder, all seen in blocks.

use std::time::Duration;

use anyhow::{Context as _, bail};
use basalt_primitives::{Address, B256, U256};
use serde_json::json;
use tokio::time::Instant;

use super::{
    Plan,
    account::{Account, Draft, Signed, Terms},
    client::{Answer, Node},
    load,
    workload::{Call, Receiver, Values, Workload},
};
use crate::client::quantity;

/// How long the network may take for what was sent to it.
const WITHIN: Duration = Duration::from_secs(120);
/// Most transactions of the funder under way at once.
const CHUNK: usize = 200;
const TRANSFER_GAS: u64 = 21_000;
/// EIP-7825's cap leaves no more to one transaction.
const DEPLOY_GAS: u64 = 8_000_000;
/// How much more than the base fee is offered, where the funder can pay for it: full blocks raise it by an eighth each.
const FEE_ROOM: u128 = 1000;

/// The funder at work.
pub(super) struct Setup<'a> {
    plan: &'a Plan,
    node: &'a Node,
    terms: Terms,
    nonce: u64,
}

/// What the set-up leaves.
pub(super) struct Ready {
    pub terms: Terms,
    pub contracts: Vec<Address>,
}

impl<'a> Setup<'a> {
    /// Asks the chain for its terms.
    pub async fn new(plan: &'a Plan, node: &'a Node, per_sender: usize) -> anyhow::Result<Self> {
        let funder = plan.funder.address();
        let rpc = node.rpc();
        let chain_id = u64::try_from(rpc.quantity("eth_chainId", json!([])).await?)?;
        let block = rpc.call("eth_getBlockByNumber", json!(["latest", false])).await?;
        let base_fee = quantity(&block["baseFeePerGas"]).unwrap_or(0);
        let balance = rpc.call("eth_getBalance", json!([funder, "latest"])).await?;
        let balance: U256 = serde_json::from_value(balance).context("a balance is no number")?;
        let max_fee = affordable_fee(plan, per_sender, base_fee, balance)?;
        let nonce = u64::try_from(rpc.quantity("eth_getTransactionCount", json!([funder, "pending"])).await?)?;
        Ok(Self { plan, node, terms: Terms { chain_id, max_fee, hash_fn: plan.hash_fn }, nonce })
    }

    /// Does all of it.
    pub async fn run(mut self, senders: &[Account], per_sender: usize) -> anyhow::Result<Ready> {
        let contracts = self.deploy().await.context("a contract could not be deployed")?;
        self.fund(senders, per_sender).await.context("the senders could not be funded")?;
        self.set_up(senders, &contracts).await.context("the senders could not be set up")?;
        Ok(Ready { terms: self.terms, contracts })
    }

    fn sign(&mut self, to: Option<Address>, value: U256, input: basalt_primitives::Bytes, gas: u64) -> Signed {
        let draft = Draft { nonce: self.nonce, to, value, input, gas };
        self.nonce += 1;
        self.plan.funder.sign(&self.terms, draft)
    }

    async fn deploy(&mut self) -> anyhow::Result<Vec<Address>> {
        let mut addresses = Vec::new();
        for contract in &self.plan.workload.contracts {
            let signed = self.sign(None, U256::ZERO, contract.init_code.clone(), DEPLOY_GAS);
            let hash = signed.hash;
            self.commit(vec![signed]).await?;
            let receipt = self.receipt(hash).await?;
            let address = receipt["contractAddress"].as_str().and_then(|a| a.parse().ok());
            addresses.push(address.with_context(|| format!("{} has no address", contract.name))?);
        }
        Ok(addresses)
    }

    async fn fund(&mut self, senders: &[Account], per_sender: usize) -> anyhow::Result<()> {
        let each = cost_of_one(&self.plan.workload, self.terms.max_fee) * U256::from(per_sender);
        let txs = senders.iter().map(|s| self.sign(Some(s.address()), each, Default::default(), TRANSFER_GAS));
        let txs = txs.collect();
        self.commit(txs).await
    }

    async fn set_up(&mut self, senders: &[Account], contracts: &[Address]) -> anyhow::Result<()> {
        let plan = self.plan;
        let funder = plan.funder.address();
        for call in &plan.workload.setup {
            let mut txs = Vec::with_capacity(senders.len());
            for sender in senders.iter().map(Account::address) {
                let values = Values { sender, neighbour: funder, nonce: self.nonce, contracts };
                let to = receiver(call, &values);
                txs.push(self.sign(Some(to), call.value, call.data.render(&values), call.gas));
            }
            let last = txs.last().map(|t| t.hash);
            self.commit(txs).await?;
            if let Some(hash) = last {
                self.receipt(hash).await?;
            }
        }
        Ok(())
    }

    /// Sends the funder's transactions and waits until the last is in a block.
    async fn commit(&mut self, txs: Vec<Signed>) -> anyhow::Result<()> {
        let deadline = Instant::now() + WITHIN;
        for chunk in txs.chunks(CHUNK) {
            let body = load::request(self.plan.method, chunk);
            loop {
                let answers = self.node.submit(&body, chunk.len()).await;
                match answers.iter().find(|a| **a != Answer::Accepted) {
                    None => break,
                    Some(Answer::Later(_)) if Instant::now() < deadline => {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    Some(Answer::Later(why) | Answer::Refused(why)) => bail!("the node refused a transaction: {why}"),
                    Some(Answer::Accepted) => unreachable!("looked for another"),
                }
            }
        }
        let params = json!([self.plan.funder.address(), "latest"]);
        while self.node.rpc().quantity("eth_getTransactionCount", params.clone()).await? < u128::from(self.nonce) {
            if Instant::now() > deadline {
                bail!("not in a block after {WITHIN:?}; is the network making blocks?");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn receipt(&self, hash: B256) -> anyhow::Result<serde_json::Value> {
        let receipt = self.node.rpc().call("eth_getTransactionReceipt", json!([hash])).await?;
        match receipt["status"].as_str() {
            Some("0x1") => Ok(receipt),
            _ => bail!("transaction {hash} failed; more gas, or other call data, may help"),
        }
    }
}

/// Whom a call goes to.
pub(super) fn receiver(call: &Call, v: &Values<'_>) -> Address {
    match call.to {
        Receiver::Neighbour => v.neighbour,
        Receiver::Sender => v.sender,
        Receiver::Contract(i) => v.contracts[i],
        Receiver::Fixed(address) => address,
    }
}

/// The most that a transaction of the load can cost.
fn cost_of_one(workload: &Workload, max_fee: u128) -> U256 {
    let one = |c: &Call| U256::from(c.gas).saturating_mul(U256::from(max_fee)).saturating_add(c.value);
    workload.calls.iter().map(one).max().unwrap_or_default()
}

/// The fee per gas that the load offers: room above the base fee, as far as half of what the funder owns goes.
fn affordable_fee(plan: &Plan, per_sender: usize, base_fee: u128, balance: U256) -> anyhow::Result<u128> {
    if base_fee == 0 {
        return Ok(0);
    }
    let gas = plan.workload.calls.iter().map(|c| c.gas).max().unwrap_or(0).max(TRANSFER_GAS);
    let transactions = U256::from(per_sender.saturating_add(1)) * U256::from(plan.senders);
    let per_gas = balance / U256::from(2) / (transactions * U256::from(gas));
    let fee = u128::try_from(per_gas).unwrap_or(u128::MAX).min(base_fee * FEE_ROOM);
    if fee < base_fee * 2 {
        bail!(
            "the funder {} owns too little to pay for the load; fund it, or send less (--max-transactions, --seconds)",
            plan.funder.address()
        );
    }
    Ok(fee)
}
