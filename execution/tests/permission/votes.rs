//! Who decides, and what the contract then holds.

use basalt_primitives::{
    Height,
    system::permission::{
        Authority, Change, GenesisPermission, Mode, Node, Organisation, Rights, Role, Status, Until, calls, read,
    },
};

use crate::chain::{Chain, account, genesis, public, rule, until};

fn node(n: u8, role: Role) -> Change {
    Change::set_node(&public(n), role, Until::default(), None, None, &format!("node{n}"))
}

#[test]
fn a_node_is_admitted_by_a_quorum_removed_and_forgotten() {
    let mut c = Chain::new(&genesis(Mode::OpenToAll, &[]));
    c.call(1, calls::propose(&node(9, Role::Observer))).unwrap();
    c.call(2, calls::approve(1)).unwrap();
    assert_eq!(read::nodes(|s| c.slot(s)).unwrap(), [], "two of four are no quorum");
    assert!(c.call(2, calls::approve(1)).unwrap_err().contains("approved this proposal already"));
    c.call(3, calls::approve(1)).unwrap();
    let [found] = &read::nodes(|s| c.slot(s)).unwrap()[..] else { panic!("one node") };
    assert_eq!(
        (found.key, found.role, found.removed, found.name.as_str()),
        (public(9), Role::Observer, false, "node9")
    );
    assert_eq!(found.since, Height(c.height));
    let p = read::proposal(|s| c.slot(s), 1).unwrap().unwrap();
    assert_eq!((p.status, p.decided), (Status::Applied, Some(Height(c.height))));
    assert_eq!(p.approvers, [account(1), account(2), account(3)]);
    assert_eq!((p.proposer, p.change), (account(1), node(9, Role::Observer)));
    let stamp = |c: &Chain| c.slot(alloy_primitives::U256::from(1)).unwrap();
    let before = stamp(&c);
    c.vote(&Change::remove_node(&public(9)));
    assert!(read::nodes(|s| c.slot(s)).unwrap()[0].removed);
    assert_ne!(stamp(&c), before, "the stamp shows the change");
    c.vote(&Change::remove_node(&public(9)));
    assert_eq!(read::nodes(|s| c.slot(s)).unwrap(), [], "a second removal forgets it");
    assert!(c.call(1, calls::propose(&Change::remove_node(&public(9)))).unwrap_err().contains("not on the list"));
}

#[test]
fn only_the_group_decides_and_nonsense_is_refused_with_its_reason() {
    let mut c = Chain::new(&genesis(Mode::OpenToAll, &[]));
    assert!(c.call(9, calls::propose(&node(9, Role::Full))).unwrap_err().contains("only a current validator"));
    c.call(1, calls::propose(&node(9, Role::Full))).unwrap();
    assert!(c.call(9, calls::approve(1)).unwrap_err().contains("only a current validator"));
    let mut fails = |change: Change, why: &str| {
        let said = c.call(2, calls::propose(&change)).unwrap_err();
        assert!(said.contains(why), "{said}");
    };
    fails(node(9, Role::Full), "open already");
    fails(node(9, Role::Validator), "names its validator key");
    fails(Change::set_node(&public(9), Role::Full, until(1), None, None, "x"), "the last height has passed");
    let nowhere = Some(basalt_primitives::system::validators::name_word("nowhere"));
    fails(Change::set_node(&public(9), Role::Full, Until::default(), nowhere, None, "x"), "no such organisation");
    fails(Change { kind: 9, ..node(9, Role::Full) }, "no such kind");
    fails(Change::remove_account(account(9)), "not listed");
    fails(Change::set_call(account(9), account(8), false), "stands so already");
    let ends = Change::set_account(account(9), Rights::ADMINISTER, false, until(9999), None);
    fails(ends, "an administrator is not blocked and has no end");
    c.call(1, calls::withdraw(1)).unwrap();
    assert_eq!(read::open_ids(|s| c.slot(s)).unwrap(), [0; 0]);
}

