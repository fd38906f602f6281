//! The rate sweep: how latency rises with throughput, and where the knee is.

use serde::Serialize;

use super::{Machine, Mode, Plan, Report, run};

/// Steps of a sweep as shares of the peak.
const STEPS: [f64; 9] = [0.05, 0.2, 0.4, 0.6, 0.75, 0.85, 0.95, 1.05, 1.2];
/// A rate is sustained when this share of it is committed while it lasts.
const SUSTAINED: f64 = 0.95;

/// What a sweep says.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// Closed loop, as many as were taken.
    pub peak: Report,
    /// Open loop, by rising rate.
    pub points: Vec<Report>,
    /// The highest rate offered that was sustained: 95 % of it committed while it lasted, and nothing lost.
    pub knee_tps: Option<u64>,
}

/// Finds the peak with the plan's own mode, then offers rates around it. Stops early beyond the knee: two rates in a row that are not sustained.
pub async fn sweep(plan: &Plan, machine: &Machine) -> anyhow::Result<Sweep> {
    let peak = run(plan, machine).await?;
    let mut points = Vec::new();
    for share in STEPS {
        let rate = ((peak.committed_tps * share) as u64).max(1);
        let step = Plan { mode: Mode::Rate(rate), ..plan.clone() };
        points.push(run(&step, machine).await?);
        if matches!(&points[..], [.., a, b] if !sustained(a) && !sustained(b)) {
            break;
        }
    }
    let knee_tps = knee(points.iter().map(|p| (p.offered_tps, sustained(p))));
    Ok(Sweep { peak, points, knee_tps })
}

fn sustained(r: &Report) -> bool {
    r.lost == 0 && r.offered_tps.is_some_and(|rate| r.committed_tps >= rate as f64 * SUSTAINED)
}

fn knee(points: impl Iterator<Item = (Option<u64>, bool)>) -> Option<u64> {
    points.filter(|(_, sustained)| *sustained).filter_map(|(rate, _)| rate).max()
}

impl Sweep {
    /// The sweep as a table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = format!("peak, closed loop\n{}\n", self.peak.table());
        out += "   offered  committed      p50 ms      p95 ms      p99 ms  refused     lost\n";
        for p in &self.points {
            let offered = p.offered_tps.unwrap_or(0);
            out += &format!(
                "{offered:>10} {:>10.0} {:>11.1} {:>11.1} {:>11.1} {:>8} {:>8}\n",
                p.committed_tps, p.p50_ms, p.p95_ms, p.p99_ms, p.refused, p.lost
            );
        }
        let knee = self.knee_tps.map_or_else(|| "below the lowest rate".to_owned(), |k| format!("{k} per second"));
        out + &format!("knee: {knee}\n")
    }

    /// What is wrong with it, if anything is.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        std::iter::once(&self.peak).chain(&self.points).find_map(Report::problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_knee_is_the_highest_sustained_rate() {
        let points = [(Some(10), true), (Some(30), true), (Some(20), true), (Some(40), false)];
        assert_eq!(knee(points.into_iter()), Some(30));
        assert_eq!(knee([(Some(10), false)].into_iter()), None);
    }
}
