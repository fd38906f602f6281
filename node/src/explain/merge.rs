//! What several nodes say, put together: `basalt network explain`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Action, Advice, Explanation, Situation, words::list};

/// One node that was asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// Its name.
    pub name: String,
    /// Whether its process runs; `None`: not known (a node elsewhere).
    pub running: Option<bool>,
    /// Whether it was started and ended unasked.
    pub crashed: bool,
    /// Why it gave no answer.
    pub error: Option<String>,
    /// What it said.
    pub explanation: Option<Explanation>,
}

/// The answer for a network.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkExplanation {
    /// One sentence.
    pub summary: String,
    /// What can safely be done, most helpful first.
    pub advice: Vec<Advice>,
    /// What each node says.
    pub nodes: Vec<Asked>,
}

/// Puts together what the nodes of a network say. `start` is how a node is started, for the advice.
#[must_use]
pub fn merge(nodes: Vec<Asked>, start: &str) -> NetworkExplanation {
    let (summary, advice) = conclude(&nodes, start);
    NetworkExplanation { summary, advice, nodes }
}

fn conclude(nodes: &[Asked], start: &str) -> (String, Vec<Advice>) {
    let said: Vec<&Explanation> = nodes.iter().filter_map(|n| n.explanation.as_ref()).collect();
    let down: Vec<String> = nodes.iter().filter(|n| n.running == Some(false)).map(|n| n.name.clone()).collect();
    let silent = nodes.iter().filter(|n| n.running != Some(false) && n.explanation.is_none());
    let silent: Vec<String> = silent.map(|n| n.name.clone()).collect();
    let quorum_somewhere = said.iter().any(|e| e.is_validator && e.quorum.reachable);
    let Some(best) = said.iter().max_by_key(|e| importance(e, quorum_somewhere)) else {
        let text = format!("Start them: {start}.");
        let all = nodes.iter().map(|n| n.name.clone()).collect();
        let advice = vec![Advice { action: Action::StartNodes, validators: all, text }];
        return ("No node of this network answers.".into(), advice);
    };
    let mut summary = if parts(&said).len() > 1 && best.situation == Situation::NoQuorum {
        split_summary(&said)
    } else {
        format!("{} says: {}", best.node, best.summary)
    };
    if quorum_somewhere {
        summary += &cut_off(&said);
    }
    if !down.is_empty() {
        summary += &format!(" Not running here: {}.", list(&down));
    }
    if !silent.is_empty() {
        summary += &format!(" Not answering: {}.", list(&silent));
    }
    let mut advice = Vec::new();
    if best.situation == Situation::NoQuorum && !down.is_empty() {
        advice.push(start_down(best, down, start));
    }
    advice.extend(silent.iter().map(|name| Advice {
        action: Action::ReadLog,
        validators: vec![name.clone()],
        text: format!("Read the log of {name}: it runs and does not answer."),
    }));
    let known = |all: &[Advice], a: &Advice| all.iter().any(|o| o.action == a.action);
    let mut rest: Vec<&&Explanation> = said.iter().collect();
    rest.sort_by_key(|e| std::cmp::Reverse(importance(e, quorum_somewhere)));
    for a in rest.into_iter().flat_map(|e| &e.advice) {
        if !known(&advice, a) && (a.action != Action::Nothing || advice.is_empty()) {
            advice.push(a.clone());
        }
    }
    (summary, advice)
}

fn start_down(best: &Explanation, down: Vec<String>, start: &str) -> Advice {
    let lacking = best.quorum.needed.saturating_sub(best.quorum.power);
    let which = if down.len() > 1 && lacking == 1 { format!("one of {}", list(&down)) } else { list(&down) };
    Advice { action: Action::StartNodes, text: format!("Start {which}: {start}."), validators: down }
}

/// Which node's view says most about the network: one that waits for something an operator can change, and of those the
/// one that knows most.
fn importance(e: &Explanation, quorum_somewhere: bool) -> (u8, u64, u64) {
    let kind = match e.situation {
        Situation::DeepBranch => 9,
        Situation::EarlyProposal => 8,
        // Where some nodes have a quorum, the others are merely cut off.
        Situation::NoQuorum if quorum_somewhere => 0,
        Situation::NoQuorum => 7,
        Situation::Recovering => 6,
        Situation::Preparing | Situation::Committing | Situation::AwaitingRound => 5,
        Situation::AwaitingProposal | Situation::Judging => 4,
        Situation::Executing | Situation::Barred => 3,
        Situation::CatchingUp => 2,
        Situation::Idle | Situation::Pacing | Situation::Mining => 1,
        Situation::Following | Situation::NotStarted => 0,
    };
    (kind, e.quorum.power, e.height.0)
}

/// The groups of nodes that see each other, by whom each cannot reach.
fn parts(said: &[&Explanation]) -> BTreeMap<Vec<String>, BTreeSet<String>> {
    let mut groups: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
    for e in said {
        groups.entry(e.quorum.unreachable.clone()).or_default().insert(e.node.clone());
    }
    groups
}

fn cut_off(said: &[&Explanation]) -> String {
    let alone = said.iter().filter(|e| !e.quorum.reachable);
    alone.map(|e| format!(" {} runs but cannot reach {}.", e.node, list(&e.quorum.unreachable))).collect()
}

fn split_summary(said: &[&Explanation]) -> String {
    let groups: Vec<String> = parts(said)
        .into_iter()
        .map(|(gone, members)| {
            let members: Vec<String> = members.into_iter().collect();
            format!("{} cannot reach {}", list(&members), list(&gone))
        })
        .collect();
    format!("The nodes run, but the network between them is cut: {}.", groups.join("; "))
}
