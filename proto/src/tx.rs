//! Transactions: the only way from bytes to [`Unverified`].

use basalt_primitives::{
    Bytes, HashFn, Height, PublicKey, Signature, TxError, U256,
    tx::{
        MAX_TX_BYTES, NativeTx, Payload, SecurityLevel, SignedNative, Unverified, development, ethereum,
        native::TX_TYPE,
    },
};
use prost::Message as _;

use crate::{
    Codec as _, DecodeError, codec,
    codec::{Convert, copy, minimal},
    pb,
    scan::Field,
};

/// Decodes a transaction of either format: size first, then form, canonical encoding and chain id. The signature is
/// checked by [`Unverified::verify`] or [`basalt_primitives::tx::verify_all`]. Pre-EIP-155 Ethereum transactions carry no
/// chain id and decode; whether to admit them is policy.
pub fn decode(raw: Bytes, chain_id: u64, hash_fn: HashFn) -> Result<Unverified, TxError> {
    if raw.len() > MAX_TX_BYTES {
        return Err(TxError::TooLarge(raw.len()));
    }
    let payload = match raw.first() {
        None => return Err(TxError::Malformed("no bytes".into())),
        Some(&TX_TYPE) => {
            let native = SignedNative::decode(raw.0.slice(1..)).map_err(|e| TxError::Malformed(e.to_string()))?;
            Payload::Native(Box::new(native))
        }
        Some(&development::TX_TYPE) => {
            return Err(TxError::Unsupported(
                "development transactions (type 0x44) exist only inside blocks of development networks; use the development methods",
            ));
        }
        Some(_) => Payload::Ethereum(Box::new(ethereum::decode(&raw)?)),
    };
    check_chain_id(&payload, chain_id)?;
    Ok(Unverified::from_canonical(raw, payload, hash_fn))
}

/// As [`decode`], and the transactions that only blocks of a development network have: for its own blocks, never for what
/// comes from outside.
pub fn decode_on_devnet(raw: Bytes, chain_id: u64, hash_fn: HashFn) -> Result<Unverified, TxError> {
    if raw.first() != Some(&development::TX_TYPE) {
        return decode(raw, chain_id, hash_fn);
    }
    if raw.len() > MAX_TX_BYTES {
        return Err(TxError::TooLarge(raw.len()));
    }
    let tx = development::decode(&raw)?;
    check_chain_id(tx.payload(), chain_id)?;
    Ok(tx)
}

fn check_chain_id(payload: &Payload, want: u64) -> Result<(), TxError> {
    match payload.chain_id() {
        Some(have) if have != want => Err(TxError::ChainId { have, want }),
        _ => Ok(()),
    }
}

/// The canonical encoding of a native transaction: type byte and protobuf.
#[must_use]
pub fn encode_native(tx: &SignedNative) -> Bytes {
    let pb = tx.to_pb();
    let mut out = Vec::with_capacity(1 + pb.encoded_len());
    out.push(TX_TYPE);
    pb.encode_raw(&mut out);
    out.into()
}

impl Convert for SignedNative {
    type Pb = pb::NativeTransaction;
    const NAME: &'static str = "native transaction";
    const MAX: usize = MAX_TX_BYTES - 1;
    const FIELDS: &'static [Field] = &[];

    fn to_pb(&self) -> pb::NativeTransaction {
        let tx = &self.tx;
        pb::NativeTransaction {
            chain_id: tx.chain_id,
            nonce: tx.nonce,
            valid_from: tx.valid_from.0,
            valid_until: tx.valid_until.map(|h| h.0),
            max_fee_per_gas: minimal(U256::from(tx.max_fee_per_gas)),
            max_priority_fee_per_gas: minimal(U256::from(tx.max_priority_fee_per_gas)),
            gas_limit: tx.gas_limit,
            to: tx.to.map(|a| copy(a.as_slice())),
            value: minimal(tx.value),
            input: tx.input.0.clone(),
            level: tx.level.code().into(),
            payload: tx.payload.as_ref().map(|p| p.0.clone()),
            public_key: copy(&self.public_key.0),
            signature: copy(&self.signature.0),
        }
    }

    fn from_pb(t: pb::NativeTransaction) -> Result<Self, DecodeError> {
        let level = u8::try_from(t.level).ok().and_then(SecurityLevel::from_code);
        let tx = NativeTx {
            chain_id: t.chain_id,
            nonce: t.nonce,
            valid_from: Height(t.valid_from),
            valid_until: t.valid_until.map(Height),
            max_fee_per_gas: codec::u128("max fee per gas", &t.max_fee_per_gas)?,
            max_priority_fee_per_gas: codec::u128("max priority fee per gas", &t.max_priority_fee_per_gas)?,
            gas_limit: t.gas_limit,
            to: t.to.map(|a| codec::address("receiver", &a)).transpose()?,
            value: codec::u256("value", &t.value)?,
            input: Bytes(t.input),
            level: level.ok_or(DecodeError::Value { what: "security level", problem: "is not one of 0 to 3" })?,
            payload: t.payload.map(Bytes),
        };
        Ok(Self {
            tx,
            public_key: PublicKey(codec::array("public key", &t.public_key)?),
            signature: Signature(codec::array("signature", &t.signature)?),
        })
    }
}
