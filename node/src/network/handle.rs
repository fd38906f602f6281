//! The node's side of the network: everything here returns at once (except requests for blocks) and may be called from
//! any thread.

use std::{collections::HashSet, sync::Arc};

use basalt_primitives::{B256, Bytes, PublicKey, system::permission::Role};
use basalt_proto::status::StatusRequest;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use super::{
    config::PeerAddr,
    error::RequestError,
    gossip::{BatchId, BatchVerdict},
    members::Members,
    peers::{Peer, PeerInfo},
    shared::{Command, ConsensusFrame, Offence, PeerEvent, Shared, TransactionBatch},
    stats::NetworkStats,
    status::{self, StatusExchange, StatusSource},
    sync,
};

/// Other peers asked for a block by hash, after the likely one.
const ASK_OTHERS: usize = 3;

/// Where the network gets the blocks it serves to peers. Called on threads that may block.
pub trait BlockSource: Send + Sync + 'static {
    /// Height and hash of the newest finalized block.
    fn head(&self) -> (u64, B256);
    /// Finalized blocks by rising height from `from` on, each with its certificate, in the encoding in which they are
    /// synced (`CertifiedBlock`): at most `max_count` and together at most `max_bytes`, and at least one if there is
    /// one that fits.
    fn block_range(&self, from: u64, max_count: usize, max_bytes: usize) -> Vec<Bytes>;
    /// A block by hash, finalized or proposed, encoded (`Block`).
    fn block_by_hash(&self, hash: &B256) -> Option<Bytes>;
    /// The chain's `genesis.json`, for nodes that join; `None`: this node gives none.
    fn genesis(&self) -> Option<Bytes> {
        None
    }
}

/// Who a consensus message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsensusTarget {
    /// All other validators that are connected.
    All,
    /// One of them.
    One(PublicKey),
    /// A peer, whoever it is: proof of work, where [`ConsensusTarget::All`] is all peers.
    Peer(PeerId),
}

/// What comes out of the network. Three channels, so that consensus never waits behind transactions.
#[derive(Debug)]
pub struct NetworkEvents {
    /// Consensus messages of proven validators.
    pub consensus: mpsc::Receiver<ConsensusFrame>,
    /// Transactions, unchecked.
    pub transactions: mpsc::Receiver<TransactionBatch>,
    /// Peers coming, going and moving on.
    pub peers: mpsc::Receiver<PeerEvent>,
}

/// The way to the network. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NetworkHandle {
    pub(super) shared: Arc<Shared>,
}

impl NetworkHandle {
    /// Queues transactions for gossip. What finds no room is dropped and counted.
    pub fn broadcast_transactions(&self, transactions: Vec<Bytes>) {
        let dropped = self.shared.outbox.push(transactions);
        self.shared.stats.dropped_transactions_out.add(dropped);
    }

    /// Says what a received batch was worth; only [`BatchVerdict::Relay`] passes it on to further peers.
    pub fn report_batch(&self, batch: BatchId, verdict: BatchVerdict) {
        self.command(Command::Verdict { batch, verdict });
    }

    /// Reports a peer for something only the node could see, such as a block that does not match its hash.
    pub fn report_peer(&self, peer: PeerId, offence: Offence, detail: impl Into<String>) {
        self.command(Command::Offence { peer, offence, detail: detail.into() });
    }

