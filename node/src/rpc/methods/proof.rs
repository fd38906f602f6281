//! `eth_getProof` (EIP-1186).

use alloy_primitives::{Address, B256, Bytes, U256};
use basalt_execution::trie::{AccountProof, StorageProof};
use serde::Serialize;

use super::super::{
    RpcError,
    registry::{Call, Registry},
    types::{BlockId, Hex64, Slot},
};

/// Most slots in one request.
const MAX_SLOTS: usize = 1_024;

pub(super) fn add(r: &mut Registry) {
    r.blocking("eth_getProof", &["address", "storageKeys", "block"], prove);
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProofJson {
    address: Address,
    account_proof: Vec<Bytes>,
    balance: U256,
    code_hash: B256,
    nonce: Hex64,
    storage_hash: B256,
    storage_proof: Vec<SlotJson>,
}

#[derive(Serialize)]
struct SlotJson {
    key: B256,
    value: U256,
    proof: Vec<Bytes>,
}

fn prove(c: &Call, (address, slots, id): (Address, Vec<Slot>, Option<BlockId>)) -> Result<ProofJson, RpcError> {
    if slots.len() > MAX_SLOTS {
        let count = slots.len();
        return Err(RpcError::limit(format!(
            "{count} storage keys exceed the limit of {MAX_SLOTS} in one request; ask in several"
        )));
    }
    let at = c.app.chain.state_at(id.unwrap_or_default())?;
    let slots: Vec<U256> = slots.into_iter().map(|s| s.0).collect();
    let AccountProof { account, storage_root, nodes, storage } = c.app.chain.reader().proof(at, &address, &slots)?;
    let slot = |s: StorageProof| SlotJson { key: s.slot.into(), value: s.value, proof: s.nodes };
    let account = account.unwrap_or_default();
    Ok(ProofJson {
        address,
        account_proof: nodes,
        balance: account.balance,
        code_hash: account.code_hash,
        nonce: Hex64(account.nonce),
        storage_hash: storage_root,
        storage_proof: storage.into_iter().map(slot).collect(),
    })
}
