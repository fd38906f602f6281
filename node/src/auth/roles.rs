//! What each method needs: by namespace, with exceptions by method. The one place to look at and to change; `docs/roles.md` is
//! made from it, and a test compares the two, so that a new method's role is seen in a diff before anyone can call it.

use serde::{Deserialize, Serialize};

/// What a principal may do. Each of the first four reads; the administrator does everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads the chain and how the node is.
    Reader,
    /// Sends transactions.
    Submitter,
    /// Runs the node: traces, thresholds, webhooks.
    Operator,
    /// Sees what operators see, and changes nothing.
    Auditor,
    /// Everything.
    Administrator,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Reader, Self::Submitter, Self::Operator, Self::Auditor, Self::Administrator];

    /// As configuration and tokens write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Submitter => "submitter",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::Administrator => "administrator",
        }
    }

    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }
}

/// Any one of these is enough.
pub type Needs = &'static [Role];

const READ: Needs = &Role::ALL;
const SUBMIT: Needs = &[Role::Submitter, Role::Administrator];
const INSPECT: Needs = &[Role::Operator, Role::Auditor, Role::Administrator];
const OPERATE: Needs = &[Role::Operator, Role::Administrator];
const ADMINISTER: Needs = &[Role::Administrator];

/// The name of `/metrics` where methods are named.
pub const METRICS: &str = "metrics";

/// What the methods of a namespace need.
const NAMESPACES: [(&str, Needs); 18] = [
    ("admin", ADMINISTER),
    ("anvil", ADMINISTER),
    ("basalt", SUBMIT),
    ("consensus", READ),
    ("debug", INSPECT),
    ("eth", READ),
    ("evm", ADMINISTER),
    ("hardhat", ADMINISTER),
    (METRICS, READ),
    ("miner", ADMINISTER),
    ("monitor", READ),
    ("net", READ),
    ("permission", READ),
    ("personal", SUBMIT),
    ("platform", READ),
    ("rpc", READ),
    ("txpool", READ),
    ("web3", READ),
];

/// Methods that need something else than their namespace.
const METHODS: [(&str, Needs); 18] = [
    ("admin_logLevel", INSPECT),
    ("admin_nodeInfo", INSPECT),
    ("admin_peers", INSPECT),
    ("eth_getWork", OPERATE),
    ("eth_sendRawTransaction", SUBMIT),
    ("eth_sendTransaction", SUBMIT),
    ("eth_sendUnsignedTransaction", SUBMIT),
    ("eth_sign", SUBMIT),
    ("eth_signTransaction", SUBMIT),
    ("eth_signTypedData", SUBMIT),
    ("eth_signTypedData_v4", SUBMIT),
    ("eth_submitHashrate", OPERATE),
    ("eth_submitWork", OPERATE),
    ("miner_hashrate", INSPECT),
    ("monitor_addWebhook", OPERATE),
    ("monitor_listWebhooks", INSPECT),
    ("monitor_removeWebhook", OPERATE),
    ("monitor_setTpsThreshold", OPERATE),
];

/// What a method needs; `None` if nobody has said so, and then only an administrator may call it.
#[must_use]
pub fn said_of(method: &str) -> Option<Needs> {
    let find = |table: &[(&str, Needs)], name: &str| table.iter().find(|(n, _)| *n == name).map(|(_, needs)| *needs);
    find(&METHODS, method).or_else(|| find(&NAMESPACES, namespace_of(method)))
}

/// What a method needs.
#[must_use]
pub fn needs(method: &str) -> Needs {
    said_of(method).unwrap_or(ADMINISTER)
}

/// What of a method's calls goes into the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audited {
    /// Nothing.
    No,
    /// That somebody reads what is not for every reader.
    Read,
    /// That somebody acts: before it is done, and what came of it.
    Act,
}

impl Audited {
    #[cfg(test)]
    const fn name(self) -> &'static str {
        match self {
            Self::No => "",
            Self::Read => "read",
            Self::Act => "act",
        }
    }
}

