//! The terminal: draws what comes, until the user leaves. A thread asks the nodes, so that a slow one does not hold up the
//! keys; the terminal is put back as it was on every way out: keys, signals, errors and panics.

use std::{
    sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use tokio::signal::unix::{SignalKind, signal};

use super::{draw::Screen, fetch::Fetcher, model::Picture};

/// How long the terminal waits for a key before it looks for news.
const KEYS_FOR: Duration = Duration::from_millis(200);
/// Rows of a page.
const PAGE: isize = 10;

/// What the asking thread says.
enum News {
    Picture(Box<Picture>),
    /// The process is asked to end.
    End,
}

pub(super) fn run(fetcher: Fetcher, every: Duration) -> anyhow::Result<()> {
    // Room for one: who draws too slowly is not told of what is past.
    let (tell, news) = sync_channel(1);
    thread::Builder::new().name("ask".into()).spawn(move || {
        if let Err(e) = crate::cmd::block_on(ask(&fetcher, every, &tell)).and_then(|asked| asked) {
            tracing::error!("the nodes are no longer asked: {e:#}");
        }
    })?;
    let mut terminal = ratatui::try_init().context("the terminal cannot be used; `basalt top --once` needs none")?;
    let result = watch(&mut terminal, &news);
    ratatui::restore();
    result
}

/// Asks until nobody listens or the process is asked to end.
async fn ask(fetcher: &Fetcher, every: Duration, tell: &SyncSender<News>) -> anyhow::Result<()> {
    let [mut term, mut hangup, mut interrupt] =
        [signal(SignalKind::terminate())?, signal(SignalKind::hangup())?, signal(SignalKind::interrupt())?];
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let look = async {
        loop {
            ticks.tick().await;
            if tell.send(News::Picture(Box::new(fetcher.look().await))).is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = look => {}
        _ = term.recv() => drop(tell.send(News::End)),
        _ = interrupt.recv() => drop(tell.send(News::End)),
        _ = hangup.recv() => drop(tell.send(News::End)),
    }
    Ok(())
}

fn watch(terminal: &mut DefaultTerminal, news: &Receiver<News>) -> anyhow::Result<()> {
    let mut screen = Screen::default();
    loop {
        terminal.draw(|frame| screen.draw(frame)).context("the terminal cannot be written to")?;
        if event::poll(KEYS_FOR).context("the terminal cannot be read")?
            && let Event::Key(key) = event::read()?
            && !obey(key, &mut screen)
        {
            return Ok(());
        }
        match news.try_recv() {
            Ok(News::Picture(picture)) => screen.show(*picture),
            Ok(News::End) => return Ok(()),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => bail!("the nodes are no longer asked; start `basalt top` again"),
        }
    }
}

/// Does what a key says; false: leave.
fn obey(key: KeyEvent, screen: &mut Screen) -> bool {
    if key.kind == KeyEventKind::Release {
        return true;
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
        KeyCode::Up => screen.scroll(-1),
        KeyCode::Down => screen.scroll(1),
        KeyCode::PageUp => screen.scroll(-PAGE),
        KeyCode::PageDown => screen.scroll(PAGE),
        KeyCode::Home => screen.scroll(isize::MIN),
        KeyCode::End => screen.scroll(isize::MAX),
        _ => {}
    }
    true
}
