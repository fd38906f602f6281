//! What accounts may do on a permissioned network (ADR-0030): block N is judged by the permission contract's storage after
//! block N − 1, read straight from the state before the block, without the EVM.
//!
//! Rules are kept from block to block and thrown away when the contract's stamp shows that something was changed, so a
//! transaction costs a look into a map, and a new sender a few reads of the flat state.

use std::{collections::HashMap, sync::Arc};

use alloy_primitives::{Address, B256, KECCAK256_EMPTY, U256};
use basalt_primitives::{
    Transaction,
    crypto::secp256k1,
    system::{
        PERMISSION, VALIDATORS,
        permission::{
            Authority, Denied, Mode, Moment, Organisation, Rights, Rule, Settings,
            judge::{Deed, Entry, judge},
            read, slot,
        },
        validators,
    },
    tx::Payload,
};
use parking_lot::Mutex;

use crate::ports::{StateError, StateReader};

/// Rules kept at most; then all are read anew.
const MAX_RULES: usize = 1 << 16;

/// What an account's storage says, whatever the height.
#[derive(Debug)]
struct Stored {
    rule: Rule,
    organisation: Option<(String, Option<Organisation>)>,
    calls: Vec<Address>,
}

#[derive(Debug)]
struct Kept {
    stamp: U256,
    settings: Settings,
    rules: HashMap<Address, Arc<Stored>>,
}

/// The rules of one chain, as last read. Cheap to clone; all clones see the same.
#[derive(Clone, Debug, Default)]
pub struct Permits(Arc<Mutex<Option<Kept>>>);

/// The permissions after one block, for those that come next.
pub struct Permissions<'a> {
    permits: &'a Permits,
    reader: &'a dyn StateReader,
    stamp: U256,
    settings: Settings,
    now: Moment,
}

impl std::fmt::Debug for Permissions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permissions").field("settings", &self.settings).field("now", &self.now).finish_non_exhaustive()
    }
}

impl Permits {
    /// The permissions in a state, for a block of this height and time. Costs one read of storage where nothing has changed.
    pub fn at<'a>(&'a self, reader: &'a dyn StateReader, now: Moment) -> Result<Permissions<'a>, StateError> {
        let stamp = reader.storage(&PERMISSION, U256::from(slot::ACCOUNT_STAMP))?;
        let mut kept = self.0.lock();
        let settings = match &mut *kept {
            Some(kept) if kept.stamp == stamp => kept.settings,
            other => {
                let settings = read::settings(|s| reader.storage(&PERMISSION, s)).map_err(StateError::from)?;
                *other = Some(Kept { stamp, settings, rules: HashMap::new() });
                settings
            }
        };
        Ok(Permissions { permits: self, reader, stamp, settings, now })
    }
}

impl Permissions<'_> {
    /// Whether a transaction's sender may send it. `has_code` says whether an account has code where the transaction runs.
    pub fn check(
        &self,
        tx: &Transaction,
        has_code: impl FnOnce(&Address) -> Result<bool, StateError>,
    ) -> Result<Result<(), Denied>, StateError> {
        if self.settings.mode == Mode::OpenToAll {
            return Ok(Ok(()));
        }
        let payload = tx.payload();
        if matches!(payload, Payload::Edit(_)) {
            return Ok(Ok(()));
        }
        let to = payload.to();
        let calls = match to {
            Some(to) => !payload.input().is_empty() || has_code(&to)?,
            None => false,
        };
        let deed = Deed { to, calls, value: !payload.value().is_zero(), input: payload.input() };
        let sender = tx.sender();
        let entry = self.entry(sender)?;
        if let Err(denied) = judge(&self.settings, sender, &entry, &deed, || self.decides(sender))? {
            return Ok(Err(denied));
        }
        self.check_delegations(payload)
    }

    /// EIP-7702: whoever puts code on its account deploys, whoever brings the transaction. What does not verify has no effect.
    fn check_delegations(&self, payload: &Payload) -> Result<Result<(), Denied>, StateError> {
        let Payload::Ethereum(e) = payload else { return Ok(Ok(())) };
        use alloy_consensus::Transaction as _;
        for authorization in e.authorization_list().into_iter().flatten() {
            let (hash, y) = (authorization.signature_hash(), authorization.y_parity() == 1);
            let Some(account) = secp256k1::recover(&hash, authorization.r(), authorization.s(), y) else { continue };
            let entry = self.entry(account)?;
            let deed = Deed { to: None, calls: false, value: false, input: &[] };
            if let Err(denied) = judge(&self.settings, account, &entry, &deed, || Ok::<_, StateError>(false))? {
                return Ok(Err(denied));
            }
        }
        Ok(Ok(()))
    }

    fn entry(&self, account: Address) -> Result<Entry, StateError> {
        let stored = self.stored(account)?;
        let organisation = stored.organisation.as_ref().filter(|(_, o)| !o.as_ref().is_some_and(|o| o.holds(self.now)));
        Ok(Entry {
            rule: stored.rule,
            holds: stored.rule.until.holds(self.now),
            organisation: organisation.map(|(name, _)| name.clone()),
            calls: stored.calls.clone(),
        })
    }

    fn stored(&self, account: Address) -> Result<Arc<Stored>, StateError> {
        if let Some(kept) = self.permits.0.lock().as_ref().filter(|kept| kept.stamp == self.stamp)
            && let Some(found) = kept.rules.get(&account)
        {
            return Ok(Arc::clone(found));
        }
        let stored = Arc::new(self.read(account).map_err(StateError::from)?);
        if let Some(kept) = self.permits.0.lock().as_mut().filter(|kept| kept.stamp == self.stamp) {
            if kept.rules.len() >= MAX_RULES {
                kept.rules.clear();
            }
            kept.rules.insert(account, Arc::clone(&stored));
        }
        Ok(stored)
    }

    fn read(&self, account: Address) -> Result<Stored, validators::ReadError<StateError>> {
        let slot = |s| self.reader.storage(&PERMISSION, s);
        let rule = read::rule(slot, account)?;
        let organisation = match rule.organisation {
            None => None,
            Some(name) => Some((read::name_of(name), read::organisation(slot, name)?)),
        };
        let calls = if rule.listed { read::calls(slot, account)? } else { Vec::new() };
        Ok(Stored { rule, organisation, calls })
    }

    /// Whether an account may speak to the system contracts in any case: it is a validator's, or one that decides.
    fn decides(&self, account: Address) -> Result<bool, StateError> {
        let slot = |s| self.reader.storage(&VALIDATORS, s);
        let index = slot(validators::mapped(validators::slot::INDEX, U256::from_be_slice(account.as_slice())))?;
        Ok(!index.is_zero()
            || self.settings.authority == Authority::Administrators
                && self.entry(account)?.rule.rights.has(Rights::ADMINISTER))
    }
}

/// Whether an account that is read from a state has code.
pub(crate) fn code_hash_is_code(hash: Option<B256>) -> bool {
    hash.is_some_and(|hash| hash != KECCAK256_EMPTY && hash != B256::ZERO)
}
