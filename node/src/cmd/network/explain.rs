//! `basalt network explain`: asks the nodes why there is no block, or why the last one took its time, and puts together
//! what they say.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::{
    layout::{Manifest, NodeEntry},
    processes,
};
use crate::explain::{Asked, Explanation, NetworkExplanation, merge};

/// How long a node may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

pub(super) fn run(dir: Option<&Path>, rpc: Option<&str>, as_json: bool) -> anyhow::Result<()> {
    let explanation = crate::cmd::block_on(gather(dir, rpc))??;
    if as_json {
        println!("{}", serde_json::to_string_pretty(&explanation)?);
    } else {
        print(&explanation);
    }
    Ok(())
}

async fn gather(dir: Option<&Path>, rpc: Option<&str>) -> anyhow::Result<NetworkExplanation> {
    let client = crate::tls::client::http().timeout(ANSWER_WITHIN).no_proxy().build()?;
    match (dir, rpc) {
        (None, Some(url)) => {
            let explanation = ask(&client, url).await?;
            let asked = Asked {
                name: explanation.node.clone(),
                running: None,
                crashed: false,
                error: None,
                explanation: Some(explanation),
            };
            Ok(merge(vec![asked], "see its operator's guide"))
        }
        (Some(dir), None) => {
            let manifest = Manifest::read(dir)?;
            let asked = futures::future::join_all(manifest.nodes.iter().map(|n| ask_node(&client, dir, n))).await;
            Ok(merge(asked, &format!("basalt network up {} --detach", dir.display())))
        }
        _ => bail!("say which network: `basalt network explain DIR`, or one node of it: `--rpc URL`"),
    }
}

async fn ask_node(client: &reqwest::Client, dir: &Path, node: &NodeEntry) -> Asked {
    let running = processes::find(dir, node).is_some();
    let mut asked = Asked {
        name: node.name.clone(),
        running: Some(running),
        crashed: !running && processes::was_started(dir, node),
        error: None,
        explanation: None,
    };
    // Also when no process of ours is found: the node may have been started by other means.
    match ask(client, &node.rpc_url(dir)).await {
        Ok(explanation) => (asked.explanation, asked.running) = (Some(explanation), Some(true)),
        Err(e) => asked.error = Some(format!("{e:#}")),
    }
    asked
}

async fn ask(client: &reqwest::Client, url: &str) -> anyhow::Result<Explanation> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "consensus_explain", "params": [] });
    let answer = client.post(url).json(&request).send().await;
    let answer = answer.with_context(|| format!("no answer from {url}; is the node running there?"))?;
    let mut answer: Value = answer.json().await.with_context(|| format!("{url} does not speak JSON-RPC"))?;
    if let Some(error) = answer.get("error") {
        bail!("{url}: {}", error["message"].as_str().unwrap_or("an error without text"));
    }
    serde_json::from_value(answer["result"].take()).with_context(|| {
        format!("{url} explains itself in another form; use the command of the version that runs there")
    })
}

fn print(network: &NetworkExplanation) {
    println!("{}\n", network.summary);
    for node in &network.nodes {
        let Some(e) = &node.explanation else {
            let state = match (node.running, node.crashed) {
                (Some(false), true) => "CRASHED",
                (Some(false), false) => "off",
                _ => "does not answer",
            };
            println!("{:<10} {state}", node.name);
            continue;
        };
        println!("{:<10} {}", node.name, e.summary);
        e.details.iter().for_each(|d| println!("{:<10}   {d}", ""));
        if let Some(last) = &e.last_block {
            println!("{:<10}   {}", "", last.text);
        }
    }
    println!("\nWhat to do:");
    network.advice.iter().for_each(|a| println!("  - {}", a.text));
}
