//! Where consensus stands, in words: what is waited for, who is missing, and what an operator can safely do.

use basalt_bft::{Status, Step};

/// Stable name of a step, for status answers.
pub(super) const fn step_name(step: Step) -> &'static str {
    match step {
        Step::NotStarted => "not_started",
        Step::Following => "following",
        Step::Recovering => "recovering",
        Step::Barred => "barred",
        Step::AwaitingExecution => "awaiting_execution",
        Step::Idle => "idle",
        Step::Pacing => "pacing",
        Step::AwaitingRound => "awaiting_round",
        Step::AwaitingProposal => "awaiting_proposal",
        Step::Validating => "validating",
        Step::Preparing => "preparing",
        Step::Committing => "committing",
    }
}

/// One or two sentences; `name` gives a validator's name by index.
pub(super) fn explain(s: &Status, name: impl Fn(u16) -> String) -> String {
    let missing = s.missing.iter().map(|i| name(*i)).collect::<Vec<_>>().join(", ");
    let proposer = s.proposer.map_or_else(|| "nobody".to_owned(), &name);
    let timer = s
        .timer
        .map_or_else(String::new, |(ran, of)| format!(" The round gives up after {of} ms; {ran} ms have passed."));
    let waits = |for_what: &str| {
        format!(
            "Height {}, round {}: {for_what} {} of {} power are there; missing: {missing}.{timer}",
            s.height, s.round, s.power, s.needed
        )
    };
    match s.step {
        Step::NotStarted => "Consensus has not started yet.".into(),
        Step::Following => format!("This node does not vote at height {}; it follows.", s.height),
        Step::Recovering => format!(
            "This validator's sign record was lost. It votes again when enough others have told it what it may have signed: {} of {} power have answered; missing: {missing}. Start those nodes.",
            s.power, s.needed
        ),
        Step::Barred => format!(
            "This validator may have voted at height {} before its record was lost; it votes from the next height on.",
            s.height
        ),
        Step::AwaitingExecution => format!("Block {} is final and being executed.", s.decided),
        Step::Idle => {
            "There is nothing to do: no transactions wait, no results need certifying, no empty block is due.".into()
        }
        Step::Pacing => format!("Block {} is due when the block interval has passed.", s.height),
        Step::AwaitingRound => {
            waits("waiting for validators to come to this round;")
                + " If they are down, start them: a quorum must be up."
        }
        Step::AwaitingProposal => {
            format!("Height {}, round {}: waiting for the proposal of {proposer}.{timer}", s.height, s.round)
        }
        Step::Validating => format!("Height {}, round {}: judging the proposal of {proposer}.", s.height, s.round),
        Step::Preparing => waits("waiting for prepare votes;"),
        Step::Committing => waits("waiting for commit votes;"),
    }
}
