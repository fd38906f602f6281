//! Block N is judged by the permissions after N − 1, on every path a transaction can take.

use alloy_primitives::{Address, Bytes, TxKind, U256};
use basalt_execution::{BuildLimits, Executor, SkipReason};
use basalt_primitives::system::{
    VALIDATORS,
    permission::{Change, GenesisPermission, Missing, Mode, Organisation, Rights, Rule, Until, calls},
    validators::name_word,
};
use proptest::prelude::*;

use crate::{
    chain::{Chain, account, genesis, rule, until},
    common::{deployer, eip1559, wallet},
};

const OUTSIDE: Address = Address::repeat_byte(0x55);

fn missing(r: Result<bool, SkipReason>) -> Missing {
    match r {
        Err(SkipReason::NotPermitted(denied)) => denied.missing,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn an_account_without_the_right_to_deploy_gets_it_by_vote() {
    let mut c = Chain::new(&genesis(Mode::AllowList, &[(9, rule(Rights::CALL))]));
    let code = deployer(&[0x00]);
    assert_eq!(missing(c.one(9, None, 0, code.clone())), Missing::Deploy);
    assert_eq!(missing(c.one(8, None, 0, code.clone())), Missing::NotListed);
    let rights = Rights::CALL.with(Rights::DEPLOY);
    c.vote(&Change::set_account(account(9), rights, false, Until::default(), None));
    assert_eq!(c.one(9, None, 0, code), Ok(true));
}

#[test]
fn a_block_is_judged_by_the_permissions_before_it() {
    let mut c = Chain::new(&genesis(Mode::AllowList, &[(9, rule(Rights::NONE))]));
    let grant = Change::set_account(account(9), Rights::DEPLOY, false, Until::default(), None);
    c.call(1, calls::propose(&grant)).unwrap();
    c.call(2, calls::approve(1)).unwrap();
    // The last approval and the deployment in one block: too early. In the next it holds.
    let last = c.tx(3, Some(basalt_primitives::system::PERMISSION), 0, calls::approve(1));
    let deploy = c.tx(9, None, 0, deployer(&[0x00]));
    let done = c.block(&[last, deploy]);
    assert!(done.receipts[0].success);
    assert!(matches!(&done.skipped[..], [(1, _, SkipReason::NotPermitted(_))]), "{:?}", done.skipped);
    // And the other way round: what is taken away in a block still holds in it.
    c.call(1, calls::propose(&Change::remove_account(account(9)))).unwrap();
    c.call(2, calls::approve(2)).unwrap();
    let last = c.tx(3, Some(basalt_primitives::system::PERMISSION), 0, calls::approve(2));
    let deploy = c.tx(9, None, 0, deployer(&[0x00]));
    let done = c.block(&[last, deploy]);
    assert_eq!((done.skipped.len(), done.receipts.len()), (0, 2));
    assert_eq!(missing(c.one(9, None, 0, deployer(&[0x00]))), Missing::NotListed);
}

#[test]
fn plain_transfers_obey_on_the_fast_path_as_on_the_long_one() {
    let start = genesis(Mode::AllowList, &[(9, rule(Rights::CALL)), (10, rule(Rights::TRANSFER))]);
    for fast in [true, false] {
        let mut c = Chain::new(&start);
        if !fast {
            c.executor = Executor::new(c.spec.clone()).without_fast_transfers();
        }
        assert_eq!(missing(c.one(9, Some(OUTSIDE), 5, Bytes::new())), Missing::Transfer);
        assert_eq!(c.one(10, Some(OUTSIDE), 5, Bytes::new()), Ok(true));
        assert_eq!(c.state.accounts()[&OUTSIDE].balance, U256::from(5));
        assert_eq!(missing(c.one(10, Some(OUTSIDE), 0, Bytes::from_static(&[1]))), Missing::Call(OUTSIDE));
    }
}

#[test]
fn a_contract_may_be_called_by_name_and_sending_to_it_is_a_call() {
    let mut c = Chain::new(&genesis(Mode::DenyList, &[(9, rule(Rights::TRANSFER))]));
    let deploy = c.tx(8, None, 0, deployer(&[0x00]));
    let contract = c.block(&[deploy]).receipts[0].contract_address.unwrap();
    // Without input, a contract still runs.
    assert_eq!(missing(c.one(9, Some(contract), 1, Bytes::new())), Missing::Call(contract));
    c.vote(&Change::set_call(account(9), contract, true));
    assert_eq!(c.one(9, Some(contract), 1, Bytes::new()), Ok(true));
    assert_eq!(c.one(9, Some(contract), 0, Bytes::from_static(&[1])), Ok(true));
    c.vote(&Change::set_call(account(9), contract, false));
    assert_eq!(missing(c.one(9, Some(contract), 0, Bytes::from_static(&[1]))), Missing::Call(contract));
}

#[test]
fn code_that_is_deployed_earlier_in_the_block_counts_as_code() {
    let mut c = Chain::new(&genesis(Mode::DenyList, &[(9, rule(Rights::TRANSFER))]));
    let deploy = c.tx(8, None, 0, deployer(&[0x00]));
    let contract = account(8).create(0);
    let send = c.tx(9, Some(contract), 1, Bytes::new());
    let done = c.block(&[deploy, send]);
    assert!(matches!(&done.skipped[..], [(1, _, SkipReason::NotPermitted(_))]), "{:?}", done.skipped);
}

#[test]
fn blocking_ends_and_organisations_take_effect_in_the_next_block() {
    let name = name_word("ACME");
    let acme = Organisation { name, suspended: false, since: basalt_primitives::Height(0), until: Until::default() };
    let of_acme = Rule { organisation: Some(name), ..rule(Rights::TRANSFER) };
    let short = Rule { until: until(2), ..rule(Rights::TRANSFER) };
    let start = GenesisPermission {
        organisations: vec![acme],
        ..genesis(Mode::DenyList, &[(9, of_acme), (10, short), (11, rule(Rights::TRANSFER))])
    };
    let mut c = Chain::new(&start);
    let send = |c: &mut Chain, from| c.one(from, Some(OUTSIDE), 1, Bytes::new());
    assert_eq!(send(&mut c, 10), Ok(true));
    assert_eq!(send(&mut c, 10), Ok(true), "height 2 is the last");
    assert_eq!(missing(send(&mut c, 10)), Missing::Ended);
    assert_eq!(send(&mut c, 9), Ok(true));
    c.vote(&Change::set_organisation("ACME", true, Until::default()));
    assert_eq!(missing(send(&mut c, 9)), Missing::Organisation("ACME".into()));
    assert_eq!(send(&mut c, 11), Ok(true));
    c.vote(&Change::set_account(account(11), Rights::TRANSFER, true, Until::default(), None));
    assert_eq!(missing(send(&mut c, 11)), Missing::Blocked);
    c.vote(&Change::set_mode(Mode::OpenToAll));
    assert_eq!(send(&mut c, 11), Ok(true));
}

#[test]
fn a_newcomer_can_say_that_it_is_ready_and_a_stranger_nothing_else() {
    use basalt_primitives::{Height, system::calls as validator_calls};
    let mut c = Chain::new(&genesis(Mode::AllowList, &[]));
    let ready = validator_calls::ready(Height(0), alloy_primitives::B256::repeat_byte(1));
    assert_eq!(c.one(9, Some(VALIDATORS), 0, ready), Ok(false), "it runs; the contract finds no proposal about it");
    let add = validator_calls::propose_remove(&crate::chain::public(1));
    assert_eq!(missing(c.one(9, Some(VALIDATORS), 0, add.clone())), Missing::NotListed);
    assert_eq!(c.one(1, Some(VALIDATORS), 0, add), Ok(true), "validators vote, listed or not");
}

#[test]
fn a_blocked_account_cannot_hand_itself_over_by_delegation() {
    use alloy_consensus::TxEip7702;
    use alloy_eips::eip7702::Authorization;
    let (sender, victim) = (wallet(21), wallet(22));
    let start = GenesisPermission {
        accounts: vec![(victim.address, Rule { blocked: true, ..rule(Rights(7)) })],
        ..genesis(Mode::DenyList, &[])
    };
    let c = Chain::new(&start);
    let authorization = Authorization { chain_id: U256::ZERO, address: OUTSIDE, nonce: 0 };
    let signature = victim.sign_hash(authorization.signature_hash());
    let plain = eip1559(0, TxKind::Call(OUTSIDE), 0, 200_000, Bytes::new());
    let tx = sender.sign(TxEip7702 {
        chain_id: plain.chain_id,
        nonce: 0,
        gas_limit: plain.gas_limit,
        max_fee_per_gas: 0,
        max_priority_fee_per_gas: 0,
        to: OUTSIDE,
        value: U256::ZERO,
        access_list: Default::default(),
        authorization_list: vec![authorization.into_signed(signature)],
        input: Bytes::new(),
    });
    let done = c.executor.execute(&c.env(), &[tx], &c.state).unwrap();
    let [(0, _, SkipReason::NotPermitted(denied))] = &done.skipped[..] else { panic!("{:?}", done.skipped) };
    assert_eq!((denied.account, &denied.missing), (victim.address, &Missing::Blocked));
}

#[test]
fn proposers_leave_out_what_is_not_permitted() {
    let mut c = Chain::new(&genesis(Mode::AllowList, &[(10, rule(Rights::TRANSFER))]));
    let txs = [c.tx(9, Some(OUTSIDE), 1, Bytes::new()), c.tx(10, Some(OUTSIDE), 1, Bytes::new())];
    let limits = BuildLimits { max_gas: 30_000_000, max_bytes: 1 << 20 };
    let built = c.executor.build(&c.env(), txs.iter(), limits, &c.state).unwrap();
    assert_eq!(built.included.len(), 1);
    assert!(matches!(&built.dropped[..], [(_, reason @ SkipReason::NotPermitted(_))] if !reason.may_run_later()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the rules and the threads, results are those of one thread without kept rules.
    #[test]
    fn threads_and_kept_rules_change_nothing(
        mode in 0u8..3,
        rules in prop::collection::vec((9u8..16, 0u8..16, any::<bool>()), 0..6),
        sends in prop::collection::vec((9u8..18, 0u8..3, any::<bool>()), 1..40),
    ) {
        let mode = [Mode::OpenToAll, Mode::DenyList, Mode::AllowList][usize::from(mode)];
        let mut seen = std::collections::BTreeMap::new();
        for (n, rights, blocked) in rules {
            let blocked = blocked && rights & 8 == 0;
            seen.insert(n, Rule { blocked, ..rule(Rights(rights)) });
        }
        let rules: Vec<_> = seen.into_iter().collect();
        let mut c = Chain::new(&genesis(mode, &rules));
        let txs: Vec<_> = sends
            .iter()
            .map(|(from, what, value)| {
                let to = [None, Some(OUTSIDE), Some(account(20))][usize::from(*what)];
                let input = if *what == 1 { Bytes::new() } else { Bytes::from_static(&[0x00]) };
                c.tx(*from, to, u128::from(*value), input)
            })
            .collect();
        let fresh = Executor::new(c.spec.clone()).without_fast_transfers();
        let want = fresh.execute(&c.env(), &txs, &c.state).unwrap();
        for threads in [1, 3] {
            let executor = Executor::new(c.spec.clone()).with_threads(threads);
            for _ in 0..2 {
                let done = executor.execute(&c.env(), &txs, &c.state).unwrap();
                prop_assert_eq!(&done.receipts, &want.receipts);
                prop_assert_eq!(&done.skipped, &want.skipped);
                prop_assert_eq!(&done.changes.accounts, &want.changes.accounts);
            }
        }
    }
}
