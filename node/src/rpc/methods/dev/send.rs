//! `eth_sendTransaction`: for the accounts whose keys are here, signed; for impersonated ones, as a transaction that nobody
//! signed.

use alloy_consensus::TxEnvelope;
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes};
use basalt_primitives::tx::development;

use super::{
    super::super::{
        RpcError,
        ports::{CallRequest, Scene, StateAt, SubmitError},
        registry::{Call, Registry},
        types::CallArgs,
    },
    devnet,
};
use crate::rpc::methods::state::call_limits;
use crate::{chain::unsigned_tx, dev::Devnet};

/// Tip of a transaction whose sender names no fee, in wei: one gwei, as wallets offer.
const TIP: u128 = 1_000_000_000;

pub(super) fn add(r: &mut Registry) {
    r.quick("eth_requestAccounts", &[], |c: &Call, ()| Ok(devnet(c)?.accounts.addresses().to_vec()));
    r.waiting("eth_sendTransaction", &["transaction"], |c: Call, (args,): (CallArgs,)| send(c, args, false));
    r.waiting("eth_sendUnsignedTransaction", &["transaction"], |c: Call, (args,): (CallArgs,)| send(c, args, true));
    r.waiting("eth_signTransaction", &["transaction"], |c: Call, (args,): (CallArgs,)| sign(c, args));
}

/// Sends a transaction; `anyone`: whoever it is from, unsigned.
async fn send(c: Call, args: CallArgs, anyone: bool) -> Result<B256, RpcError> {
    let devnet = devnet(&c)?;
    let request = request(&c, &devnet, args)?;
    let from = request.from;
    let signs = devnet.accounts.has_key(&from) && !anyone;
    if anyone {
        crate::dev::accounts::refuse_system(from)?;
    } else if !signs {
        devnet.accounts.check_impersonated(from)?;
    }
    // One after the other: the next one's nonce and gas follow from what this one does.
    let _turn = devnet.sending.lock().await;
    let tx = filled(c.clone(), request).await?;
    if !signs {
        let tx = development::sent(from, tx).verify().map_err(SubmitError::from)?;
        return Ok(devnet.send(tx).await?);
    }
    let raw = devnet.accounts.sign_tx(from, tx)?.encoded_2718();
    let answer = c.app.ports.submit.submit(vec![raw.into()], None).await.pop();
    answer.unwrap_or_else(|| Err(SubmitError::Unavailable("the node did not answer".into()))).map_err(RpcError::from)
}

async fn sign(c: Call, args: CallArgs) -> Result<Bytes, RpcError> {
    let devnet = devnet(&c)?;
    let request = request(&c, &devnet, args)?;
    let from = request.from;
    Ok(devnet.accounts.sign_tx(from, filled(c, request).await?)?.encoded_2718().into())
}

/// What is to be sent; from the first account when nobody is named.
fn request(c: &Call, devnet: &Devnet, args: CallArgs) -> Result<CallRequest, RpcError> {
    let mut request = args.into_request(c.app.spec.chain_id)?;
    if request.from == Address::ZERO && devnet.accounts.check_impersonated(Address::ZERO).is_err() {
        request.from = devnet.accounts.addresses()[0];
    }
    Ok(request)
}

/// The transaction with everything filled in that was left out, not yet signed.
async fn filled(c: Call, request: CallRequest) -> Result<TxEnvelope, RpcError> {
    let _permit = c.app.blocking.clone().acquire_owned().await.map_err(RpcError::internal)?;
    tokio::task::spawn_blocking(move || fill(&c, request)).await.map_err(RpcError::internal)?
}

/// Fee of a transaction whose sender names none: room for the base fee to double. The tip is the caller's, of any size.
fn default_fee(base_fee: u128, tip: u128) -> u128 {
    base_fee.saturating_mul(2).saturating_add(tip)
}

fn fill(c: &Call, mut request: CallRequest) -> Result<TxEnvelope, RpcError> {
    let from = request.from;
    let nonce = match request.nonce {
        Some(nonce) => nonce,
        None => {
            let account = c.app.chain.reader().account(StateAt::Latest, &from)?.unwrap_or_default();
            account.nonce.max(c.app.ports.pool.next_nonce(&from).unwrap_or(0))
        }
    };
    if request.gas.is_none() {
        let scene = Scene { pending: true, limits: call_limits(&c.app), ..Scene::default() };
        request.gas = Some(c.app.ports.calls.estimate_gas(&request, &scene)?);
    }
    let base_fee = super::super::fees::next_base_fee(&c.app)?;
    let tip = request.max_priority_fee_per_gas.unwrap_or(TIP);
    let fee = request.max_fee_per_gas.unwrap_or_else(|| default_fee(base_fee, tip));
    request.max_fee_per_gas = Some(fee);
    request.max_priority_fee_per_gas = Some(tip.min(fee));
    Ok(unsigned_tx(&request, nonce, c.app.spec.chain_id))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_tip_of_any_size_is_no_overflow() {
        assert_eq!(super::default_fee(7, 3), 17);
        assert_eq!(super::default_fee(u128::MAX, u128::MAX), u128::MAX);
    }
}
