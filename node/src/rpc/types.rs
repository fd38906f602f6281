//! Parameters as Ethereum clients send them.

use alloy_eips::{
    eip2930::{AccessList, AccessListItem},
    eip7702::{Authorization, SignedAuthorization},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::{error::RpcError, ports::CallRequest};

/// A 64-bit quantity: `0x`-prefixed hex without leading zeros when written; leading zeros and plain numbers are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hex64(pub u64);

/// As [`Hex64`] with 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hex128(pub u128);

impl Serialize for Hex64 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{:#x}", self.0))
    }
}

impl Serialize for Hex128 {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{:#x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Hex128 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Value::deserialize(d)? {
            Value::Number(n) => n.as_u64().map(|n| Self(n.into())).ok_or_else(|| de::Error::custom(NOT_QUANTITY)),
            Value::String(s) => parse_quantity(&s).map(Self).map_err(de::Error::custom),
            _ => Err(de::Error::custom(NOT_QUANTITY)),
        }
    }
}

impl<'de> Deserialize<'de> for Hex64 {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let wide = Hex128::deserialize(d)?.0;
        u64::try_from(wide).map(Self).map_err(|_| de::Error::custom("hex number > 64 bits"))
    }
}

const NOT_QUANTITY: &str = "expected a quantity such as \"0x1b4\"";

fn parse_quantity(s: &str) -> Result<u128, String> {
    let digits = s.strip_prefix("0x").ok_or_else(|| format!("hex string without 0x prefix; {NOT_QUANTITY}"))?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(format!("invalid hex number; {NOT_QUANTITY}"));
    }
    u128::from_str_radix(digits, 16).map_err(|_| "hex number is too large".to_owned())
}

/// A parameter of any form that must be there: `null` is not.
#[derive(Clone, Debug)]
pub struct Given(pub Value);

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Value::deserialize(d)? {
            Value::Null => Err(de::Error::custom("a value is needed")),
            value => Ok(Self(value)),
        }
    }
}

/// Which block, as clients name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockId {
    /// The newest executed block.
    #[default]
    Latest,
    /// The newest executed block, and for nonces the mempool.
    Pending,
    /// The genesis block.
    Earliest,
    /// As finalized under BFT.
    Safe,
    /// The newest final block.
    Finalized,
    /// By number.
    Number(u64),
    /// By hash.
    Hash(B256),
}

const NOT_BLOCK: &str = "expected a block: \"latest\", \"pending\", \"earliest\", \"safe\", \"finalized\", a number such as \"0x1b4\" or a block hash";

impl<'de> Deserialize<'de> for BlockId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Value::deserialize(d)? {
            Value::String(s) => Self::parse(&s).map_err(de::Error::custom),
            Value::Object(o) => Self::from_object(&o).map_err(de::Error::custom),
            _ => Err(de::Error::custom(NOT_BLOCK)),
        }
    }
}

impl BlockId {
    fn parse(s: &str) -> Result<Self, String> {
        Ok(match s {
            "latest" => Self::Latest,
            "pending" => Self::Pending,
            "earliest" => Self::Earliest,
            "safe" => Self::Safe,
            "finalized" => Self::Finalized,
            _ if s.len() == 66 => Self::Hash(s.parse().map_err(|_| NOT_BLOCK.to_owned())?),
            _ => {
                let n = parse_quantity(s).map_err(|e| format!("{e}; {NOT_BLOCK}"))?;
                Self::Number(u64::try_from(n).map_err(|_| "block number larger than 64 bits".to_owned())?)
            }
        })
    }

    /// EIP-1898.
    fn from_object(o: &serde_json::Map<String, Value>) -> Result<Self, String> {
        let text = |k: &str| o.get(k).and_then(Value::as_str);
        match (text("blockHash"), text("blockNumber")) {
            (Some(_), Some(_)) => Err("cannot specify both blockHash and blockNumber, choose one or the other".into()),
            (Some(h), None) => h.parse().map(Self::Hash).map_err(|_| "blockHash is not 32 bytes of hex".into()),
            (None, Some(n)) => match Self::parse(n)? {
                Self::Hash(_) => Err("blockNumber is a hash; use blockHash".into()),
                id => Ok(id),
            },
            (None, None) => Err(NOT_BLOCK.into()),
        }
    }
}

/// A storage slot: up to 32 bytes of hex, with or without leading zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub U256);

impl<'de> Deserialize<'de> for Slot {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let s = String::deserialize(d)?;
        let digits = s.strip_prefix("0x").filter(|d| d.len() <= 64);
        let value = digits.and_then(|d| if d.is_empty() { Some(U256::ZERO) } else { U256::from_str_radix(d, 16).ok() });
        value.map(Self).ok_or_else(|| de::Error::custom("expected a storage slot: 0x and at most 64 hex digits"))
    }
}

