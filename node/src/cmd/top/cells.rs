//! A picture as lines of text: the same on the terminal and in the output of `--once`.

use ratatui::text::Span;

use super::model::{Alert, Node, Picture, State, Told, Tps};

/// How a line stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Faint,
    Warning,
    Bad,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub text: String,
    pub tone: Tone,
}

/// A column: its heading, whether it is pushed to the right, how soon it goes where there is no room (0: never), its cell.
struct Column {
    heading: &'static str,
    right: bool,
    goes: u8,
    cell: fn(&Node, &Picture) -> String,
}

const fn left(heading: &'static str, goes: u8, cell: fn(&Node, &Picture) -> String) -> Column {
    Column { heading, right: false, goes, cell }
}

const fn right(heading: &'static str, goes: u8, cell: fn(&Node, &Picture) -> String) -> Column {
    Column { heading, right: true, goes, cell }
}

/// The columns that a node which is down has as well come first.
const COLUMNS: [Column; 15] = [
    left("NODE", 0, |n, _| n.name.clone()),
    left("STATE", 0, |n, _| if n.state == State::On { "on".into() } else { "DOWN".into() }),
    left("ROLE", 9, |n, _| n.role.clone().unwrap_or_else(|| "-".into())),
    right("HEIGHT", 0, |n, _| or_dash(n.height)),
    right("BEHIND", 4, |n, p| n.behind(p).map_or_else(|| "-".into(), |b| b.to_string())),
    right("ROUND", 3, |n, _| or_dash(n.round)),
    left("STEP", 8, |n, _| n.step.clone().unwrap_or_else(|| "-".into())),
    right("PEERS", 5, |n, _| or_dash(n.peers)),
    right("TPS", 1, |n, _| n.tps.as_ref().map_or_else(|| "-".into(), rate)),
    right("COMMIT", 2, |n, _| n.commit_ms.map_or_else(|| "-".into(), |ms| span(ms as f64))),
    right("ANSWER", 10, |n, _| n.answer_ms.map_or_else(|| "-".into(), span)),
    right("CPU", 6, |n, _| n.cpu_cores.map_or_else(|| "-".into(), |c| format!("{:.0} %", c * 100.0))),
    right("MEMORY", 7, |n, _| n.memory_bytes.map_or_else(|| "-".into(), bytes)),
    right("DISK FREE", 11, |n, _| n.disk_free_bytes.map_or_else(|| "-".into(), bytes)),
    right("CLOCK", 12, |n, _| n.clock_offset_ms.map_or_else(|| "-".into(), |ms| format!("{ms:+} ms"))),
];
/// Of them, those that a node which is down has as well.
const COMMON: usize = 4;
const GAP: usize = 2;

fn or_dash(v: Option<u64>) -> String {
    v.map_or_else(|| "-".into(), |v| v.to_string())
}

/// A rate, with a sign when it is beyond its threshold.
fn rate(tps: &Tps) -> String {
    let sign = match tps.state.as_str() {
        "above" => "▲",
        "below" => "▼",
        _ => "",
    };
    format!("{sign}{:.1}", tps.current)
}

/// Milliseconds, as people say them.
pub(super) fn span(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 10_000.0 => format!("{ms:.0} ms"),
        ms if ms < 600_000.0 => format!("{:.0} s", ms / 1000.0),
        ms => format!("{:.0} min", ms / 60_000.0),
    }
}

/// Bytes, as people say them.
pub(super) fn bytes(n: u64) -> String {
    match n {
        n if n < 10 << 20 => format!("{} KiB", n >> 10),
        n if n < 10 << 30 => format!("{} MiB", n >> 20),
        n => format!("{} GiB", n >> 30),
    }
}

/// Columns that a text takes on a terminal.
fn columns(text: &str) -> usize {
    Span::raw(text).width()
}

/// Fills up with spaces.
fn fill(text: &str, width: usize, right: bool) -> String {
    let space = " ".repeat(width.saturating_sub(columns(text)));
    if right { format!("{space}{text}") } else { format!("{text}{space}") }
}

