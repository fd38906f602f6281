//! What this process and its machine use, against what they may use: from `/proc` and the file system. Values that a
//! system does not give are left out.

use std::{fs, path::Path};

use basalt_primitives::Millis;
use serde::Serialize;

use super::process;

/// A snapshot.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Processor.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Disk of the data directory.
    pub disk: Option<Disk>,
    /// Bytes this process has read from and written to disks.
    pub io: Option<Transfer>,
    /// Bytes through the network interfaces of this process's network namespace, loopback left out.
    pub network: Option<Transfer>,
    /// Open files.
    pub file_handles: FileHandles,
    /// Threads of the process.
    pub threads: Option<u64>,
    /// Graphics processors the machine names; the node uses none.
    pub gpus: Vec<String>,
}

/// Processor use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cpu {
    /// Processors this process may use.
    pub cores: usize,
    /// Processors in use by this process, of `cores`, since the snapshot before.
    pub used_cores: f64,
    /// User and system time since the start.
    pub seconds: f64,
    /// Runnable processes of the machine over the last minute.
    pub load_average: Option<f64>,
}

/// Memory use, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Resident memory of this process.
    pub resident_bytes: u64,
    /// What it may use: as configured, else its control group's limit, else the machine's memory.
    pub limit_bytes: u64,
    /// Memory of the machine that is still available.
    pub available_bytes: u64,
}

/// Disk use, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    /// Size of the file system.
    pub total_bytes: u64,
    /// What this process may still write.
    pub available_bytes: u64,
}

impl Disk {
    /// Part in use, 0 to 1: of what this process could ever have.
    #[must_use]
    pub fn used(&self) -> f64 {
        1.0 - self.available_bytes as f64 / self.total_bytes.max(1) as f64
    }
}

/// Bytes both ways, since the start and per second since the snapshot before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transfer {
    /// Read or received.
    pub in_bytes: u64,
    /// Written or sent.
    pub out_bytes: u64,
    /// Read or received per second.
    pub in_per_second: f64,
    /// Written or sent per second.
    pub out_per_second: f64,
}

/// Open files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileHandles {
    /// Open now.
    pub open: u64,
    /// Most the system lets this process open.
    pub limit: Option<u64>,
}

/// Takes snapshots, and remembers the last for the rates.
#[derive(Debug, Default)]
pub struct ResourceMeter {
    last: Option<(Millis, Resources)>,
}

impl ResourceMeter {
    /// A snapshot at a moment. `memory_limit` is in bytes, 0 if none is configured.
    pub fn read(&mut self, now: Millis, data_dir: &Path, memory_limit: u64) -> Resources {
        let mut new = read(data_dir, memory_limit);
        if let Some((at, old)) = &self.last {
            rates(&mut new, old, now.saturating_sub(*at));
        }
        self.last = Some((now, new.clone()));
        new
    }
}

fn rates(new: &mut Resources, old: &Resources, ms: Millis) {
    let seconds = (ms as f64 / 1000.0).max(0.001);
    new.cpu.used_cores = ((new.cpu.seconds - old.cpu.seconds) / seconds).clamp(0.0, new.cpu.cores.max(1) as f64);
    for (new, old) in [(&mut new.io, &old.io), (&mut new.network, &old.network)] {
        if let (Some(new), Some(old)) = (new, old) {
            new.in_per_second = new.in_bytes.saturating_sub(old.in_bytes) as f64 / seconds;
            new.out_per_second = new.out_bytes.saturating_sub(old.out_bytes) as f64 / seconds;
        }
    }
}

fn read(data_dir: &Path, memory_limit: u64) -> Resources {
    let process = process::read().unwrap_or_default();
    let text = |path: &str| fs::read_to_string(path).ok();
    let meminfo = text("/proc/meminfo").unwrap_or_default();
    let total = kib(&meminfo, "MemTotal:").unwrap_or(0);
    let group = || text("/sys/fs/cgroup/memory.max").and_then(|t| t.trim().parse::<u64>().ok());
    let limit = if memory_limit > 0 { memory_limit } else { group().map_or(total, |g| g.min(total.max(1))) };
    Resources {
        cpu: Cpu {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            used_cores: 0.0,
            seconds: process.cpu_seconds,
            load_average: text("/proc/loadavg").and_then(|t| t.split(' ').next()?.parse().ok()),
        },
        memory: Memory {
            resident_bytes: process.resident_bytes,
            limit_bytes: limit,
            available_bytes: kib(&meminfo, "MemAvailable:").unwrap_or(0),
        },
        disk: disk(data_dir),
        io: text("/proc/self/io").and_then(|t| io(&t)),
        network: text("/proc/net/dev").map(|t| interfaces(&t)),
        file_handles: FileHandles {
            open: process.open_fds,
            limit: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
        },
        threads: text("/proc/self/status").and_then(|t| number(&t, "Threads:")),
        gpus: gpus(),
    }
}

