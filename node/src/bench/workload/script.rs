//! A user's own workload, as TOML:
//!
//! ```toml
//! name = "orders"
//! [[contract]]
//! name = "book"
//! code = "0x6080…"          # init code; or code_file = "Book.hex", beside the script
//! [[setup]]                 # made once for each sender, by the funder
//! to = "book"
//! data = "0x12345678{sender}"
//! [[call]]                  # made by the senders, by weight
//! to = "book"               # a contract above, an address, "neighbour" or "self"
//! data = "0x87654321{nonce}"
//! gas = 90000
//! format = "ethereum"       # or "native"
//! weight = 3
//! ```

use std::path::Path;

use basalt_primitives::{Address, Bytes, U256};
use serde::Deserialize;

use super::{Call, Contract, Format, Receiver, Template, TemplateError, Workload};

/// A script is small; more is not read.
const MAX_SCRIPT: usize = 1 << 20;
/// Most contracts, set-up calls, and calls of a script.
const MAX_PARTS: usize = 64;
/// Largest weight of a call.
const MAX_WEIGHT: u32 = 1000;

/// Why a script is refused.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// Not TOML, an unknown key, or a missing one; the text has the place.
    #[error("the script is not understood: {0}")]
    Toml(#[from] toml::de::Error),
    /// Too large.
    #[error("the script is longer than {MAX_SCRIPT} bytes")]
    TooLong,
    /// Too much or too little of something.
    #[error(
        "a script has 1 to {MAX_PARTS} calls and at most {MAX_PARTS} contracts and set-up calls; this one has {1} {0}"
    )]
    Count(&'static str, usize),
    /// A part of it.
    #[error("in the script's `{part}`: {problem}")]
    Part {
        /// Name of the contract or call.
        part: String,
        /// What is wrong, and the mend.
        problem: String,
    },
    /// Call data.
    #[error("in the script's `{0}`: {1}")]
    Data(String, #[source] TemplateError),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    name: Option<String>,
    #[serde(default)]
    contract: Vec<ContractPart>,
    #[serde(default)]
    setup: Vec<CallPart>,
    #[serde(default)]
    call: Vec<CallPart>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContractPart {
    name: String,
    code: Option<String>,
    code_file: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallPart {
    name: Option<String>,
    to: String,
    #[serde(default)]
    value: U256,
    #[serde(default)]
    data: String,
    #[serde(default = "default_gas")]
    gas: u64,
    #[serde(default)]
    format: FormatPart,
    #[serde(default = "default_weight")]
    weight: u32,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FormatPart {
    Native,
    #[default]
    Ethereum,
}

const fn default_gas() -> u64 {
    200_000
}

const fn default_weight() -> u32 {
    1
}

/// Reads a script; `dir` is where its `code_file`s are looked for.
pub fn parse(text: &str, dir: &Path) -> Result<Workload, ScriptError> {
    if text.len() > MAX_SCRIPT {
        return Err(ScriptError::TooLong);
    }
    let script: Script = toml::from_str(text)?;
    for (what, n) in
        [("contracts", script.contract.len()), ("set-up calls", script.setup.len()), ("calls", script.call.len())]
    {
        if n > MAX_PARTS || (what == "calls" && n == 0) {
            return Err(ScriptError::Count(what, n));
        }
    }
    let contracts = script.contract.iter().map(|c| c.read(dir)).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<&str> = contracts.iter().map(|c| c.name.as_str()).collect();
    let calls = |parts: Vec<CallPart>| parts.into_iter().map(|c| c.check(&names)).collect::<Result<Vec<_>, _>>();
    let (setup, calls) = (calls(script.setup)?, calls(script.call)?);
    Ok(Workload { name: script.name.unwrap_or_else(|| "script".into()), setup, calls, contracts })
}

impl ContractPart {
    fn read(&self, dir: &Path) -> Result<Contract, ScriptError> {
        let fail = |problem: String| ScriptError::Part { part: self.name.clone(), problem };
        let text = match (&self.code, &self.code_file) {
            (Some(code), None) => code.clone(),
            (None, Some(file)) => {
                let path = dir.join(file);
                std::fs::read_to_string(&path).map_err(|e| fail(format!("cannot read {}: {e}", path.display())))?
            }
            _ => return Err(fail("give either code or code_file".into())),
        };
        let text = text.trim();
        let code = hex::decode(text.strip_prefix("0x").unwrap_or(text))
            .map_err(|e| fail(format!("its code is not hex ({e})")))?;
        if code.is_empty() {
            return Err(fail("its code is empty".into()));
        }
        Ok(Contract { name: self.name.clone(), init_code: Bytes::from(code) })
    }
}

impl CallPart {
    fn check(self, contracts: &[&str]) -> Result<Call, ScriptError> {
        let name = self.name.unwrap_or_else(|| self.to.clone());
        let fail = |problem: &str| Err(ScriptError::Part { part: name.clone(), problem: problem.to_owned() });
        let to = match (self.to.as_str(), contracts.iter().position(|c| *c == self.to)) {
            (_, Some(i)) => Receiver::Contract(i),
            ("neighbour", None) => Receiver::Neighbour,
            ("self", None) => Receiver::Sender,
            (text, None) => match text.parse::<Address>() {
                Ok(address) => Receiver::Fixed(address),
                Err(_) => {
                    return fail("`to` is neither a contract of the script, an address, \"neighbour\" nor \"self\"");
                }
            },
        };
        if self.weight == 0 || self.weight > MAX_WEIGHT {
            return fail("`weight` must be between 1 and 1000");
        }
        let data = Template::parse(&self.data, contracts).map_err(|e| ScriptError::Data(name.clone(), e))?;
        let format = match self.format {
            FormatPart::Native => Format::Native,
            FormatPart::Ethereum => Format::Ethereum,
        };
        Ok(Call { name, format, to, value: self.value, data, gas: self.gas, weight: self.weight })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Workload, ScriptError> {
        super::parse(text, Path::new("."))
    }

    #[test]
    fn a_whole_script() {
        let w = parse(
            "name='w'\n[[contract]]\nname='c'\ncode='0x6000'\n[[setup]]\nto='c'\ndata='0x01{sender}'\n\
             [[call]]\nto='c'\ndata='02{contract:c}'\ngas=50\nweight=3\n[[call]]\nname='pay'\nto='neighbour'\nvalue='0x5'\nformat='native'\n",
        )
        .expect("parses");
        assert_eq!((w.name.as_str(), w.contracts.len(), w.setup.len(), w.calls.len()), ("w", 1, 1, 2));
        assert_eq!((w.calls[0].to, w.calls[0].gas, w.calls[0].weight), (Receiver::Contract(0), 50, 3));
        assert_eq!((w.calls[0].format, w.calls[1].format), (Format::Ethereum, Format::Native));
        assert_eq!((w.calls[1].name.as_str(), w.calls[1].value), ("pay", U256::from(5)));
        assert_eq!(w.cycle(Format::Ethereum), vec![0, 0, 0]);
    }

    #[test]
    fn mistakes_are_named_where_they_are() {
        let error = |text: &str| parse(text).expect_err("refused").to_string();
        assert!(error("").contains("0 calls"));
        assert!(error("[[call]]\nto='nobody'").contains("`nobody`"));
        assert!(error("[[call]]\nto='self'\nweight=0").contains("weight"));
        assert!(error("[[call]]\nto='self'\nvalu=1").contains("valu"));
        assert!(error("[[call]]\nto='self'\ndata='0x{what}'").contains("{what}"));
        assert!(error("[[contract]]\nname='c'\n[[call]]\nto='c'").contains("either code or code_file"));
        assert!(error("[[contract]]\nname='c'\ncode_file='/nowhere.hex'\n[[call]]\nto='c'").contains("/nowhere.hex"));
        assert!(error(&"[[call]]\nto='self'\n".repeat(65)).contains("65 calls"));
        assert!(matches!(parse(&"#".repeat(MAX_SCRIPT + 1)), Err(ScriptError::TooLong)));
    }
}
