//! Values between domain types and stored bytes. What is also sent over the network is protobuf (`basalt-proto`), and is
//! split and joined here without decoding; the rest has fixed layouts, described in [`crate::tables`].

use basalt_primitives::{Address, B256, Block, Bytes, Height, Receipt, U256, state::Account};
use basalt_proto::Codec as _;

use crate::history::{Changed, HistoryRange};
use crate::types::{ChainWork, Outcome, Skipped, Summary, TxLocation};

/// Protobuf key of a length-delimited field.
const fn key(field: u8) -> u8 {
    (field << 3) | 2
}

/// Appends a length-delimited protobuf field.
fn put_field(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(key(field));
    let mut n = bytes.len();
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out.extend_from_slice(bytes);
}

/// The two stored parts of a block: the header's encoding, and the block's encoding without the header.
pub fn split_block(block: &Block) -> (Vec<u8>, Vec<u8>) {
    let header = block.header.encode();
    let mut first = Vec::with_capacity(header.len() + 4);
    put_field(&mut first, 1, &header);
    let whole = block.encode();
    let body = whole.strip_prefix(&first[..]).expect("the header is a block's first field").to_vec();
    (header, body)
}

/// The encoding of the block whose parts these are.
pub fn join_block(header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(header.len() + body.len() + 8);
    put_field(&mut out, 1, header);
    out.extend_from_slice(body);
    out
}

/// The encoding of a `CertifiedBlock`, from stored parts.
pub fn join_certified(header: &[u8], body: &[u8], certificate: Option<&[u8]>) -> Vec<u8> {
    let block = join_block(header, body);
    let mut out = Vec::with_capacity(block.len() + certificate.map_or(0, <[u8]>::len) + 16);
    put_field(&mut out, 1, &block);
    if let Some(c) = certificate {
        put_field(&mut out, 2, c);
    }
    out
}

/// The encoding of a `BlockReceipts`, without owning the receipts.
pub fn encode_receipts(receipts: &[Receipt]) -> Vec<u8> {
    let mut out = Vec::new();
    for r in receipts {
        put_field(&mut out, 1, &r.encode());
    }
    out
}

