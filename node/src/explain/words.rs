//! From a picture of the engine to sentences.

use basalt_bft::{Status, Step};
use basalt_primitives::{Address, Height, Millis, PublicKey, Round, ValidatorSet, chainspec::BftParams};

use super::{
    Action, Advice, Explanation, FailedRound, Late, Missing, Reach, Recorder, Situation, Timeline, Timeouts, Timer,
    Votes, record::Track,
};

/// What an explanation is made from.
pub struct View<'a> {
    /// This node's name.
    pub node: &'a str,
    /// Monotonic time.
    pub now: Millis,
    /// What was recorded.
    pub recorder: &'a Recorder,
    /// The validators of the height being agreed on.
    pub set: &'a ValidatorSet,
    /// Names by key, from genesis and configuration.
    pub name: &'a dyn Fn(&PublicKey) -> String,
    /// Names by account.
    pub name_of_account: &'a dyn Fn(&Address) -> String,
    /// This node's validator key, if it has one.
    pub own: Option<PublicKey>,
    /// Whether a validator is connected.
    pub connected: &'a dyn Fn(&PublicKey) -> bool,
    /// The longest round trip to a connected validator.
    pub round_trip_ms: Option<Millis>,
    /// The chain's parameters.
    pub params: &'a BftParams,
    /// Since when transactions that a block could take wait here; `None`: none do.
    pub work_ms: Option<Millis>,
    /// While blocks are fetched: from where to where.
    pub syncing: Option<(Height, Height)>,
}

/// Stable name of a step, for status answers.
#[must_use]
pub const fn step_name(step: Step) -> &'static str {
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

/// Explains where consensus stands, as seen from one node.
#[must_use]
pub fn explain(view: &View<'_>) -> Explanation {
    let Some((at, status)) = &view.recorder.status else { return not_started(view) };
    let e = Explainer { view, s: status, since: view.now.saturating_sub(*at), reach: reach(view) };
    let situation = e.situation();
    let (proposer, is_validator) = (status.proposer.map(|i| e.by_index(i)), status.own.is_some());
    Explanation {
        node: view.node.to_owned(),
        situation,
        summary: e.summary(situation),
        details: e.details(situation),
        advice: e.advice(situation),
        height: status.height,
        round: status.round,
        step: step_name(status.step).to_owned(),
        proposer,
        is_validator,
        votes: e.votes(),
        timer: e.timer(),
        timeouts: e.timeouts(),
        skipped: status.skipped.iter().map(|i| e.by_index(*i)).collect(),
        current: view.recorder.current.as_ref().map(|t| timeline(view, t, false)),
        last_block: view.recorder.last.as_ref().map(|t| timeline(view, t, true)),
        quorum: e.reach,
    }
}

fn not_started(view: &View<'_>) -> Explanation {
    let text = "Wait: consensus starts when the ledger has been opened and checked.".to_owned();
    Explanation {
        node: view.node.to_owned(),
        situation: Situation::NotStarted,
        summary: "Consensus has not started yet.".into(),
        details: Vec::new(),
        advice: vec![Advice { action: Action::Wait, validators: Vec::new(), text }],
        height: Height::GENESIS,
        round: Round::ZERO,
        step: step_name(Step::NotStarted).to_owned(),
        proposer: None,
        is_validator: false,
        votes: Votes::default(),
        quorum: reach(view),
        timer: None,
        timeouts: Timeouts::default(),
        skipped: Vec::new(),
        current: None,
        last_block: None,
    }
}

fn reach(view: &View<'_>) -> Reach {
    let here = |key: &PublicKey| view.own == Some(*key) || (view.connected)(key);
    let validators = || view.set.remaining().map(|(_, v)| v);
    let power = validators().filter(|v| here(&v.public_key)).map(|v| v.power).sum();
    let unreachable = validators().filter(|v| !here(&v.public_key)).map(|v| (view.name)(&v.public_key)).collect();
    let (needed, total) = (view.set.quorum(), view.set.total_power());
    Reach { reachable: power >= needed, power, needed, total, unreachable }
}

struct Explainer<'a> {
    view: &'a View<'a>,
    s: &'a Status,
    /// How old the picture is.
    since: Millis,
    reach: Reach,
}

