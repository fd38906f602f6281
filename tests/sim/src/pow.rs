//! Level 1 of proof of work: the pure engine with real seals, everything around it simulated.

use basalt_pow::sim::{
    Failure, Plan, Summary, World,
    scenario::{ALL, CHAOS, Scenario},
};

use crate::{About, Case, Failed, Outcome, Replay, Runner};

/// The proof-of-work engine.
#[derive(Clone, Copy, Debug)]
pub struct Pow;

impl Runner for Pow {
    fn engine(&self) -> &'static str {
        "pow"
    }

    fn level(&self) -> u8 {
        1
    }

    fn scenarios(&self) -> Vec<About> {
        ALL.iter().map(|s| About { name: s.name, about: s.about }).collect()
    }

    fn run(&self, case: &Case) -> Result<Outcome, Failed> {
        World::check(&resolve(case)).map(|summary| outcome(&summary)).map_err(failed)
    }

    fn replay(&self, case: &Case) -> Replay {
        let plan = resolve(case);
        let (result, events) = World::trace(&plan);
        let plan = format!("{plan:?}");
        let result = result.map(|summary| outcome(&summary)).map_err(|violation| Failed {
            oracle: violation.oracle.to_owned(),
            what: violation.what,
            reproduced: true,
            plan: plan.clone(),
            events: events.clone(),
        });
        Replay { plan, events, result }
    }
}

/// The caller has checked the name; an unknown one means chaos.
fn resolve(case: &Case) -> Plan {
    Scenario::find(&case.scenario).unwrap_or(&CHAOS).plan(case.seed, case.nodes)
}

fn outcome(summary: &Summary) -> Outcome {
    Outcome {
        height: summary.height.0,
        messages: summary.messages,
        events: summary.events,
        settled_after_ms: summary.settled_after,
    }
}

fn failed(failure: Failure) -> Failed {
    Failed {
        oracle: failure.violation.oracle.to_owned(),
        what: failure.violation.what,
        reproduced: failure.reproduced,
        plan: failure.plan,
        events: failure.events,
    }
}
