//! Signatures. Ed25519 for native transactions, validators and nodes; secp256k1 for Ethereum transactions.

pub mod ed25519;
pub mod secp256k1;
