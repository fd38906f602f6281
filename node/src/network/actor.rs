//! The network task: drives the swarm, owns all state of connections and peers, and starts a task for each stream.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm,
    gossipsub::{self, IdentTopic, MessageAcceptance, PublishError},
    identify, memory_connection_limits,
    multiaddr::Protocol,
    ping,
    swarm::{
        ConnectionId, DialError, ListenError, NetworkBehaviour, SwarmEvent,
        behaviour::toggle::Toggle,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use super::{
    dialer::Dialer,
    error::RequestError,
    gossip::{BatchVerdict, Gossip},
    guard::{self, Guard},
    limit::Bucket,
    peers::Peer,
    queue::FrameQueue,
    session::{self, HelloFailure},
    shared::{BAN_AT, Command, Context, Offence, PeerEvent, TransactionBatch},
    streams,
    sync::{self, Kind},
    wire::{self, Hello},
};

/// How often timers are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often old bans and counts are forgotten.
const TIDY: Duration = Duration::from_secs(10);
/// Streams a connection may open before its Hello is judged; they wait unread.
const MAX_HELD: usize = 8;
/// Of two connections to the same peer, one that is older than this is presumed dead when a new one arrives; younger
/// ones come from both sides dialling at once.
const YOUNG: Duration = Duration::from_secs(10);
/// Streams of a kind a peer may have open at once. Two, because the old one may not yet be known to be closed.
const MAX_STREAMS: usize = 2;
/// Block requests answered at once for one peer.
const MAX_SERVED: usize = 4;
/// Block requests taken from a peer per second, and at once.
const REQUESTS: (f64, f64) = (20.0, 100.0);
/// Gossip messages taken from a peer per second, and at once.
const BATCHES: (f64, f64) = (2000.0, 8000.0);
/// Gossip bytes taken from a peer per second, and at once.
const BATCH_BYTES: (f64, f64) = ((16 << 20) as f64, (64 << 20) as f64);
/// Batches published in one go, so that the swarm is never long without attention.
const PUBLISH_BURST: usize = 8;
/// Weights of offences halve in this time.
const FORGIVE: Duration = Duration::from_secs(60);
/// Handshakes an address may fail within [`FAILURE_WINDOW`] before it is banned, and addresses watched.
const MAX_FAILURES: u32 = 20;
const FAILURE_WINDOW: Duration = Duration::from_secs(60);
const MAX_WATCHED: usize = 1024;
/// How long resolving a name may take.
const RESOLVE: Duration = Duration::from_secs(5);

#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    // First, so that what it refuses costs the others nothing.
    pub(super) guard: Guard,
    pub(super) memory: Toggle<memory_connection_limits::Behaviour>,
    pub(super) streams: streams::Behaviour,
    pub(super) gossip: Gossip,
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

/// A greeted peer and the tasks of its connection; they end when this is dropped.
struct Session {
    peer: Arc<Peer>,
    connection: ConnectionId,
    tasks: JoinSet<()>,
    heads: Arc<Semaphore>,
    consensus: Arc<Semaphore>,
    consensus_budget: Arc<Semaphore>,
    served: Arc<Semaphore>,
    requests: Bucket,
    batches: Bucket,
    batch_bytes: Bucket,
    points: f64,
    points_at: Instant,
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
                _ = tick.tick() => self.on_tick(),
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
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
                self.on_failed_dial(connection_id, &error)
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
            Command::Resolved { index, result } => self.on_resolved(index, result),
            Command::Disconnect { peer } => self.close_all(&peer),
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
        let patience = self.context.shared.config.hello_timeout;
        let slow = |c: &Connection| matches!(c.stage, Stage::Greeting { .. }) && now - c.since > patience;
        let late: Vec<_> = self.connections.iter().filter(|(_, c)| slow(c)).map(|(id, c)| (*id, c.peer)).collect();
        for (id, peer) in late {
            self.context.shared.stats.offences.inc();
            info!(%peer, "disconnecting: it did not say Hello in time");
            self.close(id);
        }
        if now - self.last_tidy > TIDY {
            self.last_tidy = now;
            self.swarm.behaviour_mut().guard.tidy(now);
            self.failures.retain(|_, (_, since)| now - *since < FAILURE_WINDOW);
        }
    }

    // --- Connections ---

    fn on_connected(&mut self, peer: PeerId, id: ConnectionId, address: &Multiaddr, outbound: bool) {
        let now = Instant::now();
        debug!(%peer, %address, outbound, "connected, greeting");
        let stage = Stage::Greeting { begun: outbound, held: Vec::new() };
        let connection = Connection { peer, address: address.clone(), outbound, since: now, stage, missed_pings: 0 };
        self.connections.insert(id, connection);
        if outbound {
            self.dialer.connected(id, peer, now);
            let (reply, stream) = oneshot::channel();
            let hello = self.context.shared.protocols.hello.clone();
            self.swarm.behaviour_mut().streams.open(peer, id, hello, reply);
            let context = Arc::clone(&self.context);
            self.tasks.spawn(async move {
                let result = session::hello_out(&context, peer, stream).await;
                let _ = context.shared.commands.send(Command::Hello { peer, connection: id, result }).await;
            });
        }
    }

    fn on_inbound(&mut self, id: ConnectionId, protocol: StreamProtocol, stream: Stream) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let peer = connection.peer;
        let is_hello = protocol == self.context.shared.protocols.hello;
        match &mut connection.stage {
            Stage::Greeting { begun, .. } if is_hello && !*begun => {
                *begun = true;
                let context = Arc::clone(&self.context);
                self.tasks.spawn(async move {
                    let result = session::hello(&context, peer, stream).await;
                    let _ = context.shared.commands.send(Command::Hello { peer, connection: id, result }).await;
                });
            }
            Stage::Greeting { held, .. } if !is_hello && held.len() < MAX_HELD => held.push((protocol, stream)),
            Stage::Greeted if !is_hello => self.start(peer, id, &protocol, stream),
            Stage::Closing => {}
            // Dropping the stream resets it.
            _ => self.context.shared.stats.refused_streams.inc(),
        }
    }

    /// The connection may have closed meanwhile; what a bad Hello leads to holds for the peer all the same.
    fn on_hello(&mut self, peer: PeerId, id: ConnectionId, result: Result<Hello, HelloFailure>) {
        match result {
            Ok(hello) => self.on_greeted(peer, id, &hello),
            Err(HelloFailure::Broken(cause)) => {
                debug!(%peer, cause, "Hello failed");
                self.close(id);
            }
            Err(HelloFailure::Garbage(detail)) => {
                self.on_offence(peer, Offence::Garbage, &detail);
                self.close(id);
            }
            Err(HelloFailure::Refused(reason)) => {
                warn!(%peer, "refused peer: {reason}");
                self.context.shared.stats.refused_hellos.inc();
                let (pause, now) = (self.context.shared.config.other_chain_pause, Instant::now());
                self.swarm.behaviour_mut().guard.ban_peer(peer, pause, now);
                self.dialer.avoid(&peer, pause, now);
                self.close(id);
            }
        }
    }

    fn on_greeted(&mut self, peer: PeerId, id: ConnectionId, hello: &Hello) {
        let Some(Connection { stage: Stage::Greeting { held, .. }, .. }) = self.connections.get_mut(&id) else {
            return;
        };
        let held = std::mem::take(held);
        if self.admit(id, hello) {
            for (protocol, stream) in held {
                self.start(peer, id, &protocol, stream);
            }
        }
    }

    /// Makes a greeted connection the peer's, unless a better one exists.
    fn admit(&mut self, id: ConnectionId, hello: &Hello) -> bool {
        let now = Instant::now();
        let Some(new) = self.connections.get(&id) else { return false };
        let peer_id = new.peer;
        let mut queue = None;
        if let Some(old) = self.sessions.get(&peer_id) {
            let old_id = old.connection;
            if self.connections.get(&old_id).is_some_and(|old| self.prefers_old(old, new, now)) {
                debug!(peer = %peer_id, "closing the second of two connections");
                self.close(id);
                return false;
            }
            queue = Some(Arc::clone(&old.peer.consensus));
            self.sessions.remove(&peer_id);
            self.close(old_id);
        }
        let replaces = queue.is_some();
        let Some(new) = self.connections.get_mut(&id) else { return false };
        new.stage = Stage::Greeted;
        let peer = Arc::new(self.context.peer(peer_id, new, hello, queue));
        self.context.shared.table.insert(Arc::clone(&peer), &self.context.shared.stats);
        let session = self.context.session(Arc::clone(&peer), id, now);
        self.sessions.insert(peer_id, session);
        if !replaces {
            info!(
                peer = %peer_id, address = %peer.address, inbound = peer.inbound, software = %peer.software,
                height = hello.head_height.0, validator = ?peer.validator, "peer connected"
            );
            let (height, hash) = (hello.head_height.0, hello.head_hash);
            self.context.tell(PeerEvent::Connected { peer: peer_id, validator: peer.validator, height, hash });
        }
        true
    }

    /// Both sides come to the same answer: of two young connections the one stays that the lower identity dialled;
    /// an old one gives way, because a peer that dials again has lost it.
    fn prefers_old(&self, old: &Connection, new: &Connection, now: Instant) -> bool {
        if now - old.since > YOUNG || old.outbound == new.outbound {
            return false;
        }
        let we_are_lower = self.context.shared.local_peer < old.peer;
        old.outbound == we_are_lower
    }

    fn on_closed(&mut self, id: ConnectionId, cause: &str) {
        let Some(connection) = self.connections.remove(&id) else { return };
        let peer = connection.peer;
        if self.sessions.get(&peer).is_some_and(|s| s.connection == id) {
            self.sessions.remove(&peer);
            self.context.shared.table.remove(&peer, &self.context.shared.stats);
            info!(%peer, cause, "peer disconnected");
            self.dialer.disconnected(&peer, connection.since.elapsed(), Instant::now());
            self.context.tell(PeerEvent::Disconnected { peer });
        }
    }

    fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.stage = Stage::Closing;
        }
        self.swarm.close_connection(id);
    }

    fn close_all(&mut self, peer: &PeerId) {
        let ids: Vec<_> = self.connections.iter().filter(|(_, c)| c.peer == *peer).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.close(id));
    }

    fn on_ping(&mut self, event: &ping::Event) {
        let Some(connection) = self.connections.get_mut(&event.connection) else { return };
        match &event.result {
            Ok(round_trip) => {
                connection.missed_pings = 0;
                if let Some(session) = self.sessions.get(&event.peer) {
                    let micros = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX).max(1);
                    session.peer.round_trip.store(micros, Relaxed);
                }
            }
            Err(failure) => {
                connection.missed_pings += 1;
                if connection.missed_pings >= 2 {
                    info!(peer = %event.peer, %failure, "disconnecting: it does not answer pings");
                    self.close(event.connection);
                }
            }
        }
    }

    // --- Streams ---

    fn open(&mut self, peer: PeerId, protocol: StreamProtocol, reply: streams::Reply) {
        match self.sessions.get(&peer) {
            Some(session) => self.swarm.behaviour_mut().streams.open(peer, session.connection, protocol, reply),
            // The receiver may have gone; then nobody needs to know.
            None => drop(reply.send(Err(RequestError::NotConnected))),
        }
    }

    /// Starts the task of a stream that a greeted peer has opened, if it may have one more.
    fn start(&mut self, peer: PeerId, id: ConnectionId, protocol: &StreamProtocol, stream: Stream) {
        let Some(session) = self.sessions.get_mut(&peer).filter(|s| s.connection == id) else { return };
        while session.tasks.try_join_next().is_some() {}
        if session.start(&self.context, protocol, stream).is_none() {
            self.context.shared.stats.refused_streams.inc();
        }
    }

    // --- Transactions ---

    fn schedule_flush(&mut self) {
        self.flush_at = Some(Instant::now().max(self.last_flush + self.context.shared.config.batch_interval));
    }

    fn flush(&mut self) {
        let context = Arc::clone(&self.context);
        let (outbox, stats) = (&context.shared.outbox, &context.shared.stats);
        for _ in 0..PUBLISH_BURST {
            let Some((batch, count)) = outbox.next_batch() else { break };
            let bytes = batch.len();
            match self.swarm.behaviour_mut().gossip.publish(self.topic.hash(), batch) {
                Ok(_) => {
                    stats.transactions.sent(bytes);
                    stats.transactions_out.add(count as u64);
                }
                Err(PublishError::Duplicate) => {}
                Err(error) => {
                    stats.unsent_batches.inc();
                    debug!(%error, count, "transactions not published");
                }
            }
        }
        self.last_flush = Instant::now();
        self.flush_at = (!outbox.is_empty()).then(Instant::now);
    }

    fn on_batch(&mut self, from: PeerId, id: gossipsub::MessageId, data: Vec<u8>) {
        let stats = Arc::clone(&self.context.shared.stats);
        let (bytes, now) = (data.len(), Instant::now());
        let Some(session) = self.sessions.get_mut(&from) else {
            stats.dropped_batches_limited.inc();
            return self.judge(&id, &from, MessageAcceptance::Ignore);
        };
        if !session.batches.take(1.0, now) || !session.batch_bytes.take(bytes as f64, now) {
            stats.dropped_batches_limited.inc();
            self.on_offence(from, Offence::Flood, "more gossip than its share");
            return self.judge(&id, &from, MessageAcceptance::Ignore);
        }
        session.peer.received(bytes);
        let transactions = match wire::decode_batch(data) {
            Ok(transactions) => transactions,
            Err(e) => {
                self.on_offence(from, Offence::Garbage, &e.to_string());
                return self.judge(&id, &from, MessageAcceptance::Reject);
            }
        };
        let count = transactions.len() as u64;
        stats.transactions.received(bytes);
        stats.transactions_in.add(count);
        let name = super::gossip::BatchId { message: id, from };
        if let Err(full) = self.transactions.try_send(TransactionBatch { peer: from, id: name, transactions }) {
            stats.dropped_transactions_in.add(count);
            self.judge(&full.into_inner().id.message, &from, MessageAcceptance::Ignore);
        }
    }

    fn judge(&mut self, id: &gossipsub::MessageId, from: &PeerId, acceptance: MessageAcceptance) {
        // False when the message has left the cache meanwhile: then it is not relayed, which is allowed.
        self.swarm.behaviour_mut().gossip.report_message_validation_result(id, from, acceptance);
    }

    // --- Misbehaviour ---

    fn on_offence(&mut self, peer: PeerId, offence: Offence, detail: &str) {
        let now = Instant::now();
        self.context.shared.stats.offences.inc();
        let points = match self.sessions.get_mut(&peer) {
            Some(session) => session.offend(offence, now),
            None => offence.points(),
        };
        if points < BAN_AT {
            return debug!(%peer, ?offence, detail, points, "offence");
        }
        if self.swarm.behaviour().guard.is_banned(&peer, now) {
            return self.close_all(&peer);
        }
        let length = self.swarm.behaviour_mut().guard.ban_peer(peer, self.context.shared.config.ban, now);
        self.context.shared.stats.bans.inc();
        warn!(%peer, ?offence, "banned peer for {} s: {detail}", length.as_secs());
        self.dialer.avoid(&peer, length, now);
        self.close_all(&peer);
    }

    /// An inbound connection that failed before it had an identity: garbage, a scan, a time-out, or a limit of ours.
    fn on_failed_handshake(&mut self, address: &Multiaddr, error: &ListenError) {
        match error {
            ListenError::Denied { cause } => {
                return debug!(%address, reason = %denied(cause), "connection refused");
            }
            // This node has dialled itself; the dialling side deals with it.
            ListenError::LocalPeerId { .. } => return,
            _ => {}
        }
        self.context.shared.stats.failed_handshakes.inc();
        debug!(%address, %error, "inbound handshake failed");
        let Some(ip) = guard::address_of(address) else { return };
        let now = Instant::now();
        if self.failures.len() >= MAX_WATCHED && !self.failures.contains_key(&ip) {
            self.failures.retain(|_, (_, since)| now - *since < FAILURE_WINDOW / 4);
            if self.failures.len() >= MAX_WATCHED {
                return;
            }
        }
        let (count, since) = self.failures.entry(ip).or_insert((0, now));
        if now - *since >= FAILURE_WINDOW {
            (*count, *since) = (0, now);
        }
        *count += 1;
        match *count {
            1 => info!(%address, %error, "inbound connection is not from a Basalt node"),
            n if n >= MAX_FAILURES => {
                *count = 0;
                let ban = self.context.shared.config.ban;
                if let Some(length) = self.swarm.behaviour_mut().guard.ban_address(ip, ban, now) {
                    self.context.shared.stats.bans.inc();
                    warn!(%ip, "banned address for {} s: {MAX_FAILURES} failed handshakes", length.as_secs());
                }
            }
            _ => {}
        }
    }

    // --- Dialling ---

    fn dial_due(&mut self, now: Instant) {
        let due = {
            let connections = &self.connections;
            self.dialer.due(now, |peer| connections.values().any(|c| c.peer == *peer))
        };
        for (index, address) in due {
            let shared = Arc::clone(&self.context.shared);
            self.tasks.spawn(async move {
                let found = timeout(RESOLVE, tokio::net::lookup_host((address.host.as_str(), address.port))).await;
                let result = found.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map(Iterator::collect);
                let _ = shared.commands.send(Command::Resolved { index, result }).await;
            });
        }
    }

    fn on_resolved(&mut self, index: usize, result: std::io::Result<Vec<SocketAddr>>) {
        let target = match result {
            Ok(found) => self.dialer.choose(index, found),
            Err(error) => return self.dial_failed(index, &error.to_string()),
        };
        let Some(target) = target else { return self.dial_failed(index, "the name has no address") };
        let address = Multiaddr::from(target.ip()).with(Protocol::Tcp(target.port()));
        if self.context.shared.listening.borrow().contains(&address) {
            info!(%address, "a peer address is this node's own; not dialled");
            return self.dialer.is_own(index);
        }
        // A port of its own: dialling from the listening port makes two nodes that dial each other at the same moment
        // meet in one broken connection.
        let options = match self.dialer.expects(index) {
            Some(peer) => DialOpts::peer_id(peer)
                .condition(PeerCondition::Disconnected)
                .addresses(vec![address])
                .allocate_new_port()
                .build(),
            None => DialOpts::unknown_peer_id().address(address).allocate_new_port().build(),
        };
        let id = options.connection_id();
        self.dialer.dialling(index, id);
        self.context.shared.stats.dials.inc();
        if let Err(error) = self.swarm.dial(options) {
            self.on_failed_dial(id, &error);
        }
    }

    fn on_failed_dial(&mut self, id: ConnectionId, error: &DialError) {
        let Some(index) = self.dialer.index_of(id) else { return };
        match error {
            DialError::LocalPeerId { address } => {
                info!(%address, "a peer address is this node's own; not dialled again");
                self.dialer.is_own(index);
            }
            DialError::WrongPeerId { obtained, address } => {
                let text = format!("the node at {address} has the identity {obtained}, not the one configured");
                self.dial_failed(index, &text);
            }
            DialError::Denied { cause } => self.dial_failed(index, &denied(cause)),
            other => self.dial_failed(index, &other.to_string()),
        }
    }

    fn dial_failed(&mut self, index: usize, error: &str) {
        self.context.shared.stats.failed_dials.inc();
        let times = self.dialer.failed(index, Instant::now());
        let address = self.dialer.describe(index);
        let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
        if times == 1 {
            info!(address, error, "peer not reached yet, trying again");
        } else {
            debug!(address, error, times, "peer not reached");
        }
    }
}

