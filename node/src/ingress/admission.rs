//! Decides what enters the mempool: decoding, signatures, the senders' accounts, the lane; then the pool's own rules.

use std::{collections::HashMap, sync::Arc};

use alloy_primitives::KECCAK256_EMPTY;

use basalt_execution::{StateError, StateReader as _, permission::Permissions};
use basalt_primitives::{
    Address, Bytes, Transaction, ValidatorSet,
    system::permission::Moment,
    tx::{self, TxError, Unverified},
};
use basalt_storage::Reader as _;

use crate::{
    chain::{Chain, StateView},
    clock::SharedClock,
    mempool::{AccountView, Lane, Origin, PoolContext, PoolError, SharedPool, is_system_contract},
    monitor::traces::Steps,
    proposer,
    rpc::ports::SubmitError,
};

/// Decides what enters the mempool.
#[derive(Clone)]
pub struct Admission {
    /// The chain.
    pub chain: Chain,
    /// The mempool.
    pub pool: SharedPool,
    /// When transactions came.
    pub clock: SharedClock,
}

/// What became of one transaction.
pub type Admitted = Result<Arc<Transaction>, SubmitError>;

/// Batches of transactions whose signatures have been checked, not yet admitted.
pub struct Checked {
    /// Per batch and transaction: refused at once, or the place in `verified`.
    places: Vec<Vec<Result<usize, SubmitError>>>,
    verified: Vec<Result<Transaction, TxError>>,
    /// Who brought each of `verified`.
    origins: Vec<Origin>,
    /// When each step was done.
    steps: Steps,
}

impl Admission {
    /// Decodes, verifies and admits batches of encoded transactions, all signatures together; answers in the same places.
    pub fn admit(&self, batches: Vec<Vec<Bytes>>) -> Vec<Vec<Admitted>> {
        self.admit_from(batches.into_iter().map(|raws| (raws, Origin::Local)).collect())
    }

    /// As [`Self::admit`], each batch with who brought it.
    pub fn admit_from(&self, batches: Vec<(Vec<Bytes>, Origin)>) -> Vec<Vec<Admitted>> {
        self.admit_checked(self.check(batches)).0
    }

    /// Decodes batches, each with who brought it, and checks all signatures together: all of the way in that needs neither the
    /// state nor the order of arrival.
    #[must_use]
    pub fn check(&self, batches: Vec<(Vec<Bytes>, Origin)>) -> Checked {
        let taken = self.clock.mono();
        let (mut unverified, mut origins) = (Vec::new(), Vec::new());
        let places = batches
            .into_iter()
            .map(|(raws, origin)| {
                let places = raws.into_iter().map(|raw| self.decode(raw, &mut unverified)).collect();
                origins.resize(unverified.len(), origin);
                places
            })
            .collect();
        let decoded = self.clock.mono();
        let verified = tx::verify_all(unverified);
        let steps = Steps { taken, decoded, verified: self.clock.mono(), ..Steps::default() };
        Checked { places, verified, origins, steps }
    }

    /// Admits what was checked; answers in the same places, and when each step was done.
    pub fn admit_checked(&self, checked: Checked) -> (Vec<Vec<Admitted>>, Steps) {
        let turn = self.clock.mono();
        let admitted = self.insert_verified(checked.verified, &checked.origins);
        let look_up = |place: Result<usize, SubmitError>| place.and_then(|i| admitted[i].clone());
        let answers = checked.places.into_iter().map(|batch| batch.into_iter().map(look_up).collect()).collect();
        (answers, Steps { turn, admitted: self.clock.mono(), ..checked.steps })
    }

    fn decode(&self, raw: Bytes, into: &mut Vec<Unverified>) -> Result<usize, SubmitError> {
        let spec = &self.chain.spec;
        let tx = basalt_proto::tx::decode(raw, spec.chain_id, spec.hash_fn)?;
        if self.pool.lock().contains(&tx.hash()) {
            return Err(PoolError::AlreadyKnown.into());
        }
        into.push(tx);
        Ok(into.len() - 1)
    }

