//! kill -9 in the middle of commits, on a real process.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use basalt_primitives::{Height, U256};
use basalt_storage::Reader as _;

use crate::chain::{ALICE, CONTRACT, grow, open};

const DIRECTORY: &str = "BASALT_TEST_CRASH_DIR";

/// Not a test of its own: run by the one below in a process that gets killed. Commits until then.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIRECTORY) else { return };
    let ledger = open(dir.as_ref()).unwrap();
    loop {
        grow(&ledger, 1);
        println!("committed {}", ledger.head().height());
    }
}

#[test]
fn a_process_killed_while_committing_loses_nothing_it_reported_and_leaves_a_whole_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let mut reported = 0;
    for round in 0..6u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::child", "--exact", "--nocapture"])
            .env(DIRECTORY, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut heights = lines.by_ref().filter_map(|l| l.split_once("committed ")?.1.parse::<u64>().ok());
        reported = heights.by_ref().take(3 + round as usize).last().expect("the child commits");
        // Somewhere within the next commit: a different part of it each time.
        std::thread::sleep(Duration::from_micros(700 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        reported = heights.last().unwrap_or(reported);

        let ledger = open(dir.path()).unwrap();
        let head = ledger.head().height().0;
        assert!(head >= reported && head <= reported + 1, "head {head} after {reported} was reported");
        assert!((0..=head).all(|h| ledger.check_block(Height(h)).unwrap()), "every block is whole");
        assert_eq!(ledger.storage(&CONTRACT, &U256::ZERO).unwrap(), U256::from(head), "state is that of the head");
        assert_eq!(ledger.account(&ALICE).unwrap().unwrap().nonce, head);
        for past in 0..head {
            let state = ledger.snapshot().state_at(Height(past)).unwrap();
            assert_eq!(state.account(&ALICE).unwrap().unwrap().nonce, past, "every older state is whole");
            assert_eq!(state.storage(&CONTRACT, &U256::ZERO).unwrap(), U256::from(past));
        }
    }
    assert!(reported >= 6 * 3);
}
