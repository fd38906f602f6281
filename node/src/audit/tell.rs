//! Entries of those who cannot wait for the disk: a bounded queue and a thread that empties it. What finds no room is left out
//! and counted, and the next entry says how many were.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};

use super::{Act, AuditLog};

/// Entries that wait to be written.
const WAITING: usize = 256;

enum Item {
    Act(Act),
    /// Whoever asks wants to know when all before it is written.
    Flush(SyncSender<()>),
}

/// Hands entries to the thread that writes them. The thread ends with the last of these.
#[derive(Clone, Debug)]
pub struct Teller {
    queue: SyncSender<Item>,
    left_out: Arc<AtomicU64>,
}

impl Teller {
    /// Starts the thread.
    pub fn start(log: Arc<AuditLog>) -> std::io::Result<Self> {
        let (queue, items) = sync_channel(WAITING);
        let left_out = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&left_out);
        thread::Builder::new().name("audit".into()).spawn(move || write(&log, &items, &counted))?;
        Ok(Self { queue, left_out })
    }

    /// Has an entry written soon. False if there was no room for it.
    pub fn tell(&self, act: Act) -> bool {
        match self.queue.try_send(Item::Act(act)) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.left_out.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }

    /// Waits until what was told before is written, at most so long.
    pub fn flush(&self, within: Duration) {
        let (done, wait) = sync_channel(1);
        if self.queue.send(Item::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(within);
        }
    }
}

fn write(log: &AuditLog, items: &Receiver<Item>, left_out: &AtomicU64) {
    for item in items {
        match item {
            Item::Act(act) => {
                let missing = left_out.load(Ordering::Relaxed);
                let told = act.details.get("leftOutBefore").and_then(serde_json::Value::as_u64).unwrap_or(0);
                let act = if missing > 0 { act.with("leftOutBefore", told + missing) } else { act };
                match log.append(act) {
                    Ok(_) => drop(left_out.fetch_sub(missing, Ordering::Relaxed)),
                    Err(e) => tracing::error!("an entry is not in the audit log: {e}"),
                }
            }
            // If it was given up, nobody waits.
            Item::Flush(done) => drop(done.try_send(())),
        }
    }
}
