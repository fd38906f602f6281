//! Catching up: gets single blocks that the engine misses, and ranges of blocks when peers are ahead. It works beside
//! voting and never waits for it; what it brings is certified, so what a peer claims is only a hint where to ask.

mod serve;

use std::{pin::pin, sync::Arc, time::Duration};

use basalt_primitives::{
    B256, Bytes, CommitCertificate, Height, PublicKey, SealedBlock, ValidatorSet, validators::CertificateError,
};
use basalt_proto::{CertifiedBlock, Codec as _, block::BlockError};
use futures::{StreamExt as _, stream};
use libp2p::PeerId;
use rand::seq::IteratorRandom as _;
use tokio::{runtime::Handle, sync::watch, time};

use crate::{
    chain::Chain,
    driver::{runtime::DriverHandle, verify::Verifier},
    network::{NetworkHandle, Offence},
};

pub use serve::Blocks;

/// How often peers' heads are compared with ours.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A validator that votes gets blocks by voting; it asks peers only when it has been behind for this long.
const VOTER_PATIENCE: Duration = Duration::from_millis(400);
/// Blocks asked for at once.
const RANGE: usize = 128;
/// Blocks whose signatures are checked at once: while one is executed, the next. Not more, because a certificate is checked first,
/// by the validators of its height, and these are known two blocks ahead.
const CHECKED_AHEAD: usize = 2;
/// How long the driver may take for one block before the rest of a range is given up.
const BLOCK_WITHIN: Duration = Duration::from_secs(30);

/// Gets single blocks by hash.
#[derive(Clone)]
pub struct Fetcher {
    /// The chain.
    pub chain: Chain,
    /// Where to ask.
    pub network: NetworkHandle,
    /// Checks bodies.
    pub verifier: Verifier,
    /// Runs the requests.
    pub runtime: Handle,
}

impl Fetcher {
    /// Looks for a block, first at the validator named, and hands it to `then`, or `None` when nobody asked has it.
    pub fn fetch(
        &self,
        hash: B256,
        height: Height,
        likely: Option<PublicKey>,
        then: impl FnOnce(Option<SealedBlock>) + Send + 'static,
    ) {
        let peer = likely.and_then(|key| self.network.peer_of_validator(&key));
        self.fetch_from(hash, height, peer, then);
    }

    /// The same, first at a peer.
    pub fn fetch_from(
        &self,
        hash: B256,
        height: Height,
        peer: Option<PeerId>,
        then: impl FnOnce(Option<SealedBlock>) + Send + 'static,
    ) {
        let me = self.clone();
        self.runtime.spawn(async move {
            let found = match me.network.request_block_by_hash(peer, hash, height.0).await {
                Ok(Some((peer, bytes))) => me.checked(peer, hash, bytes).await,
                Ok(None) => None,
                Err(e) => {
                    tracing::debug!(%hash, "could not fetch a block: {e}");
                    None
                }
            };
            // May wait for the driver, so not on a thread of the network.
            let _ = tokio::task::spawn_blocking(move || then(found)).await;
        });
    }

    async fn checked(&self, peer: PeerId, hash: B256, bytes: Bytes) -> Option<SealedBlock> {
        let me = self.clone();
        match tokio::task::spawn_blocking(move || check_fetched(&me.verifier, hash, bytes)).await.ok()? {
            Ok(block) => Some(block),
            Err(reason) => {
                self.network.report_peer(peer, Offence::Garbage, format!("block {hash}: {reason}"));
                None
            }
        }
    }
}

/// When a node that is behind asks for blocks: a follower at once, a validator once voting has not brought them for a while.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// Since when it is behind, and its height then.
    since: Option<(Duration, Height)>,
}