/// Reads fixed layouts; `None` as soon as something is missing.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn slice(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn hash(&mut self) -> Option<B256> {
        self.array().map(B256::new)
    }

    /// The value, if nothing is left over.
    fn end<T>(&self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

pub fn decode_u32(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

pub fn decode_u64(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

pub fn decode_hash(bytes: &[u8]) -> Option<B256> {
    bytes.try_into().ok().map(B256::new)
}

pub fn encode_head(height: Height, hash: B256) -> Vec<u8> {
    [&height.0.to_be_bytes()[..], hash.as_slice()].concat()
}

pub fn decode_head(bytes: &[u8]) -> Option<(Height, B256)> {
    let mut c = Cursor(bytes);
    let head = (Height(c.u64()?), c.hash()?);
    c.end(head)
}

pub fn encode_summary(s: &Summary) -> Vec<u8> {
    let mut out = Vec::with_capacity(112);
    out.extend_from_slice(s.hash.as_slice());
    out.extend_from_slice(s.outcome.state_root.as_slice());
    out.extend_from_slice(s.outcome.receipts_root.as_slice());
    out.extend_from_slice(&s.outcome.gas_used.to_be_bytes());
    out.extend_from_slice(&s.total_transactions.to_be_bytes());
    if let Some(work) = s.work {
        out.extend_from_slice(&work.total.to_be_bytes::<32>());
        out.extend_from_slice(&work.time_ms.to_be_bytes());
    }
    out
}

pub fn decode_summary(bytes: &[u8]) -> Option<Summary> {
    let mut c = Cursor(bytes);
    let hash = c.hash()?;
    let outcome = Outcome { state_root: c.hash()?, receipts_root: c.hash()?, gas_used: c.u64()? };
    let total_transactions = c.u64()?;
    let work = match c.0.is_empty() {
        true => None,
        false => Some(ChainWork { total: U256::from_be_bytes(c.array::<32>()?), time_ms: c.u64()? }),
    };
    let summary = Summary { hash, outcome, total_transactions, work };
    c.end(summary)
}

pub fn encode_location(l: &TxLocation) -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&l.height.0.to_be_bytes());
    out[8..12].copy_from_slice(&l.index.to_be_bytes());
    out[12..].copy_from_slice(&l.receipt.to_be_bytes());
    out
}

pub fn decode_location(bytes: &[u8]) -> Option<TxLocation> {
    let mut c = Cursor(bytes);
    let location = TxLocation { height: Height(c.u64()?), index: c.u32()?, receipt: c.u32()? };
    c.end(location)
}

pub fn encode_skipped(list: &[Skipped]) -> Vec<u8> {
    let mut out = Vec::new();
    for s in list {
        let reason = truncated(&s.reason, usize::from(u16::MAX));
        out.extend_from_slice(&s.index.to_be_bytes());
        out.extend_from_slice(s.tx_hash.as_slice());
        out.extend_from_slice(&(reason.len() as u16).to_be_bytes());
        out.extend_from_slice(reason.as_bytes());
    }
    out
}

/// The longest prefix of at most `max` bytes that ends between characters.
fn truncated(s: &str, max: usize) -> &str {
    let end = (0..=max.min(s.len())).rev().find(|&i| s.is_char_boundary(i)).unwrap_or(0);
    &s[..end]
}

pub fn decode_skipped(bytes: &[u8]) -> Option<Vec<Skipped>> {
    let mut c = Cursor(bytes);
    let mut list = Vec::new();
    while !c.0.is_empty() {
        let (index, tx_hash) = (c.u32()?, c.hash()?);
        let length = u16::from_be_bytes(c.array()?);
        let reason = std::str::from_utf8(c.slice(length.into())?).ok()?.to_owned();
        list.push(Skipped { index, tx_hash, reason });
    }
    Some(list)
}

pub fn encode_account(a: &Account) -> Vec<u8> {
    let mut out = Vec::with_capacity(72);
    out.extend_from_slice(&a.nonce.to_be_bytes());
    out.extend_from_slice(&a.balance.to_be_bytes::<32>());
    if a.code_hash != Account::default().code_hash {
        out.extend_from_slice(a.code_hash.as_slice());
    }
    out
}

pub fn decode_account(bytes: &[u8]) -> Option<Account> {
    let mut c = Cursor(bytes);
    let (nonce, balance) = (c.u64()?, U256::from_be_bytes(c.array::<32>()?));
    let none = Account::default().code_hash;
    let code_hash = if c.0.is_empty() { none } else { c.hash().filter(|h| *h != none)? };
    c.end(Account { nonce, balance, code_hash })
}

pub fn encode_slot(value: &U256) -> Vec<u8> {
    value.to_be_bytes_trimmed_vec()
}

pub fn decode_slot(bytes: &[u8]) -> Option<U256> {
    (bytes.len() <= 32 && bytes.first() != Some(&0)).then(|| U256::from_be_slice(bytes))
}

/// An account as it was. First byte: length of the nonce, plus 0x80 if there is code; then the nonce without leading zeros,
/// the code hash if there is code, the balance without leading zeros. Empty when there was none.
pub fn encode_past_account(account: Option<&Account>) -> Vec<u8> {
    let Some(a) = account else { return Vec::new() };
    let has_code = a.code_hash != Account::default().code_hash;
    let nonce = a.nonce.to_be_bytes();
    let nonce = &nonce[a.nonce.leading_zeros() as usize / 8..];
    let mut out = Vec::with_capacity(24);
    out.push(nonce.len() as u8 | if has_code { PAST_HAS_CODE } else { 0 });
    out.extend_from_slice(nonce);
    if has_code {
        out.extend_from_slice(a.code_hash.as_slice());
    }
    out.extend_from_slice(&a.balance.to_be_bytes_trimmed_vec());
    out
}

const PAST_HAS_CODE: u8 = 0x80;

pub fn decode_past_account(bytes: &[u8]) -> Option<Option<Account>> {
    if bytes.is_empty() {
        return Some(None);
    }
    let mut c = Cursor(bytes);
    let [head] = c.array()?;
    let nonce = c.slice(usize::from(head & !PAST_HAS_CODE)).filter(|n| n.len() <= 8 && n.first() != Some(&0))?;
    let nonce = nonce.iter().fold(0, |n, b| n << 8 | u64::from(*b));
    let none = Account::default().code_hash;
    let code_hash = if head & PAST_HAS_CODE == 0 { none } else { c.hash().filter(|h| *h != none)? };
    let balance = decode_slot(c.0)?;
    Some(Some(Account { nonce, balance, code_hash }))
}

/// What a block changed: see [`crate::tables`].
pub fn encode_changed(accounts: &[Address], slots: &[(Address, U256)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + 20 * accounts.len() + 36 * slots.len());
    out.extend_from_slice(&(accounts.len() as u32).to_be_bytes());
    accounts.iter().for_each(|a| out.extend_from_slice(a.as_slice()));
    for of_account in slots.chunk_by(|a, b| a.0 == b.0) {
        out.extend_from_slice(of_account[0].0.as_slice());
        out.extend_from_slice(&(of_account.len() as u32).to_be_bytes());
        of_account.iter().for_each(|(_, slot)| out.extend_from_slice(&slot.to_be_bytes::<32>()));
    }
    out
}

pub fn decode_changed(bytes: &[u8]) -> Option<Changed> {
    let mut c = Cursor(bytes);
    let accounts = c.u32()?;
    let accounts = c.slice(usize::try_from(accounts).ok()?.checked_mul(20)?)?;
    let mut changed = Changed { accounts: accounts.chunks(20).map(Address::from_slice).collect(), slots: Vec::new() };
    while !c.0.is_empty() {
        let address = Address::new(c.array()?);
        let count = usize::try_from(c.u32()?).ok()?;
        // Each account once, and with what changed: the row has no other form.
        if count == 0 || changed.slots.last().is_some_and(|(last, _)| *last == address) {
            return None;
        }
        let slots = c.slice(count.checked_mul(32)?)?;
        changed.slots.extend(slots.chunks(32).map(|s| (address, U256::from_be_slice(s))));
    }
    Some(changed)
}

pub fn encode_history(h: &HistoryRange) -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&h.first.0.to_be_bytes());
    out[8..].copy_from_slice(&h.cleaned.0.to_be_bytes());
    out
}