impl Explainer<'_> {
    fn situation(&self) -> Situation {
        let waits = |for_what| if self.reach.reachable { for_what } else { Situation::NoQuorum };
        match self.s.step {
            Step::NotStarted => Situation::NotStarted,
            _ if self.view.syncing.is_some() => Situation::CatchingUp,
            Step::Following => Situation::Following,
            Step::Recovering => Situation::Recovering,
            Step::Barred => Situation::Barred,
            Step::AwaitingExecution => Situation::Executing,
            Step::Idle => Situation::Idle,
            Step::Pacing => Situation::Pacing,
            Step::AwaitingRound => waits(Situation::AwaitingRound),
            Step::AwaitingProposal => waits(Situation::AwaitingProposal),
            Step::Validating if self.early().is_some() => Situation::EarlyProposal,
            Step::Validating => Situation::Judging,
            Step::Preparing => waits(Situation::Preparing),
            Step::Committing => waits(Situation::Committing),
        }
    }

    fn by_index(&self, index: u16) -> String {
        self.view.set.get(index).map_or_else(|| format!("validator {index}"), |v| (self.view.name)(&v.public_key))
    }

    /// The proposal of this height that is ahead of this clock: who made it, and by how much.
    fn early(&self) -> Option<(String, Millis)> {
        let refused = self.view.recorder.refused.as_ref().filter(|r| r.height == self.s.height)?;
        Some(((self.view.name_of_account)(&refused.proposer), refused.ahead_ms?))
    }

    fn missing_names(&self) -> String {
        list(&self.s.missing.iter().map(|i| self.by_index(*i)).collect::<Vec<_>>())
    }

    fn at(&self) -> String {
        format!("Height {}, round {}", self.s.height, self.s.round)
    }

    fn summary(&self, situation: Situation) -> String {
        let (s, r) = (self.s, &self.reach);
        let proposer = s.proposer.map_or_else(|| "nobody".to_owned(), |i| self.by_index(i));
        let votes = |kind: &str| {
            let (have, need) = (s.power, s.needed);
            format!("{}: {have} of the needed {need} {kind}; missing: {}.", self.at(), self.missing_names())
        };
        match situation {
            Situation::NotStarted => "Consensus has not started yet.".into(),
            Situation::CatchingUp => {
                let (from, to) = self.view.syncing.unwrap_or_default();
                format!("This node is catching up: it is at height {}, peers say {to}; it began at {from}.", s.executed)
            }
            Situation::Following => format!("This node does not vote at height {}; it follows.", s.height),
            Situation::Recovering => format!(
                "This validator's sign record was lost; it votes again when enough others have said what it may have signed: {} of the needed {} have answered.",
                s.power, s.needed
            ),
            Situation::Barred => format!(
                "This validator may have voted at height {} before its record was lost; it votes from the next height on.",
                s.height
            ),
            Situation::Executing => format!("Block {} is final and is being executed.", s.decided),
            Situation::Idle => {
                "There is no block because none is wanted: no transactions wait, no results need certifying, no empty block is due."
                    .into()
            }
            Situation::Pacing => format!("Block {} comes when the block interval has passed.", s.height),
            Situation::NoQuorum => format!(
                "There is no block because no quorum can be reached from here: {} of {} voting power is connected and {} is needed; missing: {}.",
                r.power,
                r.total,
                r.needed,
                list(&r.unreachable)
            ),
            Situation::AwaitingRound => votes("validators have come to this round"),
            Situation::AwaitingProposal => format!("{}: waiting for the proposal of {proposer}.", self.at()),
            Situation::Judging => format!("{}: judging the proposal of {proposer}.", self.at()),
            Situation::EarlyProposal => {
                let (who, ahead) = self.early().unwrap_or_default();
                format!(
                    "{}: the proposal of {who} is {} further ahead of this node's clock than is allowed, so it is not voted for yet.",
                    self.at(),
                    span(ahead)
                )
            }
            Situation::Preparing => votes("prepare votes are here"),
            Situation::Committing => votes("commit votes are here"),
            // The engine of proof of work says it in its own words.
            Situation::Mining => format!("This node looks for block {}.", s.height),
            Situation::DeepBranch => "A branch with more work leaves this node's chain below what is final.".into(),
        }
    }

    fn details(&self, situation: Situation) -> Vec<String> {
        let mut all = Vec::new();
        all.extend(self.override_text());
        if matches!(situation, Situation::Idle | Situation::Pacing | Situation::Following) && !self.reach.reachable {
            let (r, missing) = (&self.reach, list(&self.reach.unreachable));
            let (power, needed, total) = (r.power, r.needed, r.total);
            all.push(format!(
                "The next block would have to wait: {power} of {total} voting power is connected and {needed} is needed; missing: {missing}."
            ));
        }
        for m in self.votes().missing.iter().filter(|_| self.s.power < self.s.needed && waits_for_votes(self.s.step)) {
            let heard = m.last_heard_ms.map_or_else(
                || "has not been heard since this node started".to_owned(),
                |ms| format!("was last heard {} ago", span(ms)),
            );
            all.push(format!("{} {heard}{}.", m.name, if m.connected { "" } else { " and is not connected" }));
        }
        all.extend(self.timer_text(situation));
        if let Some(waits) = self.view.work_ms.filter(|_| !matches!(situation, Situation::Idle)) {
            all.push(format!("Transactions have been waiting for a block for {}.", span(waits)));
        }
        all.extend(self.skip_text());
        all.extend(self.clock_text());
        all.extend(self.s.timing.warning());
        all.extend(self.delay_text());
        all
    }

    fn override_text(&self) -> Option<String> {
        let set = self.view.set;
        let lost = (0u16..).zip(set.as_slice()).filter(|(index, _)| set.is_lost(*index));
        let lost: Vec<String> = lost.map(|(_, v)| (self.view.name)(&v.public_key)).collect();
        (!lost.is_empty()).then(|| {
            format!(
                "A set override is in force at this height: {} were declared lost and have no say, and all {} that remain must agree.",
                list(&lost),
                set.len() - lost.len()
            )
        })
    }

    fn timer_text(&self, situation: Situation) -> Option<String> {
        match self.timer() {
            Some(t) => {
                let (ran, of, left) = (span(t.running_ms), span(t.timeout_ms), span(t.remaining_ms));
                Some(format!("The round has run for {ran} of {of}; in {left} the next validator proposes."))
            }
            None if matches!(situation, Situation::NoQuorum | Situation::AwaitingRound) => {
                Some("No round timer runs: rounds do not move on while too few validators are up, so nothing is lost by waiting.".into())
            }
            None => None,
        }
    }

    fn skip_text(&self) -> Option<String> {
        let skipped: Vec<String> = self.s.skipped.iter().map(|i| self.by_index(*i)).collect();
        (!skipped.is_empty()).then(|| {
            format!(
                "Passed over as proposers for now, because the headers prove that they let their turns pass: {}.",
                list(&skipped)
            )
        })
    }

    fn clock_text(&self) -> Option<String> {
        let lag = self.view.recorder.clock_lag_ms?;
        let allowed = self.view.params.clock_tolerance_ms + self.view.params.round_timeout_ms;
        let off = lag.unsigned_abs();
        let direction = if lag > 0 { "ahead of" } else { "behind" };
        (off > allowed).then(|| {
            format!(
                "This node's clock looks about {} {direction} the proposers' clocks, by the newest block.",
                span(off)
            )
        })
    }

    fn delay_text(&self) -> Option<String> {
        let (rtt, cap) = (self.view.round_trip_ms?, self.view.params.round_timeout_cap_ms);
        // A decision needs three message delays, so one and a half round trips.
        (rtt + rtt / 2 >= cap).then(|| {
            format!(
                "A round trip to a validator takes {}, and the longest round lasts {}: the network is too slow for this chain's parameters.",
                span(rtt), span(cap)
            )
        })
    }

    fn advice(&self, situation: Situation) -> Vec<Advice> {
        let mut all = Vec::new();
        let mut add = |action, validators: Vec<String>, text: String| all.push(Advice { action, validators, text });
        match situation {
            Situation::NoQuorum => {
                let gone = self.reach.unreachable.clone();
                add(Action::StartNodes, gone.clone(), self.start_text(&gone));
                let text = "Only if too many of these validators are lost for ever: a set override signed by the remaining operators lets the chain go on without them: `basalt validator override create` on a stopped node.";
                // With one in force all that remain have just agreed to vote.
                if !self.view.set.is_overridden() {
                    add(Action::SetOverride, gone, text.into());
                }
            }
            Situation::Recovering => {
                let asked: Vec<String> = self.s.missing.iter().map(|i| self.by_index(*i)).collect();
                let start = format!("Start or connect {}; each answers by itself.", list(&asked));
                add(Action::StartNodes, asked, start);
                let text = "Only if more records are lost than that, so that too few can ever answer: `basalt validator reset-record` on this node, with all others stopped or agreed.";
                add(Action::ResetRecord, vec![self.view.node.to_owned()], text.into());
            }
            Situation::EarlyProposal => {
                let who = self.early().map(|(who, _)| who).into_iter().collect();
                add(
                    Action::CheckClocks,
                    who,
                    "Compare the clocks of the proposer and of this node with a time server.".into(),
                );
            }
            Situation::AwaitingProposal | Situation::Preparing | Situation::Committing | Situation::AwaitingRound => {
                add(
                    Action::Wait,
                    Vec::new(),
                    "Wait: a quorum is connected; a later round replaces an absent proposer.".into(),
                );
                let gone = self.reach.unreachable.clone();
                if !gone.is_empty() {
                    let text = format!("Starting {} makes rounds shorter.", list(&gone));
                    add(Action::StartNodes, gone, text);
                }
            }
            Situation::Idle | Situation::Pacing | Situation::Following => {
                let gone = self.reach.unreachable.clone();
                if !self.reach.reachable {
                    add(Action::StartNodes, gone.clone(), self.start_text(&gone));
                } else {
                    add(Action::Nothing, Vec::new(), "Nothing needs to be done.".into());
                }
            }
            _ => add(Action::Wait, Vec::new(), "Wait: this ends by itself.".into()),
        }
        if self.clock_text().is_some() && situation != Situation::EarlyProposal {
            let text = "Compare this node's clock with a time server.".to_owned();
            all.push(Advice { action: Action::CheckClocks, validators: vec![self.view.node.to_owned()], text });
        }
        all
    }

    fn start_text(&self, gone: &[String]) -> String {
        let lacking = self.reach.needed.saturating_sub(self.reach.power);
        let which = match gone {
            [one] => one.clone(),
            many if many_needed(self.view.set, lacking) == 1 => format!("one of {}", list(many)),
            many => format!("{} of {}", many_needed(self.view.set, lacking), list(many)),
        };
        format!("Start {which}, or mend the network between them and this node.")
    }

    fn votes(&self) -> Votes {
        let describe = |i: &u16| {
            let key = self.view.set.get(*i).map(|v| v.public_key);
            Missing {
                name: self.by_index(*i),
                connected: key.is_some_and(|k| self.view.own == Some(k) || (self.view.connected)(&k)),
                last_heard_ms: key.and_then(|k| self.view.recorder.last_heard(self.view.now, &k)),
            }
        };
        let counted = waits_for_votes(self.s.step);
        let mut all = self.view.set.remaining().map(|(index, _)| index).collect::<Vec<_>>();
        all.retain(|i| counted && !self.s.missing.contains(i));
        Votes {
            have: all.into_iter().map(|i| self.by_index(i)).collect(),
            missing: self.s.missing.iter().map(describe).collect(),
            power: self.s.power,
            needed: self.s.needed,
        }
    }

    fn timer(&self) -> Option<Timer> {
        let (ran, timeout_ms) = self.s.timer?;
        let running_ms = ran + self.since;
        Some(Timer { running_ms, timeout_ms, remaining_ms: timeout_ms.saturating_sub(running_ms) })
    }

    fn timeouts(&self) -> Timeouts {
        let (base_ms, cap_ms) = (self.s.timing.base_ms, self.s.timing.cap_ms);
        let doubled = 1u64.checked_shl(self.s.round.0.min(32)).unwrap_or(u64::MAX);
        let current_ms = base_ms.saturating_mul(doubled).min(cap_ms);
        let (typical_ms, round_trip_ms) = (self.s.timing.typical_ms, self.view.round_trip_ms);
        Timeouts { base_ms, cap_ms, current_ms, at_cap: current_ms == cap_ms, typical_ms, round_trip_ms }
    }
}

