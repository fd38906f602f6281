//! Signs Ethereum transactions as a wallet does.

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256};
use basalt_node::keys::dev;

/// A development account with its next nonce.
pub struct Wallet {
    secret: secp256k1::SecretKey,
    pub nonce: u64,
}

impl Wallet {
    /// The development account with this number (0 to 9).
    pub fn dev(number: usize) -> Self {
        let account = &dev::accounts()[number];
        let key: B256 = account.private_key.parse().expect("hex");
        let secret = secp256k1::SecretKey::from_byte_array(key.0).expect("key");
        Self { secret, nonce: 0 }
    }

    /// A signed EIP-1559 transaction, as hex and with its hash; counts the nonce up.
    pub fn sign(&mut self, to: Option<Address>, value: u64, input: Bytes) -> (String, String) {
        let tx = TxEip1559 {
            chain_id: 31337,
            nonce: self.nonce,
            gas_limit: if to.is_some() && input.is_empty() { 21_000 } else { 1_000_000 },
            max_fee_per_gas: 100_000_000_000,
            max_priority_fee_per_gas: 1,
            to: to.map_or(TxKind::Create, TxKind::Call),
            value: U256::from(value),
            access_list: Default::default(),
            input,
        };
        self.nonce += 1;
        self.seal(tx)
    }

    /// Signs any EIP-1559 transaction; its encoding as hex, and its hash.
    pub fn seal(&self, tx: TxEip1559) -> (String, String) {
        let signature = self.signature(&tx);
        let signed = TxEnvelope::from(tx.into_signed(signature));
        (format!("0x{}", hex::encode(signed.encoded_2718())), signed.tx_hash().to_string())
    }

    /// The same signature with s mirrored at the curve's order, which EIP-2 forbids.
    pub fn seal_with_high_s(&self, tx: TxEip1559) -> String {
        let order: U256 = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141".parse().expect("hex");
        let s = self.signature(&tx);
        let signed = TxEnvelope::from(tx.into_signed(Signature::new(s.r(), order - s.s(), !s.v())));
        format!("0x{}", hex::encode(signed.encoded_2718()))
    }

    fn signature(&self, tx: &TxEip1559) -> Signature {
        let hash = tx.signature_hash();
        let message = secp256k1::Message::from_digest(hash.0);
        let (id, bytes) = secp256k1::SECP256K1.sign_ecdsa_recoverable(message, &self.secret).serialize_compact();
        let (r, s) = (U256::from_be_slice(&bytes[..32]), U256::from_be_slice(&bytes[32..]));
        Signature::new(r, s, i32::from(id) == 1)
    }
}
