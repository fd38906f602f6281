//! Ethereum's own tests (github.com/ethereum/tests) through our executor, state, trie and decoders.
//!
//! A folder of JSON files comes in ([`folder`]), a [`Report`] goes out: cases run, passed, failed and skipped with the
//! reason, by class. What a file is shows in its content, so any part of the archive can be run. Files are run on all
//! processors; a panic is a failure of its case and ends nothing.

pub mod folder;
mod json;
mod report;
mod rlp;
mod state;
mod transaction;
mod trie;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::Context as _;
use serde_json::Value;

pub use report::{Class, Report, Tally};

/// What became of one case.
pub(crate) enum Verdict {
    /// As it should be.
    Passed,
    /// Not run, because.
    Skipped(&'static str),
}

/// What a case says when it is wrong.
pub(crate) type Case = Result<Verdict, String>;

/// Why cases of forks that no chain of ours can have are left out.
pub(crate) const OLD_FORK: &str = "a fork before Shanghai, which no chain of ours has";

/// Runs these files and reports by class.
///
/// # Errors
/// When a file cannot be read or is not JSON.
pub fn run(files: &[PathBuf], jobs: usize) -> anyhow::Result<Report> {
    let next = AtomicUsize::new(0);
    let work = || -> anyhow::Result<Report> {
        let mut report = Report::default();
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            run_file(file, &mut report)?;
        }
        Ok(report)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(work)).collect();
        let mut all = Report::default();
        for thread in threads {
            all.add(thread.join().expect("cases that panic are caught")?);
        }
        Ok(all)
    })
}

fn run_file(file: &Path, report: &mut Report) -> anyhow::Result<()> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let document: Value = serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", file.display()))?;
    let tests = document.as_object().with_context(|| format!("{} does not hold tests by name", file.display()))?;
    // The same names mean other keys where keys are hashed, and only the file's name tells.
    let secure = file.file_stem().is_some_and(|n| n.to_string_lossy().to_lowercase().contains("secure"));
    for (name, test) in tests {
        let Some(class) = Class::of(test) else {
            anyhow::bail!("{}: {name} is none of the kinds of test that are known here", file.display());
        };
        match class {
            Class::GeneralStateTests => state::run(name, test, &mut |n, case| report.take(class, n, guarded(case))),
            Class::TransactionTests => {
                transaction::run(name, test, &mut |n, case| report.take(class, n, guarded(case)))
            }
            Class::TrieTests => report.take(class, name, guarded(&mut || trie::run(test, secure))),
            Class::RLPTests => report.take(class, name, guarded(&mut || rlp::run(test))),
        }
    }
    Ok(())
}

/// A case whose panic is its failure.
fn guarded(case: &mut dyn FnMut() -> Case) -> Case {
    catch_unwind(AssertUnwindSafe(case)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", said.unwrap_or("without words")))
    })
}
