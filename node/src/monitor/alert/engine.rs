//! The state machine of alerts: each reading is quiet, about to fire, firing, or about to be over. No clock, no I/O.

use std::collections::{BTreeMap, BTreeSet};

use basalt_primitives::Millis;

use super::{AlertKind, AlertState, Severity};

/// Alerts followed at most; readings beyond are left out, and counted in [`AlertEngine::left_out`].
const MAX_TRACKED: usize = 4_096;

/// On which side of the threshold it is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// More is bad.
    Above,
    /// Less is bad.
    Below,
}

/// When an alert begins and ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Which side is bad.
    pub side: Side,
    /// It begins beyond this.
    pub threshold: f64,
    /// It ends at this or on its good side: hysteresis, so that a value at the threshold does not flap.
    pub clear: f64,
    /// For how long it must have been so, before it begins and before it ends.
    pub hold_ms: Millis,
    /// How urgent it is.
    pub severity: Severity,
}

impl Rule {
    fn is_bad(&self, value: f64) -> bool {
        match self.side {
            Side::Above => value > self.threshold,
            Side::Below => value < self.threshold,
        }
    }

    fn is_good(&self, value: f64) -> bool {
        match self.side {
            Side::Above => value <= self.clear,
            Side::Below => value >= self.clear,
        }
    }
}

/// A measured value and what it is measured against.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What it is about.
    pub kind: AlertKind,
    /// Which of several; empty where there is one.
    pub subject: String,
    /// The value.
    pub value: f64,
    /// What it is measured against.
    pub rule: Rule,
}

/// Something began or ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// What it is about.
    pub kind: AlertKind,
    /// Which of several.
    pub subject: String,
    /// Whether it began or ended.
    pub state: AlertState,
    /// How urgent it is.
    pub severity: Severity,
    /// The value now, or the last one.
    pub value: f64,
    /// What it was measured against.
    pub threshold: f64,
    /// False when it ended because nobody measures it any longer.
    pub watched: bool,
}

/// An alert that is firing.
#[derive(Clone, Debug, PartialEq)]
pub struct Active {
    /// What it is about.
    pub kind: AlertKind,
    /// Which of several.
    pub subject: String,
    /// How urgent it is.
    pub severity: Severity,
    /// The newest value.
    pub value: f64,
    /// What it is measured against.
    pub threshold: f64,
    /// Since when, on the clock of the observations.
    pub since_ms: Millis,
}

/// Where one alert stands. Quiet ones are not kept.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Bad since.
    Rising(Millis),
    /// Firing since.
    Firing(Millis),
    /// Firing since the first, good again since the second.
    Falling(Millis, Millis),
}

#[derive(Clone, Debug)]
struct Tracked {
    phase: Phase,
    value: f64,
    rule: Rule,
}

/// All alerts of a node.
#[derive(Debug, Default)]
pub struct AlertEngine {
    tracked: BTreeMap<(AlertKind, String), Tracked>,
    left_out: u64,
}

impl AlertEngine {
    /// Takes all readings of one moment in, and says what began and what ended. What is not among them is not measured
    /// any longer: if it was firing, it ends.
    pub fn observe(&mut self, now: Millis, readings: &[Reading]) -> Vec<Transition> {
        let mut out = self.forget(readings);
        for reading in readings {
            let key = (reading.kind, reading.subject.clone());
            let before = self.tracked.get(&key).map(|t| t.phase);
            let (phase, state) = next(before, reading, now);
            if before.is_none() && phase.is_some() && self.tracked.len() >= MAX_TRACKED {
                self.left_out += 1;
                continue;
            }
            out.extend(state.map(|state| transition(reading, state)));
            match phase {
                Some(phase) => {
                    self.tracked.insert(key, Tracked { phase, value: reading.value, rule: reading.rule });
                }
                None => {
                    self.tracked.remove(&key);
                }
            }
        }
        out
    }

    /// What is firing now.
    #[must_use]
    pub fn active(&self) -> Vec<Active> {
        let firing = self.tracked.iter().filter_map(|((kind, subject), t)| match t.phase {
            Phase::Rising(_) => None,
            Phase::Firing(since_ms) | Phase::Falling(since_ms, _) => Some(Active {
                kind: *kind,
                subject: subject.clone(),
                severity: t.rule.severity,
                value: t.value,
                threshold: t.rule.threshold,
                since_ms,
            }),
        });
        firing.collect()
    }

    /// Readings that found no room.
    #[must_use]
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    fn forget(&mut self, readings: &[Reading]) -> Vec<Transition> {
        let mut out = Vec::new();
        let measured: BTreeSet<_> = readings.iter().map(|r| (r.kind, r.subject.as_str())).collect();
        self.tracked.retain(|(kind, subject), t| {
            let kept = measured.contains(&(*kind, subject.as_str()));
            if !kept && !matches!(t.phase, Phase::Rising(_)) {
                out.push(Transition {
                    kind: *kind,
                    subject: subject.clone(),
                    state: AlertState::Resolved,
                    severity: t.rule.severity,
                    value: t.value,
                    threshold: t.rule.threshold,
                    watched: false,
                });
            }
            kept
        });
        out
    }
}

/// The one transition function: the phase after a reading, and what is to be told.
fn next(before: Option<Phase>, r: &Reading, now: Millis) -> (Option<Phase>, Option<AlertState>) {
    let held = |since: Millis| now.saturating_sub(since) >= r.rule.hold_ms;
    match before {
        // Quiet: stays so, or begins to rise; without a holding time it fires at once.
        None | Some(Phase::Rising(_)) if !r.rule.is_bad(r.value) => (None, None),
        None if r.rule.hold_ms == 0 => (Some(Phase::Firing(now)), Some(AlertState::Firing)),
        None => (Some(Phase::Rising(now)), None),
        Some(Phase::Rising(since)) if held(since) => (Some(Phase::Firing(now)), Some(AlertState::Firing)),
        Some(Phase::Rising(since)) => (Some(Phase::Rising(since)), None),
        // Firing: between threshold and clearing value it goes on.
        Some(Phase::Firing(since) | Phase::Falling(since, _)) if !r.rule.is_good(r.value) => {
            (Some(Phase::Firing(since)), None)
        }
        Some(Phase::Firing(_)) if r.rule.hold_ms == 0 => (None, Some(AlertState::Resolved)),
        Some(Phase::Firing(since)) => (Some(Phase::Falling(since, now)), None),
        Some(Phase::Falling(_, good)) if held(good) => (None, Some(AlertState::Resolved)),
        Some(Phase::Falling(since, good)) => (Some(Phase::Falling(since, good)), None),
    }
}

fn transition(r: &Reading, state: AlertState) -> Transition {
    Transition {
        kind: r.kind,
        subject: r.subject.clone(),
        state,
        severity: r.rule.severity,
        value: r.value,
        threshold: r.rule.threshold,
        watched: true,
    }
}