#[test]
fn administrators_decide_where_genesis_says_so_and_one_is_always_left() {
    let admin = rule(Rights::ADMINISTER);
    let start = GenesisPermission {
        authority: Authority::Administrators,
        percent: 50,
        ..genesis(Mode::AllowList, &[(11, admin), (12, admin)])
    };
    let mut c = Chain::new(&start);
    assert!(c.call(1, calls::propose(&node(9, Role::Full))).unwrap_err().contains("only an administrator"));
    c.call(11, calls::propose(&node(9, Role::Full))).unwrap();
    assert_eq!(read::nodes(|s| c.slot(s)).unwrap().len(), 0, "more than half of two are two");
    c.call(12, calls::approve(1)).unwrap();
    assert_eq!(read::nodes(|s| c.slot(s)).unwrap().len(), 1);
    c.call(11, calls::propose(&Change::remove_account(account(12)))).unwrap();
    c.call(12, calls::approve(2)).unwrap();
    assert_eq!(read::administrators(|s| c.slot(s)).unwrap(), [account(11)]);
    assert!(c.call(12, calls::approve(2)).unwrap_err().contains("not permitted"), "it is not even listed any more");
    assert!(
        c.call(11, calls::propose(&Change::remove_account(account(11)))).unwrap_err().contains("last administrator")
    );
}

#[test]
fn what_another_change_made_meaningless_does_nothing() {
    let mut c = Chain::new(&genesis(Mode::OpenToAll, &[]));
    c.vote(&node(9, Role::Full));
    c.vote(&Change::remove_node(&public(9)));
    let remove = Change::remove_node(&public(9));
    c.call(1, calls::propose(&remove)).unwrap();
    c.call(2, calls::approve(3)).unwrap();
    // The same with a word more is another proposal; it comes first and forgets the node.
    let same = Change { d: alloy_primitives::B256::repeat_byte(1), ..remove };
    c.vote(&same);
    c.call(3, calls::approve(3)).unwrap();
    assert_eq!(read::proposal(|s| c.slot(s), 3).unwrap().unwrap().status, Status::Overtaken);
}

#[test]
fn genesis_holds_what_it_was_given_and_nothing_else_passes() {
    let name = basalt_primitives::system::validators::name_word("ACME");
    let start = GenesisPermission {
        percent: 66,
        nodes: vec![Node {
            key: public(7),
            role: Role::Validator,
            removed: false,
            since: Height(0),
            until: Until { height: 500, time_s: 1_900_000_000 },
            organisation: Some(name),
            validator: Some(public(1)),
            name: "seven".into(),
        }],
        organisations: vec![Organisation { name, suspended: true, since: Height(0), until: until(77) }],
        ..genesis(Mode::DenyList, &[(5, rule(Rights::CALL)), (6, rule(Rights::ADMINISTER))])
    };
    let c = Chain::new(&start);
    assert_eq!(GenesisPermission::of(&c.spec).unwrap().unwrap(), start);
    assert_eq!(read::nodes(|s| c.slot(s)).unwrap(), start.nodes);
    assert_eq!(read::organisations(|s| c.slot(s)).unwrap(), start.organisations);
    assert_eq!(read::accounts(|s| c.slot(s), 0, 99).unwrap(), start.accounts);
    let mut spec = (*c.spec).clone();
    let account = spec.alloc.get_mut(&basalt_primitives::system::PERMISSION).unwrap();
    account.storage.insert(alloy_primitives::B256::repeat_byte(9), alloy_primitives::B256::repeat_byte(9));
    assert!(spec.check_system_contracts().unwrap_err().to_string().contains("change no entry by hand"));
    let none = GenesisPermission { authority: Authority::Administrators, ..genesis(Mode::OpenToAll, &[]) };
    let spec = none.put_into((*c.spec).clone());
    assert!(spec.check_system_contracts().unwrap_err().to_string().contains("names no administrator"));
}
