//! What can go wrong, in one plain sentence each.

use std::net::SocketAddr;

/// The network could not be started.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Another process listens there.
    #[error("the peer-to-peer address {0} is already in use: stop the other process or choose another port (`listen`)")]
    PortInUse(SocketAddr),
    /// The address cannot be bound.
    #[error("cannot listen for peers on {address}: {reason}; choose an address of this machine (`listen`)")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// A setting that cannot work.
    #[error("the network setting `{setting}` {problem}")]
    Config {
        /// Name of the setting.
        setting: &'static str,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// The transport could not be set up.
    #[error("the peer-to-peer transport could not be set up: {0}")]
    Transport(String),
}

/// A static peer's address that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a peer address ({problem}): write host:port, host:port/p2p/ID or /dns4/host/tcp/port/p2p/ID")]
pub struct PeerAddrError {
    pub(super) text: String,
    pub(super) problem: &'static str,
}

/// A request to a peer failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No connection to that peer (or to any).
    #[error("not connected to the peer")]
    NotConnected,
    /// Nothing within the deadline.
    #[error("the peer did not answer within {0} ms")]
    Timeout(u128),
    /// Too many requests to this peer are under way.
    #[error("too many requests to this peer are under way; wait for one to finish")]
    Busy,
    /// The peer does not speak the protocol.
    #[error("the peer does not serve this request")]
    Unsupported,
    /// The answer breaks the protocol; the peer has been penalised.
    #[error("the peer's answer is malformed: {0}")]
    Malformed(String),
    /// The connection broke.
    #[error("the connection to the peer broke: {0}")]
    Io(String),
    /// The network has been shut down.
    #[error("the network is shut down")]
    Closed,
}
