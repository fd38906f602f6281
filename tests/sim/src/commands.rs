//! What the commands do. Each gives back whether everything was sound, or why the request makes no sense.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use basalt_primitives::ValidatorSet;
use basalt_sim::{Case, Failed, Runner, batch, batch::Batch, measure, measure_pow};
use serde_json::json;

use crate::{MeasureArgs, ReplayArgs, RunArgs, ScenariosArgs, TwinsArgs, Which};

/// Seeds of a run that names neither a number nor a time.
const DEFAULT_SEEDS: u64 = 2_000;
/// Schedules of a search for conflicts that names neither a number nor a time.
const DEFAULT_SCHEDULES: u64 = 10_000;
/// Splits are numbered in 128 bits: five of up to twice as many nodes.
const MAX_TWINNED_NODES: usize = 12;
/// Events shown of a run that failed.
const LAST_EVENTS: usize = 60;

/// `basalt-sim run`.
pub fn run(args: &RunArgs) -> Result<bool, String> {
    let runner = runner(&args.which)?;
    let scenario = scenario(runner.as_ref(), args.scenario.as_deref())?;
    let count = args.seeds.unwrap_or(if args.minutes.is_some() { u64::MAX } else { DEFAULT_SEEDS });
    let batch = Batch {
        scenario,
        nodes: nodes(args.nodes)?,
        seeds: args.from..args.from.saturating_add(count),
        jobs: args.jobs,
        limit: args.minutes.map(|m| Duration::from_secs(60 * m)),
    };
    let start = Instant::now();
    let report = batch::run(runner.as_ref(), &batch);
    let took = start.elapsed().as_secs_f64();
    if args.json {
        let value = json!({
            "engine": args.which.engine, "level": args.which.level, "scenario": batch.scenario, "from": args.from,
            "report": report, "seconds": took,
            "replay": report.violation.as_ref().map(|(case, _)| replay_command(&args.which, case)),
        });
        say(&value.to_string());
        return Ok(report.violation.is_none());
    }
    let Some((case, failed)) = &report.violation else {
        let (settled, seed) = report.slowest;
        say(&format!(
            "{} runs of {} from seed {}: no violation; {} blocks, {} messages, {} events; slowest to settle {settled} ms (seed \
             {seed}); {took:.1} s",
            report.runs, batch.scenario, args.from, report.blocks, report.messages, report.events
        ));
        return Ok(true);
    };
    tell_failure(&args.which, case, failed);
    Ok(false)
}

/// `basalt-sim replay`.
pub fn replay(args: &ReplayArgs) -> Result<bool, String> {
    let runner = runner(&args.which)?;
    let scenario = scenario(runner.as_ref(), args.scenario.as_deref())?;
    let case = Case { scenario, seed: args.seed, nodes: nodes(args.nodes)? };
    let replay = with_bug(args, || runner.replay(&case))?;
    say(&format!("scenario {}, seed {}\n{}", case.scenario, case.seed, replay.plan));
    replay.events.iter().for_each(|line| say(line));
    match &replay.result {
        Ok(o) => say(&format!(
            "sound: height {}, {} messages, {} events, settled {} ms after healing",
            o.height, o.messages, o.events, o.settled_after_ms
        )),
        Err(failed) => say(&format!("VIOLATION of {}: {}", failed.oracle, failed.what)),
    }
    Ok(replay.result.is_ok())
}

#[cfg(not(feature = "mutations"))]
fn with_bug<T>(_: &ReplayArgs, run: impl FnOnce() -> T) -> Result<T, String> {
    Ok(run())
}

#[cfg(feature = "mutations")]
fn with_bug<T>(args: &ReplayArgs, run: impl FnOnce() -> T) -> Result<T, String> {
    use basalt_bft::mutation::Mutation as Bft;
    use basalt_pow::mutation::Mutation as Pow;
    fn names<M: std::fmt::Debug>(name: &str, all: &[M]) -> String {
        let names: Vec<String> = all.iter().map(|m| format!("{m:?}")).collect();
        format!("no deliberate bug '{name}'; there are {}", names.join(", "))
    }
    match (&args.mutation, args.which.engine.as_str()) {
        (None, _) => Ok(run()),
        (Some(name), "pow") => Ok(Pow::find(name).ok_or_else(|| names(name, Pow::ALL))?.with(run)),
        (Some(name), _) => Ok(Bft::find(name).ok_or_else(|| names(name, Bft::ALL))?.with(run)),
    }
}

/// `basalt-sim twins`.
pub fn twins(args: &TwinsArgs) -> Result<bool, String> {
    let n = args.nodes;
    if !(1..=MAX_TWINNED_NODES).contains(&n) {
        return Err(format!("--nodes must be between 1 and {MAX_TWINNED_NODES}, not {n}"));
    }
    let twinned = args.twinned.unwrap_or((n - 1) / 3);
    if twinned > n {
        return Err(format!("--twinned must be at most the number of nodes, {n}"));
    }
    let count = args.schedules.unwrap_or(if args.minutes.is_some() { u64::MAX } else { DEFAULT_SCHEDULES });
    let numbers = args.from..args.from.saturating_add(count);
    let start = Instant::now();
    let limit = args.minutes.map(|m| Duration::from_secs(60 * m));
    let report = batch::run_twins(n, twinned, numbers, args.jobs, limit);
    let took = start.elapsed().as_secs_f64();
    if args.json {
        let value = json!({ "nodes": n, "twinned": twinned, "from": args.from, "report": report, "seconds": took });
        say(&value.to_string());
        return Ok(report.conflict.is_none());
    }
    let t = &report.tally;
    say(&format!(
        "{} schedules from {} of {n} validators, {twinned} of them twice: {} decisions ({} above round 0), {} equivocations seen; \
         {took:.1} s",
        t.schedules, args.from, t.decisions, t.later_rounds, t.equivocations
    ));
    let Some((number, conflict)) = &report.conflict else {
        say("no conflicting decisions");
        return Ok(true);
    };
    let schedule = basalt_sim::twins::Schedule::numbered(n, twinned, *number);
    schedule.steps.iter().for_each(|step| say(&format!("{step:?}")));
    say(&format!("twins of {:?}", schedule.twins));
    say(&format!(
        "CONFLICT in schedule {number}: height {}: {} and {}",
        conflict.height, conflict.first, conflict.second
    ));
    say(&format!("again: basalt-sim twins --nodes {n} --twinned {twinned} --from {number} --schedules 1"));
    Ok(false)
}

