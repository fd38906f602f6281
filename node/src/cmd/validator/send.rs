//! Signs a call of the validator contract, sends it, and waits until it is in a block.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use basalt_primitives::{
    Address, Bytes, Height, SecretKey, U256,
    system::VALIDATORS,
    tx::{NativeTx, SecurityLevel},
};
use serde_json::{Value, json};

use super::Signer;
use crate::{
    client::{Client, quantity},
    keys::{self, Passphrase},
};

/// How long a transaction may take to get into a block.
const WITHIN: Duration = Duration::from_secs(60);

impl Signer {
    pub(in crate::cmd) fn load(&self) -> anyhow::Result<SecretKey> {
        Ok(keys::load(&self.key, Passphrase::find(self.passphrase_file.as_deref())?.as_ref())?)
    }
}

/// Sends a call and gives back its receipt. What the contract would revert is not sent: the reason is the error.
pub(super) async fn send(client: &Client, key: &SecretKey, input: Bytes) -> anyhow::Result<Value> {
    send_to(client, key, VALIDATORS, input, "basalt validator proposals").await
}

/// As [`send`], to any system contract; `see` is the command that shows where proposals stand.
pub(in crate::cmd) async fn send_to(
    client: &Client,
    key: &SecretKey,
    to: Address,
    input: Bytes,
    see: &str,
) -> anyhow::Result<Value> {
    let tx = fill(client, key, to, input).await?;
    let raw = basalt_proto::tx::encode_native(&tx.sign(key));
    let hash = client.call("eth_sendRawTransaction", json!([raw])).await?;
    let deadline = Instant::now() + WITHIN;
    loop {
        let receipt = client.call("eth_getTransactionReceipt", json!([hash])).await?;
        if quantity(&receipt["status"]) == Some(1) {
            return Ok(receipt);
        }
        if !receipt.is_null() {
            bail!("{hash} was refused by the contract, because something changed meanwhile; see `{see}`");
        }
        if Instant::now() > deadline {
            bail!(
                "{hash} was taken but is in no block after {WITHIN:?}; is the network committing? See `basalt validator status`"
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn fill(client: &Client, key: &SecretKey, to: Address, input: Bytes) -> anyhow::Result<NativeTx> {
    let from = key.public_key().address();
    let call = json!({ "from": from, "to": to, "data": input });
    let estimate = client.quantity("eth_estimateGas", json!([call])).await;
    let gas = u64::try_from(estimate.map_err(|e| {
        let text = e.to_string();
        anyhow::anyhow!("nothing was sent: {}", text.strip_prefix("execution reverted: ").unwrap_or(&text))
    })?)?;
    let base_fee = quantity(&client.call("eth_getBlockByNumber", json!(["latest", false])).await?["baseFeePerGas"]);
    let max_fee_per_gas = base_fee.unwrap_or(0) * 2;
    // Room for what may have changed when it runs.
    let gas_limit = gas + gas / 2;
    let balance = client.call("eth_getBalance", json!([from, "latest"])).await?;
    let have: U256 = balance.as_str().unwrap_or("0x0").parse().context("the balance is no quantity")?;
    let want = U256::from(max_fee_per_gas) * U256::from(gas_limit);
    if have < want {
        bail!(
            "nothing was sent: the account {from} has {have} wei and needs {want} for gas; send it some with `basalt tx send`"
        );
    }
    Ok(NativeTx {
        chain_id: u64::try_from(client.quantity("eth_chainId", json!([])).await?)?,
        nonce: u64::try_from(client.quantity("eth_getTransactionCount", json!([from, "pending"])).await?)?,
        valid_from: Height::GENESIS,
        valid_until: None,
        max_fee_per_gas,
        max_priority_fee_per_gas: 0,
        gas_limit,
        to: Some(to),
        value: U256::ZERO,
        input,
        level: SecurityLevel::Public,
        payload: None,
    })
}
