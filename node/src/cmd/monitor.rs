//! `basalt monitor`: what a node knows of itself and its network, as tables or JSON.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::Client;

/// Which node to ask, and how to print.
#[derive(Debug, Args)]
pub(super) struct Ask {
    /// RPC address of any node of the network.
    #[arg(long, env = "BASALT_RPC", default_value = "http://127.0.0.1:8545")]
    rpc: String,
    /// Print the node's answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum MonitorCommand {
    /// Platform, consensus, newest block, rates and alerts of a node.
    ///
    /// Example: basalt monitor status --rpc http://127.0.0.1:8545
    Status(Ask),
    /// All nodes known in the network, whether on or off.
    ///
    /// Example: basalt monitor nodes --json
    Nodes(Ask),
    /// What a node uses of processor, memory, disk and network.
    ///
    /// Example: basalt monitor resources
    Resources(Ask),
    /// Transactions per second and their threshold; sets it when a bound is given.
    ///
    /// Example: basalt monitor tps --upper 500 --lower 1 --window 30
    Tps {
        #[command(flatten)]
        ask: Ask,
        /// Alert above this rate; `off` for none.
        #[arg(long)]
        upper: Option<String>,
        /// Alert below this rate; `off` for none.
        #[arg(long)]
        lower: Option<String>,
        /// Window in seconds.
        #[arg(long)]
        window: Option<u64>,
    },
    /// What fires, and what began and ended lately.
    ///
    /// Example: basalt monitor alerts
    Alerts(Ask),
}

pub(super) fn run(command: &MonitorCommand) -> anyhow::Result<()> {
    super::block_on(answer(command))?
}

async fn answer(command: &MonitorCommand) -> anyhow::Result<()> {
    match command {
        MonitorCommand::Status(ask) => show(ask, "monitor_status", print_status).await,
        MonitorCommand::Nodes(ask) => show(ask, "monitor_nodes", print_nodes).await,
        MonitorCommand::Resources(ask) => show(ask, "monitor_resources", print_resources).await,
        MonitorCommand::Alerts(ask) => show(ask, "monitor_alerts", print_alerts).await,
        MonitorCommand::Tps { ask, upper, lower, window } => {
            let mut change = serde_json::Map::new();
            for (name, text) in [("upper", upper), ("lower", lower)] {
                let Some(text) = text else { continue };
                // What is no number goes to the node as it is: its message says what is wanted.
                let value = if text == "off" {
                    Value::Null
                } else {
                    text.parse::<f64>().map_or_else(|_| json!(text), |n| json!(n))
                };
                change.insert(name.into(), value);
            }
            change.extend(window.map(|w| ("windowSeconds".to_owned(), json!(w))));
            if !change.is_empty() {
                Client::new(&ask.rpc)?.call("monitor_setTpsThreshold", json!([change])).await?;
            }
            show(ask, "monitor_tps", print_tps).await
        }
    }
}

async fn show(ask: &Ask, method: &str, print: fn(&Value)) -> anyhow::Result<()> {
    let value = Client::new(&ask.rpc)?.call(method, json!([])).await?;
    if ask.json {
        println!("{}", serde_json::to_string_pretty(&value)?);
    } else {
        print(&value);
    }
    Ok(())
}

