//! The machine's own limits, measured in the same run as the network: what signature checks, hashing and the disk allow by
//! themselves. Every figure of a run is told as a ratio to them, because figures of different machines do not compare.

use std::{
    fs,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use basalt_primitives::{HashFn, SecretKey, Signature, crypto};
use serde::Serialize;

/// How long each limit is measured.
const EACH: Duration = Duration::from_millis(250);
/// Signatures verified together, as the node does.
const BATCH: usize = 256;
/// Puts in one synced batch.
const PUTS: usize = 2000;
/// File system magic of tmpfs, where a sync costs nothing.
const TMPFS: i64 = 0x0102_1994;

/// What this machine can do.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// Their name.
    pub cpu: String,
    /// Load average of the last minute when the run began: well above 0, and something else was running.
    pub load_before: Option<f64>,
    /// True where the network's folder lies in memory: no figure of such a run is durable.
    pub disk_is_memory: bool,
    /// One Ed25519 signature checked alone (ZIP-215), in microseconds on one processor.
    pub verify_single_us: f64,
    /// One of 256 checked together.
    pub verify_batch_us: f64,
    /// Batched Ed25519 checks per second on all processors.
    pub verify_per_s: f64,
    /// One Ethereum sender recovered, in microseconds on one processor.
    pub recover_us: f64,
    /// Senders recovered per second on all processors.
    pub recover_per_s: f64,
    /// SHA-256 of 64 bytes, in nanoseconds on one processor.
    pub sha256_64b_ns: f64,
    /// A synced write of 4 KiB, median, in milliseconds.
    pub fsync_ms: f64,
    /// A synced RocksDB batch of 2,000 puts of 132 bytes, median, in milliseconds.
    pub rocksdb_batch_ms: f64,
}

/// Measures; takes about three seconds. Files are written in `dir` and removed again.
pub fn measure(dir: &Path) -> anyhow::Result<Machine> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load_before = load_average();
    let signed = signatures();
    let (verify_single_us, _) = per_second(1, || usize::from(check(&signed[..1])));
    let (verify_batch_us, verify_per_s) = per_second(cores, || if check(&signed) { BATCH } else { 0 });
    let recover = recover_one();
    let (recover_us, recover_per_s) = per_second(cores, || usize::from(recover()));
    let block = [7u8; 64];
    let hashes = || (0..1000).filter(|_| !HashFn::Sha256.hash(std::hint::black_box(&block)).is_zero()).count();
    let (sha_us, _) = per_second(1, hashes);
    Ok(Machine {
        cores,
        cpu: cpu_name(),
        load_before,
        disk_is_memory: is_memory(dir),
        verify_single_us,
        verify_batch_us,
        verify_per_s,
        recover_us,
        recover_per_s,
        sha256_64b_ns: sha_us * 1000.0,
        fsync_ms: fsync(dir).context("the disk's sync could not be measured")?,
        rocksdb_batch_ms: rocksdb(dir).context("RocksDB could not be measured")?,
    })
}

/// Repeats `work`, which says how many it did, on so many threads: microseconds of processor time for one, and how many a
/// second on all. Processor time, so that other work on the machine does not pass for a slower processor.
fn per_second(threads: usize, work: impl Fn() -> usize + Sync) -> (f64, f64) {
    let one = || {
        let (start, cpu) = (Instant::now(), thread_cpu());
        let mut done = 0;
        while start.elapsed() < EACH || done == 0 {
            done += work();
        }
        let cpu = thread_cpu().zip(cpu).map(|(after, before)| after.saturating_sub(before));
        done as f64 / cpu.unwrap_or_else(|| start.elapsed()).as_secs_f64()
    };
    let total: f64 = std::thread::scope(|s| {
        let handles: Vec<_> = (0..threads).map(|_| s.spawn(one)).collect();
        handles.into_iter().map(|h| h.join().expect("measuring does not panic")).sum()
    });
    (threads as f64 * 1e6 / total, total)
}

/// Time this thread has been on a processor.
fn thread_cpu() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?)).filter(|d| !d.is_zero())
}

type Signed = (basalt_primitives::PublicKey, [u8; 32], Signature);

/// Each of a key of its own, as in a real load.
fn signatures() -> Vec<Signed> {
    (0..BATCH)
        .map(|i| {
            let seed = HashFn::Sha256.hash(&i.to_be_bytes()).0;
            let key = SecretKey::from_bytes(&seed);
            (key.public_key(), seed, key.sign(&seed))
        })
        .collect()
}

fn check(signed: &[Signed]) -> bool {
    match signed {
        [(key, message, signature)] => key.verify(message, signature),
        many => crypto::ed25519::verify_batch(many.iter().map(|(k, m, s)| (*k, m.as_slice(), *s))),
    }
}

