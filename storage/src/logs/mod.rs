//! Logs by address and topic (ADR-0018).
//!
//! In: a block's receipts, from which its batch gets rows per log and, per block, one row for each address and topic that
//! occurs, naming the logs ([`Writer::logs`]). Out: the logs of a range of blocks that match a [`LogQuery`]
//! ([`crate::Snapshot::find_logs`]): the rows of all its parts are walked together, so that the rarest decides the cost.

mod find;

use basalt_primitives::{Address, B256, Bloom, Bytes, Height, Log, Receipt};

pub use find::{FoundLog, FoundLogs, LogQuery, SearchEnd, SearchLimits};

use crate::{
    batch::Writer,
    tables::{Table, height_key, log_key},
};

/// The part of an index key before the height: 0 and an address, or 1 to 4 and the topic at that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Term {
    bytes: [u8; 33],
    length: u8,
}

impl Term {
    pub fn address(address: &Address) -> Self {
        let mut bytes = [0; 33];
        bytes[1..21].copy_from_slice(address.as_slice());
        Self { bytes, length: 21 }
    }

    /// The topic at a place, from 0.
    pub fn topic(place: usize, topic: &B256) -> Self {
        let mut bytes = [0; 33];
        bytes[0] = place as u8 + 1;
        bytes[1..].copy_from_slice(topic.as_slice());
        Self { bytes, length: 33 }
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The key of the row for a block.
    pub fn key(&self, height: Height) -> Vec<u8> {
        [self.as_slice(), &height_key(height)].concat()
    }
}

/// What a log is found by.
pub(crate) fn terms(log: &Log) -> impl Iterator<Item = Term> + '_ {
    let topics = log.topics.iter().enumerate().map(|(i, t)| Term::topic(i, t));
    std::iter::once(Term::address(&log.address)).chain(topics)
}

/// A log as it is stored by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredLog {
    pub receipt: u32,
    pub tx_hash: B256,
    pub log: Log,
}

impl StoredLog {
    pub fn encode(receipt: u32, tx_hash: &B256, log: &Log) -> Vec<u8> {
        let mut out = Vec::with_capacity(57 + 32 * log.topics.len() + log.data.len());
        out.extend_from_slice(&receipt.to_be_bytes());
        out.extend_from_slice(tx_hash.as_slice());
        out.extend_from_slice(log.address.as_slice());
        out.push(log.topics.len() as u8);
        log.topics.iter().for_each(|t| out.extend_from_slice(t.as_slice()));
        out.extend_from_slice(&log.data);
        out
    }

    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let (receipt, rest) = bytes.split_first_chunk::<4>()?;
        let (tx_hash, rest) = rest.split_first_chunk::<32>()?;
        let (address, rest) = rest.split_first_chunk::<20>()?;
        let (count, rest) = rest.split_first()?;
        let (topics, data) = rest.split_at_checked(32 * usize::from(*count))?;
        let topics = topics.chunks(32).map(B256::from_slice).collect();
        let log = Log { address: (*address).into(), topics, data: Bytes::copy_from_slice(data) };
        Some(Self { receipt: u32::from_be_bytes(*receipt), tx_hash: (*tx_hash).into(), log })
    }
}

/// Rising positions as differences, LEB128.
pub(crate) fn encode_positions(positions: impl IntoIterator<Item = u32>) -> Vec<u8> {
    let (mut out, mut last) = (Vec::new(), 0);
    for position in positions {
        let mut n = position - last;
        last = position;
        while n >= 0x80 {
            out.push(n as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
    }
    out
}

pub(crate) fn decode_positions(bytes: &[u8]) -> Option<Vec<u32>> {
    let (mut positions, mut last, mut n, mut shift) = (Vec::new(), 0u32, 0u32, 0);
    for byte in bytes {
        n |= u32::from(byte & 0x7f).checked_shl(shift).filter(|_| shift < 32)?;
        shift += 7;
        if byte & 0x80 == 0 {
            last = last.checked_add(n)?;
            positions.push(last);
            (n, shift) = (0, 0);
        }
    }
    (shift == 0).then_some(positions)
}

impl Writer<'_> {
    /// The bloom, the logs and their index.
    pub fn logs(&mut self, height: Height, receipts: &[Receipt]) {
        let mut terms: Vec<(Term, u32)> = Vec::new();
        let mut position = 0;
        for (index, receipt) in (0..).zip(receipts) {
            for log in &receipt.logs {
                let row = StoredLog::encode(index, &receipt.tx_hash, log);
                self.put(Table::Logs, &log_key(height, position), &row);
                terms.extend(self::terms(log).map(|term| (term, position)));
                position += 1;
            }
        }
        if position == 0 {
            return;
        }
        let bloom = receipts.iter().fold(Bloom::ZERO, |all, r| all | r.bloom());
        self.put(Table::Blooms, &height_key(height), bloom.as_slice());
        terms.sort_unstable();
        for of_term in terms.chunk_by(|a, b| a.0 == b.0) {
            let positions = encode_positions(of_term.iter().map(|(_, p)| *p));
            self.put(Table::LogIndex, &of_term[0].0.key(height), &positions);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These are disk formats.
    #[test]
    fn golden_rows() {
        let hex = |bytes: &[u8]| Bytes::copy_from_slice(bytes).to_string();
        let log = Log {
            address: Address::repeat_byte(0xaa),
            topics: vec![B256::repeat_byte(1), B256::repeat_byte(2)],
            data: Bytes::from_static(b"\x05\x06"),
        };
        let row = StoredLog::encode(258, &B256::repeat_byte(9), &log);
        let words = ["09".repeat(32), "aa".repeat(20), "02".into(), "01".repeat(32), "02".repeat(32)].concat();
        assert_eq!(hex(&row), format!("0x00000102{words}0506"));
        let back = StoredLog::decode(&Bytes::from(row.clone())).expect("decodes");
        assert_eq!(back, StoredLog { receipt: 258, tx_hash: B256::repeat_byte(9), log });
        assert_eq!(StoredLog::decode(&Bytes::from(row[..100].to_vec())), None, "cut in the topics");
        assert_eq!(encode_positions([0, 1, 200, 70_000]), [0, 1, 0xc7, 1, 0xa8, 0xa1, 4]);
        let key = Term::address(&Address::repeat_byte(0xaa)).key(Height(258));
        assert_eq!(hex(&key), format!("0x00{}0000000000000102", "aa".repeat(20)));
        let key = Term::topic(3, &B256::repeat_byte(0xbb)).key(Height(1));
        assert_eq!(hex(&key), format!("0x04{}0000000000000001", "bb".repeat(32)));
    }

    #[test]
    fn positions_come_back_and_torn_ones_are_refused() {
        for positions in [vec![], vec![0], vec![5, 6, 7, 1000, u32::MAX], (0..300).collect()] {
            assert_eq!(decode_positions(&encode_positions(positions.iter().copied())), Some(positions));
        }
        assert_eq!(decode_positions(&[0x80]), None, "cut");
        assert_eq!(decode_positions(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1]), None, "beyond 32 bits");
        assert_eq!(decode_positions(&[0xff; 8]), None, "too long");
    }
}
