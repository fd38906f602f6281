//! What the peer-to-peer side counts, read when it is asked for: no event of the network waits for a metric.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use crate::network::{NetworkStats, Traffic};

/// The counters of the network, once there is one; zeros before.
#[derive(Clone, Debug, Default)]
pub(super) struct NetworkMetrics(Arc<OnceLock<Arc<NetworkStats>>>);

/// Samples of a family: values of its labels, and the number.
type Samples<const LABELS: usize> = Vec<([(&'static str, &'static str); LABELS], u64)>;

impl NetworkMetrics {
    /// Shows these from now on. Only the first are taken: a node has one network.
    pub(super) fn watch(&self, stats: Arc<NetworkStats>) {
        let _ = self.0.set(stats);
    }
}

fn counters<const L: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, unit): (&str, &str, Option<Unit>),
    samples: Samples<L>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
    for (labels, value) in samples {
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauges<const L: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    samples: Samples<L>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in samples {
        ConstGauge::new(super::metrics::to_i64(value)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn both_ways(stats: &NetworkStats, read: impl Fn(&Traffic) -> (u64, u64)) -> Samples<2> {
    let protocols = [
        ("consensus", &stats.consensus),
        ("transactions", &stats.transactions),
        ("sync", &stats.sync),
        ("control", &stats.control),
    ];
    protocols
        .into_iter()
        .flat_map(|(protocol, traffic)| {
            let (received, sent) = read(traffic);
            [("in", received), ("out", sent)].map(|(way, n)| ([("direction", way), ("protocol", protocol)], n))
        })
        .collect()
}

fn by<const N: usize>(label: &'static str, samples: [(&'static str, u64); N]) -> Samples<1> {
    samples.into_iter().map(|(value, n)| ([(label, value)], n)).collect()
}

fn dropped(s: &NetworkStats) -> Samples<1> {
    by(
        "reason",
        [
            ("consensus_in_queue_full", s.dropped_consensus_in.get()),
            ("consensus_out_queue_full", s.dropped_consensus_out.get()),
            ("consensus_of_no_validator", s.dropped_consensus_unproven.get()),
            ("transactions_out_queue_full", s.dropped_transactions_out.get()),
            ("transactions_in_queue_full", s.dropped_transactions_in.get() + s.dropped_batches_in.get()),
            ("batch_beyond_rate", s.dropped_batches_limited.get()),
            ("batch_without_receiver", s.unsent_batches.get()),
            ("peer_event_unread", s.dropped_peer_events.get()),
            ("not_admitted", s.refused_strangers.get()),
            ("permission_ended", s.closed_members.get()),
        ],
    )
}

fn refused(s: &NetworkStats) -> Samples<1> {
    by(
        "what",
        [
            ("stream", s.refused_streams.get()),
            ("request", s.refused_requests.get()),
            ("connection", s.refused_connections.get()),
            ("handshake", s.failed_handshakes.get()),
            ("hello", s.refused_hellos.get()),
        ],
    )
}

impl Collector for NetworkMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let none = Arc::default();
        let s: &Arc<NetworkStats> = self.0.get().unwrap_or(&none);
        let e = &mut encoder;
        let bytes = both_ways(s, |t| (t.bytes_in.get(), t.bytes_out.get()));
        counters(
            e,
            ("network", "Payload bytes to and from peers by direction and protocol", Some(Unit::Bytes)),
            bytes,
        )?;
        let messages = both_ways(s, |t| (t.messages_in.get(), t.messages_out.get()));
        counters(e, ("network_messages", "Messages to and from peers by direction and protocol", None), messages)?;
        counters(e, ("network_drops", "Messages and connections dropped, by reason", None), dropped(s))?;
        let help = "What peers and strangers wanted and did not get (stream, request, connection, handshake, hello)";
        counters(e, ("network_refused", help, None), refused(s))?;
        let help = "Breaches of the protocol by peers, by kind (garbage, invalid, flood, slow)";
        counters(e, ("network_offences", help, None), by("kind", s.offences.by_kind()))?;
        counters::<0>(e, ("network_bans", "Peers and addresses banned so far", None), vec![([], s.bans.get())])?;
        gauges::<0>(e, ("network_banned", "Peers and addresses banned now"), vec![([], s.banned())])?;
        let dials = by("result", [("begun", s.dials.get()), ("failed", s.failed_dials.get())]);
        counters(e, ("network_dials", "Dials of peers, and those that failed", None), dials)?;
        let (named, answered) = s.known_addresses();
        let help = "Addresses of nodes in the address book: only named by others, or found to answer";
        gauges(e, ("network_addresses", help), by("state", [("named", named), ("answered", answered)]))?;
        gauges::<0>(e, ("network_sought", "Connections to peers that this node has found"), vec![([], s.sought())])
    }
}
