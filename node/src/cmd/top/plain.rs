//! A picture as plain text, for `--once`.

use super::{cells, model::Picture};

/// All of it, every line ended.
pub(super) fn text(p: &Picture) -> String {
    let mut lines = vec![cells::title(p)];
    lines.extend(p.explanation.clone());
    lines.push(format!("{}   {}", cells::tps(p), cells::commit(p)));
    lines.push(String::new());
    let (heading, rows) = cells::nodes(p, usize::MAX);
    lines.push(heading);
    lines.extend(rows.into_iter().map(|r| r.text));
    lines.push(String::new());
    let alerts = cells::alerts(p);
    lines.push(if alerts.is_empty() { "alerts: none".into() } else { "alerts:".into() });
    lines.extend(alerts.into_iter().map(|r| format!("  {}", r.text)));
    lines.into_iter().map(|line| line + "\n").collect()
}
