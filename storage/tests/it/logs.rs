//! The log index against a model that looks at every log.

use basalt_primitives::{Address, B256, Bloom, Bytes, Height, Log, Receipt, receipt::receipts_root};
use basalt_storage::{
    FoundLog, Ledger, LogQuery, Reader as _, SearchEnd, SearchLimits, StorageError,
    tables::{Table, log_key},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    chain::{next, open, spec},
    opening::raw,
};

const ALL: SearchLimits = SearchLimits { logs: usize::MAX, rows: usize::MAX };

fn address(n: u8) -> Address {
    Address::repeat_byte(0xa0 + n)
}

/// Topics that are much alike, so that a seek into the wrong neighbour is noticed.
fn topic(n: u8) -> B256 {
    let mut t = B256::repeat_byte(0xa1);
    t.0[31] = n;
    t
}

fn log(rng: &mut StdRng) -> Log {
    let topics = (0..rng.random_range(0..=4)).map(|_| topic(rng.random_range(0..4))).collect();
    Log { address: address(rng.random_range(0..4)), topics, data: Bytes::from(vec![rng.random(); 3]) }
}

/// Commits a block with these logs in each of its receipts.
fn commit(ledger: &Ledger, mut logs: impl FnMut() -> Vec<Log>) -> Vec<Receipt> {
    let mut made = next(&ledger.head(), 4);
    made.receipts.iter_mut().for_each(|r| r.logs = logs());
    made.outcome.receipts_root = receipts_root(spec(31337).hash_fn, &made.receipts);
    ledger.commit(&made.commit()).unwrap();
    made.receipts
}

/// What the search must find: every log is looked at.
fn expected(ledger: &Ledger, query: &LogQuery, from: u64, to: u64) -> Vec<FoundLog> {
    let mut found = Vec::new();
    for height in (from..=to).map(Height) {
        let Some(receipts) = ledger.receipts(height).unwrap() else { break };
        let header = ledger.header(height).unwrap().unwrap();
        let mut position = 0;
        for (receipt, r) in (0..).zip(receipts) {
            for log in r.logs {
                if query.matches(&log) {
                    let (block_hash, timestamp_ms) = (ledger.block_hash(height).unwrap().unwrap(), header.timestamp_ms);
                    found.push(FoundLog {
                        height,
                        block_hash,
                        timestamp_ms,
                        position,
                        receipt,
                        tx_hash: r.tx_hash,
                        log,
                    });
                }
                position += 1;
            }
        }
    }
    found
}

fn query(rng: &mut StdRng) -> LogQuery {
    let mut some = |most: u8| {
        let count = if rng.random_bool(0.4) { 0 } else { rng.random_range(1..3) };
        (0..count).map(|_| rng.random_range(0..most)).collect::<Vec<u8>>()
    };
    let addresses = some(5).into_iter().map(address).collect();
    let topics = (0..3).map(|_| some(5).into_iter().map(topic).collect()).collect::<Vec<Vec<B256>>>();
    let count = rng.random_range(0..=3);
    LogQuery { addresses, topics: topics.into_iter().take(count).collect() }
}

#[test]
fn searches_find_what_looking_at_every_log_finds() {
    let (dir, mut rng) = (tempfile::tempdir().unwrap(), StdRng::seed_from_u64(5));
    let mut ledger = open(dir.path()).unwrap();
    for block in 0..40 {
        let busy = block % 5 != 4;
        commit(&ledger, || (0..if busy { rng.random_range(0..5) } else { 0 }).map(|_| log(&mut rng)).collect());
        if block == 20 {
            drop(ledger);
            ledger = open(dir.path()).unwrap();
        }
    }
    assert_eq!(ledger.snapshot().logs_from().unwrap(), Height(0));
    let mut hits = 0;
    for _ in 0..600 {
        let query = query(&mut rng);
        let from = rng.random_range(0..42);
        let to = rng.random_range(from..45);
        let found = ledger.snapshot().find_logs(&query, Height(from), Height(to), ALL).unwrap();
        assert_eq!(found.end, SearchEnd::Complete);
        assert_eq!(found.logs, expected(&ledger, &query, from, to), "{query:?} in {from}..={to}");
        hits += found.logs.len();
    }
    assert!(hits > 1000, "{hits}");
}

#[test]
fn a_search_stops_at_its_limits_and_says_where() {
    let (dir, mut rng) = (tempfile::tempdir().unwrap(), StdRng::seed_from_u64(6));
    let ledger = open(dir.path()).unwrap();
    for _ in 0..10 {
        commit(&ledger, || vec![Log { address: address(1), ..log(&mut rng) }]);
    }
    let search = |query: &LogQuery, logs, rows| {
        ledger.snapshot().find_logs(query, Height(0), Height(10), SearchLimits { logs, rows }).unwrap()
    };
    // Four transactions a block, all of them executed: four logs a block.
    for query in [LogQuery::default(), LogQuery { addresses: vec![address(1)], topics: Vec::new() }] {
        let found = search(&query, 10, 1000);
        assert_eq!((found.logs.len(), found.end), (10, SearchEnd::TooManyLogs(Height(3))));
        assert_eq!(search(&query, 40, 1000).end, SearchEnd::Complete);
        assert!(matches!(search(&query, 40, 5).end, SearchEnd::TooMuchWork(_)));
    }
    let never = LogQuery { addresses: vec![address(3)], topics: Vec::new() };
    assert_eq!(search(&never, 1, 2).end, SearchEnd::Complete, "what is not there costs nothing");
}

#[test]
fn blooms_are_kept_with_the_block() {
    let (dir, mut rng) = (tempfile::tempdir().unwrap(), StdRng::seed_from_u64(7));
    let ledger = open(dir.path()).unwrap();
    let receipts = commit(&ledger, || vec![log(&mut rng)]);
    commit(&ledger, Vec::new);
    let bloom = receipts.iter().fold(Bloom::ZERO, |all, r| all | r.bloom());
    assert_eq!((ledger.bloom(Height(1)).unwrap(), ledger.bloom(Height(2)).unwrap()), (Some(bloom), None));
}

#[test]
fn an_index_that_names_a_missing_log_is_damage() {
    let (dir, mut rng) = (tempfile::tempdir().unwrap(), StdRng::seed_from_u64(8));
    let ledger = open(dir.path()).unwrap();
    commit(&ledger, || vec![Log { address: address(2), ..log(&mut rng) }]);
    drop(ledger);
    let db = raw(dir.path());
    db.delete_cf(db.cf_handle(Table::Logs.name()).unwrap(), log_key(Height(1), 2)).unwrap();
    drop(db);
    let query = LogQuery { addresses: vec![address(2)], topics: Vec::new() };
    let found = open(dir.path()).unwrap().snapshot().find_logs(&query, Height(0), Height(9), ALL);
    assert!(matches!(found, Err(StorageError::Corrupt { table: "logs", .. })), "{found:?}");
}
