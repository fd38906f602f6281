//! Addresses that belong to the system: contracts that chains have in their genesis, and precompiles of our own.
//!
//! System contracts live at `0x…0B450001` and up, precompiles at `0x…0B450101` and up ("B45" for Basalt). Nobody can hold
//! a key of such an address, and no contract can be deployed there.

pub mod calls;
pub mod evidence;
pub mod header_proof;
pub mod permission;
pub mod validators;

use alloy_primitives::{Address, address};

/// The validator set by vote: `contracts/system/Validators.sol`.
pub const VALIDATORS: Address = address!("0x000000000000000000000000000000000B450001");

/// Who may join a private network, and what its accounts may do: `contracts/system/Permission.sol`. Absent elsewhere.
pub const PERMISSION: Address = address!("0x000000000000000000000000000000000B450002");

/// Precompile: verifies an Ed25519 signature under the rules of ZIP-215. Input: key 32, signature 64, message. Output: the
/// 32-byte word 1 if it verifies, else nothing.
pub const ED25519_VERIFY: Address = address!("0x000000000000000000000000000000000B450101");

/// Gas of [`ED25519_VERIFY`]: this much, and [`ED25519_VERIFY_WORD_GAS`] for every begun 32 bytes of message.
pub const ED25519_VERIFY_GAS: u64 = 6_000;

/// See [`ED25519_VERIFY_GAS`].
pub const ED25519_VERIFY_WORD_GAS: u64 = 12;

/// Precompile: verifies a header of a BFT chain of ours with its commit certificate. Input: [`header_proof::HeaderProof`].
/// Output: [`header_proof::Proven::words`] if it verifies, else nothing.
pub const HEADER_VERIFY: Address = address!("0x000000000000000000000000000000000B450102");

/// Gas of [`HEADER_VERIFY`]: this much, [`HEADER_VERIFY_WORD_GAS`] for every begun 32 bytes of input, and, of an input that
/// is a proof, [`ED25519_VERIFY_GAS`] for every signature. At most 256 validators sign, so it is below 1.6 million.
pub const HEADER_VERIFY_GAS: u64 = 3_000;

/// See [`HEADER_VERIFY_GAS`].
pub const HEADER_VERIFY_WORD_GAS: u64 = 12;

/// Who calls a system contract in the name of the protocol (the address of EIP-4788, EIP-7002 and their like).
pub const SYSTEM_CALLER: Address = address!("0xfffffffffffffffffffffffffffffffffffffffe");