/// `basalt-sim measure`.
pub fn measure(args: &MeasureArgs) -> Result<bool, String> {
    if args.engine == "pow" {
        return measure_work(args);
    }
    let sizes = if args.nodes.is_empty() { measure::SIZES.to_vec() } else { args.nodes.clone() };
    for n in &sizes {
        nodes(Some(*n))?;
    }
    let rows = sizes.into_iter().map(measure::measure).collect::<Result<Vec<_>, _>>()?;
    if args.json {
        say(&json!(rows).to_string());
        return Ok(true);
    }
    say("| validators | delays | delays, slow execution | messages per block | stated | engine CPU per block |");
    say("| ---: | ---: | ---: | ---: | ---: | ---: |");
    for row in rows {
        say(&format!(
            "| {} | {:.1} | {:.1} | {} | {} | {:.2} ms |",
            row.validators,
            row.delays,
            row.delays_slow_execution,
            row.messages_per_block,
            row.stated_messages,
            row.engine_us_per_block / 1e3
        ));
    }
    Ok(true)
}

fn measure_work(args: &MeasureArgs) -> Result<bool, String> {
    if !(1..=10_000_000).contains(&args.headers) {
        return Err(format!("--headers must be between 1 and 10000000, not {}", args.headers));
    }
    let (hashes, engine) = (measure_pow::hashes(), measure_pow::engine(args.headers));
    if args.json {
        say(&json!({ "hashes": hashes, "engine": engine }).to_string());
        return Ok(true);
    }
    say("| work hash | bare, a second | search, a second | headers checked, a second |\n| --- | ---: | ---: | ---: |");
    for row in hashes {
        let (bare, search, checked) = (row.bare_per_s, row.search_per_s, row.checked_per_s);
        say(&format!("| {} | {bare:.0} | {search:.0} | {checked:.0} |", row.hash));
    }
    say(&format!(
        "{} headers: seals checked in {:.2} s, in the tree in {:.2} s; a reorg of 64 blocks in the engine: {:.2} ms",
        engine.headers,
        engine.check_s,
        engine.sync_s,
        engine.reorg_64_s * 1e3
    ));
    Ok(true)
}

/// `basalt-sim scenarios`.
pub fn scenarios(args: &ScenariosArgs) -> Result<bool, String> {
    let scenarios = runner(&args.which)?.scenarios();
    if args.json {
        say(&json!(scenarios).to_string());
    } else {
        scenarios.iter().for_each(|s| say(&format!("{:<24} {}", s.name, s.about)));
    }
    Ok(true)
}

fn tell_failure(which: &Which, case: &Case, failed: &Failed) {
    let from = failed.events.len().saturating_sub(LAST_EVENTS);
    failed.events[from..].iter().for_each(|line| say(line));
    say(&format!("plan: {}", failed.plan));
    if !failed.reproduced {
        say("a second run did NOT break the same way: something in it is not deterministic");
    }
    say(&format!("VIOLATION of {}: {}", failed.oracle, failed.what));
    say(&format!("scenario {}, seed {}; the whole log: {}", case.scenario, case.seed, replay_command(which, case)));
}

fn replay_command(which: &Which, case: &Case) -> String {
    let nodes = case.nodes.map(|n| format!(" --nodes {n}")).unwrap_or_default();
    let Which { engine, level } = which;
    format!("basalt-sim replay {} --engine {engine} --level {level} --scenario {}{nodes}", case.seed, case.scenario)
}

fn runner(which: &Which) -> Result<Box<dyn Runner>, String> {
    let fits = |r: &dyn Runner| r.engine() == which.engine && r.level() == which.level;
    let there = || {
        let all = basalt_sim::runners();
        let names: Vec<String> = all.iter().map(|r| format!("{} at level {}", r.engine(), r.level())).collect();
        names.join(", ")
    };
    basalt_sim::runners().into_iter().find(|r| fits(r.as_ref())).ok_or_else(|| {
        format!("no simulator of engine '{}' at level {}; there is {}", which.engine, which.level, there())
    })
}

fn scenario(runner: &dyn Runner, name: Option<&str>) -> Result<String, String> {
    let all = runner.scenarios();
    let Some(name) = name else { return Ok(all[0].name.to_owned()) };
    let found = all.iter().find(|s| s.name == name);
    found.map(|s| s.name.to_owned()).ok_or_else(|| format!("no scenario '{name}'; `basalt-sim scenarios` lists them"))
}

fn nodes(nodes: Option<usize>) -> Result<Option<usize>, String> {
    match nodes {
        Some(n) if n == 0 || n > ValidatorSet::MAX => {
            Err(format!("--nodes must be between 1 and {}, not {n}", ValidatorSet::MAX))
        }
        other => Ok(other),
    }
}

/// One line out. A reader that has gone away (`| head`) ends the program quietly.
pub fn say(line: &str) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(0);
    }
}