impl Session {
    /// `None`: not known, or too many already.
    fn start(&mut self, context: &Arc<Context>, protocol: &StreamProtocol, stream: Stream) -> Option<()> {
        let protocols = &context.shared.protocols;
        let (context, peer) = (Arc::clone(context), Arc::clone(&self.peer));
        if *protocol == protocols.head {
            let permit = Arc::clone(&self.heads).try_acquire_owned().ok()?;
            self.tasks.spawn(async move {
                session::read_heads(context, peer, stream).await;
                drop(permit);
            });
        } else if *protocol == protocols.consensus {
            if peer.validator.is_none() {
                context.shared.stats.dropped_consensus_unproven.inc();
                return None;
            }
            let permit = Arc::clone(&self.consensus).try_acquire_owned().ok()?;
            let budget = Arc::clone(&self.consensus_budget);
            self.tasks.spawn(async move {
                session::read_consensus(context, peer, budget, stream).await;
                drop(permit);
            });
        } else {
            let kind = if *protocol == protocols.blocks_by_range { Kind::Range } else { Kind::Hash };
            if !self.requests.take(1.0, Instant::now()) {
                context.shared.stats.refused_requests.inc();
                return None;
            }
            let permit = Arc::clone(&self.served).try_acquire_owned().ok()?;
            self.tasks.spawn(sync::serve(context, peer, kind, stream, permit));
        }
        Some(())
    }