impl Patience {
    /// Looks at `now` (monotonic): gives the height to catch up with when it is time to ask. `claimed` is a height above
    /// `own` that a peer claims, if any does; `votes`: whether this node votes at the next height.
    pub fn over(&mut self, now: Duration, own: Height, claimed: Option<Height>, votes: bool) -> Option<Height> {
        let Some(claimed) = claimed else {
            self.since = None;
            return None;
        };
        let wait = if votes { VOTER_PATIENCE } else { Duration::ZERO };
        let (since, at) = *self.since.get_or_insert((now, own));
        // Progress by voting starts the wait anew.
        if at != own && claimed.0 - own.0 <= 2 {
            self.since = None;
        } else if now.saturating_sub(since) >= wait {
            self.since = None;
            return Some(claimed);
        }
        None
    }
}

/// How far the node has come in catching up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// While blocks are fetched: where that began, and the highest height peers claim.
    pub syncing: Option<(Height, Height)>,
}

/// Follows the peers' heads.
pub struct Syncer {
    /// The chain.
    pub chain: Chain,
    /// Where to ask.
    pub network: NetworkHandle,
    /// Takes the blocks.
    pub driver: DriverHandle,
    /// Checks bodies.
    pub verifier: Verifier,
    /// This node's validator key; it votes at the heights whose set has it.
    pub own: Option<PublicKey>,
    /// The newest executed height.
    pub executed: watch::Receiver<Height>,
    /// Where progress is shown.
    pub progress: watch::Sender<Progress>,
}

impl Syncer {
    /// Runs until the driver is gone.
    pub async fn run(mut self) {
        let mut patience = Patience::default();
        let start = time::Instant::now();
        loop {
            time::sleep(LOOK_EVERY).await;
            if self.executed.has_changed().is_err() {
                return;
            }
            let own = *self.executed.borrow_and_update();
            let claimed = self.highest_claim().filter(|claimed| *claimed > own);
            if claimed.is_none() {
                self.progress.send_if_modified(|p| p.syncing.take().is_some());
            }
            if let Some(claimed) = patience.over(start.elapsed(), own, claimed, self.votes(own)) {
                self.catch_up(own, claimed).await;
            }
        }
    }

    /// Whoever votes at the next height gets its block by voting.
    fn votes(&self, executed: Height) -> bool {
        let set = self.chain.sets.at(executed.next());
        self.own.zip(set).is_some_and(|(key, set)| set.index_of(&key).is_some())
    }

    fn highest_claim(&self) -> Option<Height> {
        self.network.peers().iter().filter(|p| p.serves).map(|p| Height(p.head.0)).max()
    }

    /// Fetches range after range while there is progress.
    async fn catch_up(&self, start: Height, claimed: Height) {
        // A claim is a hint with a deadline: it is shown, and believed only as far as certificates reach.
        self.progress.send_modify(|p| p.syncing = Some((p.syncing.map_or(start, |(s, _)| s), claimed)));
        let mut own = start;
        let mut range = self.fetch(own, claimed).await;
        while let Some((peer, blocks)) = range {
            let last = Height(own.0 + blocks.len() as u64);
            // The next range travels while this one is checked and executed.
            let (taken, next) = futures::join!(self.take(peer, own, blocks), self.fetch(last, claimed));
            if !taken {
                return;
            }
            (own, range) = (last, next);
        }
    }

    /// Blocks above `own` and the peer that sent them; `None` when nobody has any.
    async fn fetch(&self, own: Height, claimed: Height) -> Option<(PeerId, Vec<Bytes>)> {
        if own >= claimed {
            return None;
        }
        let ahead = self.network.peers().into_iter().filter(|p| p.serves && p.head.0 > own.0);
        let peer = ahead.choose(&mut rand::rng())?.peer_id;
        match self.network.request_blocks(peer, own.next().0, RANGE).await {
            Ok(blocks) => Some((peer, blocks)).filter(|(_, blocks)| !blocks.is_empty()),
            Err(e) => {
                tracing::debug!(%peer, "could not get blocks: {e}");
                None
            }
        }
    }

