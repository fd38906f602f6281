//! The simulators' front: what can be run, by whom, and what comes of it.
//!
//! A [`Runner`] runs cases of one engine at one level: level 1 is the pure engine with everything around it simulated
//! ([`level1`], [`mod@pow`]), level 2 the real driver, mempool and executor ([`level2`]). [`runners`] lists them; [`batch`] runs many seeds.

pub mod batch;
pub mod level1;
pub mod level2;
pub mod measure;
pub mod measure_pow;
pub mod pow;
pub mod twins;

use serde::Serialize;

/// One run: a scenario, a seed, and perhaps a number of nodes. Equal cases give equal runs.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// Name of the scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Number of nodes; without it the scenario chooses.
    pub nodes: Option<usize>,
}

/// What a sound run came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Height everybody reached.
    pub height: u64,
    /// Messages sent, counted per receiver.
    pub messages: u64,
    /// Events handled.
    pub events: u64,
    /// Simulated milliseconds from healing until everything was committed everywhere.
    pub settled_after_ms: u64,
}

/// What a run came to that broke an invariant.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    /// Name of the oracle that saw it.
    pub oracle: String,
    /// What it saw.
    pub what: String,
    /// Whether a second run broke the same way.
    pub reproduced: bool,
    /// The plan of the run.
    pub plan: String,
    /// Its events.
    #[serde(skip)]
    pub events: Vec<String>,
}

/// A run with its log.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The plan of the run.
    pub plan: String,
    /// One line per event.
    pub events: Vec<String>,
    /// How it ended.
    pub result: Result<Outcome, Failed>,
}

/// A name and what happens under it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct About {
    /// Name on the command line.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
}

/// A simulator of one engine at one level.
pub trait Runner: Sync {
    /// The engine's name in a network spec.
    fn engine(&self) -> &'static str;
    /// 1: pure engine. 2: real driver, mempool and execution.
    fn level(&self) -> u8;
    /// The scenarios it knows; the first is the default.
    fn scenarios(&self) -> Vec<About>;
    /// Runs one case. The scenario is one of [`Runner::scenarios`].
    fn run(&self, case: &Case) -> Result<Outcome, Failed>;
    /// Runs one case with its log.
    fn replay(&self, case: &Case) -> Replay;
}

/// Every simulator there is.
#[must_use]
pub fn runners() -> Vec<Box<dyn Runner>> {
    vec![Box::new(level1::Pbft), Box::new(level2::Pbft), Box::new(pow::Pow)]
}
