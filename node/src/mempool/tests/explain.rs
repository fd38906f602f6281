//! Why a transaction is stuck, or gone.

use super::*;
use basalt_primitives::system::permission::{Authority, Denied, Missing, Rights};

#[test]
fn what_is_stuck_is_explained_with_a_mend() {
    let mut pool = pool();
    let at_five = PoolContext { base_fee: 5, ..ctx() };
    let mut put = |tx| pool.insert(tx, rich(0), &at_five).expect("taken").tx.hash();
    let ready = put(priced(1, 0, 9));
    let cheap = put(priced(1, 1, 3));
    let behind = put(priced(1, 2, 9));
    let far = put(priced(1, 7, 9));
    let later = put(sign(2, NativeTx { max_fee_per_gas: 9, valid_from: Height(20), ..transfer(0) }));
    let told = |hash| {
        let e = pool.explain(&hash).expect("known");
        (e.state, format!("{}; {}", e.reason, e.mend))
    };
    let expect = |hash, state, words: &[&str]| {
        let (found, text) = told(hash);
        assert_eq!(found, state, "{text}");
        words.iter().for_each(|w| assert!(text.contains(w), "{w:?} is not in {text:?}"));
    };
    expect(ready, Standing::Ready, &["0 transactions are before it", "consensus_explain"]);
    expect(cheap, Standing::Waiting, &["offers 3 wei", "asks for 5", "same nonce"]);
    expect(behind, Standing::Waiting, &["nonce 1", "must go first", "asks for 5"]);
    expect(
        far,
        Standing::Queued,
        &["4 earlier nonces of its sender are missing here", "send the transaction with nonce 3"],
    );
    expect(later, Standing::Waiting, &["valid from block 20"]);
    assert_eq!(pool.explain_sender(&address(1)).and_then(|e| e.hash), Some(cheap), "what holds up the others");
    assert_eq!(pool.explain_sender(&address(9)), None);
    pool.remove(&cheap, "its code is broken");
    let gone = pool.explain(&cheap).expect("remembered");
    assert!(gone.state == Standing::Gone && gone.reason.contains("its code is broken"), "{gone:?}");
}

fn told(pool: &Mempool, hash: alloy_primitives::B256) -> (Standing, String, String) {
    let e = pool.explain(&hash).expect("known");
    assert!(!e.mend.is_empty() && e.sender.is_some() && e.nonce.is_some(), "{e:?}");
    (e.state, e.reason, e.mend)
}

#[test]
fn a_place_in_the_queue_is_told() {
    let mut pool = pool();
    (0..3).for_each(|n| drop(put(&mut pool, priced(1, n, 9)).expect("taken")));
    let mine = put(&mut pool, priced(2, 0, 5)).expect("taken").tx.hash();
    let next = put(&mut pool, priced(2, 1, 5)).expect("taken").tx.hash();
    assert!(told(&pool, mine).1.contains("block 10: 3 transactions are before it, 0 of them of its own sender"));
    assert!(told(&pool, next).1.contains("4 transactions are before it, 1 of them of its own sender"));
}

#[test]
fn whatever_left_is_remembered_with_its_reason() {
    let mut pool = pool();
    let insert = |pool: &mut Mempool, tx, account| pool.insert(tx, account, &ctx()).expect("taken").tx.hash();
    let poor = AccountView { nonce: 0, balance: U256::from(1) };
    let unpayable = insert(&mut pool, sign(1, transfer(0)), poor);
    let used = insert(&mut pool, sign(2, transfer(0)), rich(0));
    let expired = insert(&mut pool, sign(3, NativeTx { valid_until: Some(Height(10)), ..transfer(0) }), rich(0));
    let skipped = insert(&mut pool, sign(4, transfer(0)), rich(0));
    let accounts = [(address(1), AccountView { nonce: 0, balance: U256::ZERO }), (address(2), rich(1))];
    let why = [(skipped, "it makes no sense".to_owned())];
    pool.on_block(&BlockUpdate { skipped: &why, ..block(&accounts, 11) });
    pool.assert_invariants();
    let expect = |hash, standing, reason: &str, mend: &str| {
        let (found, r, m) = told(&pool, hash);
        assert!(found == standing && r.contains(reason) && m.contains(mend), "{found:?} {r:?} {m:?}");
    };
    expect(unpayable, Standing::Gone, "balance no longer covered it", "add funds");
    expect(used, Standing::Gone, "with its nonce is in a block", "next nonce");
    expect(expired, Standing::Gone, "valid until block 10", "later validUntil");
    expect(skipped, Standing::Skipped, "block 10 carried it, but it could not run: it makes no sense", "sign it again");
    let of = |seed| pool.explain_sender(&address(seed)).map(|e| (e.state, e.hash));
    assert_eq!(of(1), Some((Standing::Gone, Some(unpayable))), "the last that left, when none waits");
    assert_eq!(of(9), None);
}