/// Room on the file system of a directory.
#[must_use]
pub fn disk(dir: &Path) -> Option<Disk> {
    let s = rustix::fs::statvfs(dir).ok()?;
    // Blocks that only root may use are neither total nor available to us.
    let reserved = s.f_bfree.saturating_sub(s.f_bavail);
    Some(Disk {
        total_bytes: s.f_blocks.saturating_sub(reserved).saturating_mul(s.f_frsize),
        available_bytes: s.f_bavail.saturating_mul(s.f_frsize),
    })
}

fn number(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|l| l.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

fn kib(text: &str, key: &str) -> Option<u64> {
    number(text, key).map(|n| n.saturating_mul(1024))
}

fn io(text: &str) -> Option<Transfer> {
    let (in_bytes, out_bytes) = (number(text, "read_bytes:")?, number(text, "write_bytes:")?);
    Some(Transfer { in_bytes, out_bytes, ..Transfer::default() })
}

/// Columns of `/proc/net/dev`: name, eight of receiving (bytes first), eight of sending.
fn interfaces(text: &str) -> Transfer {
    let mut sum = Transfer::default();
    for line in text.lines() {
        let Some((name, rest)) = line.split_once(':') else { continue };
        let columns: Vec<u64> = rest.split_whitespace().filter_map(|c| c.parse().ok()).collect();
        if let (false, [received, _, _, _, _, _, _, _, sent, ..]) = (name.trim() == "lo", &columns[..]) {
            sum.in_bytes = sum.in_bytes.saturating_add(*received);
            sum.out_bytes = sum.out_bytes.saturating_add(*sent);
        }
    }
    sum
}

/// Models that NVIDIA's driver names.
fn gpus() -> Vec<String> {
    let Ok(cards) = fs::read_dir("/proc/driver/nvidia/gpus") else { return Vec::new() };
    let model = |text: String| Some(text.lines().find_map(|l| l.strip_prefix("Model:"))?.trim().to_owned());
    let read = |card: fs::DirEntry| fs::read_to_string(card.path().join("information")).ok().and_then(model);
    cards.flatten().take(16).filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_measured_against_its_limits() {
        let dir = tempfile::tempdir().expect("tempdir");
        let mut meter = ResourceMeter::default();
        let first = meter.read(0, dir.path(), 0);
        assert!(first.cpu.cores >= 1 && first.memory.resident_bytes > 100_000);
        assert!(first.memory.limit_bytes > first.memory.resident_bytes);
        let disk = first.disk.expect("a file system");
        assert!(disk.total_bytes > 0 && (0.0..=1.0).contains(&disk.used()), "{disk:?}");
        assert!(first.file_handles.limit.is_some_and(|l| l > first.file_handles.open));
        assert!(first.threads.is_some_and(|t| t >= 1));
        assert_eq!(meter.read(1, dir.path(), 1 << 20).memory.limit_bytes, 1 << 20, "what is configured goes first");
        assert_eq!(disk_of_nothing(), None);
    }

    fn disk_of_nothing() -> Option<Disk> {
        disk(Path::new("/does/not/exist"))
    }

    #[test]
    fn rates_are_differences_over_time_and_a_counter_that_went_back_is_zero() {
        let at = |cpu, sent| Resources {
            cpu: Cpu { cores: 2, seconds: cpu, ..Cpu::default() },
            network: Some(Transfer { in_bytes: 10, out_bytes: sent, ..Transfer::default() }),
            ..Resources::default()
        };
        let mut new = at(11.0, 5_000);
        rates(&mut new, &at(10.0, 1_000), 2_000);
        let network = new.network.expect("given");
        assert_eq!((new.cpu.used_cores, network.out_per_second, network.in_per_second), (0.5, 2_000.0, 0.0));
        let mut new = at(11.0, 0);
        rates(&mut new, &at(10.0, 1_000), 1_000);
        assert_eq!(new.network.expect("given").out_per_second, 0.0);
    }

    #[test]
    fn files_of_proc_are_read_and_garbage_is_no_panic() {
        let dev = "Inter-|   Receive |  Transmit\n face |bytes\n    lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n  eth0: 100 1 0 0 0 0 0 0 40 1 0 0 0 0 0 0\n eth1:1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        let sum = interfaces(dev);
        assert_eq!((sum.in_bytes, sum.out_bytes), (101, 42));
        assert_eq!(interfaces("x: y\n:::\n"), Transfer::default());
        assert_eq!(io("rchar: 1\nread_bytes: 5\nwrite_bytes: 6\n").map(|t| (t.in_bytes, t.out_bytes)), Some((5, 6)));
        assert_eq!((io(""), kib("MemTotal: x kB", "MemTotal:")), (None, None));
    }
}
