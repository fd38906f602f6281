//! What a transaction needs, and whether its sender may.
//!
//! A rule concerns what an account sends. What a contract does when it is called is the contract's: whoever may call it may
//! have it act.

use alloy_primitives::{Address, keccak256};

use super::{Authority, Mode, Rights, Rule, Settings};
use crate::system::{self, calls as validator_calls};

/// What a transaction does, as far as rules know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deed<'a> {
    /// Whom it is sent to; `None`: it deploys a contract.
    pub to: Option<Address>,
    /// Whether the receiver has code, or there is input: then it is a call.
    pub calls: bool,
    /// Whether it carries value.
    pub value: bool,
    /// Its input.
    pub input: &'a [u8],
}

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// It is not on the allow list.
    NotListed,
    /// It is blocked.
    Blocked,
    /// Its entry has ended.
    Ended,
    /// Its organisation is suspended, has ended or is not there.
    Organisation(String),
    /// It may not deploy.
    Deploy,
    /// It may not call this contract.
    Call(Address),
    /// It may not send value.
    Transfer,
}

/// Why a transaction is refused: what is missing, and who can grant it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not permitted: account {account} {}; the {authority} of this network can change that by vote: {}", said(missing), mend(account, missing, *rights))]
pub struct Denied {
    /// The account.
    pub account: Address,
    /// What it lacks.
    pub missing: Missing,
    /// What it has.
    pub rights: Rights,
    /// Who can grant it.
    pub authority: Authority,
}

fn said(missing: &Missing) -> String {
    match missing {
        Missing::NotListed => "is not on the list of accounts that may send transactions".into(),
        Missing::Blocked => "is blocked".into(),
        Missing::Ended => "had permission until a height or time that has passed".into(),
        Missing::Organisation(name) => format!("belongs to the organisation `{name}`, which is suspended or has ended"),
        Missing::Deploy => "has no right to deploy contracts".into(),
        Missing::Call(to) => format!("has no right to call the contract {to}"),
        Missing::Transfer => "has no right to transfer value".into(),
    }
}

fn mend(account: &Address, missing: &Missing, has: Rights) -> String {
    let set = |rights: Rights| format!("`basalt permission account set {account} --rights {rights}`");
    match missing {
        Missing::NotListed => set(Rights::CALL.with(Rights::TRANSFER)),
        Missing::Blocked | Missing::Ended => set(has),
        Missing::Organisation(name) => format!("`basalt permission org add {name}`"),
        Missing::Deploy => set(has.with(Rights::DEPLOY)),
        Missing::Call(to) => format!("`basalt permission account allow-call {account} {to}`"),
        Missing::Transfer => set(has.with(Rights::TRANSFER)),
    }
}

/// An account's rule with what else is needed to judge by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its rule.
    pub rule: Rule,
    /// Whether its end has not passed.
    pub holds: bool,
    /// If its organisation does not hold: its name.
    pub organisation: Option<String>,
    /// Contracts it may call beside its rights.
    pub calls: Vec<Address>,
}

/// Whether a call is one of those that the validator contract takes from anyone: a newcomer's `ready`, and proof of
/// equivocation. Both have one form.
#[must_use]
pub fn is_open_call(to: Address, input: &[u8]) -> bool {
    let is = |n: usize, words: usize| {
        input.len() == 4 + 32 * words && input[..4] == keccak256(validator_calls::SIGNATURES[n])[..4]
    };
    to == system::VALIDATORS && (is(5, 2) || is(6, 10))
}

/// Judges by the rule of an account. `of_authority` says whether it belongs to the group that decides, or is a validator:
/// these can always speak to the system contracts, whatever the list says.
pub fn judge<E>(
    settings: &Settings,
    account: Address,
    entry: &Entry,
    deed: &Deed<'_>,
    of_authority: impl FnOnce() -> Result<bool, E>,
) -> Result<Result<(), Denied>, E> {
    let to_system = |to: &Address| *to == system::VALIDATORS || *to == system::PERMISSION;
    let system_call = deed.to.as_ref().is_some_and(to_system) && !deed.value;
    if settings.mode == Mode::OpenToAll || (system_call && of_authority()?) {
        return Ok(Ok(()));
    }
    let denied =
        |missing| Ok(Err(Denied { account, missing, rights: entry.rule.rights, authority: settings.authority }));
    let rule = &entry.rule;
    if rule.blocked {
        return denied(Missing::Blocked);
    }
    if deed.to.is_some_and(|to| !deed.value && is_open_call(to, deed.input)) {
        return Ok(Ok(()));
    }
    if !rule.listed {
        return if settings.mode == Mode::DenyList { Ok(Ok(())) } else { denied(Missing::NotListed) };
    }
    if !entry.holds {
        return denied(Missing::Ended);
    }
    if let Some(name) = &entry.organisation {
        return denied(Missing::Organisation(name.clone()));
    }
    Ok(rights(rule.rights, &entry.calls, deed).map_err(|missing| Denied {
        account,
        missing,
        rights: rule.rights,
        authority: settings.authority,
    }))
}

