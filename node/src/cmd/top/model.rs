//! One picture of a network, made of what its nodes answered. Pure; what `--once --json` prints is this, as it is.
//!
//! Nodes are strangers' software: every field may be missing or odd, and every list is cut.

use std::collections::BTreeMap;

use basalt_primitives::Millis;
use serde::Serialize;
use serde_json::Value;

use super::targets::Target;
use crate::cmd::network::Run;

/// Alerts taken of one node.
const MAX_ALERTS: usize = 256;
/// Nodes taken that were only told of.
const MAX_TOLD: usize = 1_024;
/// Characters kept of a text.
const MAX_TEXT: usize = 300;

/// What a node answered to one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// `monitor_status`.
    pub status: Value,
    /// `monitor_resources`.
    pub resources: Value,
    /// `monitor_nodes`.
    pub nodes: Value,
    /// `consensus_explain`.
    pub explain: Value,
    /// How long it took.
    pub took_ms: f64,
}

impl Answer {
    /// Reads a JSON-RPC batch; why not, in few words.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let odd = "does not speak JSON-RPC; is that a node's RPC address?";
        let mut all: Vec<Value> = serde_json::from_slice(body).map_err(|_| odd.to_owned())?;
        let mut take = |id: u64| all.iter_mut().find(|a| a["id"] == id).map(Value::take).unwrap_or_default();
        let mut status = take(0);
        if !status["result"].is_object() {
            let said = text(&status["error"]["message"]).unwrap_or_else(|| odd.to_owned());
            return Err(format!("answers, but not how it is: {said}"));
        }
        let mut result = |id| take(id)["result"].take();
        let (resources, nodes, explain) = (result(1), result(2), result(3));
        Ok(Self { status: status["result"].take(), resources, nodes, explain, took_ms: 0.0 })
    }
}

/// Whether a node was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// It answered.
    On,
    /// It did not.
    Down,
}

/// The network.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Picture {
    /// When, in milliseconds since the Unix epoch.
    pub at: Millis,
    /// Its name, as the highest node that answered says; none when none did.
    pub network: Option<String>,
    pub chain_id: Option<u64>,
    /// Consensus family.
    pub engine: Option<String>,
    /// Height of the highest node.
    pub height: Option<u64>,
    /// What that node waits for, in words.
    pub explanation: Option<String>,
    /// Committed transactions per second, as that node measures them.
    pub tps: Option<Tps>,
    /// From proposal to commit of its newest block.
    pub commit_ms: Option<u64>,
    /// The nodes that were asked.
    pub nodes: Vec<Node>,
    /// Nodes of the network that were not asked, as the others tell of them.
    pub told: Vec<Told>,
    /// What fires, on any node; critical ones first.
    pub alerts: Vec<Alert>,
}

/// A rate and its threshold.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Tps {
    pub current: f64,
    pub window_seconds: u64,
    pub upper: Option<f64>,
    pub lower: Option<f64>,
    /// `off` without a threshold, else `normal`, `above` or `below`.
    pub state: String,
}

/// A node that was asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Node {
    pub name: String,
    pub url: String,
    pub state: State,
    /// Why it is down, or what is odd about it.
    pub note: Option<String>,
    pub role: Option<String>,
    pub version: Option<String>,
    /// Newest executed block: of a node that is down, the last one the others heard of.
    pub height: Option<u64>,
    /// Round and step of the next block.
    pub round: Option<u64>,
    pub step: Option<String>,
    /// Since its last commit.
    pub commit_age_ms: Option<u64>,
    /// From proposal to commit of its newest block, as it saw it.
    pub commit_ms: Option<u64>,
    /// How long it took to answer this request.
    pub answer_ms: Option<f64>,
    pub peers: Option<u64>,
    pub tps: Option<Tps>,
    /// Processors in use.
    pub cpu_cores: Option<f64>,
    pub memory_bytes: Option<u64>,
    pub memory_limit_bytes: Option<u64>,
    pub disk_free_bytes: Option<u64>,
    pub disk_total_bytes: Option<u64>,
    /// Its clock minus the median of its peers'.
    pub clock_offset_ms: Option<i64>,
    /// How many alerts fire on it.
    pub alerts: usize,
}

/// A node that others tell of.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    #[serde(skip)]
    id: Option<String>,
    pub name: String,
    pub role: Option<String>,
    pub organisation: Option<String>,
    pub version: Option<String>,
    pub on: bool,
    pub last_seen_ms: Option<u64>,
    pub height: Option<u64>,
}

/// Something that fires.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alert {
    pub alert: String,
    pub subject: Option<String>,
    pub severity: String,
    pub value: Option<f64>,
    pub threshold: Option<f64>,
    /// Since when, in milliseconds since the Unix epoch.
    pub since: Option<Millis>,
    /// The nodes on which it fires.
    pub nodes: Vec<String>,
}

