use basalt_primitives::{
    B256, Height, U256, keccak256,
    state::{StorageChanges, TrieKey},
};
use basalt_proto::{CertifiedBlock, Codec as _};
use basalt_storage::{Ledger, Reader, StorageError, TxLocation};

use crate::chain::{ALICE, CONTRACT, Made, account, grow, next, open};

/// Everything committed with a block is there, as it was.
fn assert_holds(ledger: &impl Reader, made: &Made, carried: Option<&Made>) {
    let height = made.block.height();
    let hash = made.block.hash();
    assert_eq!(ledger.block(height).unwrap().unwrap().block(), made.block.block());
    assert_eq!(ledger.block_by_hash(&hash).unwrap().unwrap(), made.block);
    assert_eq!(ledger.header(height).unwrap().as_ref(), Some(made.block.header()));
    assert_eq!(ledger.height_of(&hash).unwrap(), Some(height));
    assert_eq!(ledger.block_hash(height).unwrap(), Some(hash));
    assert_eq!(ledger.outcome(height).unwrap(), Some(made.outcome));
    assert_eq!(ledger.receipts(height).unwrap().unwrap(), made.receipts);
    assert_eq!(ledger.skipped(height).unwrap(), made.skipped);
    let canonical = carried.map_or(Some(&made.certificate), |next| next.block.block().last_certificate.as_ref());
    assert_eq!(ledger.certificate(height).unwrap().as_ref(), canonical);
    assert!(ledger.check_block(height).unwrap());

    // Whichever certificate is kept, the size is that of the block alone.
    assert_eq!(ledger.block_size(height).unwrap(), Some(made.block.block().encode().len()));
    let bytes = ledger.certified_bytes(height).unwrap().unwrap();
    let expected = CertifiedBlock { block: made.block.block().clone(), certificate: canonical.cloned() };
    assert_eq!(bytes, expected.encode(), "joined from stored parts as it would be encoded");
    assert_eq!(CertifiedBlock::decode(bytes.0).unwrap(), expected);
}

#[test]
fn what_is_committed_is_read_back_before_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    assert_eq!(ledger.head().height(), Height(0));
    assert_eq!(ledger.account(&ALICE).unwrap(), Some(account(0, 1_000_000)));
    let made = grow(&ledger, 6);
    let check = |ledger: &Ledger| {
        for (i, m) in made.iter().enumerate() {
            assert_holds(ledger, m, made.get(i + 1));
        }
        let head = ledger.head();
        let executed: usize = made.iter().map(|m| m.receipts.len()).sum();
        assert_eq!(head.hash(), made[5].block.hash());
        assert_eq!(head.certificate.as_deref(), Some(&made[5].certificate));
        assert_eq!((head.outcome, head.total_transactions), (made[5].outcome, executed as u64));
        assert_eq!(ledger.account(&ALICE).unwrap(), Some(account(6, 999_994)));
        assert_eq!(ledger.storage(&CONTRACT, &U256::from(4)).unwrap(), U256::from(28));
        assert_eq!(ledger.storage(&CONTRACT, &U256::from(99)).unwrap(), U256::ZERO);
        let code_hash = ledger.account(&CONTRACT).unwrap().unwrap().code_hash;
        assert_eq!(ledger.code(&code_hash).unwrap().unwrap()[..], b"\x60\x00"[..]);
        let node = TrieKey { account: Some(keccak256(CONTRACT)), path: vec![3] };
        assert_eq!(ledger.trie_node(&node).unwrap().unwrap()[..], b"storage node 3"[..]);
        assert!(ledger.block(Height(7)).unwrap().is_none() && ledger.receipts(Height(7)).unwrap().is_none());
    };
    check(&ledger);
    drop(ledger);
    check(&open(dir.path()).unwrap());
}

#[test]
fn only_executed_transactions_are_indexed_and_by_both_positions() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    let made = next(&ledger.head(), 8);
    ledger.commit(&made.commit()).unwrap();
    let at = |i: usize| ledger.tx_location(&made.tx_hashes[i]).unwrap();
    assert_eq!(at(3), Some(TxLocation { height: Height(1), index: 3, receipt: 3 }));
    assert_eq!(at(4), None, "skipped");
    assert_eq!(at(5), Some(TxLocation { height: Height(1), index: 5, receipt: 4 }));
    assert_eq!(ledger.tx_location(&B256::ZERO).unwrap(), None);
}

