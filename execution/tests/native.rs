//! Native Ed25519 accounts use contracts like any other account does.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use basalt_primitives::{Receipt, Transaction, chainspec::EvmFork, tx::NativeTx};
use common::*;

const REVERTS: Address = Address::repeat_byte(0xc1);
const LOGS: Address = Address::repeat_byte(0xc2);
const FACTORY: Address = Address::repeat_byte(0xc3);

fn alloc() -> BTreeMap<Address, basalt_primitives::chainspec::GenesisAccount> {
    BTreeMap::from([
        (native_key(1).public_key().address(), rich(ETHER)),
        (wallet(1).address, rich(ETHER)),
        // Reverts with the word 42.
        (REVERTS, contract(&[0x60, 0x2a, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xfd])),
        // Logs who calls, and stores the value that came along under who signed.
        (LOGS, contract(&[0x33, 0x5f, 0x5f, 0xa1, 0x34, 0x32, 0x55])),
        // CREATE2 with its call data as init code and salt 0; answers with the address.
        (
            FACTORY,
            contract(&[0x36, 0x5f, 0x5f, 0x37, 0x5f, 0x36, 0x5f, 0x5f, 0xf5, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]),
        ),
    ])
}

/// The same five transactions from either kind of account.
fn script(send: impl Fn(u64, Option<Address>, u128, Bytes) -> Transaction) -> Vec<Transaction> {
    // Stores 7 in slot 0.
    let init = deployer(&[0x60, 0x07, 0x5f, 0x55]);
    vec![
        send(0, None, 0, init.clone()),
        send(1, Some(REVERTS), 5, Bytes::new()),
        send(2, Some(LOGS), 9, Bytes::new()),
        send(3, Some(FACTORY), 0, init),
        send(4, None, 0, Bytes::from_static(&[0xfe])),
    ]
}

/// What a receipt says but for who sent the transaction.
fn impersonal(r: &Receipt) -> (bool, u64, u64, usize, Bytes, bool) {
    let created = r.contract_address.is_some();
    (r.success, r.gas_used, r.cumulative_gas_used, r.logs.len(), r.revert_data.clone(), created)
}

#[test]
fn deploying_calling_reverting_logging_and_create2_are_as_for_ethereum_accounts() {
    let key = native_key(1);
    let native = script(|nonce, to, value, input| {
        native(&key, NativeTx { gas_limit: 200_000, input, ..native_tx(nonce, to, value) })
    });
    let ethereum = script(|nonce, to, value, input| {
        wallet(1).sign(eip1559(nonce, to.map_or(TxKind::Create, TxKind::Call), value, 200_000, input))
    });
    let (mut a, b) = (chain(EvmFork::Osaka, alloc()), chain(EvmFork::Osaka, alloc()));
    let ours = a.executor.execute(&env(0), &native, &a.state).unwrap();
    let theirs = b.executor.execute(&env(0), &ethereum, &b.state).unwrap();
    assert!(ours.skipped.is_empty() && theirs.skipped.is_empty(), "{:?} {:?}", ours.skipped, theirs.skipped);
    let of = |receipts: &[Receipt]| receipts.iter().map(impersonal).collect::<Vec<_>>();
    assert_eq!(of(&ours.receipts), of(&theirs.receipts));

    let sender = key.public_key().address();
    let [deploy, revert, log, create2, halt] = ours.receipts.as_slice() else { panic!("five receipts") };
    let made = sender.create(0);
    assert_eq!((deploy.success, deploy.contract_address), (true, Some(made)));
    assert_eq!(ours.changes.accounts[&made].unwrap().code_hash, hash_of(&[0x60, 0x07, 0x5f, 0x55]));
    assert_eq!((revert.success, &revert.revert_data[..]), (false, &U256::from(42).to_be_bytes::<32>()[..]));
    assert_eq!((log.success, log.logs[0].topics.as_slice()), (true, &[sender.into_word()][..]));
    let slot = U256::from_be_bytes(sender.into_word().0);
    assert_eq!(ours.changes.storage[&LOGS].slots[&slot], U256::from(9));
    let below = FACTORY.create2(B256::ZERO, keccak256(deployer(&[0x60, 0x07, 0x5f, 0x55])));
    assert!(create2.success && ours.changes.accounts.contains_key(&below));
    assert_eq!((halt.success, halt.gas_used, halt.contract_address), (false, 200_000, None));
    assert_eq!(ours.changes.accounts[&sender].unwrap().nonce, 5);

    assert_before(&a.state, &ours.changes);
    let root = a.trie.apply(&ours.changes, &a.state).unwrap().root;
    a.state.apply(&ours.changes);
    assert_eq!(root, reference_root(&a.state));
}