impl Picture {
    /// Puts together what was answered.
    pub fn new<'a>(at: Millis, asked: impl IntoIterator<Item = (&'a Target, Result<Answer, String>)>) -> Self {
        let asked: Vec<_> = asked.into_iter().map(|(t, answer)| (t, answer.and_then(|a| expected(t, a)))).collect();
        let answers = || asked.iter().filter_map(|(_, a)| a.as_ref().ok());
        // `max_by_key` would take the last of several that are equally high.
        let lead = answers().rev().max_by_key(|a| height(a));
        let mut told = told(answers());
        let mut nodes: Vec<Node> = asked
            .iter()
            .map(|(target, answer)| match answer {
                Ok(answer) => on(target, answer, lead),
                Err(reason) => down(target, reason, &told),
            })
            .collect();
        let alerts = alerts(&mut nodes, &asked);
        let asked_ids: Vec<_> = asked.iter().filter_map(|(t, a)| id(t, a.as_ref().ok())).collect();
        told.retain(|t| t.id.as_ref().is_none_or(|id| !asked_ids.contains(id)) && !nodes.iter().any(|n| n.is(t)));
        let platform = lead.map_or(&Value::Null, |a| &a.status["platform"]);
        Self {
            at,
            network: text(&platform["network"]),
            chain_id: platform["chainId"].as_u64(),
            engine: text(&platform["consensus"]),
            height: lead.and_then(height),
            explanation: lead.and_then(|a| text(&a.status["consensus"]["explanation"])),
            tps: lead.and_then(|a| tps(&a.status["tps"])),
            commit_ms: lead.and_then(commit_ms),
            nodes,
            told,
            alerts,
        }
    }

    /// Whether any node answered.
    pub fn any_on(&self) -> bool {
        self.nodes.iter().any(|n| n.state == State::On)
    }

    /// How many of the nodes asked are on, and how many there are.
    pub fn on_of(&self) -> (usize, usize) {
        (self.nodes.iter().filter(|n| n.state == State::On).count(), self.nodes.len())
    }
}

impl Node {
    /// Whether it is the node told of: ids are compared before; a validator never heard of has none.
    fn is(&self, told: &Told) -> bool {
        told.id.is_none() && self.name == told.name
    }

    /// How far it is behind the highest.
    pub fn behind(&self, picture: &Picture) -> Option<u64> {
        Some(picture.height?.saturating_sub(self.height?))
    }
}

/// An answer, if it is the one of the node that was meant: several nodes of other machines share one local address.
fn expected(target: &Target, answer: Answer) -> Result<Answer, String> {
    let (Some(place), Some(id)) = (&target.place, text(&answer.status["node"]["id"])) else { return Ok(answer) };
    if place.entry.peer_id == id {
        return Ok(answer);
    }
    let other = text(&answer.status["node"]["name"]).unwrap_or(id);
    Err(format!("another node, {other}, answers at {}; if it runs elsewhere, name its address instead", target.url))
}

fn id(target: &Target, answer: Option<&Answer>) -> Option<String> {
    let said = answer.and_then(|a| text(&a.status["node"]["id"]));
    said.or_else(|| target.place.as_ref().map(|p| p.entry.peer_id.clone()))
}

fn on(target: &Target, a: &Answer, lead: Option<&Answer>) -> Node {
    let (me, consensus) = (&a.status["node"], &a.status["consensus"]);
    let (memory, disk) = (&a.resources["memory"], &a.resources["disk"]);
    let network = |a: &Answer| (text(&a.status["platform"]["network"]), a.status["platform"]["chainId"].as_u64());
    let other = lead.filter(|lead| network(lead) != network(a));
    Node {
        name: text(&me["name"]).unwrap_or_else(|| target.name.clone()),
        url: target.url.clone(),
        state: State::On,
        note: other.map(|_| format!("of another network, {}", network(a).0.unwrap_or_default())),
        role: text(&me["role"]),
        version: text(&a.status["platform"]["client"]),
        height: height(a),
        round: consensus["round"].as_u64(),
        step: text(&consensus["step"]),
        commit_age_ms: consensus["lastCommitAgeMs"].as_u64(),
        commit_ms: commit_ms(a),
        answer_ms: Some((a.took_ms * 10.0).round() / 10.0),
        peers: a.status["peers"].as_u64(),
        tps: tps(&a.status["tps"]),
        cpu_cores: a.resources["cpu"]["usedCores"].as_f64(),
        memory_bytes: memory["residentBytes"].as_u64(),
        memory_limit_bytes: memory["limitBytes"].as_u64(),
        disk_free_bytes: disk["availableBytes"].as_u64(),
        disk_total_bytes: disk["totalBytes"].as_u64(),
        clock_offset_ms: a.status["clock"]["offsetMs"].as_i64(),
        alerts: 0,
    }
}

