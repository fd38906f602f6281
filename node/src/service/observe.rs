//! Watches the node for its monitor: once a second an observation of everything that alerts are about.

use std::{path::PathBuf, sync::Arc, time::Duration};

use basalt_primitives::ChainSpec;
use tokio::{sync::watch, time::MissedTickBehavior};

use crate::{
    clock,
    monitor::{
        Metrics, Monitor,
        alert::Observation,
        presence::Presence,
        resources::{ResourceMeter, Resources},
    },
    rpc::{Ports, health},
};

/// How often the node is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How often resources are read: they move slowly, and reading them costs system calls.
const RESOURCES_EVERY: u64 = 5;

/// Where observations come from.
pub(super) struct Watcher {
    pub monitor: Arc<Monitor>,
    pub ports: Ports,
    pub spec: Arc<ChainSpec>,
    pub metrics: Arc<Metrics>,
    pub data_dir: PathBuf,
    /// Bytes; 0: none configured.
    pub memory_limit: u64,
}

impl Watcher {
    /// Looks once a second until `stop` turns true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut meter, mut presence, mut resources) =
            (ResourceMeter::default(), Presence::default(), Resources::default());
        for tick in 0u64.. {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stop.wait_for(|s| *s) => return,
            }
            let now = clock::mono_ms();
            if tick.is_multiple_of(RESOURCES_EVERY) {
                resources = meter.read(now, &self.data_dir, self.memory_limit);
            }
            self.monitor.observe(&self.look(now, &resources, &mut presence));
        }
    }

    fn look(&self, now: u64, resources: &Resources, presence: &mut Presence) -> Observation {
        let validators = self.ports.consensus.validators(None).unwrap_or_default();
        let others = validators.into_iter().filter(|v| !v.is_self);
        let name = |v: &crate::rpc::ports::ValidatorInfo| v.name.clone().unwrap_or_else(|| v.address.to_string());
        presence.update(now, others.map(|v| (name(&v), v.online)));
        let memory = resources.memory;
        Observation {
            mono_ms: now,
            transactions: self.metrics.live_transactions(),
            block_overdue_ms: health::overdue_ms(health::inputs(&self.ports, &self.spec)),
            peers: self.ports.network.peer_count(),
            nodes: presence.nodes(now),
            disk_used: resources.disk.map(|d| d.used()),
            memory_used: (memory.limit_bytes > 0).then(|| memory.resident_bytes as f64 / memory.limit_bytes as f64),
            clock_offset_ms: None,
            certificates: Vec::new(),
            forks: Vec::new(),
        }
    }
}
