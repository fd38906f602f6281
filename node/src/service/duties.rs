//! What a validator does by itself beside voting: it says that it is ready while its place in the set is being decided, and
//! brings evidence to the chain. Both are native transactions from the validator's own account, through the own mempool.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use basalt_execution::{CallRequest, StateOverrides, StateReader as _, system};
use basalt_primitives::{
    Address, Bytes, Height, SecretKey, U256,
    system::{
        VALIDATORS, calls,
        evidence::Equivocation,
        validators::{self, MAX_EVIDENCE_PER_KEY, READY_BLOCKS, Status},
    },
    tx::{NativeTx, SecurityLevel, SignedNative},
};
use tokio::sync::watch;

use crate::{
    chain::{Chain, StateView},
    clock,
    evidence::EvidenceBook,
    ingress::Ingress,
    mempool::SharedPool,
    network::NetworkHandle,
    proposer,
    rpc::ports::TxSubmitter as _,
};

/// How often the duties are looked at.
const EVERY: Duration = Duration::from_millis(500);
/// A transaction that did not get into a block is sent again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(15);
/// The transactions are good for so many blocks.
const VALID_FOR: u64 = 64;
/// A node further behind its peers than this is not synced.
const MAX_BEHIND: u64 = 2;
/// One after the other, so that not every validator brings the same evidence: each waits this long for each before it.
const EVIDENCE_STAGGER: Duration = Duration::from_secs(2);

/// A validator's duties.
pub(super) struct Duties {
    pub chain: Chain,
    pub pool: SharedPool,
    pub network: NetworkHandle,
    pub ingress: Ingress,
    pub key: SecretKey,
    pub evidence: EvidenceBook,
    pub executed: watch::Receiver<Height>,
}

/// When something was last sent.
#[derive(Default)]
struct Sent {
    ready: Option<tokio::time::Instant>,
    evidence: BTreeMap<Bytes, tokio::time::Instant>,
}

impl Duties {
    /// Runs until the node stops.
    pub async fn run(self) {
        let mut sent = Sent::default();
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            ticks.tick().await;
            if self.network.is_stopped() || self.executed.has_changed().is_err() {
                return;
            }
            if let Err(e) = self.look(&mut sent).await {
                tracing::warn!("a duty of this validator could not be done: {e:#}");
            }
        }
    }

    async fn look(&self, sent: &mut Sent) -> anyhow::Result<()> {
        if self.is_synced() && sent.ready.is_none_or(|at| at.elapsed() >= AGAIN_AFTER) && self.ready_is_wanted()? {
            let head = self.chain.ledger.head();
            // Also where it fails: the reason must not fill the log.
            sent.ready = Some(tokio::time::Instant::now());
            self.send(calls::ready(head.height(), head.hash())).await.context("saying that this node is ready")?;
            tracing::info!(height = %head.height(), "said on chain that this node is ready");
        }
        for proof in self.unreported()? {
            let data = calls::report_equivocation(&proof);
            let turn = sent.evidence.entry(data.clone()).or_insert_with(|| self.turn(&proof));
            if *turn <= tokio::time::Instant::now() {
                *turn = tokio::time::Instant::now() + AGAIN_AFTER;
                self.send(data).await.context("bringing evidence to the chain")?;
                tracing::info!(validator = %proof.key, height = %proof.height, "brought evidence to the chain");
            }
        }
        Ok(())
    }

    fn is_synced(&self) -> bool {
        let own = self.chain.ledger.head().height();
        self.network.peers().iter().all(|p| p.head.0 <= own.0 + MAX_BEHIND)
    }

    /// Whether a proposal is open that this key's word counts for, and the last word has grown old.
    fn ready_is_wanted(&self) -> anyhow::Result<bool> {
        let snapshot = self.chain.ledger.snapshot();
        let (state, head) = (StateView(snapshot.clone()), snapshot.head().height());
        let read = |slot| state.storage(&VALIDATORS, slot);
        let open = validators::open_ids(read)?;
        if open.is_empty() {
            return Ok(false);
        }
        let key = self.key.public_key();
        if let Some(at) = validators::ready_at(read, key.address())?
            && head.0 < at.0 + READY_BLOCKS / 2
        {
            return Ok(false);
        }
        for id in open {
            if let Some(p) = validators::proposal(read, id)?
                && p.new_key == Some(key)
                && matches!(p.status, Status::Open | Status::Approved)
            {
                return Ok(true);
            }
        }
        // A validator counts by its signatures; one that certificates leave out because it is slow speaks up.
        let member = system::members(&state)?.iter().any(|m| m.key == key);
        Ok(member && !system::recent_signers(&self.chain.spec, head.next(), &state)?.contains(&key))
    }

    fn unreported(&self) -> anyhow::Result<Vec<Equivocation>> {
        let mut all = self.evidence.all();
        // The contract learns the genesis hash, which is part of what was signed, in block 1.
        if self.chain.ledger.head().height() == Height::GENESIS {
            all.clear();
        }
        if all.is_empty() {
            return Ok(all);
        }
        let state = StateView(self.chain.ledger.snapshot());
        let known = validators::offences(|slot| state.storage(&VALIDATORS, slot))?;
        let same = |e: &Equivocation, o: &validators::Offence| {
            (o.key, o.height, o.round, o.kind) == (e.key, e.height, e.round.0, e.kind.code())
        };
        all.retain(|e| !known.iter().any(|o| same(e, o)));
        // The contract takes no more.
        all.retain(|e| known.iter().filter(|o| o.key == e.key).count() < MAX_EVIDENCE_PER_KEY);
        Ok(all)
    }

    /// When it is this validator's turn to bring evidence: they take turns from the offender on.
    fn turn(&self, proof: &Equivocation) -> tokio::time::Instant {
        let head = self.chain.ledger.head().height();
        let set = self.chain.sets.at_known(head.next());
        let index = |key| set.index_of(key).map_or(set.len(), usize::from);
        let rank = (set.len() + index(&self.key.public_key()) - index(&proof.key).min(set.len())) % (set.len() + 1);
        tokio::time::Instant::now() + EVIDENCE_STAGGER * u32::try_from(rank).unwrap_or(u32::MAX).min(64)
    }

    /// Signs a call of the validator contract and submits it.
    async fn send(&self, input: Bytes) -> anyhow::Result<()> {
        let (chain, pool, key) = (self.chain.clone(), self.pool.clone(), self.key.clone());
        let raw = tokio::task::spawn_blocking(move || sign(&chain, &pool, &key, VALIDATORS, input)).await??;
        let raw = basalt_proto::tx::encode_native(&raw);
        self.ingress.submit(vec![raw], None).await.into_iter().next().context("no answer from the mempool")??;
        Ok(())
    }
}

