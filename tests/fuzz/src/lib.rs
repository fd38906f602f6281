//! Throws mutated bytes at every decoder that reads what strangers or disks send.
//!
//! Seeds are the golden vectors of the formats and the inputs that once broke something (`crashes/`, kept for ever). A run
//! is a function of target, seed number and count, without coverage feedback (that needs a compiler we do not pin): the mutations
//! know about lengths, tags and RLP heads instead ([`mutate`]). A decoder must not panic, and what it accepts must encode to
//! the same bytes again ([`targets`]).

pub mod mutate;
pub mod targets;

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use targets::Target;

/// What a run has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Inputs tried.
    pub executions: u64,
    /// Of these, how many were accepted. A run in which none is tests little but the first check.
    pub accepted: u64,
}

/// An input that broke a decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The input.
    pub input: Vec<u8>,
    /// What is wrong: the panic, or how the decoder contradicts itself.
    pub what: String,
}

/// The crate's folder: where crash inputs are kept.
#[must_use]
pub fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The seeds of a target: named values of its golden files, and its crashes.
///
/// # Errors
/// When a file cannot be read.
pub fn seeds(target: &Target) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut seeds = Vec::new();
    for (file, suffix) in target.golden {
        let path = home().join("../..").join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let values = text.lines().filter_map(|line| line.split_once(['=', ' ']));
        let named = values.filter(|(name, _)| suffix.iter().any(|s| name.trim().ends_with(s)));
        seeds.extend(named.filter_map(|(_, value)| hex::decode(value.trim_start_matches(['=', ' '])).ok()));
    }
    seeds.extend(target.texts.iter().map(|text| text.as_bytes().to_vec()));
    seeds.extend(crashes(target.name)?);
    Ok(seeds)
}

/// Inputs that once broke a target.
///
/// # Errors
/// When the folder cannot be read.
pub fn crashes(target: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let folder = home().join("crashes");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(&format!("{target}-")) && name.ends_with(".hex") {
            found.push(hex::decode(fs::read_to_string(&path)?.trim()).with_context(|| format!("{name} is not hex"))?);
        }
    }
    found.sort();
    Ok(found)
}

/// Keeps an input that broke a target.
///
/// # Errors
/// When the file cannot be written.
pub fn keep(target: &str, broken: &Broken, folder: &Path) -> anyhow::Result<PathBuf> {
    let hash = hex::encode(&alloy_primitives::keccak256(&broken.input)[..6]);
    let path = folder.join(format!("{target}-{hash}.hex"));
    fs::write(&path, hex::encode(&broken.input)).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Tries the seeds as they are and then `executions` mutations of them.
///
/// # Errors
/// The first input that breaks the target.
pub fn run(target: &Target, seeds: &[Vec<u8>], seed: u64, executions: u64) -> Result<Ran, Broken> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut corpus = seeds.to_vec();
    let mut ran = Ran { executions: 0, accepted: 0 };
    for input in seeds {
        ran.accepted += u64::from(try_one(target, input)?);
    }
    let mut input = Vec::new();
    for n in 0..executions {
        mutate::mutate(&mut rng, &corpus, &mut input);
        let accepted = try_one(target, &input)?;
        ran = Ran { executions: n + 1, accepted: ran.accepted + u64::from(accepted) };
        // What was accepted is worth going on from; the corpus stays bounded.
        if accepted && input.len() <= 4096 {
            if corpus.len() < seeds.len() + 256 {
                corpus.push(input.clone());
            } else if rng.random_ratio(1, 64) {
                let at = rng.random_range(seeds.len()..corpus.len());
                corpus[at].clone_from(&input);
            }
        }
    }
    Ok(ran)
}

/// Whether the target accepts the input.
///
/// # Errors
/// The input, if it breaks the target.
pub fn try_one(target: &Target, input: &[u8]) -> Result<bool, Broken> {
    let broken = |what| Broken { input: input.to_vec(), what };
    match catch_unwind(AssertUnwindSafe(|| (target.decode)(input))) {
        Ok(answer) => answer.map_err(broken),
        Err(panic) => {
            let text =
                panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Err(broken(format!("panic: {}", text.unwrap_or("without words"))))
        }
    }
}