/// One entry of an access list.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessItem {
    address: Address,
    #[serde(default)]
    storage_keys: Vec<B256>,
}

impl From<&AccessListItem> for AccessItem {
    fn from(i: &AccessListItem) -> Self {
        Self { address: i.address, storage_keys: i.storage_keys.clone() }
    }
}

impl From<AccessItem> for AccessListItem {
    fn from(i: AccessItem) -> Self {
        Self { address: i.address, storage_keys: i.storage_keys }
    }
}

/// One signed authorization (EIP-7702).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationItem {
    chain_id: U256,
    address: Address,
    nonce: Hex64,
    y_parity: Hex64,
    r: U256,
    s: U256,
}

impl From<&SignedAuthorization> for AuthorizationItem {
    fn from(a: &SignedAuthorization) -> Self {
        let (chain_id, address, nonce) = (a.chain_id, a.address, Hex64(a.nonce));
        Self { chain_id, address, nonce, y_parity: Hex64(a.y_parity().into()), r: a.r(), s: a.s() }
    }
}

impl TryFrom<AuthorizationItem> for SignedAuthorization {
    type Error = RpcError;
    fn try_from(a: AuthorizationItem) -> Result<Self, RpcError> {
        let y = u8::try_from(a.y_parity.0)
            .map_err(|_| RpcError::params("yParity of an authorization must be 0x0 or 0x1"))?;
        let inner = Authorization { chain_id: a.chain_id, address: a.address, nonce: a.nonce.0 };
        Ok(Self::new_unchecked(inner, y, a.r, a.s))
    }
}

/// The transaction object of `eth_call` and `eth_estimateGas`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CallArgs {
    from: Option<Address>,
    to: Option<Address>,
    gas: Option<Hex64>,
    gas_price: Option<Hex128>,
    max_fee_per_gas: Option<Hex128>,
    max_priority_fee_per_gas: Option<Hex128>,
    value: Option<U256>,
    input: Option<Bytes>,
    data: Option<Bytes>,
    nonce: Option<Hex64>,
    chain_id: Option<Hex64>,
    access_list: Option<Vec<AccessItem>>,
    authorization_list: Option<Vec<AuthorizationItem>>,
    blob_versioned_hashes: Option<Value>,
    blobs: Option<Value>,
}

impl CallArgs {
    /// Checks and converts.
    pub fn into_request(self, chain_id: u64) -> Result<CallRequest, RpcError> {
        if self.blob_versioned_hashes.is_some() || self.blobs.is_some() {
            return Err(RpcError::params(
                "blob transactions (EIP-4844) are not supported: there is no blob market here",
            ));
        }
        if let Some(Hex64(have)) = self.chain_id.filter(|c| c.0 != chain_id) {
            return Err(RpcError::params(format!("chainId does not match node's (have={have}, want={chain_id})")));
        }
        if self.gas_price.is_some() && (self.max_fee_per_gas.is_some() || self.max_priority_fee_per_gas.is_some()) {
            return Err(RpcError::params("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified"));
        }
        let input = match (self.input, self.data) {
            (Some(i), Some(d)) if i != d => {
                return Err(RpcError::params(
                    "both \"data\" and \"input\" are set and not equal. Please use \"input\" to pass transaction call data",
                ));
            }
            (i, d) => i.or(d).unwrap_or_default(),
        };
        let fee = self.gas_price.or(self.max_fee_per_gas).map(|f| f.0);
        let tip = self.gas_price.or(self.max_priority_fee_per_gas).map(|f| f.0);
        if let (Some(fee), Some(tip)) = (fee, tip)
            && tip > fee
        {
            return Err(RpcError::params(format!("maxFeePerGas ({fee}) < maxPriorityFeePerGas ({tip})")));
        }
        let authorizations = self.authorization_list.unwrap_or_default().into_iter().map(TryInto::try_into);
        Ok(CallRequest {
            from: self.from.unwrap_or_default(),
            to: self.to,
            gas: self.gas.map(|g| g.0),
            max_fee_per_gas: fee,
            max_priority_fee_per_gas: tip,
            value: self.value.unwrap_or_default(),
            input,
            nonce: self.nonce.map(|n| n.0),
            access_list: AccessList(self.access_list.unwrap_or_default().into_iter().map(Into::into).collect()),
            authorization_list: authorizations.collect::<Result<_, _>>()?,
        })
    }
}
