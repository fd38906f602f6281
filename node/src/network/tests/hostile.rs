//! Peers that break the rules: each is disconnected, counted and, where it could come back, banned; the others notice
//! nothing.

use std::{io::Write as _, net::TcpStream, time::Duration};

use basalt_primitives::{B256, Bytes, Height, SecretKey};
use basalt_proto::Codec as _;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder,
    multiaddr::Protocol,
    noise,
    swarm::{ConnectionId, SwarmEvent},
    tcp, yamux,
};
use tokio::sync::oneshot;

use super::harness::{Node, eventually, identity, mesh, plan, soon, validator_key};
use crate::network::{
    ConsensusTarget,
    identity::prove,
    streams,
    wire::{Hello, Protocols},
};

const SEED: u8 = 66;

/// A peer that speaks TCP, Noise and Yamux well, and everything above as the test wants.
struct Villain {
    swarm: Swarm<streams::Behaviour>,
    target: PeerId,
    connection: ConnectionId,
    protocols: Protocols,
}

impl Villain {
    async fn connect(node: &Node, seed: u8) -> Option<Self> {
        let protocols = Protocols::new(&B256::repeat_byte(0xaa));
        let mut swarm = SwarmBuilder::with_existing_identity(identity(seed).keypair())
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .expect("transport")
            .with_behaviour(|_| streams::Behaviour::new(Vec::new()))
            .expect("behaviour")
            .with_swarm_config(|c| c.with_idle_connection_timeout(Duration::from_secs(60)))
            .build();
        let address = Multiaddr::from(node.address.ip()).with(Protocol::Tcp(node.address.port()));
        swarm.dial(address).expect("dials");
        loop {
            match soon(swarm.next()).await? {
                SwarmEvent::ConnectionEstablished { connection_id, .. } => {
                    return Some(Self { swarm, target: node.id(), connection: connection_id, protocols });
                }
                SwarmEvent::OutgoingConnectionError { .. } => return None,
                _ => {}
            }
        }
    }

    /// Opens a stream while driving the connection; `None` when it closes meanwhile.
    async fn open(&mut self, protocol: StreamProtocol) -> Option<Stream> {
        let (reply, mut answer) = oneshot::channel();
        self.swarm.behaviour_mut().open(self.target, self.connection, protocol, reply);
        loop {
            tokio::select! {
                answer = &mut answer => return answer.ok()?.ok(),
                event = self.swarm.select_next_some() => {
                    if matches!(event, SwarmEvent::ConnectionClosed { .. }) {
                        return None;
                    }
                }
            }
        }
    }

    async fn write(&mut self, stream: &mut Stream, bytes: &[u8]) {
        let write = async {
            // It may be cut off while it writes; that is the point.
            let _ = stream.write_all(bytes).await;
            let _ = stream.flush().await;
        };
        tokio::select! {
            () = write => {}
            () = drive(&mut self.swarm) => {}
        }
    }

    async fn hello(&mut self, hello: &Hello) -> Option<()> {
        let mut stream = self.open(self.protocols.hello.clone()).await?;
        self.write(&mut stream, &framed(&hello.encode())).await;
        let mut answer = Vec::new();
        tokio::select! {
            _ = stream.read_to_end(&mut answer) => {}
            () = drive(&mut self.swarm) => {}
        }
        (answer.len() > 4).then_some(())
    }

    /// Waits for the other side to hang up.
    async fn wait_until_cut_off(mut self) {
        soon(drive(&mut self.swarm)).await;
    }
}

/// Ends when the connection does.
async fn drive(swarm: &mut Swarm<streams::Behaviour>) {
    while swarm.is_connected_to_anyone() {
        swarm.next().await;
    }
}

trait Connected {
    fn is_connected_to_anyone(&self) -> bool;
}

