//! The part of a network spec about who may join and act.

use std::collections::{BTreeMap, BTreeSet};

use basalt_primitives::{
    Address,
    system::permission::{Authority, GenesisPermission, Mode, Node, Rights, Rule},
};
use serde::{Deserialize, Serialize};

/// Who may join and act, where the network is permissioned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PermissionSpec {
    /// Whether it is: a network cannot become permissioned later.
    pub enabled: bool,
    /// Who decides: `validators`, or `administrators`.
    pub authority: String,
    /// More than this part of them decides, in percent; 0: a quorum as of the consensus.
    pub percent: u8,
    /// How accounts are judged: `open`, `deny` (all but those blocked) or `allow` (only those listed).
    pub accounts: String,
    /// Accounts that may administer.
    pub administrators: BTreeSet<Address>,
    /// Accounts listed at genesis and their rights, such as "deploy,call,transfer".
    pub rights: BTreeMap<Address, String>,
}

impl Default for PermissionSpec {
    fn default() -> Self {
        Self {
            enabled: false,
            authority: "validators".into(),
            percent: 0,
            accounts: "open".into(),
            administrators: BTreeSet::new(),
            rights: BTreeMap::new(),
        }
    }
}

impl PermissionSpec {
    /// Checks every key; an error names the key and the problem.
    pub fn check(&self, devnet: bool) -> Result<(), (&'static str, String)> {
        if !self.enabled {
            return if *self == Self::default() {
                Ok(())
            } else {
                Err(("permission.enabled", "is false, so nothing else there has an effect; set it to true".into()))
            };
        }
        if devnet {
            return Err(("permission.enabled", "must be false where consensus.engine is `dev`".into()));
        }
        if self.percent > 100 {
            return Err(("permission.percent", format!("is {}; choose 0 to 100", self.percent)));
        }
        self.mode().map_err(|problem| ("permission.accounts", problem))?;
        match self.authority.as_str() {
            "validators" => {}
            "administrators" if !self.administrators.is_empty() => {}
            "administrators" => return Err(("permission.administrators", "must name one account at least".into())),
            other => {
                return Err(("permission.authority", format!("is `{other}`; choose validators or administrators")));
            }
        }
        for rights in self.rights.values() {
            rights.parse::<Rights>().map_err(|problem| ("permission.rights", problem))?;
        }
        Ok(())
    }

    fn mode(&self) -> Result<Mode, String> {
        self.accounts.parse()
    }

    /// What the genesis of a checked spec begins with.
    #[must_use]
    pub fn genesis(&self, nodes: Vec<Node>) -> GenesisPermission {
        let mut rules: BTreeMap<Address, Rights> = BTreeMap::new();
        for (account, rights) in &self.rights {
            rules.insert(*account, rights.parse().unwrap_or_default());
        }
        for account in &self.administrators {
            let rights = rules.entry(*account).or_default();
            *rights = rights.with(Rights::ADMINISTER);
        }
        let rule = |rights| Rule { rights, listed: true, ..Rule::default() };
        GenesisPermission {
            authority: if self.authority == "administrators" {
                Authority::Administrators
            } else {
                Authority::Validators
            },
            percent: self.percent,
            mode: self.mode().unwrap_or_default(),
            nodes,
            organisations: Vec::new(),
            accounts: rules.into_iter().map(|(account, rights)| (account, rule(rights))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused_with_its_key() {
        let on = PermissionSpec { enabled: true, ..PermissionSpec::default() };
        let key = |spec: PermissionSpec| spec.check(false).expect_err("refused").0;
        assert_eq!(on.check(false), Ok(()));
        assert_eq!(on.check(true).expect_err("no permissions there").0, "permission.enabled");
        assert_eq!(key(PermissionSpec { percent: 101, ..on.clone() }), "permission.percent");
        assert_eq!(key(PermissionSpec { accounts: "some".into(), ..on.clone() }), "permission.accounts");
        assert_eq!(key(PermissionSpec { authority: "me".into(), ..on.clone() }), "permission.authority");
        let nobody = PermissionSpec { authority: "administrators".into(), ..on.clone() };
        assert_eq!(key(nobody.clone()), "permission.administrators");
        assert_eq!(key(PermissionSpec { enabled: false, percent: 5, ..on.clone() }), "permission.enabled");
        let rights = [(Address::ZERO, "dance".to_owned())].into();
        assert_eq!(key(PermissionSpec { rights, ..on.clone() }), "permission.rights");
        let named = PermissionSpec { administrators: [Address::repeat_byte(1)].into(), ..nobody };
        assert_eq!(named.check(false), Ok(()));
        let genesis = named.genesis(Vec::new());
        assert_eq!(genesis.authority, Authority::Administrators);
        assert_eq!(genesis.accounts[0].1.rights, Rights::ADMINISTER);
    }
}
