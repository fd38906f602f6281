//! Call data with holes: hex with `{sender}`, `{neighbour}`, `{nonce}`, `{contract:NAME}` (32-byte words) and `{noise:N}`
//! (N bytes that no compression shrinks).

use basalt_primitives::{Address, B256, Bytes, HashFn, U256};

use super::MAX_DATA;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    Sender,
    Neighbour,
    Nonce,
    Contract(usize),
    Noise(usize),
}

/// Call data to be filled in for each transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// Why a text is no template.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    /// Neither hex nor a hole.
    #[error("`{0}` is not hex; write call data as 0x… with holes in braces")]
    Hex(String),
    /// An unknown hole.
    #[error(
        "there is no {{{0}}}; use {{sender}}, {{neighbour}}, {{nonce}}, {{contract:NAME}} of a contract above, or {{noise:BYTES}}"
    )]
    Hole(String),
    /// A brace without its partner.
    #[error("a brace is not closed")]
    Brace,
    /// Too long.
    #[error("call data of {0} bytes is longer than the limit of {MAX_DATA}")]
    TooLong(usize),
}

/// What fills the holes.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The sender.
    pub sender: Address,
    /// The next sender.
    pub neighbour: Address,
    /// The sender's nonce.
    pub nonce: u64,
    /// Addresses of the workload's contracts.
    pub contracts: &'a [Address],
}

impl Template {
    /// Reads a template; `contracts` are the names that `{contract:NAME}` may use.
    pub fn parse(text: &str, contracts: &[&str]) -> Result<Self, TemplateError> {
        let mut rest = text.strip_prefix("0x").unwrap_or(text);
        let mut pieces = Vec::new();
        while let Some((before, after)) = rest.split_once('{') {
            push_literal(&mut pieces, before)?;
            let (hole, after) = after.split_once('}').ok_or(TemplateError::Brace)?;
            pieces.push(Self::hole(hole, contracts).ok_or_else(|| TemplateError::Hole(hole.to_owned()))?);
            rest = after;
        }
        push_literal(&mut pieces, rest)?;
        let template = Self(pieces);
        let len = template.len();
        if len > MAX_DATA { Err(TemplateError::TooLong(len)) } else { Ok(template) }
    }

    fn hole(name: &str, contracts: &[&str]) -> Option<Piece> {
        Some(match name.split_once(':') {
            None if name == "sender" => Piece::Sender,
            None if name == "neighbour" => Piece::Neighbour,
            None if name == "nonce" => Piece::Nonce,
            Some(("contract", name)) => Piece::Contract(contracts.iter().position(|c| *c == name)?),
            Some(("noise", bytes)) => Piece::Noise(bytes.parse().ok()?),
            _ => return None,
        })
    }

    /// Nothing but noise.
    #[must_use]
    pub fn noise(bytes: usize) -> Self {
        Self(vec![Piece::Noise(bytes)])
    }

    /// Bytes of what it renders to.
    #[must_use]
    pub fn len(&self) -> usize {
        let one = |p: &Piece| match p {
            Piece::Literal(b) => b.len(),
            Piece::Noise(n) => *n,
            _ => 32,
        };
        self.0.iter().fold(0, |sum, p| sum.saturating_add(one(p)))
    }

    /// Whether it renders to nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills the holes.
    #[must_use]
    pub fn render(&self, v: &Values<'_>) -> Bytes {
        let mut out = Vec::with_capacity(self.len());
        for piece in &self.0 {
            match piece {
                Piece::Literal(b) => out.extend_from_slice(b),
                Piece::Sender => out.extend_from_slice(v.sender.into_word().as_slice()),
                Piece::Neighbour => out.extend_from_slice(v.neighbour.into_word().as_slice()),
                Piece::Nonce => out.extend_from_slice(&U256::from(v.nonce).to_be_bytes::<32>()),
                Piece::Contract(i) => out.extend_from_slice(v.contracts[*i].into_word().as_slice()),
                Piece::Noise(n) => noise(&mut out, *n, v),
            }
        }
        out.into()
    }
}

fn push_literal(pieces: &mut Vec<Piece>, text: &str) -> Result<(), TemplateError> {
    if !text.is_empty() {
        let bytes = hex::decode(text).map_err(|_| TemplateError::Hex(text.chars().take(40).collect()))?;
        pieces.push(Piece::Literal(bytes));
    }
    Ok(())
}

/// A hash chain over sender and nonce: the same for the same transaction, and as incompressible as ciphertext.
fn noise(out: &mut Vec<u8>, bytes: usize, v: &Values<'_>) {
    let end = out.len() + bytes;
    let mut seed = v.sender.to_vec();
    seed.extend_from_slice(&v.nonce.to_be_bytes());
    let mut block: B256 = HashFn::Blake3.hash(&seed);
    while out.len() < end {
        out.extend_from_slice(&block[..(end - out.len()).min(32)]);
        block = HashFn::Blake3.hash(block.as_slice());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NO_CONTRACTS: Values<'_> =
        Values { sender: Address::repeat_byte(1), neighbour: Address::repeat_byte(2), nonce: 7, contracts: &[] };

    #[test]
    fn holes_are_words_in_their_place() {
        let t = Template::parse("0xa9059cbb{neighbour}{nonce}{contract:b}ff", &["a", "b"]).expect("parses");
        let contracts = [Address::ZERO, Address::repeat_byte(9)];
        let data = t.render(&Values { contracts: &contracts, ..NO_CONTRACTS });
        assert_eq!(data.len(), t.len());
        assert_eq!(&data[..4], &[0xa9, 0x05, 0x9c, 0xbb]);
        assert_eq!(&data[4..36], Address::repeat_byte(2).into_word().as_slice());
        assert_eq!((data[67], data[99], data[100]), (7, 9, 0xff));
    }

    #[test]
    fn noise_is_the_same_for_the_same_transaction_only() {
        let t = Template::noise(100);
        assert_eq!(t.render(&NO_CONTRACTS), t.render(&NO_CONTRACTS));
        assert_ne!(t.render(&NO_CONTRACTS), t.render(&Values { nonce: 8, ..NO_CONTRACTS }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let parse = |t: &str| Template::parse(t, &["a"]).expect_err("refused");
        assert_eq!(parse("0xzz"), TemplateError::Hex("zz".into()));
        assert_eq!(parse("{who}"), TemplateError::Hole("who".into()));
        assert_eq!(parse("{contract:b}"), TemplateError::Hole("contract:b".into()));
        assert_eq!(parse("00{sender"), TemplateError::Brace);
        assert_eq!(parse("{noise:999999}"), TemplateError::TooLong(999_999));
        assert!(matches!(parse(&format!("{{noise:{0}}}{{noise:{0}}}", usize::MAX)), TemplateError::TooLong(_)));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_renders_to_its_length(text in "(0x)?([0-9a-f]{2}|\\{(sender|nonce|noise:[0-9]{1,5}|x)\\}|.){0,12}") {
            if let Ok(t) = Template::parse(&text, &[]) {
                prop_assert_eq!(t.render(&NO_CONTRACTS).len(), t.len());
            }
        }
    }
}
