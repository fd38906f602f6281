//! Deliberate bugs, one at a time: each must be found by the simulator. `docs/pow-mutations.md` lists the seed that
//! finds each; that one is run first, and others only when it no longer does. `tests/run.sh mutations` runs this;
//! `BASALT_UPDATE_TABLE=1` writes the table anew.

use std::{fmt::Write, path::PathBuf};

use basalt_pow::{
    mutation::Mutation,
    sim::{
        World,
        scenario::{self, CHAOS, Scenario},
    },
};

/// Seeds of the chaos, which CI runs.
const CHAOS_SEEDS: u64 = 500;
/// Seeds of each named scenario, for what chaos does not find.
const NAMED_SEEDS: u64 = 30;

/// Where a bug shows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Find {
    scenario: &'static str,
    seed: u64,
    oracle: String,
}

fn table() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/pow-mutations.md")
}

/// Runs a case with a bug in it.
fn hunt(mutation: Mutation, scenario: &'static Scenario, seed: u64) -> Option<Find> {
    let plan = scenario.plan(seed, None);
    let failure = mutation.with(|| World::check(&plan)).err()?;
    Some(Find { scenario: scenario.name, seed, oracle: failure.violation.oracle.to_owned() })
}

/// What the table says of a bug: `| name | what | scenario | seed | oracle |`.
fn recorded(text: &str, mutation: Mutation) -> Option<Find> {
    let name = format!("{mutation:?}");
    text.lines().find_map(|line| {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [_, first, _, scenario, seed, oracle, _] = cells[..] else { return None };
        let scenario = Scenario::find(scenario).filter(|_| first == name)?;
        Some(Find { scenario: scenario.name, seed: seed.parse().ok()?, oracle: oracle.to_owned() })
    })
}

fn search(mutation: Mutation) -> Option<Find> {
    let chaos = (0..CHAOS_SEEDS).find_map(|seed| hunt(mutation, &scenario::ALL[0], seed));
    chaos.or_else(|| {
        let named = scenario::ALL.iter().filter(|s| s.name != CHAOS.name);
        named.into_iter().find_map(|s| (0..NAMED_SEEDS).find_map(|seed| hunt(mutation, s, seed)))
    })
}

fn written(finds: &[(Mutation, Find)]) -> String {
    let mut text = String::from(
        "# Deliberate bugs in proof of work, and the seeds that find them\n\n\
        A simulator that finds nothing proves nothing. So each of these bugs is built into the engine or its simulated driver, one at\n\
        a time, by the test-only feature `mutations` of `basalt-pow`, and must be found. `tests/run.sh mutations` runs the seed listed\n\
        here for each (first without the bug: it must be sound), and searches the 500 seeds of `chaos` that CI runs, then the named\n\
        scenarios, when a seed finds its bug no more. `BASALT_UPDATE_TABLE=1 tests/run.sh mutations` writes this table anew.\n\n\
        To watch one: `cargo run -p basalt-sim --features mutations -- replay SEED --engine pow --scenario NAME --mutation BUG`.\n\n\
        | bug | what is wrong | scenario | seed | found by |\n| --- | --- | --- | --- | --- |\n",
    );
    for (mutation, find) in finds {
        let Find { scenario, seed, oracle } = find;
        let _ = writeln!(text, "| `{mutation:?}` | {} | `{scenario}` | {seed} | {oracle} |", mutation.about());
    }
    text
}

#[test]
fn every_deliberate_bug_is_found() {
    std::panic::set_hook(Box::new(|_| {}));
    let text = std::fs::read_to_string(table()).unwrap_or_default();
    let find = |mutation: &Mutation| {
        let known = recorded(&text, *mutation);
        let again = known.and_then(|k| hunt(*mutation, Scenario::find(k.scenario)?, k.seed));
        let found = again.or_else(|| search(*mutation));
        println!("{mutation:?}: {found:?}");
        (*mutation, found)
    };
    let found: Vec<(Mutation, Option<Find>)> = std::thread::scope(|scope| {
        let parts = Mutation::ALL.chunks(Mutation::ALL.len().div_ceil(2));
        let threads: Vec<_> =
            parts.map(|part| scope.spawn(move || part.iter().map(find).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|t| t.join().expect("a hunt does not panic")).collect()
    });
    let _ = std::panic::take_hook();
    let missed: Vec<Mutation> = found.iter().filter(|(_, find)| find.is_none()).map(|(m, _)| *m).collect();
    let finds: Vec<(Mutation, Find)> = found.into_iter().filter_map(|(m, find)| Some((m, find?))).collect();
    if std::env::var_os("BASALT_UPDATE_TABLE").is_some() {
        std::fs::write(table(), written(&finds)).expect("the table is written");
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
    let now = std::fs::read_to_string(table()).unwrap_or_default();
    assert!(now == written(&finds), "the table is out of date: BASALT_UPDATE_TABLE=1 tests/run.sh mutations writes it");
}

/// A seed that fails without the bug would prove nothing about it.
#[test]
fn the_listed_seeds_are_sound_without_a_bug() {
    let text = std::fs::read_to_string(table()).expect("the table is there");
    for mutation in Mutation::ALL {
        let find = recorded(&text, *mutation).unwrap_or_else(|| panic!("{mutation:?} is not in the table"));
        let plan = Scenario::find(find.scenario).expect("it is listed").plan(find.seed, None);
        World::check(&plan).unwrap_or_else(|failure| panic!("{mutation:?}: {failure}"));
    }
}