/// A value as a person reads it.
fn text(v: &Value) -> String {
    match v {
        Value::Null => "-".into(),
        Value::String(s) => s.clone(),
        Value::Array(all) => all.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn print_status(v: &Value) {
    let p = &v["platform"];
    let lines = [
        ("node", format!("{} ({})", text(&v["node"]["name"]), text(&v["node"]["role"]))),
        ("network", format!("{} (chain id {})", text(&p["network"]), text(&p["chainId"]))),
        ("software", text(&p["client"])),
        ("consensus", format!("{}: {}", text(&p["consensus"]), text(&v["consensus"]["explanation"]))),
        ("signatures", text(&p["transactionSignatures"])),
        ("hashes", format!("{}, {} in the EVM", text(&p["hash"]), text(&p["evmHash"]))),
        ("transport", text(&p["transport"])),
        (
            "block",
            format!(
                "{} with {} transactions, {} bytes, by {}",
                text(&v["block"]["number"]),
                text(&v["block"]["transactions"]),
                text(&v["block"]["sizeBytes"]),
                text(&v["block"]["account"])
            ),
        ),
        (
            "nodes",
            format!("{} of {} on, {} peers", text(&v["nodes"]["on"]), text(&v["nodes"]["known"]), text(&v["peers"])),
        ),
        ("tps", format!("{} ({})", text(&v["tps"]["current"]), text(&v["tps"]["state"]))),
        ("clock", format!("{} ms from {} peers", text(&v["clock"]["offsetMs"]), text(&v["clock"]["peersCompared"]))),
    ];
    lines.iter().for_each(|(name, value)| println!("{name:<11}{value}"));
    list_alerts(&v["alerts"]);
}

fn print_nodes(v: &Value) {
    println!(
        "{:<16} {:<10} {:<5} {:>9} {:>10} {:<16} {:<24} ADDRESS",
        "NODE", "ROLE", "STATE", "HEIGHT", "SEEN", "ORGANISATION", "VERSION"
    );
    for n in v.as_array().into_iter().flatten() {
        let seen = n["lastSeenMs"].as_u64().map_or_else(|| "never".into(), |ms| format!("{} s ago", ms / 1000));
        let state = if n["on"] == true { "on" } else { "OFF" };
        println!(
            "{:<16} {:<10} {state:<5} {:>9} {seen:>10} {:<16} {:<24} {}",
            text(&n["name"]),
            text(&n["role"]),
            text(&n["height"]),
            text(&n["organisation"]),
            text(&n["version"]),
            text(&n["address"])
        );
    }
}

fn print_resources(v: &Value) {
    let mib = |v: &Value| v.as_u64().map_or_else(|| "-".into(), |b| format!("{} MiB", b >> 20));
    let lines = [
        ("cpu", format!("{:.2} of {} cores", v["cpu"]["usedCores"].as_f64().unwrap_or(0.0), text(&v["cpu"]["cores"]))),
        ("memory", format!("{} of {}", mib(&v["memory"]["residentBytes"]), mib(&v["memory"]["limitBytes"]))),
        ("disk", format!("{} free of {}", mib(&v["disk"]["availableBytes"]), mib(&v["disk"]["totalBytes"]))),
        ("disk i/o", format!("{} read, {} written", mib(&v["io"]["inBytes"]), mib(&v["io"]["outBytes"]))),
        ("network", format!("{} in, {} out", mib(&v["network"]["inBytes"]), mib(&v["network"]["outBytes"]))),
        ("files", format!("{} of {}", text(&v["fileHandles"]["open"]), text(&v["fileHandles"]["limit"]))),
        ("threads", text(&v["threads"])),
        ("gpus", if v["gpus"] == json!([]) { "none".into() } else { text(&v["gpus"]) }),
    ];
    lines.iter().for_each(|(name, value)| println!("{name:<11}{value}"));
}

fn print_tps(v: &Value) {
    let t = &v["threshold"];
    println!(
        "{} transactions per second over {} s: {}",
        text(&v["current"]),
        text(&v["windowSeconds"]),
        text(&v["state"])
    );
    println!("threshold: upper {}, lower {} ({})", text(&t["upper"]), text(&t["lower"]), text(&v["source"]));
}

fn print_alerts(v: &Value) {
    list_alerts(&v["active"]);
    println!("lately:");
    for e in v["recent"].as_array().into_iter().flatten() {
        println!("  {} {:<9} {:<18} {}", text(&e["at"]), text(&e["state"]), text(&e["alert"]), text(&e["message"]));
    }
}

fn list_alerts(active: &Value) {
    let all = active.as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        return println!("{:<11}none", "alerts");
    }
    for a in all {
        let subject = a["subject"].as_str().map_or_else(String::new, |s| format!(" {s}"));
        println!(
            "{:<11}{} {}{subject}: {} (threshold {})",
            "ALERT",
            text(&a["severity"]),
            text(&a["alert"]),
            text(&a["value"]),
            text(&a["threshold"])
        );
    }
}