#[test]
fn what_rpc_refused_is_remembered_and_what_peers_sent_is_not() {
    let mut pool = pool();
    let poor = AccountView::default();
    let tx = sign(1, transfer(0));
    let hash = tx.hash();
    pool.insert(tx, poor, &ctx()).expect_err("no money");
    let (state, reason, _) = told(&pool, hash);
    assert!(state == Standing::Refused && reason.contains("insufficient funds"), "{reason}");
    assert_eq!(pool.explain_sender(&address(1)).and_then(|e| e.hash), Some(hash));
    let tx = sign(2, transfer(0));
    let hash = tx.hash();
    pool.insert_from(tx, poor, &ctx(), Lane::Normal, Origin::Peer(1)).expect_err("no money");
    assert_eq!(pool.explain(&hash), None);
}

/// Senders beyond those that a question looks at.
#[test]
fn a_place_in_a_long_queue_is_counted_only_so_far() {
    let mut pool = Mempool::new(MempoolConfig { max_transactions: 10_000, ..MempoolConfig::default() });
    let of = |n: u16, fee: u128| {
        let key = basalt_primitives::SecretKey::from_bytes(
            &[n.to_be_bytes(), [7; 2]].concat().repeat(8).try_into().expect("32"),
        );
        sign_with(&key, NativeTx { max_fee_per_gas: fee, max_priority_fee_per_gas: fee, ..transfer(0) })
    };
    let insert = |pool: &mut Mempool, tx| pool.insert(tx, rich(0), &ctx()).expect("taken").tx.hash();
    let last = insert(&mut pool, of(0, 1));
    for n in 1..=999 {
        insert(&mut pool, of(n, 2));
    }
    let reason = told(&pool, last).1;
    assert!(reason.contains("999 transactions are before it") && !reason.contains("counting"), "{reason}");
    for n in 1_000..1_200 {
        insert(&mut pool, of(n, 3));
    }
    let middle = insert(&mut pool, of(1_200, 3));
    let reason = told(&pool, middle).1;
    assert!(reason.contains("200 transactions are before it"), "exact for one near the front: {reason}");
    assert!(reason.contains("counting the 1000 senders that offer most, of 1201"), "{reason}");
    let reason = told(&pool, last).1;
    assert!(reason.contains("1000 or more transactions are before it"), "{reason}");
}

/// One of each. Whoever adds a variant is sent here by the compiler, through [`assert_listed`].
fn every_refusal() -> Vec<PoolError> {
    let (nonce, fee, tip, sender, limit) = (1, 2, 3, address(1), 4);
    let (count, bytes, balance, cost) = (5, 6, U256::from(7), U256::from(8));
    vec![
        PoolError::AlreadyKnown,
        PoolError::NonceTooLow { nonce, next: 2 },
        PoolError::NonceTooHigh { sender, nonce, next: 2, missing: 3, max_gap: 64 },
        PoolError::NonceMax,
        PoolError::InsufficientFunds { balance, cost },
        PoolError::InsufficientFundsWithPending { balance, queued: balance, cost },
        PoolError::ReplacementUnderpriced { nonce, old_fee: fee, old_tip: tip, need_fee: fee, need_tip: tip },
        PoolError::FreeReplacement { nonce, sender },
        PoolError::PeerLimit { count, bytes, max_count: count, max_bytes: bytes },
        PoolError::Underpriced { fee, min: fee },
        PoolError::TipAboveFee { tip, fee },
        PoolError::IntrinsicGas { have: 1, need: 2 },
        PoolError::FloorGas { have: 1, need: 2 },
        PoolError::BlockGasLimit { gas: 1, limit: 2 },
        PoolError::GasCap { gas: 1, cap: 2 },
        PoolError::InitCode { size: 1, limit },
        PoolError::TypeNotSupported("blob transactions"),
        PoolError::EmptyAuthorizations,
        PoolError::Expired { until: Height(1), next: Height(2) },
        PoolError::EmptyWindow { from: Height(1), until: Height(2) },
        PoolError::SenderLimit { sender, limit },
        PoolError::SenderBytes { sender, limit },
        PoolError::NotPermitted(Box::new(Denied {
            account: sender,
            missing: Missing::Deploy,
            rights: Rights::NONE,
            authority: Authority::Validators,
        })),
        PoolError::Full { count, bytes },
    ]
}

