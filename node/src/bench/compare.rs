//! Compares two reports: how much better or worse B is than A.

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde_json::Value;

/// Figures that are compared, and whether more of them is better.
const FIGURES: &[(&str, bool)] = &[
    ("committed_tps", true),
    ("ratio_to_ceiling", true),
    ("p50_ms", false),
    ("p95_ms", false),
    ("p99_ms", false),
    ("p50_to_fsync", false),
    ("cpu_us_per_tx", false),
    ("cpu_to_signatures", false),
    ("rss_bytes_max", false),
    ("disk_bytes_per_tx", false),
    ("written_bytes_per_tx", false),
    ("network_bytes_per_tx", false),
    ("lost", false),
];

/// One figure in both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its key.
    pub figure: &'static str,
    /// In A.
    pub a: Option<f64>,
    /// In B.
    pub b: Option<f64>,
    /// B divided by A.
    pub ratio: Option<f64>,
    /// By how much B is worse, in percent of A; negative when it is better.
    pub worse_percent: Option<f64>,
}

/// Two reports, side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What was run in A and B.
    pub workload: [String; 2],
    /// Nodes in A and B.
    pub nodes: [u64; 2],
    /// Figure by figure.
    pub rows: Vec<Row>,
}

/// Reads two reports of `bench run` or `bench sweep` (its peak) and compares them.
pub fn compare(a: &str, b: &str) -> anyhow::Result<Comparison> {
    let (a, b) = (read(a).context("the first report")?, read(b).context("the second report")?);
    let rows = FIGURES.iter().map(|(figure, more_is_better)| row(figure, *more_is_better, &a, &b)).collect();
    let text = |v: &Value| v["workload"].as_str().unwrap_or("?").to_owned();
    let nodes = |v: &Value| v["nodes"].as_u64().unwrap_or(0);
    Ok(Comparison { workload: [text(&a), text(&b)], nodes: [nodes(&a), nodes(&b)], rows })
}

fn read(text: &str) -> anyhow::Result<Value> {
    let value: Value = serde_json::from_str(text).context("is not JSON; write it with `basalt bench run --json`")?;
    let report = value.get("peak").unwrap_or(&value);
    if !report["committed_tps"].is_number() {
        bail!("is not a report of `basalt bench run --json`: it has no committed_tps");
    }
    Ok(report.clone())
}

fn row(figure: &'static str, more_is_better: bool, a: &Value, b: &Value) -> Row {
    let (a, b) = (a[figure].as_f64(), b[figure].as_f64());
    let ratio = a.zip(b).filter(|(a, _)| *a != 0.0).map(|(a, b)| b / a);
    let worse = |r: f64| if more_is_better { 1.0 - r } else { r - 1.0 };
    Row { figure, a, b, ratio, worse_percent: ratio.map(|r| worse(r) * 100.0) }
}

impl Comparison {
    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let number = |v: Option<f64>| match v {
            None => "-".to_owned(),
            Some(v) if v.abs() >= 100.0 => format!("{v:.0}"),
            Some(v) => format!("{v:.2}"),
        };
        let [a, b] = [0, 1].map(|i| format!("{}, {} nodes", self.workload[i], self.nodes[i]));
        let mut out = format!("{:<22} {a:>18} {b:>18} {:>8}\n", "", "B / A");
        for r in &self.rows {
            let ratio = r.ratio.map_or_else(|| "-".to_owned(), |r| format!("{r:.2}"));
            out += &format!("{:<22} {:>18} {:>18} {ratio:>8}\n", r.figure, number(r.a), number(r.b));
        }
        out
    }

    /// The figures in which B is worse than A by more than so many percent.
    #[must_use]
    pub fn worse_than(&self, percent: f64) -> Vec<&Row> {
        self.rows.iter().filter(|r| r.worse_percent.is_some_and(|w| w > percent)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::report;

    #[test]
    fn better_and_worse_have_the_right_sign() {
        let a = r#"{"workload":"w","nodes":4,"committed_tps":100.0,"p50_ms":10.0,"lost":0}"#;
        let b = r#"{"peak":{"workload":"w","nodes":4,"committed_tps":80.0,"p50_ms":5.0,"lost":0}}"#;
        let c = compare(a, b).expect("compares");
        let of = |figure| c.rows.iter().find(|r| r.figure == figure).expect("row").worse_percent;
        assert!(of("committed_tps").is_some_and(|w| (w - 20.0).abs() < 1e-9));
        assert!(of("p50_ms").is_some_and(|w| (w + 50.0).abs() < 1e-9));
        assert_eq!((of("lost"), of("rss_bytes_max")), (None, None));
        assert_eq!(c.worse_than(10.0).iter().map(|r| r.figure).collect::<Vec<_>>(), ["committed_tps"]);
        assert!(c.worse_than(25.0).is_empty() && c.table().contains("0.80"));
    }

    #[test]
    fn a_report_compared_with_itself_is_the_same_and_other_files_are_refused() {
        let json = serde_json::to_string(&report(None, 10.0)).expect("JSON");
        let c = compare(&json, &json).expect("compares");
        assert!(c.rows.iter().all(|r| r.ratio.is_none_or(|q| (q - 1.0).abs() < 1e-12)) && c.worse_than(0.0).is_empty());
        assert!(compare("{}", &json).is_err() && compare(&json, "no").is_err());
    }
}