impl Connected for Swarm<streams::Behaviour> {
    fn is_connected_to_anyone(&self) -> bool {
        self.connected_peers().next().is_some()
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

fn honest_hello() -> Hello {
    let genesis = B256::repeat_byte(0xaa);
    let proof = prove(&validator_key(SEED), &genesis, &identity(SEED).peer_id());
    Hello {
        protocol_min: 1,
        protocol_max: 1,
        genesis_hash: genesis,
        head_height: Height(0),
        head_hash: B256::ZERO,
        software: "villain".into(),
        validator: Some(proof),
    }
}

/// The two honest nodes still talk.
async fn goes_on(nodes: &mut [Node]) {
    let message = Bytes::from_static(b"still here");
    assert!(nodes[0].handle.send_consensus(ConsensusTarget::All, message.clone()) >= 1);
    assert_eq!(soon(nodes[1].events.consensus.recv()).await.expect("a frame").bytes, message);
}

#[tokio::test]
async fn garbage_over_tcp_is_counted_and_does_no_harm() {
    let mut nodes = mesh(2).await;
    let address = nodes[0].address;
    let noise: Vec<u8> = (0..10_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let attack = move || {
        for (i, kind) in
            (0..30).zip([&noise[..], b"GET / HTTP/1.1\r\n\r\n", b"\x13/multistream/1.0.0\n\xff\xff\xff"].iter().cycle())
        {
            let mut socket = TcpStream::connect(address).expect("connects");
            // It may be cut off while it writes.
            let _ = socket.write_all(&kind[..kind.len() - i % 3]);
        }
    };
    tokio::task::spawn_blocking(attack).await.expect("attack");
    eventually("the failures are counted", || nodes[0].handle.stats().failed_handshakes.get() >= 30).await;
    goes_on(&mut nodes).await;
}

#[tokio::test]
async fn a_garbage_hello_is_banned_for_a_while() {
    let mut nodes = mesh(2).await;
    let mut villain = Villain::connect(&nodes[0], SEED).await.expect("connects");
    let mut stream = villain.open(villain.protocols.hello.clone()).await.expect("opens");
    villain.write(&mut stream, &framed(&[0xff; 100])).await;
    villain.wait_until_cut_off().await;
    let stats = nodes[0].handle.stats();
    assert_eq!((stats.bans.get(), stats.banned()), (1, 1));
    // Refused as soon as its identity is known; it sees the connection close at once or not open at all.
    if let Some(again) = Villain::connect(&nodes[0], SEED).await {
        again.wait_until_cut_off().await;
    }
    eventually("refused", || stats.refused_connections.get() >= 1).await;
    goes_on(&mut nodes).await;
}

#[tokio::test]
async fn frames_that_lie_about_their_length_are_cut_off() {
    let mut nodes = mesh(2).await;
    for (seed, protocol) in [(SEED, "consensus"), (SEED + 1, "head"), (SEED + 2, "hello")] {
        let mut villain = Villain::connect(&nodes[0], seed).await.expect("connects");
        let mut hello = honest_hello();
        hello.validator = Some(prove(&validator_key(SEED), &hello.genesis_hash, &identity(seed).peer_id()));
        let protocols = villain.protocols.clone();
        let name = match protocol {
            "hello" => protocols.hello,
            _ => {
                villain.hello(&hello).await.expect("is greeted");
                if protocol == "head" { protocols.head } else { protocols.consensus }
            }
        };
        let mut stream = villain.open(name).await.expect("opens");
        villain.write(&mut stream, &[0xff, 0xff, 0xff, 0xff, 1, 2, 3]).await;
        villain.wait_until_cut_off().await;
    }
    assert_eq!(nodes[0].handle.stats().bans.get(), 3);
    goes_on(&mut nodes).await;
}

#[tokio::test]
async fn nothing_counts_before_hello() {
    let mut nodes = mesh(2).await;
    let mut villain = Villain::connect(&nodes[0], SEED).await.expect("connects");
    let mut early = villain.open(villain.protocols.consensus.clone()).await.expect("opens");
    villain.write(&mut early, &framed(b"early")).await;
    goes_on(&mut nodes).await;
    assert!(nodes[0].events.consensus.try_recv().is_err(), "a frame before Hello was taken");
    villain.hello(&honest_hello()).await.expect("is greeted");
    // What was opened early is read now, and not before.
    let frame = tokio::select! {
        frame = soon(nodes[0].events.consensus.recv()) => frame.expect("a frame"),
        () = drive(&mut villain.swarm) => panic!("cut off"),
    };
    assert_eq!((frame.validator, &frame.bytes[..]), (validator_key(SEED).public_key(), &b"early"[..]));
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let mut p = plan(1);
    p.config.hello_timeout = Duration::from_millis(300);
    let a = p.start().await;
    let villain = Villain::connect(&a, SEED).await.expect("connects");
    villain.wait_until_cut_off().await;
    assert_eq!(a.handle.stats().offences.all(), 1);
}

#[tokio::test]
async fn a_stolen_validator_proof_is_refused() {
    let nodes = mesh(2).await;
    let mut villain = Villain::connect(&nodes[0], SEED).await.expect("connects");
    let mut hello = honest_hello();
    // Node 2's proof, shown by somebody else.
    hello.validator = Some(prove(&validator_key(2), &hello.genesis_hash, &nodes[1].id()));
    villain.hello(&hello).await;
    villain.wait_until_cut_off().await;
    assert_eq!(nodes[0].handle.stats().refused_hellos.get(), 1);
    assert_eq!(nodes[0].handle.peer_of_validator(&validator_key(2).public_key()), Some(nodes[1].id()));
}

#[tokio::test]
async fn versions_without_overlap_part() {
    let a = plan(1).start().await;
    let mut villain = Villain::connect(&a, SEED).await.expect("connects");
    villain.hello(&Hello { protocol_min: 7, protocol_max: 9, ..honest_hello() }).await;
    villain.wait_until_cut_off().await;
    assert_eq!(a.handle.stats().refused_hellos.get(), 1);
    // A newer node that still speaks version 1 is welcome.
    let mut newer = Villain::connect(&a, SEED + 1).await.expect("connects");
    let key = SecretKey::from_bytes(&[3; 32]);
    let proof = Some(prove(&key, &B256::repeat_byte(0xaa), &identity(SEED + 1).peer_id()));
    newer
        .hello(&Hello { protocol_min: 1, protocol_max: 9, validator: proof, ..honest_hello() })
        .await
        .expect("is greeted");
    tokio::select! {
        () = a.has_peers(1) => {}
        () = drive(&mut newer.swarm) => panic!("cut off"),
    }
}

#[tokio::test]
async fn a_peer_without_proof_cannot_speak_consensus() {
    let mut nodes = mesh(2).await;
    let mut villain = Villain::connect(&nodes[0], SEED).await.expect("connects");
    villain.hello(&Hello { validator: None, ..honest_hello() }).await.expect("is greeted");
    if let Some(mut stream) = villain.open(villain.protocols.consensus.clone()).await {
        villain.write(&mut stream, &framed(b"vote for me")).await;
    }
    let stats = nodes[0].handle.stats();
    tokio::select! {
        () = eventually("the refusal", || stats.dropped_consensus_unproven.get() == 1) => {}
        () = drive(&mut villain.swarm) => panic!("cut off"),
    }
    goes_on(&mut nodes).await;
    assert!(nodes[0].events.consensus.try_recv().is_err());
}

#[tokio::test]
async fn streams_and_requests_are_limited_per_peer() {
    let mut nodes = mesh(2).await;
    let mut villain = Villain::connect(&nodes[0], SEED).await.expect("connects");
    villain.hello(&honest_hello()).await.expect("is greeted");
    let stats = nodes[0].handle.stats();
    let mut open = Vec::new();
    // Requests that are never finished.
    for _ in 0..20 {
        open.extend(villain.open(villain.protocols.blocks_by_range.clone()).await);
    }
    tokio::select! {
        () = eventually("refusals", || stats.refused_streams.get() >= 10) => {}
        () = drive(&mut villain.swarm) => {}
    }
    goes_on(&mut nodes).await;
}