    /// Adds an offence to what is not forgiven yet.
    fn offend(&mut self, offence: Offence, now: Instant) -> f64 {
        let halvings = now.duration_since(self.points_at).as_secs_f64() / FORGIVE.as_secs_f64();
        self.points = self.points * 0.5f64.powf(halvings) + offence.points();
        self.points_at = now;
        self.points
    }
}

impl Context {
    fn peer(&self, id: PeerId, connection: &Connection, hello: &Hello, queue: Option<Arc<FrameQueue>>) -> Peer {
        let config = &self.shared.config;
        let new_queue = || Arc::new(FrameQueue::new(config.consensus_peer_queue, 4 * config.max_frame()));
        Peer {
            id,
            address: connection.address.clone(),
            inbound: !connection.outbound,
            software: wire::printable(&hello.software, wire::MAX_SOFTWARE),
            validator: hello.validator.map(|p| p.public_key),
            since: connection.since,
            head: Mutex::new((hello.head_height.0, hello.head_hash)),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            round_trip: AtomicU64::new(0),
            consensus: queue.unwrap_or_else(new_queue),
            requests: Peer::request_permits(),
        }
    }

    fn session(self: &Arc<Self>, peer: Arc<Peer>, connection: ConnectionId, now: Instant) -> Session {
        let mut tasks = JoinSet::new();
        tasks.spawn(session::announce_heads(Arc::clone(self), Arc::clone(&peer)));
        if self.proof.is_some() && peer.validator.is_some() {
            tasks.spawn(session::send_consensus(Arc::clone(self), Arc::clone(&peer)));
        }
        Session {
            peer,
            connection,
            tasks,
            heads: Arc::new(Semaphore::new(MAX_STREAMS)),
            consensus: Arc::new(Semaphore::new(MAX_STREAMS)),
            consensus_budget: session::consensus_budget(self.shared.config.max_frame()),
            served: Arc::new(Semaphore::new(MAX_SERVED)),
            requests: Bucket::new(REQUESTS.0, REQUESTS.1, now),
            batches: Bucket::new(BATCHES.0, BATCHES.1, now),
            batch_bytes: Bucket::new(BATCH_BYTES.0, BATCH_BYTES.1, now),
            points: 0.0,
            points_at: now,
        }
    }
}

fn denied(cause: &libp2p::swarm::ConnectionDenied) -> String {
    match cause.downcast_ref::<guard::Refused>() {
        Some(reason) => reason.to_string(),
        None => std::error::Error::source(cause).map_or_else(|| cause.to_string(), ToString::to_string),
    }
}
