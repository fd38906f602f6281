//! The decoders of stored rows that have layouts of their own, each with the encoding of what it read: for tools that judge
//! bytes without a ledger, such as the fuzzer. A row that is accepted must be the only encoding of its value, so that damage
//! is seen and not read over.

use crate::codec;

/// Reads a row and writes it again; `None` if it is no row of this kind.
pub type Rewrite = fn(&[u8]) -> Option<Vec<u8>>;

/// Every kind of row, by name.
pub const ALL: [(&str, Rewrite); 9] = [
    ("head", |b| codec::decode_head(b).map(|(height, hash)| codec::encode_head(height, hash))),
    ("summary", |b| codec::decode_summary(b).map(|s| codec::encode_summary(&s))),
    ("location", |b| codec::decode_location(b).map(|l| codec::encode_location(&l).to_vec())),
    ("skipped", |b| codec::decode_skipped(b).map(|s| codec::encode_skipped(&s))),
    ("account", |b| codec::decode_account(b).map(|a| codec::encode_account(&a))),
    ("slot", |b| codec::decode_slot(b).map(|s| codec::encode_slot(&s))),
    ("past-account", |b| codec::decode_past_account(b).map(|a| codec::encode_past_account(a.as_ref()))),
    ("changed", |b| codec::decode_changed(b).map(|c| codec::encode_changed(&c.accounts, &c.slots))),
    ("history", |b| codec::decode_history(b).map(|h| codec::encode_history(&h).to_vec())),
];

#[cfg(test)]
mod tests {
    use basalt_primitives::state::Account;

    use super::*;

    /// Found by thinking about what the fuzzer could not reach: rows that say the same in two ways.
    #[test]
    fn a_row_that_could_be_written_otherwise_is_refused() {
        let rewrite = |name: &str, bytes: &[u8]| ALL.iter().find(|(n, _)| *n == name).expect("known").1(bytes);
        let no_code = Account::default().code_hash;
        let account = [&[0; 40][..], no_code.as_slice()].concat();
        assert_eq!(rewrite("account", &account), None, "the hash of no code, written out");
        assert_eq!(rewrite("past-account", &[&[0x80][..], no_code.as_slice()].concat()), None, "likewise");
        let group = |address: u8, slots: &[u8]| {
            let mut row = [&[address; 20][..], &(slots.len() as u32).to_be_bytes()].concat();
            slots.iter().for_each(|s| row.extend_from_slice(&[&[0; 31][..], &[*s]].concat()));
            row
        };
        let row = |groups: &[Vec<u8>]| [&[0; 4][..], &groups.concat()].concat();
        let good = row(&[group(1, &[1, 2]), group(2, &[1])]);
        assert_eq!(rewrite("changed", &good), Some(good));
        assert_eq!(rewrite("changed", &row(&[group(1, &[])])), None, "an account of which no slot changed");
        assert_eq!(rewrite("changed", &row(&[group(1, &[1]), group(1, &[2])])), None, "an account in two groups");
    }
}