/// The nodes as a table at most this wide, if that is possible: a heading, and a row each. Which columns stay is chosen
/// by what matters most.
pub(super) fn nodes(picture: &Picture, room: usize) -> (String, Vec<Row>) {
    let told: Vec<[String; COMMON]> = picture.told.iter().map(told_cells).collect();
    let width_of = |(i, column): (usize, &Column)| {
        let cells = picture.nodes.iter().map(|n| columns(&(column.cell)(n, picture)));
        let told = told.iter().filter_map(|cells| cells.get(i)).map(|cell| columns(cell));
        cells.chain(told).chain([columns(column.heading)]).max().unwrap_or(0)
    };
    let mut shown: Vec<(usize, &Column, usize)> =
        COLUMNS.iter().enumerate().map(|(i, c)| (i, c, width_of((i, c)))).collect();
    while shown.iter().map(|(_, _, w)| w + GAP).sum::<usize>() > room.saturating_add(GAP) {
        let Some(goes) = shown.iter().map(|(_, c, _)| c.goes).max().filter(|goes| *goes > 0) else { break };
        shown.retain(|(_, c, _)| c.goes != goes);
    }
    let line = |cell: &dyn Fn(usize, &Column) -> String, only: usize| {
        let cells = shown.iter().filter(|(i, ..)| *i < only);
        let cells: Vec<String> = cells.map(|(i, c, width)| fill(&cell(*i, c), *width, c.right)).collect();
        cells.join("  ")
    };
    let heading = line(&|_, c| c.heading.into(), COLUMNS.len());
    let mut rows: Vec<Row> = picture
        .nodes
        .iter()
        .map(|n| {
            let only = if n.state == State::On { COLUMNS.len() } else { COMMON };
            let text = line(&|_, c| (c.cell)(n, picture), only);
            Row { text: noted(text, n.note.as_deref()), tone: tone(n) }
        })
        .collect();
    rows.extend(picture.told.iter().zip(&told).map(|(t, cells)| {
        let text = line(&|i, _| cells.get(i).cloned().unwrap_or_default(), COMMON);
        Row { text: noted(text, Some(&told_note(t))), tone: if t.on { Tone::Faint } else { Tone::Warning } }
    }));
    (heading, rows)
}

fn noted(text: String, note: Option<&str>) -> String {
    note.map_or_else(|| text.trim_end().to_owned(), |note| format!("{text}  {note}"))
}

fn tone(n: &Node) -> Tone {
    match n.state {
        State::Down => Tone::Bad,
        State::On if n.alerts > 0 || n.note.is_some() => Tone::Warning,
        State::On => Tone::Plain,
    }
}

fn told_cells(t: &Told) -> [String; COMMON] {
    let state = if t.on { "told on" } else { "told OFF" };
    [t.name.clone(), state.into(), t.role.clone().unwrap_or_else(|| "-".into()), or_dash(t.height)]
}

fn told_note(t: &Told) -> String {
    let seen = t.last_seen_ms.map_or_else(|| "never seen".into(), |ms| format!("seen {} s ago", ms / 1000));
    let more = [&t.version, &t.organisation].into_iter().flatten().fold(String::new(), |all, v| format!("{all}, {v}"));
    format!("not asked; {seen} by the others{more}")
}

/// First line: which network, and how it is as a whole.
pub(super) fn title(p: &Picture) -> String {
    let (on, all) = p.on_of();
    let network = match (&p.network, p.chain_id) {
        (Some(name), Some(id)) => format!("{name} (chain id {id}, {})", p.engine.as_deref().unwrap_or("?")),
        _ => "no node answers".into(),
    };
    format!("{network}   {on} of {all} nodes on   height {}   {} UTC", or_dash(p.height), time(p.at))
}

/// The rate with its threshold.
pub(super) fn tps(p: &Picture) -> String {
    let Some(tps) = &p.tps else { return "TPS -".into() };
    let bound = |v: Option<f64>| v.map_or_else(|| "-".into(), |v| v.to_string());
    let (upper, lower) = (bound(tps.upper), bound(tps.lower));
    let threshold = match tps.state.as_str() {
        "off" => "no threshold".into(),
        state => format!("upper {upper}, lower {lower}: {}", state.to_uppercase()),
    };
    format!("TPS {:.1} over {} s, {threshold}", tps.current, tps.window_seconds)
}

/// The newest block's latency.
pub(super) fn commit(p: &Picture) -> String {
    format!("newest block: proposal to commit {}", p.commit_ms.map_or_else(|| "-".into(), |ms| span(ms as f64)))
}

/// What fires.
pub(super) fn alerts(p: &Picture) -> Vec<Row> {
    let row = |a: &Alert| {
        let number = |v: Option<f64>| v.map_or_else(|| "-".into(), |v| ((v * 10.0).round() / 10.0).to_string());
        let subject = a.subject.as_deref().map_or_else(String::new, |s| format!(" {s}"));
        let since = a.since.map_or_else(String::new, |at| format!(" for {}", span(p.at.saturating_sub(at) as f64)));
        let text = format!(
            "{:<8} {}{subject}: {} (threshold {}){since}, on {}",
            a.severity,
            a.alert,
            number(a.value),
            number(a.threshold),
            a.nodes.join(", ")
        );
        Row { text, tone: if a.severity == "critical" { Tone::Bad } else { Tone::Warning } }
    };
    p.alerts.iter().map(row).collect()
}

/// Time of day.
fn time(wall_ms: u64) -> String {
    let s = wall_ms / 1000;
    format!("{:02}:{:02}:{:02}", s / 3600 % 24, s / 60 % 60, s % 60)
}