pub fn decode_history(bytes: &[u8]) -> Option<HistoryRange> {
    let mut c = Cursor(bytes);
    let range = HistoryRange { first: Height(c.u64()?), cleaned: Height(c.u64()?) };
    c.end(range)
}

/// A byte string of the primitives' type, without copying.
pub fn owned(bytes: Vec<u8>) -> Bytes {
    Bytes::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These are disk formats: a change here makes ledgers unreadable and needs a new schema version and a migration.
    #[test]
    fn golden_values() {
        let hex = |bytes: &[u8]| Bytes::copy_from_slice(bytes).to_string();
        let plain = Account { nonce: 5, balance: U256::from(0x0102), ..Account::default() };
        let balance = "0000000000000000000000000000000000000000000000000000000000000102";
        assert_eq!(hex(&encode_account(&plain)), format!("0x0000000000000005{balance}"));
        let contract = Account { code_hash: B256::repeat_byte(0xcc), ..plain };
        assert_eq!(hex(&encode_account(&contract)), format!("0x0000000000000005{balance}{}", "cc".repeat(32)));
        let location = TxLocation { height: Height(258), index: 3, receipt: 2 };
        assert_eq!(hex(&encode_location(&location)), "0x00000000000001020000000300000002");
        let outcome =
            Outcome { state_root: B256::repeat_byte(2), receipts_root: B256::repeat_byte(3), gas_used: 21_000 };
        let summary = Summary { hash: B256::repeat_byte(1), outcome, total_transactions: 9, work: None };
        let roots = ["01", "02", "03"].map(|b| b.repeat(32)).concat();
        assert_eq!(hex(&encode_summary(&summary)), format!("0x{roots}00000000000052080000000000000009"));
        let skipped = [Skipped { index: 1, tx_hash: B256::repeat_byte(4), reason: "low".to_owned() }];
        assert_eq!(hex(&encode_skipped(&skipped)), format!("0x00000001{}00036c6f77", "04".repeat(32)));
        assert_eq!(
            hex(&encode_head(Height(7), B256::repeat_byte(5))),
            format!("0x0000000000000007{}", "05".repeat(32))
        );
        assert_eq!(hex(&encode_slot(&U256::from(0x0100))), "0x0100");
    }

    /// As above, for the tables of older states.
    #[test]
    fn golden_values_of_history() {
        let hex = |bytes: &[u8]| Bytes::copy_from_slice(bytes).to_string();
        let plain = Account { nonce: 0x0500, balance: U256::from(0x0102), ..Account::default() };
        let contract = Account { code_hash: B256::repeat_byte(0xcc), nonce: 1, ..Account::default() };
        assert_eq!(hex(&encode_past_account(Some(&plain))), "0x0205000102");
        assert_eq!(hex(&encode_past_account(Some(&contract))), format!("0x8101{}", "cc".repeat(32)));
        assert_eq!(hex(&encode_past_account(Some(&Account::default()))), "0x00");
        assert_eq!(hex(&encode_past_account(None)), "0x");
        let (a, b) = (Address::repeat_byte(0xaa), Address::repeat_byte(0xbb));
        let slots = [(b, U256::from(1)), (b, U256::from(2))];
        let word = |n: u8| format!("{}{n:02x}", "00".repeat(31));
        let expected = format!(
            "0x00000002{}{}{}00000002{}{}",
            "aa".repeat(20),
            "bb".repeat(20),
            "bb".repeat(20),
            word(1),
            word(2)
        );
        assert_eq!(hex(&encode_changed(&[a, b], &slots)), expected);
        let range = HistoryRange { first: Height(258), cleaned: Height(257) };
        assert_eq!(hex(&encode_history(&range)), "0x00000000000001020000000000000101");
    }

    #[test]
    fn history_comes_back_and_cut_rows_are_refused() {
        let accounts = [
            Account::default(),
            Account { nonce: u64::MAX, balance: U256::MAX, code_hash: B256::repeat_byte(1) },
            Account { nonce: 256, balance: U256::from(255), ..Account::default() },
        ];
        for account in accounts {
            let bytes = encode_past_account(Some(&account));
            assert_eq!(decode_past_account(&bytes), Some(Some(account)));
        }
        assert_eq!(decode_past_account(&[]), Some(None));
        assert_eq!(decode_past_account(&[0x82, 1]), None, "cut in the nonce");
        assert_eq!(decode_past_account(&[0x80, 1]), None, "cut in the code hash");
        assert_eq!(decode_past_account(&[0x09, 1, 1, 1, 1, 1, 1, 1, 1, 1]), None, "a nonce of nine bytes");
        assert_eq!(decode_past_account(&[0x01, 0]), None, "a nonce with a leading zero");
        let (a, b) = (Address::repeat_byte(0xaa), Address::repeat_byte(0xbb));
        let slots = vec![(a, U256::from(1)), (b, U256::from(2)), (b, U256::MAX)];
        let bytes = encode_changed(&[a, b], &slots);
        let changed = decode_changed(&bytes).expect("decodes");
        assert_eq!((changed.accounts, changed.slots), (vec![a, b], slots));
        for cut in [3, 20, 50, bytes.len() - 1] {
            assert_eq!(decode_changed(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(decode_changed(&[0xff; 8]), None, "more accounts than bytes");
    }

    #[test]
    fn values_come_back_and_other_lengths_are_refused() {
        let accounts =
            [Account::default(), Account { nonce: u64::MAX, balance: U256::MAX, code_hash: B256::repeat_byte(1) }];
        for account in accounts {
            let bytes = encode_account(&account);
            assert_eq!(decode_account(&bytes), Some(account));
            assert_eq!(decode_account(&bytes[..bytes.len() - 1]), None);
            assert_eq!(decode_account(&[&bytes[..], &[0]].concat()), None);
        }
        for slot in [U256::from(1), U256::from(255), U256::from(256), U256::MAX] {
            assert_eq!(decode_slot(&encode_slot(&slot)), Some(slot));
        }
        assert_eq!(decode_slot(&[0, 1]), None, "leading zero");
        assert_eq!(decode_slot(&[1; 33]), None, "too long");
        assert_eq!(decode_skipped(&[0; 37]), None, "cut short");
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let long = Skipped { index: 0, tx_hash: B256::ZERO, reason: "é".repeat(40_000) };
        let back = decode_skipped(&encode_skipped(std::slice::from_ref(&long))).expect("decodes");
        assert_eq!(back[0].reason.len(), 65_534);
        assert!(long.reason.starts_with(&back[0].reason));
    }
}