fn rights(has: Rights, calls: &[Address], deed: &Deed<'_>) -> Result<(), Missing> {
    let Some(to) = deed.to else {
        let deploys = has.has(Rights::DEPLOY);
        return if !deploys {
            Err(Missing::Deploy)
        } else if deed.value && !has.has(Rights::TRANSFER) {
            Err(Missing::Transfer)
        } else {
            Ok(())
        };
    };
    if deed.calls && !has.has(Rights::CALL) && !calls.contains(&to) {
        return Err(Missing::Call(to));
    }
    if (deed.value || !deed.calls) && !has.has(Rights::TRANSFER) {
        return Err(Missing::Transfer);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::system::{PERMISSION, VALIDATORS};

    const SETTINGS: Settings =
        Settings { authority: Authority::Validators, percent: 0, mode: Mode::AllowList, lifetime: 1 };

    fn entry(rights: u8, listed: bool, blocked: bool) -> Entry {
        let rule = Rule { rights: Rights(rights), listed, blocked, ..Rule::default() };
        Entry { rule, holds: true, organisation: None, calls: vec![Address::repeat_byte(7)] }
    }

    fn ask(mode: Mode, e: &Entry, deed: &Deed<'_>, group: bool) -> Result<(), Missing> {
        let settings = Settings { mode, ..SETTINGS };
        let Ok(judged) = judge(&settings, Address::repeat_byte(1), e, deed, || Ok::<_, Infallible>(group));
        judged.map_err(|d| d.missing)
    }

    const DEPLOY: Deed<'_> = Deed { to: None, calls: false, value: false, input: &[1] };

    fn send(to: u8, calls: bool, value: bool) -> Deed<'static> {
        Deed { to: Some(Address::repeat_byte(to)), calls, value, input: &[] }
    }

    #[test]
    fn each_right_opens_what_it_says_and_no_more() {
        let allow = |rights, deed: &Deed<'_>| ask(Mode::AllowList, &entry(rights, true, false), deed, false);
        assert_eq!(allow(1, &DEPLOY), Ok(()));
        assert_eq!(allow(14, &DEPLOY), Err(Missing::Deploy));
        assert_eq!(allow(1, &Deed { value: true, ..DEPLOY }), Err(Missing::Transfer));
        assert_eq!(allow(4, &send(9, false, true)), Ok(()));
        assert_eq!(allow(3, &send(9, false, true)), Err(Missing::Transfer));
        assert_eq!(allow(2, &send(9, true, false)), Ok(()));
        assert_eq!(allow(5, &send(9, true, false)), Err(Missing::Call(Address::repeat_byte(9))));
        assert_eq!(allow(0, &send(7, true, false)), Ok(()), "this contract by name");
        assert_eq!(allow(0, &send(7, true, true)), Err(Missing::Transfer));
    }

    #[test]
    fn the_group_that_decides_cannot_lock_itself_out() {
        let e = entry(0, true, true);
        for to in [VALIDATORS, PERMISSION] {
            let deed = Deed { to: Some(to), calls: true, value: false, input: &[1, 2, 3, 4] };
            assert_eq!(ask(Mode::AllowList, &e, &deed, true), Ok(()));
            assert_eq!(ask(Mode::AllowList, &e, &Deed { value: true, ..deed }, true), Err(Missing::Blocked));
            assert_eq!(ask(Mode::AllowList, &entry(0, false, false), &deed, false), Err(Missing::NotListed));
        }
        let ready = validator_calls::ready(crate::Height(1), Default::default());
        let deed = Deed { to: Some(VALIDATORS), calls: true, value: false, input: &ready };
        assert_eq!(ask(Mode::AllowList, &entry(0, false, false), &deed, false), Ok(()), "a newcomer's word");
        assert_eq!(ask(Mode::AllowList, &e, &deed, false), Err(Missing::Blocked));
    }

    #[test]
    fn the_text_names_what_is_missing_and_who_can_grant_it() {
        let account = Address::repeat_byte(1);
        let denied =
            Denied { account, missing: Missing::Deploy, rights: Rights::CALL, authority: Authority::Validators };
        let text = denied.to_string();
        assert!(
            text.contains("no right to deploy contracts; the validators of this network can change that"),
            "{text}"
        );
        assert!(text.contains("--rights deploy,call`"), "{text}");
    }

    proptest! {
        #[test]
        fn more_rights_never_permit_less_and_open_permits_all(
            rights in 0u8..16, more in 0u8..16, to in prop::option::of(5u8..9), calls: bool, value: bool,
            listed: bool, blocked: bool,
        ) {
            let deed = to.map_or(Deed { value, ..DEPLOY }, |to| send(to, calls, value));
            let less = ask(Mode::AllowList, &entry(rights, listed, blocked), &deed, false);
            if less.is_ok() {
                prop_assert_eq!(ask(Mode::AllowList, &entry(rights | more, listed, blocked), &deed, false), Ok(()));
                prop_assert_eq!(ask(Mode::DenyList, &entry(rights, listed, blocked), &deed, false), Ok(()));
                prop_assert!(listed && !blocked);
            }
            prop_assert_eq!(ask(Mode::OpenToAll, &entry(rights, listed, blocked), &deed, false), Ok(()));
            let unlisted = ask(Mode::DenyList, &entry(rights, false, false), &deed, false);
            prop_assert_eq!(unlisted, Ok(()), "a deny list names those who may not");
        }
    }
}
