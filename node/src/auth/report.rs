//! Tells of refusals: counted in metrics, logged, and written to the audit log. Whatever strangers do, log and audit log grow no
//! faster than [`PER_SECOND`]; what is left out is counted, and the next entry says how many.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use parking_lot::Mutex;
use serde_json::{Map, json};

use super::{Denied, Principal, buckets::Buckets};
use crate::{audit, clock, monitor::Metrics};

/// Entries per second in the long run.
const PER_SECOND: f64 = 2.0;
/// Entries at once.
const BURST: f64 = 120.0;
/// Most characters of a reason in the audit log.
const MAX_REASON: usize = 400;
/// Entries that wait to be written.
const WAITING: usize = 256;

/// One refusal.
struct Entry {
    act: &'static str,
    reason: String,
    details: Map<String, serde_json::Value>,
}

/// Tells of refusals.
#[derive(Debug)]
pub struct Reporter {
    metrics: Arc<Metrics>,
    queue: Option<SyncSender<Entry>>,
    pace: Mutex<Pace>,
}

#[derive(Debug)]
struct Pace {
    entries: Buckets<()>,
    left_out: u64,
}

impl Reporter {
    /// Writes to the audit log of a data directory; `None`: only counts and logs.
    pub fn start(metrics: Arc<Metrics>, data_dir: Option<PathBuf>) -> std::io::Result<Self> {
        let queue = data_dir.map(|dir| {
            let (sender, receiver) = sync_channel(WAITING);
            // It ends with the last sender.
            thread::Builder::new().name("audit".into()).spawn(move || write(&dir, &receiver)).map(|_| sender)
        });
        let pace = Mutex::new(Pace { entries: Buckets::new(1), left_out: 0 });
        Ok(Self { metrics, queue: queue.transpose()?, pace })
    }

    /// Counts a failed authentication.
    pub fn count_failure(&self, reason: &'static str) {
        self.metrics.auth_failed(reason);
    }

    /// Counts a refused request of somebody known.
    pub fn count_refusal(&self, reason: &'static str) {
        self.metrics.auth_refused(reason);
    }

    /// An authentication failed.
    pub fn failed(&self, denied: &Denied, address: Option<IpAddr>) {
        self.count_failure(denied.reason());
        let details = Map::from_iter([("address".to_owned(), json!(address))]);
        self.tell(Entry { act: "authentication-failed", reason: denied.to_string(), details }, address);
    }

    /// Somebody known may not do what was asked for.
    pub fn refused(&self, denied: &Denied, principal: &Principal, method: &str) {
        self.count_refusal(denied.reason());
        let details = Map::from_iter([
            ("address".to_owned(), json!(principal.address)),
            ("principal".to_owned(), json!(principal.who.to_string())),
            ("method".to_owned(), json!(method)),
        ]);
        self.tell(Entry { act: "authorisation-refused", reason: denied.to_string(), details }, principal.address);
    }

    fn tell(&self, mut entry: Entry, address: Option<IpAddr>) {
        let mut pace = self.pace.lock();
        if pace.entries.take((), (PER_SECOND, BURST), 1, clock::mono()).granted == 0 {
            pace.left_out += 1;
            return;
        }
        tracing::warn!(?address, left_out = pace.left_out, "{}: {}", entry.act, entry.reason);
        let Some(queue) = &self.queue else {
            pace.left_out = 0;
            return;
        };
        if pace.left_out > 0 {
            entry.details.insert("leftOutBefore".into(), json!(pace.left_out));
        }
        // A name may be long when it is escaped, and the audit log takes so much only.
        entry.reason = entry.reason.chars().take(MAX_REASON).collect();
        // A disk that is too slow for a few entries a second leaves some out, and no caller waits for it.
        match queue.try_send(entry) {
            Ok(()) => pace.left_out = 0,
            Err(_) => pace.left_out += 1,
        }
    }
}

fn write(dir: &std::path::Path, entries: &Receiver<Entry>) {
    for entry in entries {
        if let Err(e) = audit::append(dir, entry.act, &entry.reason, entry.details) {
            tracing::error!("a refusal is not in the audit log: {e}");
        }
    }
}