/// Signs a call from the key's own account, with the next nonce and what gas costs now. Nothing that would fail is signed.
pub(super) fn sign(
    chain: &Chain,
    pool: &SharedPool,
    key: &SecretKey,
    to: Address,
    input: Bytes,
) -> anyhow::Result<SignedNative> {
    let from = key.public_key().address();
    let snapshot = chain.ledger.snapshot();
    let head = snapshot.head();
    let state = StateView(snapshot);
    let base_fee = proposer::next_base_fee(&chain.spec, &head);
    let env = basalt_execution::BlockEnv {
        height: head.height().next(),
        timestamp_ms: clock::wall_ms().max(head.block.header().timestamp_ms + 1),
        beneficiary: head.block.header().proposer,
        base_fee,
        gas_limit: head.block.header().gas_limit,
        parent_hash: head.hash(),
        prev_randao: head.hash(),
    };
    let request = CallRequest { from, to: Some(to), input: input.clone(), ..CallRequest::default() };
    let gas = chain.executor.estimate_gas(&env, &request, &state, &StateOverrides::new())?;
    let max_fee_per_gas = u128::from(base_fee) * 2;
    let account = state.account(&from)?.unwrap_or_default();
    // A quarter more: other proposals may open meanwhile.
    let gas_limit = gas + gas / 4;
    if account.balance < U256::from(max_fee_per_gas) * U256::from(gas_limit) {
        anyhow::bail!("the account {from} of this node cannot pay for gas; send it some");
    }
    let nonce = pool.lock().next_nonce(&from).unwrap_or(account.nonce);
    let tx = NativeTx {
        chain_id: chain.spec.chain_id,
        nonce,
        valid_from: Height::GENESIS,
        valid_until: Some(Height(head.height().0 + VALID_FOR)),
        max_fee_per_gas,
        max_priority_fee_per_gas: 0,
        gas_limit,
        to: Some(to),
        value: U256::ZERO,
        input,
        level: SecurityLevel::Public,
        payload: None,
    };
    Ok(tx.sign(key))
}