fn every_departure() -> Vec<Gone> {
    let text = || "panicked at src/lib.rs:1:\n  it  has\tmany lines".to_owned();
    let mut all = vec![
        Gone::Replaced(alloy_primitives::B256::ZERO),
        Gone::Evicted,
        Gone::Expired(Height(1)),
        Gone::TooOld,
        Gone::NonceUsed,
        Gone::Unpayable,
        Gone::TooFar,
        Gone::Impossible(text()),
        Gone::Skipped(Height(1), text()),
    ];
    all.extend(every_refusal().into_iter().map(Gone::Refused));
    all
}

/// Does not compile until a new variant is named here: then put it into the lists above too.
fn assert_listed(gone: &Gone) {
    use PoolError as E;
    match gone {
        Gone::Replaced(_) | Gone::Evicted | Gone::Expired(_) | Gone::TooOld | Gone::NonceUsed | Gone::Unpayable => {}
        Gone::TooFar | Gone::Impossible(_) | Gone::Skipped(..) => {}
        Gone::Refused(e) => match e {
            E::AlreadyKnown | E::NonceTooLow { .. } | E::NonceTooHigh { .. } | E::NonceMax => {}
            E::InsufficientFunds { .. } | E::InsufficientFundsWithPending { .. } => {}
            E::ReplacementUnderpriced { .. } | E::FreeReplacement { .. } | E::PeerLimit { .. } => {}
            E::Underpriced { .. } | E::TipAboveFee { .. } | E::IntrinsicGas { .. } | E::FloorGas { .. } => {}
            E::BlockGasLimit { .. } | E::GasCap { .. } | E::InitCode { .. } | E::TypeNotSupported(_) => {}
            E::EmptyAuthorizations | E::Expired { .. } | E::EmptyWindow { .. } | E::SenderLimit { .. } => {}
            E::SenderBytes { .. } | E::NotPermitted(_) | E::Full { .. } => {}
        },
    }
}

fn assert_plain(text: &str) {
    let whole = text.split_whitespace().collect::<Vec<_>>().join(" ") == text;
    assert!(whole && !text.is_empty(), "gaps or line breaks in {text:?}");
}

#[test]
fn no_text_has_gaps_or_line_breaks_in_it() {
    let mut pool = pool();
    for gone in every_departure() {
        assert_listed(&gone);
        let tx = sign(1, transfer(0));
        pool.note(&tx, gone);
        let (_, reason, mend) = told(&pool, tx.hash());
        assert_plain(&reason);
        assert_plain(&mend);
    }
    // The same for what a caller is told who sends it, and for whatever waits, in all the ways there are.
    every_refusal().iter().for_each(|e| assert_plain(&e.to_string()));
    let at_five = PoolContext { base_fee: 5, ..ctx() };
    let mut put = |tx| pool.insert(tx, rich(0), &at_five).expect("taken").tx.hash();
    let later = NativeTx { max_fee_per_gas: 9, valid_from: Height(20), ..transfer(0) };
    let all = [
        put(priced(1, 0, 9)),
        put(priced(1, 1, 9)),
        put(priced(1, 2, 3)),
        put(priced(1, 3, 9)),
        put(priced(1, 5, 9)),
        put(priced(1, 8, 9)),
        put(sign(2, later)),
        put(priced(2, 1, 9)),
    ];
    for hash in all {
        let (_, reason, mend) = told(&pool, hash);
        assert_plain(&reason);
        assert_plain(&mend);
    }
}