    /// Queues a consensus message for validators and says for how many. A full queue drops its oldest message.
    pub fn send_consensus(&self, to: ConsensusTarget, message: Bytes) -> usize {
        if message.is_empty() || message.len() > self.shared.config.max_frame() {
            self.shared.stats.dropped_consensus_out.inc();
            return 0;
        }
        let own = self.shared.own_validator;
        let wanted = |peer: &Arc<Peer>| {
            if self.shared.config.open_consensus {
                return match to {
                    ConsensusTarget::All => true,
                    ConsensusTarget::Peer(id) => peer.id == id,
                    ConsensusTarget::One(_) => false,
                };
            }
            let Some(key) = peer.validator else { return false };
            let addressed = match to {
                ConsensusTarget::All => Some(key) != own,
                ConsensusTarget::One(one) => one == key,
                ConsensusTarget::Peer(id) => peer.id == id,
            };
            addressed && self.shared.table.is_validator(&key)
        };
        let peers: Vec<_> = self.shared.table.all().into_iter().filter(wanted).collect();
        for peer in &peers {
            let dropped = peer.consensus.push(message.clone());
            self.shared.stats.dropped_consensus_out.add(dropped);
        }
        peers.len()
    }

    /// Names the validators whose consensus messages are taken: those of the present and the next height. Until it is
    /// called, every proven key is taken.
    pub fn set_validators(&self, keys: impl IntoIterator<Item = PublicKey>) {
        self.shared.table.set_validators(keys.into_iter().collect::<HashSet<_>>());
    }

    /// Names who may connect to a node of a permissioned network. Connections to those who may no more are closed; those to
    /// peers whose standing has changed are closed too, and made anew.
    pub fn set_members(&self, members: Members) {
        self.shared.members.send_if_modified(|list| {
            let new = list.as_deref() != Some(&members);
            if new {
                *list = Some(Arc::new(members));
            }
            new
        });
    }

    /// Who may connect; `None`: the network is not permissioned.
    #[must_use]
    pub fn members(&self) -> Option<Arc<Members>> {
        self.shared.members.borrow().clone()
    }

    /// On a permissioned network: what this node may do; `None` also while it is not on the list.
    #[must_use]
    pub fn own_role(&self) -> Option<Role> {
        self.shared.members.borrow().as_ref()?.get(&self.shared.local_peer).map(|m| m.role)
    }

    /// Tells peers about our new head.
    pub fn announce_head(&self, height: u64, hash: B256) {
        self.shared.head.send_if_modified(|head| {
            let new = *head != (height, hash);
            *head = (height, hash);
            new
        });
    }

    /// Asks a peer for blocks from a height on, as [`BlockSource::block_range`] gives them. It may answer with fewer
    /// than `max_count`, or with none; heights and certificates are for the caller to check.
    pub async fn request_blocks(&self, peer: PeerId, from: u64, max_count: usize) -> Result<Vec<Bytes>, RequestError> {
        let shared = Arc::clone(&self.shared);
        // On the network's own runtime, so that any executor may wait for it.
        let task = self.shared.runtime.spawn(sync::request_range(shared, peer, from, max_count));
        task.await.map_err(|_| RequestError::Closed)?
    }

    /// Asks for one block by its hash: first the peer that likely has it, then up to three others. `None`: nobody
    /// asked has it. Gives the peer too, because the hash is for the caller to check.
    pub async fn request_block_by_hash(
        &self,
        likely: Option<PeerId>,
        hash: B256,
        height: u64,
    ) -> Result<Option<(PeerId, Bytes)>, RequestError> {
        let mut others: Vec<_> = self.shared.table.all();
        others.retain(|p| Some(p.id) != likely && p.standing.serves());
        others.sort_by_key(|p| std::cmp::Reverse(p.head.lock().0));
        let asked = likely.into_iter().chain(others.iter().take(ASK_OTHERS).map(|p| p.id));
        let mut last = Err(RequestError::NotConnected);
        for peer in asked {
            let task = self.shared.runtime.spawn(sync::request_hash(Arc::clone(&self.shared), peer, hash, height));
            last = match task.await.map_err(|_| RequestError::Closed)? {
                Ok(Some(block)) => return Ok(Some((peer, block))),
                Ok(None) => Ok(None),
                // Somebody's honest no tells more than another's silence.
                Err(e) => last.or(Err(e)),
            };
        }
        last
    }