    /// Checks the blocks above `own` and hands them to the driver one by one; false when one of them led nowhere.
    async fn take(&self, peer: PeerId, own: Height, blocks: Vec<Bytes>) -> bool {
        let mut executed = self.executed.clone();
        let checks = blocks.into_iter().zip(own.0..).map(|(bytes, parent)| {
            let (chain, verifier) = (self.chain.clone(), self.verifier.clone());
            tokio::task::spawn_blocking(move || check_synced(&chain, &verifier, Height(parent), bytes))
        });
        let mut checks = pin!(stream::iter(checks).buffered(CHECKED_AHEAD));
        while let Some(checked) = checks.next().await {
            let Ok(checked) = checked else { return false };
            let (block, certificate) = match asked_for(checked) {
                Ok(good) => good,
                Err(reason) => {
                    self.network.report_peer(peer, Offence::Garbage, reason);
                    return false;
                }
            };
            let height = block.height();
            if height <= *executed.borrow() {
                // Voting has brought it meanwhile.
                continue;
            }
            let driver = self.driver.clone();
            if tokio::task::spawn_blocking(move || driver.synced(block, certificate)).await.is_err() {
                return false;
            }
            if !matches!(time::timeout(BLOCK_WITHIN, executed.wait_for(|h| *h >= height)).await, Ok(Ok(_))) {
                return false;
            }
        }
        true
    }
}

/// A block with the certificate that was verified for it.
pub type Certified = (SealedBlock, Arc<CommitCertificate>);

/// Checks a synced block: certificate against the set of its height, body, and every transaction's signature.
/// `None` when it is not above the head any more.
pub fn check_synced(
    chain: &Chain,
    verifier: &Verifier,
    parent: Height,
    bytes: Bytes,
) -> Result<Option<Certified>, String> {
    let certified = CertifiedBlock::decode(bytes).map_err(|e| e.to_string())?;
    let (block, certificate) = certified.seal(chain.spec.hash_fn);
    if block.height() <= parent {
        return Ok(None);
    }
    if block.height() != parent.next() {
        return Err(format!("block {} came where {} was asked for", block.height(), parent.next()));
    }
    let unknown = || format!("the validators of height {} are not known here yet", block.height());
    let set = chain.sets.at(block.height()).ok_or_else(unknown)?;
    basalt_proto::block::check_certificate(block.header(), block.hash(), certificate.as_deref(), &set, chain.genesis)
        .map_err(|e| without_override(&e, &set))?;
    let Some(certificate) = certificate else { return Ok(None) };
    verifier.check_body(&block).map_err(|e| e.to_string())?;
    Ok(Some((block, certificate)))
}

/// Blocks were asked for by height, so one below is as wrong as one above: a peer could otherwise pass old blocks off as progress
/// and have this node ask it, and nobody else, for ever.
fn asked_for(checked: Result<Option<Certified>, String>) -> Result<Certified, String> {
    checked?.ok_or_else(|| "a block came that is below the one that was asked for".to_owned())
}

/// Why a certificate was refused; one below the quorum may be that of a chain restarted by a set override unknown here.
fn without_override(error: &BlockError, set: &ValidatorSet) -> String {
    match error {
        BlockError::Certificate(CertificateError::BelowQuorum { height, .. }) if !set.is_overridden() => format!(
            "{error}; if the operators have agreed on a set override for height {height} or the one before, this node cannot \
             go past it without the file: name it in `consensus.override` and start the node again"
        ),
        _ => error.to_string(),
    }
}

/// Checks a single block that was asked for by hash: that it is the one, and its body.
pub fn check_fetched(verifier: &Verifier, hash: B256, bytes: Bytes) -> Result<SealedBlock, String> {
    let block = basalt_primitives::Block::decode(bytes).map_err(|e| e.to_string())?;
    let block = SealedBlock::new(block, verifier.spec.hash_fn);
    if block.hash() != hash {
        return Err("it is another block than was asked for".to_owned());
    }
    verifier.check_body(&block).map_err(|e| e.to_string())?;
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_block_is_no_answer() {
        assert!(asked_for(Ok(None)).is_err_and(|reason| reason.contains("below")), "not skipped: no progress was made");
        assert!(asked_for(Err("bad".to_owned())).is_err_and(|reason| reason == "bad"));
    }
}
