//! The report as one HTML file: figures as a table, latency over throughput as an inline SVG. Nothing is fetched from anywhere.

use super::Report;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 50.0;
const TOP: f64 = 20.0;
const RIGHT: f64 = 20.0;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:820px;margin:2em auto;padding:0 1em;color:#222}\
table{border-collapse:collapse;width:100%}td,th{padding:.3em .7em;border-bottom:1px solid #ddd;text-align:right}\
td:first-child,th:first-child{text-align:left}pre{background:#f5f5f5;padding:1em;overflow:auto}\
svg{width:100%;height:auto}.p50{stroke:#06c;fill:#06c}.p99{stroke:#c30;fill:#c30}text{font:12px system-ui,sans-serif}";

/// A page about one run, or a sweep's peak (`main`) and its points.
#[must_use]
pub fn page(main: &Report, points: &[Report], knee: Option<u64>) -> String {
    let title = format!("Basalt benchmark: {}, {} nodes", escape(&main.workload), main.nodes);
    let all: Vec<&Report> = points.iter().collect();
    let mut rows: Vec<&Report> = all.clone();
    rows.push(main);
    let knee = knee.map_or_else(String::new, |k| format!("<p>Knee: <b>{k}</b> transactions per second.</p>"));
    let curve = if all.len() > 1 { svg(&all) } else { String::new() };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head>\n\
         <body><h1>{title}</h1>\n{knee}\n{curve}\n{}\n<pre>{}</pre></body></html>\n",
        table(&rows),
        escape(&main.table())
    )
}

fn table(rows: &[&Report]) -> String {
    let one = |r: &&Report| {
        let offered = r.offered_tps.map_or_else(|| "as many as are taken".to_owned(), |o| o.to_string());
        format!(
            "<tr><td>{offered}</td><td>{:.0}</td><td>{:.2}</td><td>{:.1}</td><td>{:.1}</td><td>{}</td><td>{}</td></tr>",
            r.committed_tps, r.ratio_to_ceiling, r.p50_ms, r.p99_ms, r.refused, r.lost
        )
    };
    let head = ["offered per second", "committed per second", "of ceiling", "p50 ms", "p99 ms", "refused", "lost"];
    let head: String = head.iter().map(|h| format!("<th>{h}</th>")).collect();
    format!("<table><tr>{head}</tr>{}</table>", rows.iter().map(one).collect::<String>())
}

/// Latency, on a logarithmic axis, over committed transactions per second.
fn svg(points: &[&Report]) -> String {
    let most_tps = points.iter().map(|p| p.committed_tps).fold(1.0, f64::max) * 1.05;
    let latencies = || points.iter().flat_map(|p| [p.p50_ms, p.p99_ms]).filter(|l| *l > 0.0);
    let low = latencies().fold(f64::MAX, f64::min).min(1000.0).log10().floor();
    let high = latencies().fold(1.0, f64::max).log10().ceil().max(low + 1.0);
    let x = |tps: f64| LEFT + (WIDTH - LEFT - RIGHT) * tps / most_tps;
    let y = |ms: f64| {
        let share = (ms.max(1e-3).log10() - low) / (high - low);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    };
    let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"latency over throughput\">");
    out += &axes(most_tps, low as i32, high as i32, &x, &y);
    for (class, of) in [("p50", (|p: &Report| p.p50_ms) as fn(&Report) -> f64), ("p99", |p: &Report| p.p99_ms)] {
        let at: Vec<(f64, f64)> = points.iter().map(|p| (x(p.committed_tps), y(of(p)))).collect();
        let line: Vec<String> = at.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        out += &format!(
            "<polyline class=\"{class}\" style=\"fill:none\" stroke-width=\"2\" points=\"{}\"/>",
            line.join(" ")
        );
        for (x, y) in &at {
            out += &format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>");
        }
        if let Some((x, y)) = at.first() {
            out += &format!(
                "<text class=\"{class}\" stroke=\"none\" style=\"stroke:none\" x=\"{x:.1}\" y=\"{:.1}\">{class}</text>",
                y - 8.0
            );
        }
    }
    out + "</svg>"
}

fn axes(most_tps: f64, low: i32, high: i32, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) -> String {
    let mut out = String::new();
    for power in low..=high {
        let (at, ms) = (y(10f64.powi(power)), 10f64.powi(power));
        out += &format!("<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>", WIDTH - RIGHT);
        out += &format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{ms} ms</text>", LEFT - 8.0, at + 4.0);
    }
    for i in 0..=5 {
        let tps = most_tps * f64::from(i) / 5.0;
        let (at, base) = (x(tps), HEIGHT - BOTTOM);
        out += &format!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{tps:.0}</text>", base + 18.0);
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    out + &format!("<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">committed per second</text>", HEIGHT - 8.0)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::tests::report;

    #[test]
    fn a_page_has_the_curve_and_loads_nothing() {
        let mut main = report(None, 1000.0);
        main.workload = "<script>&".into();
        let points = [report(Some(100), 100.0), report(Some(900), 880.0)];
        let html = page(&main, &points, Some(900));
        assert!(html.contains("<polyline class=\"p50\"") && html.contains("<polyline class=\"p99\""));
        assert!(html.contains("Knee: <b>900</b>") && html.contains("&lt;script&gt;&amp;"));
        assert!(!html.contains("<script>") && !html.contains("http") && !html.contains("NaN") && !html.contains("inf"));
    }

    #[test]
    fn one_run_has_no_curve_and_zeros_draw() {
        let main = report(None, 0.0);
        assert!(!page(&main, &[], None).contains("<svg"));
        let nothing = [report(Some(1), 0.0), report(Some(2), 0.0)];
        assert!(!page(&main, &nothing, None).contains("NaN"));
    }
}
