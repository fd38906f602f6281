//! What the ledger stores beside blocks and validator sets.

use basalt_primitives::{Bytes, Log, Receipt, U256, block::MAX_TRANSACTIONS};

use crate::{
    DecodeError, codec,
    codec::{Convert, copy, minimal},
    pb,
    scan::Field,
};

/// Topics a log can have: the EVM has LOG0 to LOG4.
const MAX_TOPICS: usize = 4;

/// Most logs of one block. At 375 gas each, a block of 2^32 gas stays below; more is refused rather than decoded.
const MAX_LOGS: usize = 1 << 23;

/// The receipts of one block, in the order of its executed transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockReceipts(pub Vec<Receipt>);

const LOG_FIELDS: &[Field] = &[Field::bytes(2, "topics", MAX_TOPICS, 32)];
const RECEIPT_FIELDS: &[Field] =
    &[Field::message(8, "logs", MAX_LOGS, LOG_FIELDS), Field::bytes(9, "revert data", 1, Receipt::MAX_OUTPUT)];

impl Convert for Receipt {
    type Pb = pb::Receipt;
    const NAME: &'static str = "receipt";
    const MAX: usize = 1 << 30;
    const FIELDS: &'static [Field] = RECEIPT_FIELDS;

    fn to_pb(&self) -> pb::Receipt {
        pb::Receipt {
            tx_hash: copy(self.tx_hash.as_slice()),
            tx_type: self.tx_type.into(),
            success: self.success,
            gas_used: self.gas_used,
            cumulative_gas_used: self.cumulative_gas_used,
            effective_gas_price: minimal(U256::from(self.effective_gas_price)),
            contract_address: self.contract_address.map(|a| copy(a.as_slice())),
            logs: self.logs.iter().map(log_to_pb).collect(),
            revert_data: self.revert_data.0.clone(),
        }
    }

    fn from_pb(r: pb::Receipt) -> Result<Self, DecodeError> {
        Ok(Self {
            tx_hash: codec::hash("transaction hash", &r.tx_hash)?,
            tx_type: u8::try_from(r.tx_type)
                .map_err(|_| DecodeError::Value { what: "transaction type", problem: "is above 255" })?,
            success: r.success,
            gas_used: r.gas_used,
            cumulative_gas_used: r.cumulative_gas_used,
            effective_gas_price: codec::u128("effective gas price", &r.effective_gas_price)?,
            contract_address: r.contract_address.map(|a| codec::address("contract address", &a)).transpose()?,
            logs: r.logs.into_iter().map(log_from_pb).collect::<Result<_, _>>()?,
            revert_data: Bytes(r.revert_data),
        })
    }
}

fn log_to_pb(log: &Log) -> pb::Log {
    pb::Log {
        address: copy(log.address.as_slice()),
        topics: log.topics.iter().map(|t| copy(t.as_slice())).collect(),
        data: log.data.0.clone(),
    }
}

fn log_from_pb(log: pb::Log) -> Result<Log, DecodeError> {
    Ok(Log {
        address: codec::address("log address", &log.address)?,
        topics: log.topics.iter().map(|t| codec::hash("topic", t)).collect::<Result<_, _>>()?,
        data: Bytes(log.data),
    })
}

impl Convert for BlockReceipts {
    type Pb = pb::BlockReceipts;
    const NAME: &'static str = "receipts of a block";
    const MAX: usize = 1 << 30;
    const FIELDS: &'static [Field] = &[Field::message(1, "receipts", MAX_TRANSACTIONS, RECEIPT_FIELDS)];

    fn to_pb(&self) -> pb::BlockReceipts {
        pb::BlockReceipts { receipts: self.0.iter().map(Convert::to_pb).collect() }
    }

    fn from_pb(pb: pb::BlockReceipts) -> Result<Self, DecodeError> {
        pb.receipts.into_iter().map(Receipt::from_pb).collect::<Result<_, _>>().map(Self)
    }
}
