//! Which nodes to ask: from what the user named to addresses.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use crate::cmd::network::{Manifest, NodeEntry, Run};

/// Nodes asked at most.
const MAX_TARGETS: usize = 1_024;

/// One node to ask.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// What to call it until it says its name.
    pub name: String,
    /// Its RPC address.
    pub url: String,
    /// Its place, if it is one of a network's folder.
    pub place: Option<Place>,
}

/// A node's place in a network's folder.
#[derive(Clone, Debug)]
pub(super) struct Place {
    dir: PathBuf,
    pub entry: NodeEntry,
}

impl Place {
    /// Whether its process runs here.
    pub fn state(&self) -> Run {
        self.entry.state(&self.dir)
    }
}

/// Reads folders and addresses, in the order given.
pub(super) fn read(named: &[String]) -> anyhow::Result<Vec<Target>> {
    let mut out: Vec<Target> = Vec::new();
    for name in named {
        if name.contains("://") {
            out.push(of_url(name)?);
        } else {
            out.extend(of_folder(Path::new(name))?);
        }
    }
    let mut seen = BTreeSet::new();
    out.retain(|t| seen.insert(t.url.trim_end_matches('/').to_owned()));
    if out.len() > MAX_TARGETS {
        bail!("{} nodes are more than the {MAX_TARGETS} that can be watched at once; name fewer", out.len());
    }
    Ok(out)
}

fn of_url(text: &str) -> anyhow::Result<Target> {
    let url = reqwest::Url::parse(text).with_context(|| {
        format!("{text} is not an address; write it as http://host:port, or name a network's folder")
    })?;
    if !["http", "https"].contains(&url.scheme()) {
        bail!("{text} begins with {}://, but nodes speak http:// and https://", url.scheme());
    }
    let port = url.port_or_known_default().unwrap_or(80);
    let name = format!("{}:{port}", url.host_str().unwrap_or_default());
    Ok(Target { name, url: url.to_string(), place: None })
}

fn of_folder(dir: &Path) -> anyhow::Result<Vec<Target>> {
    let of = |entry: NodeEntry| Target {
        name: entry.name.clone(),
        url: entry.rpc_url(dir),
        place: Some(Place { dir: dir.to_owned(), entry }),
    };
    Ok(Manifest::read(dir)?.nodes.into_iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        format!("{:#}", read(&[text.to_owned()]).expect_err("refused"))
    }

    #[test]
    fn addresses_are_checked_and_named_by_host_and_port() {
        let given = ["http://a.example:8545", "http://[::1]:9", "http://a.example:8545/"].map(str::to_owned);
        let all = read(&given).expect("addresses");
        let names: Vec<_> = all.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["a.example:8545", "[::1]:9"]);
        assert!(refused("ws://a.example").contains("nodes speak http:// and https://"));
        assert!(refused("http://").contains("write it as http://host:port"));
        assert!(refused("/nowhere").contains("is not a network's folder"));
    }
}
