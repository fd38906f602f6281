//! Cases by class and by what became of them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::{Case, Verdict};

/// The kinds of test in the archive, named after its folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Class {
    /// One transaction on a state: the root after it and the hash of its logs.
    GeneralStateTests,
    /// Keys and values: the root.
    TrieTests,
    /// Items and their encoding, and what is no encoding.
    RLPTests,
    /// Encoded transactions: sender, hash, intrinsic gas, or that no block can hold them.
    TransactionTests,
}

impl Class {
    /// What a test is, by the fields it has.
    pub(crate) fn of(test: &Value) -> Option<Self> {
        let has = |field| test.get(field).is_some();
        match () {
            () if has("pre") && has("post") => Some(Self::GeneralStateTests),
            () if has("txbytes") && has("result") => Some(Self::TransactionTests),
            () if has("in") && (has("root") || has("tests")) => Some(Self::TrieTests),
            () if has("in") && has("out") => Some(Self::RLPTests),
            () => None,
        }
    }
}

/// The cases of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Cases run: those that passed and those that failed.
    pub run: usize,
    /// Cases as they should be.
    pub passed: usize,
    /// Cases that were not run, by reason.
    pub skipped: BTreeMap<&'static str, usize>,
    /// Cases that are wrong: name and what is wrong.
    pub failed: Vec<String>,
}

/// What a run of the tests showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Report {
    /// By class; classes of which there was no case are absent.
    pub classes: BTreeMap<Class, Tally>,
}

impl Report {
    /// Whether every case that ran passed.
    #[must_use]
    pub fn sound(&self) -> bool {
        self.classes.values().all(|tally| tally.failed.is_empty())
    }

    /// The cases of a class that passed.
    #[must_use]
    pub fn passed(&self, class: Class) -> usize {
        self.classes.get(&class).map_or(0, |tally| tally.passed)
    }

    pub(crate) fn take(&mut self, class: Class, name: &str, case: Case) {
        let tally = self.classes.entry(class).or_default();
        match case {
            Ok(Verdict::Passed) => (tally.run, tally.passed) = (tally.run + 1, tally.passed + 1),
            Ok(Verdict::Skipped(reason)) => *tally.skipped.entry(reason).or_default() += 1,
            Err(wrong) => {
                tally.run += 1;
                tally.failed.push(format!("{name}: {wrong}"));
            }
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (class, theirs) in other.classes {
            let tally = self.classes.entry(class).or_default();
            tally.run += theirs.run;
            tally.passed += theirs.passed;
            for (reason, count) in theirs.skipped {
                *tally.skipped.entry(reason).or_default() += count;
            }
            tally.failed.extend(theirs.failed);
            tally.failed.sort();
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (class, tally) in &self.classes {
            let skipped: usize = tally.skipped.values().sum();
            let (run, passed, failed) = (tally.run, tally.passed, tally.failed.len());
            writeln!(f, "{class:?}: {run} run, {passed} passed, {failed} failed, {skipped} skipped")?;
            for (reason, count) in &tally.skipped {
                writeln!(f, "    {count} skipped: {reason}")?;
            }
            for failed in &tally.failed {
                writeln!(f, "    FAILED: {failed}")?;
            }
        }
        Ok(())
    }
}
