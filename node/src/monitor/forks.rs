//! Forks that come, and whether a quorum of validators has software that knows them. Pure.
//!
//! The schedule is part of genesis, so that all who sign records of this chain agree on it; what a validator can lack is the
//! software. A node record (ADR-0020) says which version its node runs, [`since`] says which version a fork needs. A
//! validator that was never heard of is not known to be ready.

use basalt_primitives::{Height, Millis, chainspec::EvmFork};
use serde::Serialize;

use super::{alert, nodes::NodeView};
use crate::rpc::ports::ValidatorInfo;

/// Forks looked at: the next ones.
const MAX_FORKS: usize = 8;

/// Major, minor and patch number of a release.
pub type Version = (u64, u64, u64);

/// A scheduled change of the EVM's rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ForkView {
    /// Name of the rules.
    pub fork: EvmFork,
    /// First block under them.
    pub height: Height,
    /// Expected time until then.
    pub seconds_left: u64,
    /// Whether validators that know them are a quorum.
    pub quorum_ready: bool,
    /// Validators that are not known to be ready, by name.
    pub unready: Vec<String>,
}

/// The first version of this software that executes blocks under these rules. A new fork belongs here with the version
/// that brings it.
#[must_use]
pub const fn since(fork: EvmFork) -> Version {
    match fork {
        EvmFork::Shanghai | EvmFork::Cancun | EvmFork::Prague | EvmFork::Osaka => (0, 1, 0),
    }
}

/// The version in what a node calls its software, such as `basalt/v0.1.0/linux-x86_64`. A pre-release is older than its
/// release, so it counts as nothing known.
#[must_use]
pub fn version(software: &str) -> Option<Version> {
    let mut numbers = software.strip_prefix("basalt/v")?.split('/').next()?.split('.').map(str::parse::<u64>);
    let mut next = || numbers.next()?.ok();
    let version = (next()?, next()?, next()?);
    numbers.next().is_none().then_some(version)
}

/// The forks ahead of a head. `pace` is the time that a block takes.
pub fn ahead(
    schedule: impl IntoIterator<Item = (Height, EvmFork)>,
    head: Height,
    pace: Millis,
    validators: &[ValidatorInfo],
    quorum: u64,
    nodes: &[NodeView],
) -> Vec<ForkView> {
    let coming = schedule.into_iter().filter(|(height, _)| *height > head).take(MAX_FORKS);
    coming
        .map(|(height, fork)| {
            let (ready, unready): (Vec<_>, Vec<_>) =
                validators.iter().partition(|v| v.is_self || software_of(v, nodes) >= Some(since(fork)));
            let name = |v: &&ValidatorInfo| v.name.clone().unwrap_or_else(|| v.address.to_string());
            ForkView {
                fork,
                height,
                seconds_left: pace.saturating_mul(height.0 - head.0) / 1000,
                quorum_ready: ready.iter().map(|v| v.power).sum::<u64>() >= quorum,
                unready: unready.iter().map(name).collect(),
            }
        })
        .collect()
}

/// What a validator's newest record says that it runs.
fn software_of(validator: &ValidatorInfo, nodes: &[NodeView]) -> Option<Version> {
    let address = validator.address.to_string();
    let records = nodes.iter().filter(|n| n.validator.as_ref() == Some(&address));
    let newest = records.min_by_key(|n| n.last_seen_ms.unwrap_or(Millis::MAX))?;
    version(&newest.version)
}

impl From<&ForkView> for alert::Fork {
    fn from(f: &ForkView) -> Self {
        let name = format!("{} at height {}", format!("{:?}", f.fork).to_lowercase(), f.height);
        Self { name, seconds_left: f.seconds_left, quorum_ready: f.quorum_ready }
    }
}

#[cfg(test)]
mod tests {
    use basalt_primitives::{Address, PublicKey};

    use super::*;

    fn validator(index: u8, is_self: bool) -> ValidatorInfo {
        ValidatorInfo {
            index: index.into(),
            address: Address::repeat_byte(index),
            public_key: PublicKey([0; 32]),
            power: 1,
            name: Some(format!("node{index}")),
            is_self,
            online: false,
            in_last_certificate: None,
            last_signed: None,
        }
    }

    fn record(validator: u8, version: &str, last_seen_ms: Option<Millis>) -> NodeView {
        let validator = Some(Address::repeat_byte(validator).to_string());
        NodeView { validator, version: version.into(), last_seen_ms, ..NodeView::default() }
    }

    const CURRENT: &str = "basalt/v0.1.0/linux-x86_64";

    fn look(head: u64, nodes: &[NodeView]) -> Vec<ForkView> {
        let schedule = [(0, EvmFork::Cancun), (10, EvmFork::Prague), (1_000, EvmFork::Osaka)];
        let schedule = schedule.map(|(height, fork)| (Height(height), fork));
        let validators: Vec<_> = (0..4).map(|i| validator(i, i == 0)).collect();
        ahead(schedule, Height(head), 2_000, &validators, 3, nodes)
    }

    #[test]
    fn a_fork_is_ready_for_once_a_quorum_says_that_it_runs_what_knows_it() {
        let one = look(900, &[record(1, CURRENT, Some(5))]);
        assert_eq!((one.len(), one[0].height, one[0].seconds_left), (1, Height(1_000), 200));
        assert_eq!((one[0].quorum_ready, one[0].unready.join(" ")), (false, "node2 node3".into()), "two of four");
        let two = look(900, &[record(1, CURRENT, Some(5)), record(2, "basalt/v1.0.0/linux-x86_64", None)]);
        assert!(two[0].quorum_ready, "three of four are a quorum");
        assert_eq!(two[0].unready, ["node3"]);
        assert_eq!(look(1_000, &[]), [], "it is here");
        let both = look(0, &[]).iter().map(|f| f.height.0).collect::<Vec<_>>();
        assert_eq!(both, [10, 1_000]);
    }

    #[test]
    fn older_and_unknown_software_and_an_old_record_do_not_count() {
        for software in ["basalt/v0.0.9/linux-x86_64", "other/v9.0.0/linux", "", "basalt/v0.1/x", "basalt/v0.1.0-rc1/x"]
        {
            let fork = &look(900, &[record(1, software, Some(5)), record(2, software, Some(5))])[0];
            assert!(!fork.quorum_ready && fork.unready.len() == 3, "{software}: {fork:?}");
        }
        let downgraded =
            [record(1, CURRENT, Some(90_000)), record(1, "basalt/v0.0.9/x", Some(5)), record(2, CURRENT, None)];
        assert_eq!(look(900, &downgraded)[0].unready, ["node1", "node3"]);
    }

    #[test]
    fn this_version_knows_every_fork_it_can_be_given() {
        let own = version(&format!("basalt/v{}/test", env!("CARGO_PKG_VERSION")));
        for fork in [EvmFork::Shanghai, EvmFork::Cancun, EvmFork::Prague, EvmFork::Osaka] {
            assert!(own >= Some(since(fork)), "{fork:?}");
        }
        assert_eq!(version("basalt/v12.3.4/linux-x86_64"), Some((12, 3, 4)));
    }

    #[test]
    fn an_alert_names_rules_and_height() {
        let fork = alert::Fork::from(&look(900, &[])[0]);
        assert_eq!(fork, alert::Fork { name: "osaka at height 1000".into(), seconds_left: 200, quorum_ready: false });
    }
}
