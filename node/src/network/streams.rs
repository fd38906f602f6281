//! Raw substreams: opening them by protocol name on a given connection, and taking those the peer opens.
//!
//! Written here rather than taken from `libp2p-stream`, which addresses peers instead of connections, drops inbound
//! streams when two arrive at once, and (0.5.0-alpha) keeps an entry for ever for every connection a stranger makes.

use std::{
    collections::VecDeque,
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    task::{Context, Poll, Waker},
    time::Duration,
};

use libp2p::{
    InboundUpgrade, Multiaddr, OutboundUpgrade, PeerId, Stream, StreamProtocol,
    core::{Endpoint, UpgradeInfo, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandlerInEvent, ToSwarm,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use tokio::sync::oneshot;

use super::error::RequestError;

/// How long agreeing on a protocol may take.
const NEGOTIATION: Duration = Duration::from_secs(5);
/// Inbound streams a connection may have ready before the behaviour has taken them.
const MAX_READY: usize = 32;
/// Outbound streams a connection may be asked for before they are open.
const MAX_ASKED: usize = 64;

pub(super) type Reply = oneshot::Sender<Result<Stream, RequestError>>;

/// A stream the peer has opened.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) connection: ConnectionId,
    pub(super) protocol: StreamProtocol,
    pub(super) stream: OpaqueStream,
}

/// A stream that can be printed (events must be).
pub(super) struct OpaqueStream(pub(super) Stream);

impl fmt::Debug for OpaqueStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

/// The request to open a stream.
#[derive(Debug)]
pub(super) struct Open {
    protocol: StreamProtocol,
    reply: Reply,
}

pub(super) struct Behaviour {
    protocols: Vec<StreamProtocol>,
    events: VecDeque<ToSwarm<Inbound, Open>>,
    waker: Option<Waker>,
}

impl Behaviour {
    pub(super) fn new(protocols: Vec<StreamProtocol>) -> Self {
        Self { protocols, events: VecDeque::new(), waker: None }
    }

    /// Opens a stream on one connection. The answer comes by `reply`; when the connection goes, `reply` is dropped.
    pub(super) fn open(&mut self, peer_id: PeerId, connection: ConnectionId, protocol: StreamProtocol, reply: Reply) {
        self.events.push_back(ToSwarm::NotifyHandler {
            peer_id,
            handler: NotifyHandler::One(connection),
            event: Open { protocol, reply },
        });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Inbound;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::new(self.protocols.clone()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::new(self.protocols.clone()))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        connection: ConnectionId,
        (protocol, stream): (StreamProtocol, OpaqueStream),
    ) {
        self.events.push_back(ToSwarm::GenerateEvent(Inbound { connection, protocol, stream }));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Inbound, THandlerInEvent<Self>>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// Opens and takes the streams of one connection.
pub(super) struct Handler {
    protocols: Vec<StreamProtocol>,
    asked: VecDeque<Open>,
    ready: VecDeque<(StreamProtocol, OpaqueStream)>,
    waker: Option<Waker>,
}

impl Handler {
    fn new(protocols: Vec<StreamProtocol>) -> Self {
        Self { protocols, asked: VecDeque::new(), ready: VecDeque::new(), waker: None }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = (StreamProtocol, OpaqueStream);
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Reply;

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade> {
        SubstreamProtocol::new(Upgrade(self.protocols.clone()), ()).with_timeout(NEGOTIATION)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Upgrade, Reply, Self::ToBehaviour>> {
        if let Some(inbound) = self.ready.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(inbound));
        }
        if let Some(Open { protocol, reply }) = self.asked.pop_front() {
            let protocol = SubstreamProtocol::new(Upgrade(vec![protocol]), reply).with_timeout(NEGOTIATION);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, open: Open) {
        if self.asked.len() < MAX_ASKED {
            self.asked.push_back(open);
            self.wake();
        } else {
            // The receiver may have gone; then nobody needs to know.
            let _ = open.reply.send(Err(RequestError::Busy));
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Upgrade, Upgrade, (), Reply>) {
        match event {
            // Above the bound the stream is dropped, which resets it.
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (stream, name), .. })
                if self.ready.len() < MAX_READY =>
            {
                self.ready.push_back((name, OpaqueStream(stream)));
                self.wake();
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: (stream, _), info }) => {
                let _ = info.send(Ok(stream));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                let _ = info.send(Err(match error {
                    StreamUpgradeError::Timeout => RequestError::Timeout(NEGOTIATION.as_millis()),
                    StreamUpgradeError::NegotiationFailed => RequestError::Unsupported,
                    StreamUpgradeError::Io(e) => RequestError::Io(e.to_string()),
                    StreamUpgradeError::Apply(never) => match never {},
                }));
            }
            _ => {}
        }
    }
}

/// Agrees on one of these protocols and hands out the stream as it is.
#[derive(Debug, Clone)]
pub(super) struct Upgrade(Vec<StreamProtocol>);

impl UpgradeInfo for Upgrade {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Upgrade {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok((stream, name)))
    }
}

impl OutboundUpgrade<Stream> for Upgrade {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, name: StreamProtocol) -> Self::Future {
        ready(Ok((stream, name)))
    }
}
