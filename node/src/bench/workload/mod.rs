//! What a run sends. Every workload, built in or a user's script, is the same thing: contracts to deploy, calls the funder
//! makes for each sender beforehand, and weighted calls the senders make.

mod builtin;
mod script;
mod template;

use basalt_primitives::{Address, Bytes, U256};

pub use builtin::{NAMES, Options, built_in};
pub use script::{ScriptError, parse as parse_script};
pub use template::{Template, TemplateError, Values};

/// Most call data of one transaction, rendered: a transaction of it still fits the limit on every format.
pub const MAX_DATA: usize = 100 * 1024;

/// Whose signatures the senders make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Ed25519, protobuf.
    Native,
    /// secp256k1, EIP-1559.
    Ethereum,
}

/// Whom a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// The next sender of the load.
    Neighbour,
    /// The sender itself; in set-up calls the sender that is being set up.
    Sender,
    /// A contract of the workload, by its number.
    Contract(usize),
    /// Somebody else.
    Fixed(Address),
}

/// A contract that is deployed before the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// How calls name it.
    pub name: String,
    /// Init code.
    pub init_code: Bytes,
}

/// A kind of transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Name in the report.
    pub name: String,
    /// Signature.
    pub format: Format,
    /// Receiver.
    pub to: Receiver,
    /// Wei sent along.
    pub value: U256,
    /// Call data.
    pub data: Template,
    /// Most gas.
    pub gas: u64,
    /// How often it is made, in relation to the others.
    pub weight: u32,
}

/// What a run sends.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Name in the report.
    pub name: String,
    /// Deployed by the funder before the run.
    pub contracts: Vec<Contract>,
    /// Made by the funder for each sender before the run.
    pub setup: Vec<Call>,
    /// Made by the senders.
    pub calls: Vec<Call>,
}

impl Workload {
    /// Numbers of the calls of one format, each as often as its weight says: what a sender of that format goes round.
    #[must_use]
    pub fn cycle(&self, format: Format) -> Vec<usize> {
        let of_format = |(_, c): &(usize, &Call)| c.format == format;
        let calls = self.calls.iter().enumerate().filter(of_format);
        calls.flat_map(|(i, c)| std::iter::repeat_n(i, c.weight as usize)).collect()
    }

    /// How much of the load is of this format, 0 to 1.
    #[must_use]
    pub fn share(&self, format: Format) -> f64 {
        let of_format = self.cycle(format).len() as f64;
        of_format / self.calls.iter().map(|c| f64::from(c.weight)).sum::<f64>()
    }

    /// The format of each of `n` senders, mixed evenly so that any stretch of them has about the same shares.
    #[must_use]
    pub fn formats(&self, n: usize) -> Vec<Format> {
        let native = self.share(Format::Native);
        let up_to = |i: usize| (i as f64 * native).round() as usize;
        (0..n).map(|i| if up_to(i + 1) > up_to(i) { Format::Native } else { Format::Ethereum }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_share_the_formats_as_the_weights_say() {
        let mixed = built_in("mixed", Options::default()).expect("known");
        let formats = mixed.formats(1000);
        let native = formats.iter().filter(|f| **f == Format::Native).count();
        let want = mixed.share(Format::Native) * 1000.0;
        assert!((native as f64 - want).abs() <= 1.0, "{native} of 1000, wanted {want}");
        let first = formats[..100].iter().filter(|f| **f == Format::Native).count();
        assert!((first as f64 - want / 10.0).abs() <= 1.0, "mixed evenly: {first} of the first 100");
    }

    #[test]
    fn a_cycle_names_calls_as_often_as_they_weigh() {
        let mut w = built_in("mixed", Options::default()).expect("known");
        w.calls.iter_mut().for_each(|c| c.format = Format::Native);
        let cycle = w.cycle(Format::Native);
        for (i, call) in w.calls.iter().enumerate() {
            assert_eq!(cycle.iter().filter(|c| **c == i).count(), call.weight as usize);
        }
        assert!(w.cycle(Format::Ethereum).is_empty());
    }
}
