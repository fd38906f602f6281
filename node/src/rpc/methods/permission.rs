//! Who may join and act on a permissioned network: read from the permission contract's storage.

use basalt_primitives::{
    Address, B256, Height, U256,
    system::{
        PERMISSION,
        permission::{
            Authority, Moment, Node, Proposal, Rights, Role, Rule, Settings, Status, Until, calls::kind, read,
        },
        validators,
    },
};
use serde_json::{Value, json};

use super::{
    super::{
        ports::{ReadError, StateAt},
        registry::{Call, Registry},
    },
    validators::{Failed, State, steady},
};
use crate::{clock, network::peer_id_of};

/// Ended proposals that are shown beside the open ones.
const ENDED: u64 = 16;
/// Accounts that are shown at most.
const ACCOUNTS: u64 = 1000;

pub(super) fn add(r: &mut Registry) {
    r.blocking("permission_status", &[], |c: &Call, ()| {
        if !c.app.spec.alloc.contains_key(&PERMISSION) {
            return Ok(json!({ "permissioned": false }));
        }
        steady(c, status)
    });
}

impl State<'_> {
    fn permission(&self, slot: U256) -> Result<U256, ReadError> {
        self.c.app.chain.reader().storage(StateAt::Height(self.head), &PERMISSION, slot)
    }
}

fn status(state: &State<'_>) -> Result<Value, Failed> {
    let read = |slot| state.permission(slot);
    let settings = read::settings(read)?;
    let group = group(state, &settings)?;
    let now = Moment { height: state.head.next(), time_s: clock::wall_ms() / 1000 };
    let organisations = read::organisations(read)?;
    let org = |o: &Option<B256>| o.map(read::name_of);
    let holds = |o: &Option<B256>| o.is_none_or(|name| organisations.iter().any(|o| o.name == name && o.holds(now)));
    let nodes: Vec<_> = read::nodes(read)?
        .iter()
        .map(|n| node(n, &org(&n.organisation), standing(n.removed, n.until, holds(&n.organisation), now)))
        .collect();
    let accounts: Result<Vec<_>, Failed> = read::accounts(read, 0, ACCOUNTS)?
        .iter()
        .map(|(a, r)| {
            let calls = read::calls(read, *a)?;
            let stands = standing(r.blocked, r.until, holds(&r.organisation), now);
            Ok(account(*a, r, &org(&r.organisation), &calls, stands))
        })
        .collect();
    let list: Vec<_> = organisations
        .iter()
        .map(|o| {
            let stands = standing(o.suspended, o.until, true, now);
            json!({ "name": read::name_of(o.name), "status": stands, "since": o.since, "until": until(o.until) })
        })
        .collect();
    Ok(json!({
        "permissioned": true,
        "authority": settings.authority.to_string(),
        "group": group,
        "needed": settings.needed(group.len() as u64),
        "mode": settings.mode.to_string(),
        "nodes": nodes,
        "organisations": list,
        "accounts": accounts?,
        "proposals": proposals(state, &settings, &group)?,
    }))
}

/// The accounts that decide.
fn group(state: &State<'_>, settings: &Settings) -> Result<Vec<Address>, Failed> {
    match settings.authority {
        Authority::Administrators => read::administrators(|slot| state.permission(slot)),
        Authority::Validators => {
            Ok(validators::members(|slot| state.slot(slot))?.into_iter().map(|m| m.account).collect())
        }
    }
}

fn standing(off: bool, until: Until, organisation: bool, now: Moment) -> &'static str {
    match (off, until.holds(now), organisation) {
        (true, ..) => "removed",
        (_, false, _) => "ended",
        (.., false) => "organisation",
        _ => "active",
    }
}

fn until(until: Until) -> Value {
    let some = |n: u64| (n > 0).then_some(n);
    json!({ "height": some(until.height), "timeS": some(until.time_s) })
}

fn node(n: &Node, organisation: &Option<String>, status: &str) -> Value {
    json!({
        "key": n.key, "peerId": peer_id_of(&n.key).map(|p| p.to_string()), "name": n.name, "role": n.role.to_string(),
        "organisation": organisation, "validator": n.validator, "status": status, "since": n.since, "until": until(n.until),
    })
}

fn account(a: Address, r: &Rule, organisation: &Option<String>, calls: &[Address], status: &str) -> Value {
    json!({
        "address": a, "rights": r.rights.to_string(), "blocked": r.blocked, "organisation": organisation, "calls": calls,
        "status": status, "since": r.since, "until": until(r.until),
    })
}

/// Open proposals and those that ended last, newest first.
fn proposals(state: &State<'_>, settings: &Settings, group: &[Address]) -> Result<Vec<Value>, Failed> {
    let read = |slot| state.permission(slot);
    let newest = read::proposal_count(read)?;
    let mut ids = read::open_ids(read)?;
    ids.extend(newest.saturating_sub(ENDED) + 1..=newest);
    ids.sort_unstable();
    ids.dedup();
    let mut all = Vec::new();
    for id in ids.into_iter().rev() {
        if let Some(p) = read::proposal(read, id)? {
            all.push(proposal(&p, settings, group, state.head.next()));
        }
    }
    Ok(all)
}

fn proposal(p: &Proposal, settings: &Settings, group: &[Address], next: Height) -> Value {
    let expires = p.opened.0.saturating_add(settings.lifetime);
    let status = match p.status {
        Status::Open if next.0 > expires => "expired",
        Status::Open => "open",
        Status::Applied => "applied",
        Status::Withdrawn => "withdrawn",
        Status::Expired => "expired",
        Status::Overtaken => "overtaken",
    };
    let given: Vec<_> = p.approvers.iter().filter(|a| group.contains(a)).collect();
    json!({
        "id": p.id, "what": what(p), "status": status, "proposer": p.proposer, "approvals": given.len(),
        "needed": settings.needed(group.len() as u64), "approvedBy": p.approvers, "opened": p.opened, "expires": expires,
        "decided": p.decided,
    })
}

/// A proposal in words.
fn what(p: &Proposal) -> String {
    let c = &p.change;
    let low = c.a.byte(0);
    let subject = Address::from_word(c.subject);
    match c.kind {
        kind::SET_NODE => {
            let role = Role::from_code(low).map_or_else(|| "unknown".into(), |r| r.to_string());
            format!("admit node {} ({}) as {role}", read::name_of(c.d), hex::encode(c.subject))
        }
        kind::REMOVE_NODE => format!("remove node {}", hex::encode(c.subject)),
        kind::SET_ORGANISATION => {
            let does = if low == 1 { "list" } else { "suspend" };
            format!("{does} organisation {}", read::name_of(c.subject))
        }
        kind::SET_ACCOUNT if c.a.byte(1) & 2 != 0 => format!("block account {subject}"),
        kind::SET_ACCOUNT => format!("let account {subject}: {}", Rights(low)),
        kind::REMOVE_ACCOUNT => format!("take account {subject} off the list"),
        kind::SET_CALL => {
            let may = if low == 1 { "call" } else { "no more call" };
            format!("let account {subject} {may} {}", Address::from_word(c.b))
        }
        _ => format!("judge accounts by mode {low}"),
    }
}
