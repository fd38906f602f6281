//! The network task: drives the swarm, owns all state of connections and peers, and starts a task for each stream.
//!
//! Events of the swarm and commands of the node come in here and go to the rooms: `connections` (greeting, pings,
//! closing), `session` (a greeted peer and its streams), `batches` (transactions), `dialling` (static peers), `seeking`
//! (whom else on a public network), `misbehaviour`.

mod batches;
mod connections;
mod dialling;
mod misbehaviour;
mod seeking;
mod session;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm,
    gossipsub::{self, IdentTopic, MessageAcceptance},
    identify, memory_connection_limits, ping,
    swarm::{ConnectionId, NetworkBehaviour, SwarmEvent, behaviour::toggle::Toggle},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep_until},
};
use tracing::{debug, info, warn};

use self::{misbehaviour::FAILURE_WINDOW, seeking::Seeking, session::Session};
use super::{
    dialer::Dialer,
    gated::Gated,
    gossip::BatchVerdict,
    guard::Guard,
    members::Standing,
    shared::{Command, Context, Offence, TransactionBatch},
    streams,
};

/// How often timers are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often old bans and counts are forgotten.
const TIDY: Duration = Duration::from_secs(10);

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    // First, so that what it refuses costs the others nothing.
    pub(super) guard: Guard,
    pub(super) memory: Toggle<memory_connection_limits::Behaviour>,
    pub(super) streams: streams::Behaviour,
    pub(super) gossip: Gated,
    pub(super) ping: ping::Behaviour,
    pub(super) identify: identify::Behaviour,
}

/// A connection, greeted or not.
struct Connection {
    peer: PeerId,
    address: Multiaddr,
    outbound: bool,
    since: Instant,
    stage: Stage,
    missed_pings: u32,
    /// What the peer was to us when it connected; when that changes, the connection ends.
    standing: Standing,
    /// Where the peer says it listens; kept only where peers are sought.
    listens: Vec<SocketAddr>,
}

impl Connection {
    const fn is_greeted(&self) -> bool {
        matches!(self.stage, Stage::Greeted)
    }
}

enum Stage {
    /// Until Hello is judged; streams the peer opens meanwhile wait unread.
    Greeting {
        begun: bool,
        held: Vec<(StreamProtocol, Stream)>,
    },
    Greeted,
    Closing,
}

pub(super) struct Actor {
    swarm: Swarm<Behaviour>,
    topic: IdentTopic,
    context: Arc<Context>,
    commands: mpsc::Receiver<Command>,
    transactions: mpsc::Sender<TransactionBatch>,
    connections: HashMap<ConnectionId, Connection>,
    sessions: HashMap<PeerId, Session>,
    dialer: Dialer,
    seeking: Option<Seeking>,
    /// Hello exchanges and name look-ups; bounded by connections and static peers.
    tasks: JoinSet<()>,
    /// Failed handshakes by address.
    failures: HashMap<IpAddr, (u32, Instant)>,
    flush_at: Option<Instant>,
    last_flush: Instant,
    last_tidy: Instant,
}

impl Actor {
    pub(super) fn new(
        swarm: Swarm<Behaviour>,
        topic: IdentTopic,
        context: Arc<Context>,
        commands: mpsc::Receiver<Command>,
        transactions: mpsc::Sender<TransactionBatch>,
        dialer: Dialer,
    ) -> Self {
        let now = Instant::now();
        Self {
            seeking: Seeking::new(&context, now),
            swarm,
            topic,
            context,
            commands,
            transactions,
            connections: HashMap::new(),
            sessions: HashMap::new(),
            dialer,
            tasks: JoinSet::new(),
            failures: HashMap::new(),
            flush_at: None,
            last_flush: now,
            last_tidy: now,
        }
    }

    /// Runs until told to stop.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.context.shared);
        let mut stop = shared.stop.subscribe();
        let mut members = shared.members.subscribe();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let flush_at = self.flush_at;
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                Some(command) = self.commands.recv() => self.on_command(command),
                () = shared.outbox.added(), if flush_at.is_none() => self.schedule_flush(),
                () = sleep_until(flush_at.unwrap_or(self.last_flush).into()), if flush_at.is_some() => self.flush(),
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
                Ok(()) = members.changed() => self.judge_standings(),
                _ = tick.tick() => self.on_tick(),
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        self.save_peers();
        debug!("network side ends");
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Streams(inbound)) => {
                self.on_inbound(inbound.connection, inbound.protocol, inbound.stream.0);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            })) => self.on_batch(propagation_source, message_id, message.data),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.on_ping(&event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                connection_id, info, ..
            })) => {
                self.on_identified(connection_id, &info);
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, endpoint.get_remote_address(), endpoint.is_dialer());
            }
            SwarmEvent::ConnectionClosed { connection_id, cause, .. } => {
                let cause = cause.map_or_else(|| "closed".to_owned(), |c| c.to_string());
                self.on_closed(connection_id, &cause);
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                self.on_failed_handshake(&send_back_addr, &error);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.on_failed_dial(connection_id, &error);
                self.on_failed_search(connection_id, &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                info!(%address, "listening for peers");
                self.context.shared.listening.send_modify(|all| all.push(address));
            }
            SwarmEvent::ListenerError { error, .. } => warn!(%error, "listening for peers: an error, going on"),
            SwarmEvent::ListenerClosed { reason, .. } => warn!(?reason, "no longer listening for peers"),
            _ => {}
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Open { peer, protocol, reply } => self.open(peer, protocol, reply),
            Command::Hello { peer, connection, result } => self.on_hello(peer, connection, result),
            Command::Offence { peer, offence, detail } => self.on_offence(peer, offence, &detail),
            Command::Addresses { peer, addresses } => self.on_addresses(peer, addresses),
            Command::Resolved { index, result } => self.on_resolved(index, result),
            Command::Disconnect { peer } => self.close_all(&peer),
            // Who asked may have left meanwhile.
            Command::AddPeer { address, reply } => drop(reply.send(self.add_peer(address))),
            Command::RemovePeer { peer, reply } => drop(reply.send(self.remove_peer(&peer))),
            Command::Verdict { batch, verdict } => {
                let acceptance = match verdict {
                    BatchVerdict::Relay => MessageAcceptance::Accept,
                    BatchVerdict::Ignore => MessageAcceptance::Ignore,
                    BatchVerdict::Invalid => MessageAcceptance::Reject,
                };
                if verdict == BatchVerdict::Invalid {
                    self.on_offence(batch.from, Offence::Invalid, "an invalid transaction in a batch");
                }
                self.judge(&batch.message, &batch.from, acceptance);
            }
        }
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        self.dial_due(now);
        self.seek(now);
        let patience = self.context.shared.config.hello_timeout;
        let slow = |c: &Connection| matches!(c.stage, Stage::Greeting { .. }) && now - c.since > patience;
        let late: Vec<_> = self.connections.iter().filter(|(_, c)| slow(c)).map(|(id, c)| (*id, c.peer)).collect();
        for (id, peer) in late {
            self.context.shared.stats.offences.of(Offence::Slow).inc();
            info!(%peer, "disconnecting: it did not say Hello in time");
            self.close(id);
        }
        self.leave_guides();
        if now - self.last_tidy > TIDY {
            self.last_tidy = now;
            self.swarm.behaviour_mut().guard.tidy(now);
            self.failures.retain(|_, (_, since)| now - *since < FAILURE_WINDOW);
        }
    }
}