    /// Asks a peer for the chain's `genesis.json`. It is for the caller to check against the hash it knows.
    pub async fn request_genesis(&self, peer: PeerId) -> Result<Bytes, RequestError> {
        let task = self.shared.runtime.spawn(sync::request_genesis(Arc::clone(&self.shared), peer));
        task.await.map_err(|_| RequestError::Closed)?
    }

    /// Names who answers peers that ask about the nodes of the network; the first call counts.
    pub fn serve_status(&self, source: Arc<dyn StatusSource>) {
        let _ = self.shared.status.set(source);
    }

    /// Asks a peer about the nodes it knows, and compares clocks.
    pub async fn exchange_status(&self, peer: PeerId, request: StatusRequest) -> Result<StatusExchange, RequestError> {
        let task = self.shared.runtime.spawn(status::exchange(Arc::clone(&self.shared), peer, request));
        task.await.map_err(|_| RequestError::Closed)?
    }

    /// The connected peers, by identity.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.shared.table.infos()
    }

    /// How many peers are connected.
    #[must_use]
    pub fn peer_count(&self) -> usize {
        self.shared.table.len()
    }

    /// The connected peer that has proven to hold a validator key.
    #[must_use]
    pub fn peer_of_validator(&self, key: &PublicKey) -> Option<PeerId> {
        self.shared.table.all().into_iter().find(|p| p.validator == Some(*key)).map(|p| p.id)
    }

    /// Closes the connections to a peer. A static peer is dialled again.
    pub fn disconnect(&self, peer: PeerId) {
        self.command(Command::Disconnect { peer });
    }

    /// Adds a peer to stay connected to, until this process ends; false when there are [`super::MAX_STATIC_PEERS`] already.
    pub async fn add_peer(&self, address: PeerAddr) -> Result<bool, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::AddPeer { address, reply }, answer).await
    }

    /// Leaves a peer: it is not dialled again and its connections are closed. False if it was neither listed nor
    /// connected. It is not banned and may come back by itself.
    pub async fn remove_peer(&self, peer: PeerId) -> Result<bool, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::RemovePeer { peer, reply }, answer).await
    }

    async fn ask<T>(&self, command: Command, answer: oneshot::Receiver<T>) -> Result<T, RequestError> {
        self.shared.commands.send(command).await.map_err(|_| RequestError::Closed)?;
        answer.await.map_err(|_| RequestError::Closed)
    }

    /// This node's identity on the network.
    #[must_use]
    pub fn local_peer_id(&self) -> PeerId {
        self.shared.local_peer
    }

    /// The addresses this node listens on; empty for a moment after the start.
    #[must_use]
    pub fn listening(&self) -> Vec<Multiaddr> {
        self.shared.listening.borrow().clone()
    }

    /// Waits for the first address this node listens on. `None`: it was shut down before.
    pub async fn wait_listening(&self) -> Option<Multiaddr> {
        let mut listening = self.shared.listening.subscribe();
        let mut stopped = self.shared.stopped.subscribe();
        tokio::select! {
            addresses = listening.wait_for(|a| !a.is_empty()) => addresses.ok()?.first().cloned(),
            _ = stopped.wait_for(|s| *s) => None,
        }
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Arc<NetworkStats> {
        Arc::clone(&self.shared.stats)
    }

    /// Ends the network side: connections are closed, the event channels end. Returns at once.
    pub fn shutdown(&self) {
        self.shared.stop.send_replace(true);
    }

    /// Whether the network side has ended.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.shared.stopped.borrow()
    }

    /// Waits until the network side has ended.
    pub async fn wait_stopped(&self) {
        // The sender lives in `shared`, so this only ends with the value.
        let _ = self.shared.stopped.subscribe().wait_for(|s| *s).await;
    }

    fn command(&self, command: Command) {
        // Full or closed: a report that is lost costs nothing but itself.
        let _ = self.shared.commands.try_send(command);
    }
}
