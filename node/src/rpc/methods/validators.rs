//! Who votes, what is proposed, and who has broken the rules: read from the validator contract's storage.

use basalt_primitives::{
    Address, Height, PublicKey, U256,
    system::{
        VALIDATORS,
        evidence::Step,
        validators::{self, Kind, Member, Proposal, ReadError as SlotError, Status},
    },
};
use serde_json::{Value, json};

use super::super::{
    RpcError,
    ports::{ReadError, StateAt, ValidatorInfo},
    registry::{Call, Registry},
    types::Hex64,
};

/// Ended proposals that are shown beside the open ones.
const ENDED: u64 = 32;
/// How often reading is begun anew because the head moved on meanwhile.
const ATTEMPTS: usize = 8;

pub(super) fn add(r: &mut Registry) {
    r.blocking("consensus_validators", &["height"], |c: &Call, (height,): (Option<Hex64>,)| list(c, height));
    r.blocking("consensus_proposals", &[], |c: &Call, ()| steady(c, proposals));
    r.blocking("consensus_evidence", &[], |c: &Call, ()| steady(c, evidence));
}

fn list(c: &Call, height: Option<Hex64>) -> Result<Vec<ValidatorInfo>, RpcError> {
    let height = height.map(|h| Height(h.0));
    let unknown = || {
        let head = c.app.chain.reader().head();
        RpcError::server(format!(
            "the validators of that height are not determined yet: those up to {} are; ask without a height",
            head.next().next()
        ))
    };
    c.app.ports.consensus.validators(height).ok_or_else(unknown)
}

/// Several reads that belong together: begun anew when the state they read is not kept any more.
pub(super) fn steady(c: &Call, read: impl Fn(&State<'_>) -> Result<Value, Failed>) -> Result<Value, RpcError> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let head = c.app.chain.reader().head();
        match read(&State { c, head }) {
            Ok(value) => return Ok(value),
            Err(SlotError::State(e @ ReadError::StateNotKept { .. })) => last = Some(e),
            Err(SlotError::State(e)) => return Err(e.into()),
            Err(damaged) => return Err(RpcError::server(damaged.to_string())),
        }
    }
    Err(last.map_or_else(|| RpcError::server("blocks come too fast to read the contract; ask again"), Into::into))
}

pub(super) type Failed = SlotError<ReadError>;

/// The state after one block.
pub(super) struct State<'a> {
    pub(super) c: &'a Call,
    pub(super) head: Height,
}

impl State<'_> {
    pub(super) fn slot(&self, slot: U256) -> Result<U256, ReadError> {
        self.c.app.chain.reader().storage(StateAt::Height(self.head), &VALIDATORS, slot)
    }

    fn member(&self, set: &[Member], account: Address) -> Value {
        let member = set.iter().find(|m| m.account == account);
        let genesis = || self.c.app.spec.validators.iter().find(|v| v.validator.address() == account);
        let name = member.map(|m| m.name.clone()).or_else(|| genesis().map(|v| v.name.clone()));
        json!({ "address": account, "name": name, "isValidator": member.is_some() })
    }
}

const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Add => "add",
        Kind::Remove => "remove",
        Kind::Replace => "replace",
        Kind::Override => "override",
    }
}

const fn status_name(status: Status) -> &'static str {
    match status {
        Status::Open => "open",
        Status::Approved => "approved",
        Status::Applied => "applied",
        Status::Refused => "refused",
        Status::Withdrawn => "withdrawn",
        Status::Expired => "expired",
    }
}

/// Open proposals and those that ended last, newest first.
fn proposals(state: &State<'_>) -> Result<Value, Failed> {
    let read = |slot| state.slot(slot);
    let set = validators::members(read)?;
    let newest = validators::proposal_count(read)?;
    let mut ids = validators::open_ids(read)?;
    ids.extend(newest.saturating_sub(ENDED) + 1..=newest);
    ids.sort_unstable();
    ids.dedup();
    let mut all = Vec::new();
    for id in ids.into_iter().rev() {
        if let Some(p) = validators::proposal(read, id)? {
            all.push(proposal(state, &set, &p)?);
        }
    }
    Ok(Value::Array(all))
}

fn proposal(state: &State<'_>, set: &[Member], p: &Proposal) -> Result<Value, Failed> {
    let read = |slot| state.slot(slot);
    let next = state.head.next();
    let status = if validators::is_expired(read, p, next)? { Status::Expired } else { p.status };
    let counts = |a: &&Address| set.iter().any(|m| m.account == **a);
    let given = p.approvers.iter().filter(counts).count();
    let missing = set.iter().filter(|m| !p.approvers.contains(&m.account)).map(|m| state.member(set, m.account));
    let ready_at = p.new_key.map(|key| validators::ready_at(read, key.address())).transpose()?.flatten();
    let ready = ready_at.is_some_and(|at| at.0 + validators::READY_BLOCKS >= next.0);
    let lifetime = state.slot(U256::from(validators::slot::LIFETIME)).map_err(SlotError::State)?;
    Ok(json!({
        "id": p.id,
        "kind": kind_name(p.kind),
        "status": status_name(status),
        "reason": p.refusal_text(),
        "name": p.name,
        "oldKey": p.old_key,
        "newKey": p.new_key,
        "newAddress": p.new_key.map(|k| k.address()),
        "newcomerReady": p.new_key.map(|_| ready),
        "readyAt": ready_at,
        "proposer": state.member(set, p.proposer),
        "approvals": given,
        "needed": quorum(set.len()),
        "approvedBy": p.approvers.iter().map(|a| state.member(set, *a)).collect::<Vec<_>>(),
        "missing": if status == Status::Open { missing.collect() } else { Vec::new() },
        "opened": p.opened,
        "expires": p.opened.0.saturating_add(u64::try_from(lifetime).unwrap_or(u64::MAX)),
        "decided": p.decided,
        "validFrom": p.valid_from,
    }))
}

/// Votes of `n` equal validators that decide.
const fn quorum(n: usize) -> usize {
    (n + n.saturating_sub(1) / 3) / 2 + 1
}

/// Offences on chain, and what this node itself has seen.
fn evidence(state: &State<'_>) -> Result<Value, Failed> {
    let offences = validators::offences(|slot| state.slot(slot))?;
    let name = |key: &PublicKey| state.c.app.ports.consensus.validator_name(key);
    let step = |code: u8| Step::from_code(code).map(Step::name);
    let on_chain: Vec<_> = offences
        .iter()
        .map(|o| {
            json!({ "validator": o.key, "address": o.key.address(), "name": name(&o.key), "step": step(o.kind),
                "height": o.height, "round": o.round, "blocks": o.blocks, "reportedAt": o.reported_at })
        })
        .collect();
    let local: Vec<_> = state
        .c
        .app
        .ports
        .consensus
        .evidence()
        .iter()
        .map(|e| {
            let same = |o: &&validators::Offence| {
                (o.key, o.height, o.round, o.kind) == (e.key, e.height, e.round.0, e.kind.code())
            };
            json!({ "validator": e.key, "address": e.key.address(), "name": name(&e.key), "step": e.kind.name(),
                "height": e.height, "round": e.round, "blocks": e.blocks, "signatures": e.signatures.map(|s| hex::encode(s.0)),
                "onChain": offences.iter().find(same).is_some() })
        })
        .collect();
    Ok(json!({ "onChain": on_chain, "local": local }))
}