fn recover_one() -> impl Fn() -> bool + Sync {
    use basalt_primitives::{B256, U256};
    let hash = B256::repeat_byte(0x11);
    let key = secp256k1::SecretKey::from_byte_array([0x22; 32]).expect("a key");
    let message = secp256k1::Message::from_digest(hash.0);
    let (id, bytes) = secp256k1::SECP256K1.sign_ecdsa_recoverable(message, &key).serialize_compact();
    let (r, s) = (U256::from_be_slice(&bytes[..32]), U256::from_be_slice(&bytes[32..]));
    let odd = i32::from(id) == 1;
    move || crypto::secp256k1::recover(&hash, r, s, odd).is_some()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Milliseconds of each repetition, for [`EACH`] and at least 5 of them.
fn repeat_ms(mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let (start, mut all) = (Instant::now(), Vec::new());
    while start.elapsed() < EACH || all.len() < 5 {
        let one = Instant::now();
        work()?;
        all.push(one.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(all))
}

fn fsync(dir: &Path) -> anyhow::Result<f64> {
    let path = dir.join("bench-fsync.tmp");
    let mut file = fs::File::create(&path)?;
    let result = repeat_ms(|| {
        file.write_all(&[1; 4096])?;
        Ok(file.sync_data()?)
    });
    fs::remove_file(&path)?;
    result
}

fn rocksdb(dir: &Path) -> anyhow::Result<f64> {
    let path = dir.join("bench-rocksdb.tmp");
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    let result = {
        let db = rocksdb::DB::open(&options, &path)?;
        let mut synced = rocksdb::WriteOptions::default();
        synced.set_sync(true);
        let mut key = HashFn::Blake3.hash(b"basalt bench");
        repeat_ms(|| {
            let mut batch = rocksdb::WriteBatch::default();
            for _ in 0..PUTS {
                batch.put(key.as_slice(), [key.0; 4].concat().get(..100).unwrap_or_default());
                key = HashFn::Blake3.hash(key.as_slice());
            }
            Ok(db.write_opt(batch, &synced)?)
        })
    };
    rocksdb::DB::destroy(&options, &path)?;
    let _ = fs::remove_dir_all(&path);
    result
}

fn cpu_name() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, n)| n.to_owned())
}

fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

fn is_memory(dir: &Path) -> bool {
    rustix::fs::statfs(dir).is_ok_and(|s| s.f_type == TMPFS)
}

impl Machine {
    /// Transactions per second that signature checks alone allow `nodes` nodes sharing this machine, when `native` of the
    /// load is Ed25519 and the rest secp256k1: each node checks each once.
    #[must_use]
    pub fn ceiling(&self, native: f64, nodes: usize) -> f64 {
        1.0 / (self.signature_seconds(native) * nodes as f64)
    }

    /// Seconds of the whole machine that one transaction's signature takes one node.
    fn signature_seconds(&self, native: f64) -> f64 {
        native / self.verify_per_s + (1.0 - native) / self.recover_per_s
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let rows = [
            ("processors", format!("{} × {}", self.cores, self.cpu)),
            (
                "Ed25519",
                format!(
                    "{:.1} µs alone, {:.1} µs batched; {:.0} per second on all processors",
                    self.verify_single_us, self.verify_batch_us, self.verify_per_s
                ),
            ),
            ("recover", format!("{:.1} µs; {:.0} per second on all processors", self.recover_us, self.recover_per_s)),
            ("SHA-256", format!("{:.0} ns for 64 bytes", self.sha256_64b_ns)),
            (
                "sync",
                format!(
                    "{:.2} ms for 4 KiB; {:.2} ms for a RocksDB batch of {PUTS} puts",
                    self.fsync_ms, self.rocksdb_batch_ms
                ),
            ),
            (
                "four nodes",
                format!(
                    "{:.0} native, {:.0} Ethereum transactions per second by signatures alone",
                    self.ceiling(1.0, 4),
                    self.ceiling(0.0, 4)
                ),
            ),
        ];
        rows.iter().map(|(k, v)| format!("{k:<10} {v}\n")).collect()
    }

    /// Processor time of one node for one transaction's signature, in microseconds.
    #[must_use]
    pub fn signature_us(&self, native: f64) -> f64 {
        native * self.verify_batch_us + (1.0 - native) * self.recover_us
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A machine with round figures.
    pub fn round() -> Machine {
        Machine {
            cores: 2,
            cpu: "test".into(),
            load_before: Some(0.0),
            disk_is_memory: false,
            verify_single_us: 50.0,
            verify_batch_us: 25.0,
            verify_per_s: 80_000.0,
            recover_us: 50.0,
            recover_per_s: 40_000.0,
            sha256_64b_ns: 130.0,
            fsync_ms: 2.0,
            rocksdb_batch_ms: 4.0,
        }
    }

    #[test]
    fn the_ceiling_is_shared_by_the_nodes_and_mixed_by_the_formats() {
        let m = round();
        assert_eq!((m.ceiling(1.0, 4), m.ceiling(0.0, 4)), (20_000.0, 10_000.0));
        let half = m.ceiling(0.5, 1);
        assert!((half - 53_333.3).abs() < 1.0, "{half}");
        assert_eq!(m.signature_us(0.5), 37.5);
    }

    #[test]
    fn what_is_measured_is_there_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("tempdir");
        let m = measure(dir.path()).expect("measures");
        for figure in
            [m.verify_single_us, m.verify_batch_us, m.recover_us, m.sha256_64b_ns, m.fsync_ms, m.rocksdb_batch_ms]
        {
            assert!(figure.is_finite() && figure > 0.0, "{m:?}");
        }
        assert!(fs::read_dir(dir.path()).expect("dir").next().is_none());
    }
}
