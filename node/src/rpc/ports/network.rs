//! Peers.

use alloy_primitives::Address;
use basalt_primitives::Height;
use futures::future::BoxFuture;
use serde::Serialize;

/// One connected peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerInfo {
    /// libp2p peer id.
    pub id: String,
    /// Name and version it announced.
    pub name: String,
    /// Address it is connected by.
    pub address: String,
    /// Whether it dialled us.
    pub inbound: bool,
    /// Newest block it has announced.
    pub height: Option<Height>,
    /// Protocols it speaks.
    pub protocols: Vec<String>,
    /// The validator it is, if it has proven to be one.
    pub validator: Option<Address>,
}

/// This node in the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeInfo {
    /// libp2p peer id.
    pub id: String,
    /// Name from the configuration.
    pub name: String,
    /// Addresses it listens on, with its peer id, as others would dial them.
    pub listen_addresses: Vec<String>,
}

/// What the network side knows.
pub trait NetworkInfo: Send + Sync {
    /// This node.
    fn node(&self) -> NodeInfo;
    /// Connected peers.
    fn peers(&self) -> Vec<PeerInfo>;
    /// How many there are.
    fn peer_count(&self) -> usize {
        self.peers().len()
    }
    /// Adds a peer to stay connected to until the node stops; the address is refused with the reason.
    fn add_peer(&self, address: &str) -> BoxFuture<'static, Result<(), String>>;
    /// Leaves a peer, named by its identity or an address that ends with it; false if it was neither listed nor connected.
    fn remove_peer(&self, peer: &str) -> BoxFuture<'static, Result<bool, String>>;
    /// While blocks are being fetched: the height at which that began, and the highest height peers claim.
    fn syncing(&self) -> Option<(Height, Height)>;
}
