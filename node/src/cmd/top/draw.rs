//! A picture on the terminal. What does not fit is cut; no size is too small to draw on.

use std::collections::VecDeque;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::Line,
    widgets::{Block, Paragraph, Sparkline, Wrap},
};

use super::{
    cells::{self, Row, Tone},
    model::Picture,
};

/// Looks that are remembered: the width of any terminal.
const HISTORY: usize = 512;
/// Below this height of the terminal there are no curves.
const CURVES_FROM: u16 = 16;
/// Most lines of alerts.
const ALERTS: usize = 8;

/// What is shown.
#[derive(Debug, Default)]
pub(super) struct Screen {
    picture: Option<Picture>,
    /// Tenths of transactions per second; none where nobody answered.
    tps: VecDeque<Option<u64>>,
    /// Milliseconds from proposal to commit.
    commit: VecDeque<Option<u64>>,
    /// First row of nodes that is shown.
    scroll: usize,
}

impl Screen {
    /// Takes in a new picture.
    pub fn show(&mut self, picture: Picture) {
        let tenths = picture.tps.as_ref().map(|t| (t.current * 10.0) as u64);
        for (curve, value) in [(&mut self.tps, tenths), (&mut self.commit, picture.commit_ms)] {
            curve.push_back(value);
            let over = curve.len().saturating_sub(HISTORY);
            curve.drain(..over);
        }
        self.picture = Some(picture);
    }

    /// Moves the list of nodes by so many rows, not beyond its ends.
    pub fn scroll(&mut self, rows: isize) {
        let all = self.picture.as_ref().map_or(0, |p| p.nodes.len() + p.told.len());
        self.scroll = self.scroll.saturating_add_signed(rows).min(all.saturating_sub(1));
    }

    /// Draws all.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let Some(picture) = &self.picture else {
            return frame.render_widget(Paragraph::new("asking the nodes …   q quits"), area);
        };
        let alerts = cells::alerts(picture);
        let alert_lines = u16::try_from(alerts.len().clamp(1, ALERTS)).unwrap_or(1) + 1;
        let curves = if area.height >= CURVES_FROM { 5 } else { 1 };
        let parts = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(2),
            Constraint::Min(2),
            Constraint::Length(curves),
            Constraint::Length(alert_lines),
            Constraint::Length(1),
        ]);
        let [title, words, nodes, curves, below, keys] = parts.areas(area);
        let bold = Style::new().add_modifier(Modifier::BOLD);
        frame.render_widget(Line::styled(cells::title(picture), bold), title);
        let explanation = picture.explanation.as_deref().unwrap_or_default();
        frame.render_widget(Paragraph::new(explanation).wrap(Wrap { trim: true }), words);
        self.draw_nodes(frame, picture, nodes);
        self.draw_curves(frame, picture, curves);
        draw_alerts(frame, alerts, below);
        frame.render_widget(Line::styled("q quits   ↑ ↓ PgUp PgDn move the list of nodes", style(Tone::Faint)), keys);
    }

    fn draw_nodes(&self, frame: &mut Frame<'_>, picture: &Picture, area: Rect) {
        let (heading, rows) = cells::nodes(picture, area.width.into());
        let (first, room) = (self.scroll.min(rows.len()), usize::from(area.height.saturating_sub(1)));
        let hidden = rows.len().saturating_sub(first + room);
        let mut lines = vec![Line::styled(heading, Style::new().add_modifier(Modifier::REVERSED))];
        let shown = if hidden > 0 { room.saturating_sub(1) } else { room };
        lines.extend(rows.into_iter().skip(first).take(shown).map(line));
        if hidden > 0 {
            lines.push(Line::styled(format!("… {} more nodes", hidden + 1), style(Tone::Faint)));
        }
        frame.render_widget(Paragraph::new(lines), area);
    }

    fn draw_curves(&self, frame: &mut Frame<'_>, picture: &Picture, area: Rect) {
        let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).spacing(1).areas(area);
        let beyond = picture.tps.as_ref().is_some_and(|t| matches!(t.state.as_str(), "above" | "below"));
        let tone = style(if beyond { Tone::Warning } else { Tone::Plain });
        for (area, title, curve, style) in
            [(left, cells::tps(picture), &self.tps, tone), (right, cells::commit(picture), &self.commit, Style::new())]
        {
            let newest = curve.len().saturating_sub(area.width.into());
            let curve = Sparkline::default().data(curve.iter().skip(newest).copied()).style(style.fg(Color::Cyan));
            frame.render_widget(curve.block(Block::new().title(Line::styled(title, style))), area);
        }
    }
}

fn draw_alerts(frame: &mut Frame<'_>, alerts: Vec<Row>, area: Rect) {
    let heading = match alerts.len() {
        0 => "alerts: none".to_owned(),
        n if n > ALERTS => format!("alerts: {n}, the first {ALERTS} are"),
        n => format!("alerts: {n}"),
    };
    let mut lines = vec![Line::styled(heading, Style::new().add_modifier(Modifier::BOLD))];
    lines.extend(alerts.into_iter().take(ALERTS).map(line));
    frame.render_widget(Paragraph::new(lines), area);
}

fn line(row: Row) -> Line<'static> {
    Line::styled(row.text, style(row.tone))
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Faint => Style::new().add_modifier(Modifier::DIM),
        Tone::Warning => Style::new().fg(Color::Yellow),
        Tone::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
    }
}