#[test]
fn a_commit_that_does_not_follow_the_head_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    let first = grow(&ledger, 1).remove(0);
    let head = ledger.head();
    let refused = |made: &Made, what: &str| {
        let result = ledger.commit(&made.commit());
        assert!(matches!(result, Err(StorageError::NotNext { .. })), "{what}: {result:?}");
        assert_eq!(ledger.head().hash(), head.hash(), "{what}");
    };
    refused(&first, "the same block again");
    let mut ahead = (*head).clone();
    ahead.block = next(&head, 1).block;
    refused(&next(&ahead, 1), "a block left out");
    let mut other = (*head).clone();
    other.outcome.state_root = B256::repeat_byte(9);
    refused(&next(&other, 1), "other results of the parent");
    let mut made = next(&head, 2);
    made.certificate.block_hash = B256::repeat_byte(9);
    refused(&made, "a certificate of another block");
    let mut made = next(&head, 2);
    made.receipts.pop();
    refused(&made, "a receipt missing");
}

#[test]
fn a_snapshot_does_not_move_while_blocks_are_committed() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    grow(&ledger, 2);
    let snapshot = ledger.snapshot();
    grow(&ledger, 2);
    assert_eq!(snapshot.head().height(), Height(2));
    assert_eq!(snapshot.account(&ALICE).unwrap(), Some(account(2, 999_998)));
    assert_eq!(snapshot.storage(&CONTRACT, &U256::ZERO).unwrap(), U256::from(2));
    assert_eq!(snapshot.block_hash(Height(3)).unwrap(), None);
    assert_eq!(ledger.storage(&CONTRACT, &U256::ZERO).unwrap(), U256::from(4));
    // A snapshot outlives the ledger it is of.
    drop(ledger);
    assert_eq!(snapshot.storage(&CONTRACT, &U256::ZERO).unwrap(), U256::from(2));
}

#[test]
fn a_head_is_never_ahead_of_or_behind_the_state_it_comes_with() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(|| read_until(&ledger, Height(40)))).collect();
        grow(&ledger, 40);
        readers.into_iter().for_each(|r| r.join().unwrap());
    });
}

fn read_until(ledger: &Ledger, last: Height) {
    loop {
        let snapshot = ledger.snapshot();
        let height = snapshot.head().height();
        assert_eq!(snapshot.storage(&CONTRACT, &U256::ZERO).unwrap(), U256::from(height.0));
        assert_eq!(snapshot.block_hash(height.next()).unwrap(), None);
        if height == last {
            return;
        }
    }
}

#[test]
fn a_destroyed_account_takes_its_slots_and_its_trie_with_it_however_many() {
    for slots in [10, 3000] {
        let dir = tempfile::tempdir().unwrap();
        let ledger = open(dir.path()).unwrap();
        let neighbour = basalt_primitives::Address::repeat_byte(0xc1);
        let mut made = next(&ledger.head(), 1);
        let many: StorageChanges =
            StorageChanges { wiped: false, slots: (0..slots).map(|i| (U256::from(i), U256::from(1))).collect() };
        made.changes.storage.insert(CONTRACT, many.clone());
        made.changes.storage.insert(neighbour, many);
        made.changes.accounts.insert(neighbour, Some(account(1, 1)));
        ledger.commit(&made.commit()).unwrap();
        let mut made = next(&ledger.head(), 1);
        made.changes.accounts.insert(CONTRACT, None);
        made.changes.storage.clear();
        made.trie.nodes.retain(|place, _| place.account.is_none());
        ledger.commit(&made.commit()).unwrap();
        assert_eq!(ledger.account(&CONTRACT).unwrap(), None);
        for i in 0..slots {
            assert_eq!(ledger.storage(&CONTRACT, &U256::from(i)).unwrap(), U256::ZERO, "slot {i} of {slots}");
        }
        assert_eq!(ledger.storage(&neighbour, &U256::from(slots - 1)).unwrap(), U256::from(1));
        let node = TrieKey { account: Some(keccak256(CONTRACT)), path: vec![1] };
        assert_eq!(ledger.trie_node(&node).unwrap(), None);
    }
}

#[test]
fn a_wiped_account_keeps_only_what_is_written_with_the_wipe() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    grow(&ledger, 3);
    let mut made = next(&ledger.head(), 1);
    let slots = [(U256::from(2), U256::from(5))].into();
    made.changes.storage.insert(CONTRACT, StorageChanges { wiped: true, slots });
    ledger.commit(&made.commit()).unwrap();
    assert_eq!(ledger.storage(&CONTRACT, &U256::from(2)).unwrap(), U256::from(5));
    assert_eq!(ledger.storage(&CONTRACT, &U256::from(3)).unwrap(), U256::ZERO);
    assert_eq!(ledger.storage(&CONTRACT, &U256::ZERO).unwrap(), U256::ZERO);
    let node = |n| TrieKey { account: Some(keccak256(CONTRACT)), path: vec![n] };
    assert_eq!(ledger.trie_node(&node(3)).unwrap(), None);
    assert!(ledger.trie_node(&node(4)).unwrap().is_some());
}