    /// A validator's call of a system contract has a lane of its own.
    fn lane(tx: &Transaction, validators: Option<&ValidatorSet>) -> Lane {
        let to_system = tx.payload().to().is_some_and(|to| is_system_contract(&to));
        // Deriving addresses costs hashes, and hardly anything goes to system contracts.
        let by_validator = || validators.is_some_and(|set| set.as_slice().iter().any(|v| v.address() == tx.sender()));
        if to_system && by_validator() { Lane::System } else { Lane::Normal }
    }

    /// Admits transactions of this node itself whose signatures are checked, or that need none; answers in the same places.
    pub fn insert_own(&self, txs: Vec<Transaction>) -> Vec<Admitted> {
        let origins = vec![Origin::Local; txs.len()];
        self.insert_verified(txs.into_iter().map(Ok).collect(), &origins)
    }

    fn insert_verified(&self, verified: Vec<Result<Transaction, TxError>>, origins: &[Origin]) -> Vec<Admitted> {
        let state = self.chain.ledger.snapshot();
        let head = state.head();
        let header = head.block.header();
        let context = PoolContext {
            next_height: header.height.next(),
            base_fee: proposer::next_base_fee(&self.chain.spec, &head),
            gas_limit: self.chain.next_gas_limit(&head),
            fork: self.chain.spec.fork_at(header.height.next()),
            now_ms: self.clock.wall_ms(),
        };
        // Many of a batch have the same sender.
        let mut accounts: HashMap<Address, AccountView> = HashMap::new();
        let mut account = |address: Address| -> Result<AccountView, SubmitError> {
            if let Some(known) = accounts.get(&address) {
                return Ok(*known);
            }
            let a = state.account(&address).map_err(|e| {
                tracing::error!("the ledger could not be read: {e}");
                SubmitError::Unavailable("the ledger could not be read; see the node's log".into())
            })?;
            let a = a.unwrap_or_default();
            Ok(*accounts.entry(address).or_insert(AccountView { nonce: a.nonce, balance: a.balance }))
        };
        let view = StateView(state.clone());
        let moment = Moment { height: context.next_height, time_s: context.now_ms / 1000 };
        let permissions = self.chain.executor.permissions(&view, moment);
        let with_accounts: Vec<_> = verified
            .into_iter()
            .map(|tx| {
                let tx = tx?;
                check_permitted(&permissions, &view, &tx)?;
                let account = account(tx.sender())?;
                Ok((tx, account))
            })
            .collect();
        let validators = self.chain.sets.at(context.next_height);
        let mut pool = self.pool.lock();
        with_accounts
            .into_iter()
            .zip(origins)
            .map(|(r, origin): (Result<_, SubmitError>, _)| {
                let (tx, account) = r?;
                let lane = Self::lane(&tx, validators.as_deref());
                Ok(pool.insert_from(tx, account, &context, lane, *origin)?.tx)
            })
            .collect()
    }
}

/// Whether the permissions after the newest block let the sender do it in the next.
fn check_permitted(
    permissions: &Result<Option<Permissions<'_>>, StateError>,
    state: &StateView,
    tx: &Transaction,
) -> Result<(), SubmitError> {
    let unreadable = |e: &StateError| {
        tracing::error!("the permissions could not be read: {e}");
        SubmitError::Unavailable("the permissions could not be read; see the node's log".into())
    };
    let Some(permissions) = permissions.as_ref().map_err(unreadable)? else { return Ok(()) };
    let has_code = |a: &Address| Ok(state.account(a)?.is_some_and(|a| a.code_hash != KECCAK256_EMPTY));
    let judged = permissions.check(tx, has_code).map_err(|e| unreadable(&e))?;
    judged.map_err(|denied| PoolError::from(Box::new(denied)).into())
}