/// Whether somebody's vote is what the step lacks.
const fn waits_for_votes(step: Step) -> bool {
    matches!(step, Step::Recovering | Step::AwaitingRound | Step::Preparing | Step::Committing)
}

/// The fewest validators that can bring this much power.
fn many_needed(set: &ValidatorSet, lacking: u64) -> usize {
    let mut powers: Vec<u64> = set.remaining().map(|(_, v)| v.power).collect();
    powers.sort_unstable_by(|a, b| b.cmp(a));
    let mut sum = 0u64;
    1 + powers
        .iter()
        .take_while(|p| {
            sum = sum.saturating_add(**p);
            sum < lacking
        })
        .count()
}

fn timeline(view: &View<'_>, track: &Track, decided: bool) -> Timeline {
    let after = |at: Option<Millis>| at.map(|at| at.saturating_sub(track.began));
    let failed_rounds = track.failed.iter().map(|late| failed(view, late)).collect();
    let mut t = Timeline {
        height: track.height,
        round: track.round,
        proposer: track.proposer.as_ref().map(|a| (view.name_of_account)(a)),
        proposer_address: track.proposer,
        due_ms: after(track.due),
        proposed_ms: after(track.proposed),
        prepared_ms: after(track.prepared),
        committed_ms: after(track.committed),
        executed_ms: after(track.executed),
        ago_ms: track.executed.map(|at| view.now.saturating_sub(at)),
        failed_rounds,
        text: String::new(),
    };
    t.text = if decided { timeline_text(&t) } else { String::new() };
    t
}