/// What of a method's calls goes into the audit log: it follows from who may call it. Sending transactions is on record on
/// chain; test networks' own methods exist nowhere else.
#[must_use]
pub fn audited(method: &str) -> Audited {
    if matches!(namespace_of(method), "anvil" | "evm" | "hardhat") {
        return Audited::No;
    }
    match needs(method) {
        ADMINISTER | OPERATE => Audited::Act,
        INSPECT => Audited::Read,
        _ => Audited::No,
    }
}

/// Names of roles, for people.
#[must_use]
pub fn names(roles: &[Role]) -> String {
    roles.iter().map(|r| r.name()).collect::<Vec<_>>().join(" or ")
}

/// What stands before the first underscore.
#[must_use]
pub fn namespace_of(method: &str) -> &str {
    method.split('_').next().unwrap_or(method)
}

/// Whether anything is called so: a namespace, or a method of one.
#[must_use]
pub fn is_known(pattern: &str) -> bool {
    NAMESPACES.iter().any(|(n, _)| *n == namespace_of(pattern))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::RpcConfig;

    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/roles.md");

    const HEAD: &str = "# Roles

What each method of the RPC needs where the node's configuration has `[auth]`: any one of the roles named. Made from
`node/src/auth/roles.rs` by `BASALT_BLESS=1 cargo nextest run -p basalt every_method_has_a_role`; a test holds this page to it.
`metrics` stands for `/metrics`. The resources of REST need what the method of the same name in `monitor_` needs. `/health/…` needs
nothing. `act`: each call is in the audit log before it is done, with what came of it; `read`: the first of a caller in a minute is, and
how many follow.

| method | any one of | audited |
| --- | --- | --- |
";

    #[test]
    fn every_method_has_a_role_that_the_page_shows() {
        let registry = crate::rpc::all_methods(&RpcConfig::default());
        let mut page = HEAD.to_owned();
        for name in registry.iter().copied().chain([METRICS]) {
            let needs = said_of(name).unwrap_or_else(|| panic!("{name}: say in auth/roles.rs which roles it needs"));
            page.push_str(&format!("| `{name}` | {} | {} |\n", names(needs), audited(name).name()));
        }
        if std::env::var_os("BASALT_BLESS").is_some() {
            std::fs::write(PATH, &page).expect("it can be written");
            return;
        }
        let there = std::fs::read_to_string(PATH).unwrap_or_default();
        assert!(there == page, "docs/roles.md does not say what auth/roles.rs says; BASALT_BLESS=1 writes it anew");
    }

    #[test]
    fn the_exceptions_are_methods_and_the_namespaces_are_served() {
        let registry = crate::rpc::all_methods(&RpcConfig::default());
        for (name, _) in METHODS {
            assert!(registry.contains(&name), "{name} is no method");
        }
        for (namespace, _) in NAMESPACES {
            assert!(namespace == METRICS || registry.iter().any(|m| namespace_of(m) == namespace), "{namespace}");
        }
        assert_eq!((said_of("nobody_said"), needs("nobody_said")), (None, ADMINISTER), "closed by default");
    }

    #[test]
    fn what_administers_or_shows_more_than_readers_see_is_audited() {
        for method in ["admin_addPeer", "admin_setLogLevel", "monitor_setTpsThreshold", "nobody_said"] {
            assert_eq!(audited(method), Audited::Act, "{method}");
        }
        for method in ["debug_traceTransaction", "admin_peers", "monitor_listWebhooks"] {
            assert_eq!(audited(method), Audited::Read, "{method}");
        }
        for method in ["eth_call", "eth_sendRawTransaction", "evm_mine", "monitor_status", METRICS] {
            assert_eq!(audited(method), Audited::No, "{method}");
        }
    }

    #[test]
    fn what_changes_something_is_not_for_readers() {
        let registry = crate::rpc::all_methods(&RpcConfig::default());
        let change = ["_send", "_set", "_add", "_remove", "_sign", "_mine", "_drop", "_impersonate"];
        let changing: Vec<_> = registry.iter().filter(|m| change.iter().any(|c| m.contains(c))).collect();
        assert!(changing.len() > 20, "{changing:?}");
        for method in changing {
            assert!(!needs(method).contains(&Role::Reader) && !needs(method).contains(&Role::Auditor), "{method}");
        }
    }
}