/// A node that did not answer: with what the others say of it.
fn down(target: &Target, reason: &str, told: &[Told]) -> Node {
    let id = id(target, None);
    let heard = told.iter().find(|t| id.is_some() && t.id == id || t.id.is_none() && t.name == target.name);
    let process = target.place.as_ref().map(super::targets::Place::state);
    let mut note = match process {
        Some(Run::Crashed) => format!("its process has ended without being asked to, see its log ({reason})"),
        Some(Run::Off) => format!("not started on this machine ({reason})"),
        Some(Run::On) => format!("its process runs, but {reason}"),
        None => reason.to_owned(),
    };
    if let Some(heard) = heard.filter(|t| t.on) {
        let ago = heard.last_seen_ms.unwrap_or(0) / 1000;
        note.push_str(&format!("; the others saw it {ago} s ago"));
    }
    Node {
        name: target.name.clone(),
        url: target.url.clone(),
        state: State::Down,
        note: Some(note),
        role: target.place.as_ref().map(|p| p.entry.role.clone()).or_else(|| heard?.role.clone()),
        version: heard.and_then(|t| t.version.clone()),
        height: heard.and_then(|t| t.height),
        round: None,
        step: None,
        commit_age_ms: None,
        commit_ms: None,
        answer_ms: None,
        peers: None,
        tps: None,
        cpu_cores: None,
        memory_bytes: None,
        memory_limit_bytes: None,
        disk_free_bytes: None,
        disk_total_bytes: None,
        clock_offset_ms: None,
        alerts: 0,
    }
}

fn height(a: &Answer) -> Option<u64> {
    a.status["consensus"]["executed"].as_u64()
}

fn commit_ms(a: &Answer) -> Option<u64> {
    let last = &a.explain["lastBlock"];
    last["committedMs"].as_u64()?.checked_sub(last["proposedMs"].as_u64()?)
}

fn tps(v: &Value) -> Option<Tps> {
    let threshold = &v["threshold"];
    Some(Tps {
        current: v["current"].as_f64()?,
        window_seconds: threshold["windowSeconds"].as_u64()?,
        upper: threshold["upper"].as_f64(),
        lower: threshold["lower"].as_f64(),
        state: text(&v["state"]).unwrap_or_else(|| "off".into()),
    })
}

/// All nodes that are told of; of each what was seen last.
fn told<'a>(answers: impl Iterator<Item = &'a Answer>) -> Vec<Told> {
    let mut all: BTreeMap<(String, String), Told> = BTreeMap::new();
    for v in answers.flat_map(|a| a.nodes.as_array().into_iter().flatten().take(MAX_TOLD)) {
        let Some(name) = text(&v["name"]) else { continue };
        let new = Told {
            id: text(&v["id"]),
            name,
            role: text(&v["role"]),
            organisation: text(&v["organisation"]),
            version: text(&v["version"]),
            on: v["on"] == true,
            last_seen_ms: v["lastSeenMs"].as_u64(),
            height: v["height"].as_u64(),
        };
        let key = (new.role.clone().unwrap_or_default(), new.id.clone().unwrap_or_else(|| new.name.clone()));
        let seen = |t: &Told| (t.last_seen_ms.is_none(), t.last_seen_ms);
        match all.get(&key) {
            Some(old) if seen(old) <= seen(&new) => {}
            None if all.len() >= MAX_TOLD => {}
            _ => drop(all.insert(key, new)),
        }
    }
    // One node knows a validator only by its name, another by its id as well.
    let heard: Vec<String> = all.values().filter(|t| t.id.is_some()).map(|t| t.name.clone()).collect();
    let mut all: Vec<Told> = all.into_values().filter(|t| t.id.is_some() || !heard.contains(&t.name)).collect();
    all.sort_by(|a, b| {
        (a.role.as_deref() != Some("validator"), &a.name).cmp(&(b.role.as_deref() != Some("validator"), &b.name))
    });
    all
}

/// All that fires, the same on several nodes once.
fn alerts(nodes: &mut [Node], asked: &[(&Target, Result<Answer, String>)]) -> Vec<Alert> {
    let mut all: BTreeMap<(String, Option<String>), Alert> = BTreeMap::new();
    for (node, (_, answer)) in nodes.iter_mut().zip(asked) {
        let Ok(answer) = answer else { continue };
        for v in answer.status["alerts"].as_array().into_iter().flatten().take(MAX_ALERTS) {
            let Some(name) = text(&v["alert"]) else { continue };
            node.alerts += 1;
            let subject = text(&v["subject"]);
            let alert = all.entry((name.clone(), subject.clone())).or_insert_with(|| Alert {
                alert: name,
                subject,
                severity: text(&v["severity"]).unwrap_or_else(|| "warning".into()),
                value: v["value"].as_f64(),
                threshold: v["threshold"].as_f64(),
                since: v["since"].as_u64(),
                nodes: Vec::new(),
            });
            alert.since = alert.since.into_iter().chain(v["since"].as_u64()).min();
            alert.nodes.push(node.name.clone());
        }
    }
    let mut all: Vec<Alert> = all.into_values().collect();
    all.sort_by_key(|a| (a.severity != "critical", a.since));
    all
}

/// A text of somebody else's, for terminals: cut, and without what moves a cursor or turns the direction of writing.
fn text(v: &Value) -> Option<String> {
    let text: String = crate::monitor::nodes::printable(v.as_str()?).chars().take(MAX_TEXT).collect();
    (!text.is_empty()).then_some(text)
}
