//! Tells of refusals: counted in metrics, logged, and written to the audit log. Whatever strangers do, log and audit log grow no
//! faster than [`PER_SECOND`]; what is left out is counted, and the next entry says how many.

use std::{net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use serde_json::json;

use super::{Denied, Principal, buckets::Buckets};
use crate::{
    audit::{Act, Teller},
    clock,
    monitor::Metrics,
};

/// Entries per second in the long run.
const PER_SECOND: f64 = 2.0;
/// Entries at once.
const BURST: f64 = 120.0;
/// Most characters of a reason in the audit log.
const MAX_REASON: usize = 400;

/// Tells of refusals.
#[derive(Debug)]
pub struct Reporter {
    metrics: Arc<Metrics>,
    audit: Option<Teller>,
    pace: Mutex<Pace>,
}

#[derive(Debug)]
struct Pace {
    entries: Buckets<()>,
    left_out: u64,
}

impl Reporter {
    /// Writes to the audit log; `None`: only counts and logs.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, audit: Option<Teller>) -> Self {
        Self { metrics, audit, pace: Mutex::new(Pace { entries: Buckets::new(1), left_out: 0 }) }
    }

    /// What else is told to the audit log.
    #[must_use]
    pub const fn audit(&self) -> Option<&Teller> {
        self.audit.as_ref()
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
        let act = Act::new("authentication-failed").with("address", json!(address));
        self.tell(act, &denied.to_string(), address);
    }

    /// Somebody known may not do what was asked for.
    pub fn refused(&self, denied: &Denied, principal: &Principal, method: &str) {
        self.count_refusal(denied.reason());
        let act = Act::new("authorisation-refused").with_all(json!({
            "address": principal.address,
            "principal": principal.who.to_string(),
            "method": method,
        }));
        self.tell(act, &denied.to_string(), principal.address);
    }

    fn tell(&self, mut act: Act, reason: &str, address: Option<IpAddr>) {
        let mut pace = self.pace.lock();
        if pace.entries.take((), (PER_SECOND, BURST), 1, clock::mono()).granted == 0 {
            pace.left_out += 1;
            return;
        }
        tracing::warn!(?address, left_out = pace.left_out, "{}: {reason}", act.act);
        let Some(audit) = &self.audit else {
            pace.left_out = 0;
            return;
        };
        if pace.left_out > 0 {
            act = act.with("leftOutBefore", pace.left_out);
        }
        // A name may be long when it is escaped.
        let act = act.with("reason", reason.chars().take(MAX_REASON).collect::<String>());
        // A disk that is too slow for a few entries a second leaves some out, and no caller waits for it.
        if audit.tell(act) {
            pace.left_out = 0;
        }
    }
}
