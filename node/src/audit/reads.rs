//! Reads of what is sensitive. The first of a caller and method is on the disk before it is answered; those that follow within a
//! minute are counted, and one entry says how many they were. So a busy auditor fills no disk, and no reader goes unseen.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::json;

use super::{Act, AuditError, AuditLog};

/// How long further reads are only counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Callers with methods that are counted at once.
const MAX_COUNTED: usize = 1024;

#[derive(Debug)]
struct Window {
    since: Instant,
    more: u64,
}

/// Who has read what lately.
#[derive(Debug, Default)]
pub struct Reads {
    windows: Mutex<BTreeMap<(String, &'static str), Window>>,
}

fn entry(who: &str, method: &str, more: u64) -> Act {
    Act::new("sensitive-reads").with_all(json!({ "principal": who, "method": method, "count": more }))
}

impl Reads {
    /// A caller reads. Returns when that is on the disk, if it is the first read of a minute.
    pub fn note(
        &self,
        log: &AuditLog,
        who: &str,
        address: Option<std::net::IpAddr>,
        method: &'static str,
    ) -> Result<(), AuditError> {
        let now = Instant::now();
        let key = (who.to_owned(), method);
        {
            let mut windows = self.windows.lock();
            if let Some(window) = windows.get_mut(&key).filter(|w| now.duration_since(w.since) < WINDOW) {
                window.more += 1;
                return Ok(());
            }
        }
        let act = json!({ "principal": who, "method": method, "address": address });
        log.append(Act::new("sensitive-read").with_all(act))?;
        let mut windows = self.windows.lock();
        let more = windows.insert(key, Window { since: now, more: 0 }).map_or(0, |w| w.more);
        let evicted = (windows.len() > MAX_COUNTED).then(|| windows.pop_first()).flatten();
        drop(windows);
        if more > 0 {
            log.append(entry(who, method, more))?;
        }
        if let Some(((who, method), window)) = evicted.filter(|(_, w)| w.more > 0) {
            log.append(entry(&who, method, window.more))?;
        }
        Ok(())
    }

    /// Writes down what was only counted, of windows that are over, or of all.
    pub fn flush(&self, log: &AuditLog, all: bool) {
        let now = Instant::now();
        let over: Vec<_> = {
            let mut windows = self.windows.lock();
            let keep = |w: &Window| !all && now.duration_since(w.since) < WINDOW;
            let over = windows.iter().filter(|(_, w)| !keep(w)).map(|(k, w)| (k.clone(), w.more)).collect();
            windows.retain(|_, w| keep(w));
            over
        };
        for ((who, method), more) in over.into_iter().filter(|(_, more)| *more > 0) {
            if let Err(e) = log.append(entry(&who, method, more)) {
                tracing::error!(method, more, "reads are not in the audit log: {e}");
            }
        }
    }
}
