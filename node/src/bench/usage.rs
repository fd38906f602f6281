//! What the nodes use: processor, memory, disk and network, from `/proc`, their folders and their metrics.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use super::Target;

/// Clock ticks per second in `/proc`: 100 on every architecture that Linux shows to programs.
const USER_HZ: f64 = 100.0;
/// Deepest folder that is looked into, and most files: a node's data has one level and hundreds.
const MAX_FILES: usize = 100_000;

/// What one node has used so far; `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Usage {
    pub cpu_seconds: Option<f64>,
    pub rss_bytes: Option<u64>,
    /// Bytes of its data folder.
    pub disk_bytes: Option<u64>,
    /// Bytes it has made the disk write.
    pub written_bytes: Option<u64>,
    pub network_in_bytes: Option<u64>,
    pub network_out_bytes: Option<u64>,
}

/// What one node used during a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NodeUsage {
    /// Its RPC address.
    pub node: String,
    /// Processor time, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Most resident memory seen, in bytes.
    pub rss_bytes_max: Option<u64>,
    /// By how much its data folder grew, in bytes.
    pub disk_bytes: Option<u64>,
    /// Bytes it made the disk write.
    pub written_bytes: Option<u64>,
    /// Bytes it received from peers.
    pub network_in_bytes: Option<u64>,
    /// Bytes it sent to peers.
    pub network_out_bytes: Option<u64>,
}

impl NodeUsage {
    pub(super) fn between(target: &Target, before: &Usage, after: &Usage, peak: Option<u64>) -> Self {
        let grown = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_sub(b?));
        Self {
            node: target.rpc.clone(),
            cpu_seconds: after.cpu_seconds.zip(before.cpu_seconds).map(|(a, b)| a - b),
            rss_bytes_max: peak.max(after.rss_bytes),
            disk_bytes: grown(after.disk_bytes, before.disk_bytes),
            written_bytes: grown(after.written_bytes, before.written_bytes),
            network_in_bytes: grown(after.network_in_bytes, before.network_in_bytes),
            network_out_bytes: grown(after.network_out_bytes, before.network_out_bytes),
        }
    }
}

/// Asks about every node.
pub(super) async fn snapshot(http: &reqwest::Client, targets: &[Target]) -> Vec<Usage> {
    futures::future::join_all(targets.iter().map(|t| one(http, t))).await
}

/// Samples memory until `done` is true; the most seen, by node.
pub(super) async fn peaks(targets: &[Target], done: impl Fn() -> bool) -> Vec<Option<u64>> {
    let mut peaks = vec![None; targets.len()];
    while !done() {
        for (peak, target) in peaks.iter_mut().zip(targets) {
            *peak = (*peak).max(target.pid.and_then(rss));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    peaks
}

async fn one(http: &reqwest::Client, target: &Target) -> Usage {
    let mut usage = match &target.metrics {
        Some(url) => from_metrics(&scrape(http, url).await.unwrap_or_default()),
        None => Usage::default(),
    };
    if let Some(pid) = target.pid {
        usage.cpu_seconds = cpu(pid).or(usage.cpu_seconds);
        usage.rss_bytes = rss(pid).or(usage.rss_bytes);
        usage.written_bytes = written(pid);
    }
    usage.disk_bytes = target.data.as_deref().map(folder_bytes);
    usage
}

async fn scrape(http: &reqwest::Client, url: &str) -> Option<String> {
    http.get(url).send().await.ok()?.text().await.ok()
}

fn from_metrics(text: &str) -> Usage {
    let lines = |name: &'static str| {
        text.lines().filter_map(move |l| {
            let rest = l.strip_prefix(name).filter(|r| r.starts_with([' ', '{']))?;
            Some((rest, rest.rsplit_once(' ')?.1.parse::<f64>().ok()?))
        })
    };
    let value = |name| lines(name).next().map(|(_, v)| v);
    let traffic = |direction: &str| {
        let all =
            lines("basalt_network_bytes_total").filter(|(l, _)| l.contains(&format!("direction=\"{direction}\"")));
        all.map(|(_, v)| v as u64).reduce(|a, b| a + b)
    };
    Usage {
        cpu_seconds: value("basalt_process_cpu_seconds_total"),
        rss_bytes: value("basalt_process_resident_memory_bytes").map(|v| v as u64),
        network_in_bytes: traffic("in"),
        network_out_bytes: traffic("out"),
        ..Usage::default()
    }
}

/// User and system time: fields 14 and 15, counted after the command's name, which ends with the last parenthesis.
fn cpu(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / USER_HZ)
}

fn rss(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Only the owner of a process, or root, may read this.
fn written(pid: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    io.lines().find_map(|l| l.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

/// Bytes of all files below a folder. Files that vanish meanwhile count as nothing.
fn folder_bytes(dir: &Path) -> u64 {
    let mut folders: Vec<PathBuf> = vec![dir.to_owned()];
    let (mut sum, mut files) = (0, 0);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            files += 1;
            if files > MAX_FILES {
                return sum;
            }
            if meta.is_dir() {
                folders.push(entry.path());
            } else {
                sum += meta.len();
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_by_whole_names_and_summed_over_protocols() {
        let text = "# TYPE basalt_process_cpu_seconds counter\nbasalt_process_cpu_seconds_total 1.5\n\
                    basalt_process_resident_memory_bytes 4096\nbasalt_process_resident_memory_bytes_x 9\n\
                    basalt_network_bytes_total{direction=\"in\",protocol=\"a\"} 5\n\
                    basalt_network_bytes_total{direction=\"out\",protocol=\"a\"} 7\n\
                    basalt_network_bytes_total{direction=\"out\",protocol=\"b\"} 8\n";
        let u = from_metrics(text);
        assert_eq!((u.cpu_seconds, u.rss_bytes), (Some(1.5), Some(4096)));
        assert_eq!((u.network_in_bytes, u.network_out_bytes), (Some(5), Some(15)));
        assert_eq!(from_metrics(""), Usage::default());
    }

    #[test]
    fn this_process_is_measured() {
        let pid = std::process::id();
        assert!(rss(pid).is_some_and(|b| b > 100_000) && cpu(pid).is_some());
        assert_eq!((rss(u32::MAX), cpu(u32::MAX), written(u32::MAX)), (None, None, None));
    }

    #[test]
    fn a_folder_counts_what_is_below_it() {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::create_dir(dir.path().join("a")).expect("makes");
        fs::write(dir.path().join("a/b"), [0; 10]).expect("writes");
        fs::write(dir.path().join("c"), [0; 5]).expect("writes");
        assert_eq!(folder_bytes(dir.path()), 15);
        assert_eq!(folder_bytes(&dir.path().join("none")), 0);
    }
}
