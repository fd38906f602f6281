//! The EVM's precompiles, with our own beside them.

use std::sync::LazyLock;

use alloy_primitives::{B256, Bytes};
use basalt_primitives::{
    PublicKey, Signature,
    system::{
        ED25519_VERIFY, ED25519_VERIFY_GAS, ED25519_VERIFY_WORD_GAS, HEADER_VERIFY, HEADER_VERIFY_GAS,
        HEADER_VERIFY_WORD_GAS, header_proof::HeaderProof,
    },
};
use revm::{
    handler::EthPrecompiles,
    precompile::{
        EthPrecompileOutput, EthPrecompileResult, Precompile, PrecompileHalt, PrecompileId, PrecompileSpecId,
        Precompiles, eth_precompile_fn,
    },
    primitives::hardfork::SpecId,
};

/// Bytes before the message: key and signature.
const HEAD: usize = 32 + 64;

eth_precompile_fn!(ed25519_precompile, ed25519_verify);

/// Verifies an Ed25519 signature as blocks and native transactions are verified (ADR-0004). Never fails but for gas; what
/// does not verify, and what is too short to be a signature, gives no output.
fn ed25519_verify(input: &[u8], gas_limit: u64) -> EthPrecompileResult {
    let words = input.len().saturating_sub(HEAD).div_ceil(32) as u64;
    let gas = ED25519_VERIFY_GAS + words * ED25519_VERIFY_WORD_GAS;
    if gas > gas_limit {
        return Err(PrecompileHalt::OutOfGas);
    }
    let good = input.split_first_chunk::<32>().and_then(|(key, rest)| {
        let (signature, message) = rest.split_first_chunk::<64>()?;
        Some(PublicKey(*key).verify(message, &Signature(*signature)))
    });
    let output = if good == Some(true) { B256::with_last_byte(1).into() } else { Bytes::new() };
    Ok(EthPrecompileOutput::new(gas, output))
}

eth_precompile_fn!(header_precompile, header_verify);

/// Verifies a header with its certificate. As with signatures it never fails but for gas; what does not verify, and what is
/// no proof, gives no output.
fn header_verify(input: &[u8], gas_limit: u64) -> EthPrecompileResult {
    let base = HEADER_VERIFY_GAS + input.len().div_ceil(32) as u64 * HEADER_VERIFY_WORD_GAS;
    // Reading is paid for before it is done, and the signatures before they are checked.
    if base > gas_limit {
        return Err(PrecompileHalt::OutOfGas);
    }
    let Some(proof) = HeaderProof::decode(input) else { return Ok(EthPrecompileOutput::new(base, Bytes::new())) };
    let gas = base + proof.signatures.len() as u64 * ED25519_VERIFY_GAS;
    if gas > gas_limit {
        return Err(PrecompileHalt::OutOfGas);
    }
    let words = proof.verify().map(|proven| proven.words(&proof.header).concat().into());
    Ok(EthPrecompileOutput::new(gas, words.unwrap_or_default()))
}

fn extended(spec: PrecompileSpecId) -> Precompiles {
    let mut all = Precompiles::new(spec).clone();
    let id = |name: &'static str| PrecompileId::Custom(name.into());
    all.extend([
        Precompile::new(id("ed25519_verify"), ED25519_VERIFY, ed25519_precompile),
        Precompile::new(id("header_verify"), HEADER_VERIFY, header_precompile),
    ]);
    all
}

/// The precompiles of a fork on our chains.
pub(crate) fn precompiles(spec: SpecId) -> EthPrecompiles {
    static CANCUN: LazyLock<Precompiles> = LazyLock::new(|| extended(PrecompileSpecId::CANCUN));
    static PRAGUE: LazyLock<Precompiles> = LazyLock::new(|| extended(PrecompileSpecId::PRAGUE));
    static OSAKA: LazyLock<Precompiles> = LazyLock::new(|| extended(PrecompileSpecId::OSAKA));
    static BEFORE: LazyLock<Precompiles> = LazyLock::new(|| extended(PrecompileSpecId::from_spec_id(SpecId::SHANGHAI)));
    let precompiles: &'static Precompiles = match spec {
        SpecId::CANCUN => &CANCUN,
        SpecId::PRAGUE => &PRAGUE,
        SpecId::OSAKA => &OSAKA,
        _ => &BEFORE,
    };
    EthPrecompiles { precompiles, spec }
}
