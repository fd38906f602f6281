//! Offers the load: open loop at a rate, whatever the nodes do, or closed loop with so many under way at most.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Mode,
    client::{Answer, Node},
    load::{Batch, Lane},
    tracker::Shared,
};

/// A node that had no room or time is asked again after this.
const RETRY: Duration = Duration::from_millis(25);
/// After the load ends, this long may pass without a further transaction committed before the rest counts as lost.
const DRAIN: Duration = Duration::from_secs(20);
/// And the wait ends here in any case.
const DRAIN_AT_MOST: Duration = Duration::from_secs(300);

/// When, and how fast.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub mode: Mode,
    pub start: Instant,
    pub end: Instant,
    pub lanes: usize,
}

/// Sends every lane's batches until the load or the time is over.
pub(super) async fn offer(nodes: &[Node], lanes: Vec<Lane>, shared: &Shared, pace: Pace) {
    let one = |(number, lane): (usize, Lane)| {
        let (node, shared) = (nodes[lane.node].clone(), Shared::clone(shared));
        tokio::spawn(send_lane(node, number, lane.batches, shared, pace))
    };
    let tasks: Vec<_> = lanes.into_iter().enumerate().map(one).collect();
    futures::future::join_all(tasks).await;
}

async fn send_lane(node: Node, number: usize, batches: Vec<Batch>, shared: Shared, pace: Pace) {
    let mut sent = 0usize;
    for batch in batches {
        let due = match pace.mode {
            Mode::Rate(rate) => pace.due(number, sent, batch.txs.len(), rate),
            Mode::Saturate { in_flight } => {
                wait_for_room(&shared, in_flight, pace.end).await;
                Instant::now()
            }
        };
        if due >= pace.end {
            return;
        }
        tokio::time::sleep_until(due).await;
        sent += batch.txs.len();
        shared.lock().sent(batch.txs.iter().map(|(h, _)| h), due);
        hand_in(&node, &batch, &shared, pace.end).await;
    }
}

impl Pace {
    /// When a lane's next batch is due: lanes share the rate, and their batches are spread over the interval.
    fn due(&self, lane: usize, sent: usize, batch: usize, rate: u64) -> Instant {
        let per_lane = rate as f64 / self.lanes as f64;
        let phase = batch as f64 * lane as f64 / self.lanes as f64;
        self.start + Duration::from_secs_f64((sent as f64 + phase) / per_lane)
    }
}

/// Hands a batch in, again while the node has no room and the time is not over. Those it has taken it knows the second time.
async fn hand_in(node: &Node, batch: &Batch, shared: &Shared, end: Instant) {
    loop {
        let answers = node.submit(&batch.json, batch.txs.len()).await;
        let mut again = 0;
        {
            let mut tracker = shared.lock();
            for ((hash, _), answer) in batch.txs.iter().zip(answers) {
                match answer {
                    Answer::Accepted => tracker.accepted(hash),
                    Answer::Later(_) => again += 1,
                    Answer::Refused(why) => drop(tracker.refusal.get_or_insert(why)),
                }
            }
            tracker.retries += again;
        }
        if again == 0 || Instant::now() >= end {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn wait_for_room(shared: &Shared, in_flight: usize, end: Instant) {
    while shared.lock().in_flight() >= in_flight && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until everything accepted is committed, or nothing more comes.
pub(super) async fn drain(shared: &Shared) {
    let start = Instant::now();
    let (mut least, mut since) = (usize::MAX, start);
    loop {
        let waiting = shared.lock().in_flight();
        if waiting < least {
            (least, since) = (waiting, Instant::now());
        }
        if waiting == 0 || since.elapsed() > DRAIN || start.elapsed() > DRAIN_AT_MOST {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_loop_keeps_its_rate_whatever_the_lanes() {
        let start = Instant::now();
        let pace = Pace { mode: Mode::Rate(100), start, end: start, lanes: 4 };
        let due = |lane, sent| pace.due(lane, sent, 5, 100).duration_since(start).as_secs_f64();
        assert_eq!((due(0, 0), due(0, 25)), (0.0, 1.0), "25 per second and lane");
        assert!((due(2, 0) - 0.1).abs() < 1e-9, "half an interval of 0.2 s later");
    }
}
