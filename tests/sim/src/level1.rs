//! Level 1: the pure BFT engine, everything around it simulated.

use basalt_bft::sim::{
    BftLab,
    scenario::{ALL, CHAOS, Scenario},
};
use basalt_consensus::sim::{Failure, Plan, Summary, World};

use crate::{About, Case, Failed, Outcome, Replay, Runner};

/// The PBFT-style engine.
#[derive(Clone, Copy, Debug)]
pub struct Pbft;

impl Runner for Pbft {
    fn engine(&self) -> &'static str {
        "pbft"
    }

    fn level(&self) -> u8 {
        1
    }

    fn scenarios(&self) -> Vec<About> {
        ALL.iter().map(|s| About { name: s.name, about: s.about }).collect()
    }

    fn run(&self, case: &Case) -> Result<Outcome, Failed> {
        let (lab, plan) = resolve(case);
        World::check(&lab, &plan).map(|summary| outcome(&summary)).map_err(failed)
    }

    fn replay(&self, case: &Case) -> Replay {
        let (lab, plan) = resolve(case);
        let (result, events) = World::trace(&lab, &plan);
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
fn resolve(case: &Case) -> (BftLab, Plan) {
    Scenario::find(&case.scenario).unwrap_or(&CHAOS).case(case.seed, case.nodes)
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
