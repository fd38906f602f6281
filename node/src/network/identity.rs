//! Who this node is on the network, and the proof that its connections speak for a validator.

use basalt_primitives::{B256, PublicKey, SecretKey};
use basalt_proto::wire::ValidatorProof;
use libp2p::{PeerId, identity};

/// The node's network identity: its Ed25519 node key. Peers know it by the peer id that follows from the key.
#[derive(Clone)]
pub struct Identity {
    keypair: identity::Keypair,
}

impl Identity {
    /// The identity of a node key.
    #[must_use]
    pub fn new(key: &SecretKey) -> Self {
        // `ed25519_from_bytes` clears the copy it is given, and fails only for a length other than 32.
        let mut seed = key.to_bytes();
        let keypair = identity::Keypair::ed25519_from_bytes(&mut seed[..]).expect("a seed has 32 bytes");
        Self { keypair }
    }

    /// The peer id.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.keypair.public().to_peer_id()
    }

    pub(super) fn keypair(&self) -> identity::Keypair {
        self.keypair.clone()
    }
}

/// The peer id of a node's public key, as it stands in peer addresses.
#[must_use]
pub fn peer_id_of(key: &PublicKey) -> Option<PeerId> {
    let key = identity::ed25519::PublicKey::try_from_bytes(&key.0).ok()?;
    Some(identity::PublicKey::from(key).to_peer_id())
}

/// Signs the proof that a peer id speaks for a validator's key. Bound to the chain and to the peer id, so it is worth
/// nothing to anyone else.
pub(super) fn prove(key: &SecretKey, genesis: &B256, peer: &PeerId) -> ValidatorProof {
    ValidatorProof::sign(key, *genesis, &peer.to_bytes())
}