fn failed(view: &View<'_>, late: &Late) -> FailedRound {
    let name = |i: &u16| view.set.get(*i).map_or_else(|| format!("validator {i}"), |v| (view.name)(&v.public_key));
    let proposer = late.proposer.as_ref().map(name);
    let missing = list(&late.missing.iter().map(name).collect::<Vec<_>>());
    let who = proposer.as_deref().unwrap_or("nobody");
    let (have, need) = late.power;
    let why = match (late.step, &late.refused) {
        (_, Some(r)) if matches!(late.step, Step::Validating | Step::AwaitingProposal) => {
            format!("the proposal of {} was not voted for here: {}", (view.name_of_account)(&r.proposer), r.reason)
        }
        (Step::AwaitingProposal, None) => format!("no proposal of {who} arrived in time"),
        (Step::Preparing, _) => {
            format!("{have} of the needed {need} prepare votes arrived in time; missing: {missing}")
        }
        (Step::Committing, _) => {
            format!("{have} of the needed {need} commit votes arrived in time; missing: {missing}")
        }
        _ => "the other validators had gone on to a later round".to_owned(),
    };
    FailedRound { round: late.round, proposer, lasted_ms: late.lasted_ms, why }
}

fn timeline_text(t: &Timeline) -> String {
    let who = t.proposer.as_deref().unwrap_or("an unknown validator");
    let round = t.round.unwrap_or_default();
    let mut text = format!("Block {} of {who} was decided in round {round}", t.height);
    match (t.due_ms, t.executed_ms) {
        (Some(due), Some(done)) => {
            let step =
                |from: Option<Millis>, to: Option<Millis>| span(to.unwrap_or(done).saturating_sub(from.unwrap_or(due)));
            text += &format!(
                ", {} after it was due: proposed after {}, prepared after another {}, committed after another {}, executed after another {}.",
                span(done.saturating_sub(due)),
                step(t.due_ms, t.proposed_ms.or(t.committed_ms)),
                step(t.proposed_ms.or(t.committed_ms), t.prepared_ms.or(t.committed_ms)),
                step(t.prepared_ms.or(t.committed_ms), t.committed_ms),
                step(t.committed_ms, t.executed_ms),
            );
        }
        _ => text += ".",
    }
    for f in &t.failed_rounds {
        text += &format!(" Round {} failed after {}: {}.", f.round, span(f.lasted_ms), f.why);
    }
    text
}

/// A duration for people.
fn span(ms: Millis) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// Names in a sentence.
pub(super) fn list(names: &[String]) -> String {
    match names {
        [] => "nobody".into(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
