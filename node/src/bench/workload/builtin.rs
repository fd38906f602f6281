//! The workloads that come with the benchmark.

use basalt_primitives::{Bytes, U256};

use super::{Call, Contract, Format, MAX_DATA, Receiver, Template, Workload};

/// Their names, with what they are, for `--help` and errors.
pub const NAMES: &[(&str, &str)] = &[
    ("native", "native transfers (Ed25519)"),
    ("ethereum", "Ethereum transfers (secp256k1, EIP-1559)"),
    ("erc20", "ERC-20 transfers, signed as Ethereum wallets do"),
    ("contended", "one contract whose one slot every call writes"),
    ("record", "native data records of --payload bytes of noise"),
    ("mixed", "half native transfers, the rest Ethereum, ERC-20, contended and records of 1 KiB"),
];

/// What a built-in workload can be told.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of a data record.
    pub payload: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { payload: 1024 }
    }
}

/// Gas of a plain transfer.
const TRANSFER_GAS: u64 = 21_000;
/// What a non-zero byte of call data costs at least (EIP-7623).
const BYTE_GAS: u64 = 40;
/// What every sender gets of the token.
const TOKENS: U256 = U256::from_limbs([1 << 62, 0, 0, 0]);
/// Compiled from the Solidity beside them by solc, optimiser on; `tests/clients` checks that they still are.
const TOKEN: &str = include_str!("contracts/Token.hex");
const CONTENDED: &str = include_str!("contracts/Contended.hex");

/// The workload of a name; `None` when there is none.
#[must_use]
pub fn built_in(name: &str, options: Options) -> Option<Workload> {
    let plain = |calls| Workload { name: name.to_owned(), contracts: Vec::new(), setup: Vec::new(), calls };
    let (token, contended) = (|| contract("token", TOKEN), || contract("contended", CONTENDED));
    Some(match name {
        "native" => plain(vec![transfer("native", Format::Native, 1)]),
        "ethereum" => plain(vec![transfer("ethereum", Format::Ethereum, 1)]),
        "record" => plain(vec![record(options.payload.min(MAX_DATA), 1)]),
        "erc20" => Workload {
            contracts: vec![token()],
            setup: vec![token_transfer("{sender}", Receiver::Contract(0), TOKENS, 1)],
            ..plain(vec![token_transfer("{neighbour}", Receiver::Contract(0), U256::from(1), 1)])
        },
        "contended" => Workload { contracts: vec![contended()], ..plain(vec![add(Receiver::Contract(0), 1)]) },
        "mixed" => Workload {
            contracts: vec![token(), contended()],
            setup: vec![token_transfer("{sender}", Receiver::Contract(0), TOKENS, 1)],
            ..plain(vec![
                transfer("native", Format::Native, 10),
                transfer("ethereum", Format::Ethereum, 4),
                token_transfer("{neighbour}", Receiver::Contract(0), U256::from(1), 3),
                add(Receiver::Contract(1), 1),
                record(1024, 2),
            ])
        },
        _ => return None,
    })
}

fn contract(name: &str, hex_code: &str) -> Contract {
    let init_code = Bytes::from(hex::decode(hex_code.trim()).expect("committed hex, tested"));
    Contract { name: name.to_owned(), init_code }
}

fn transfer(name: &str, format: Format, weight: u32) -> Call {
    Call {
        name: name.to_owned(),
        format,
        to: Receiver::Neighbour,
        value: U256::from(1),
        data: Template::default(),
        gas: TRANSFER_GAS,
        weight,
    }
}

/// `transfer(address,uint256)` of the token.
fn token_transfer(to: &str, token: Receiver, amount: U256, weight: u32) -> Call {
    let data = format!("0xa9059cbb{to}{amount:064x}");
    Call {
        name: "erc20".to_owned(),
        format: Format::Ethereum,
        to: token,
        value: U256::ZERO,
        data: Template::parse(&data, &[]).expect("constant, tested"),
        gas: 60_000,
        weight,
    }
}

/// `add()` of the contended contract.
fn add(contract: Receiver, weight: u32) -> Call {
    Call {
        name: "contended".to_owned(),
        format: Format::Ethereum,
        to: contract,
        value: U256::ZERO,
        data: Template::parse("0x4f2be91f", &[]).expect("constant, tested"),
        gas: 60_000,
        weight,
    }
}

fn record(bytes: usize, weight: u32) -> Call {
    Call {
        name: "record".to_owned(),
        format: Format::Native,
        to: Receiver::Sender,
        value: U256::ZERO,
        data: Template::noise(bytes),
        gas: TRANSFER_GAS + BYTE_GAS * bytes as u64,
        weight,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_workload_is_there_and_no_other() {
        for (name, _) in NAMES {
            let w = built_in(name, Options::default()).unwrap_or_else(|| panic!("{name}"));
            assert_eq!(&w.name, name);
            assert!(!w.calls.is_empty() && w.contracts.iter().all(|c| c.init_code.len() > 100));
        }
        assert_eq!(built_in("nonsense", Options::default()), None);
    }

    #[test]
    fn a_record_is_as_long_as_asked_and_bounded() {
        let len = |payload| built_in("record", Options { payload }).expect("known").calls[0].data.len();
        assert_eq!((len(256), len(65_536), len(usize::MAX)), (256, 65_536, MAX_DATA));
    }
}
