//! Which entries are meant: by time, act and principal.

use std::time::Duration;

use clap::Args;
use der::DateTime;

use crate::{audit::Entry, clock};

/// Which entries.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cmd) struct Filter {
    /// Not before: a time such as 2026-01-31 or 2026-01-31T12:00:00Z, or so long ago: 90s, 30m, 24h, 7d.
    #[arg(long, value_parser = moment)]
    since: Option<u64>,
    /// Not after, written likewise.
    #[arg(long, value_parser = moment)]
    until: Option<u64>,
    /// Only these acts, such as administration. May be repeated.
    #[arg(long)]
    act: Vec<String>,
    /// Only entries whose principal, user or subject contains this.
    #[arg(long)]
    principal: Option<String>,
}

impl Filter {
    /// Whether an entry is meant.
    pub fn takes(&self, entry: &Entry) -> bool {
        let named = |who: &String| {
            ["principal", "user"].iter().any(|f| entry.text(f).is_some_and(|t| t.contains(who.as_str())))
        };
        self.since.is_none_or(|at| entry.time_ms >= at)
            && self.until.is_none_or(|at| entry.time_ms <= at)
            && (self.act.is_empty() || self.act.contains(&entry.act))
            && self.principal.as_ref().is_none_or(named)
    }
}

/// A moment in milliseconds since the Unix epoch.
fn moment(text: &str) -> Result<u64, String> {
    let expected =
        || format!("{text:?} is no time; write 2026-01-31, 2026-01-31T12:00:00Z, or 90s, 30m, 24h, 7d for so long ago");
    if let Some((digits, unit)) = text.split_at_checked(text.len().saturating_sub(1))
        && let Ok(count) = digits.parse::<u64>()
    {
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(expected()),
        };
        return Ok(clock::wall_ms().saturating_sub(count.saturating_mul(seconds * 1000)));
    }
    let whole = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    let time: DateTime = whole.parse().map_err(|_| expected())?;
    u64::try_from(time.unix_duration().as_millis()).map_err(|_| expected())
}

/// A moment for people.
pub(super) fn shown_time(ms: u64) -> String {
    DateTime::from_unix_duration(Duration::from_secs(ms / 1000)).map_or_else(|_| ms.to_string(), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_or_so_long_ago() {
        assert_eq!(moment("1970-01-02"), Ok(86_400_000));
        assert_eq!(moment("1970-01-01T00:01:00Z"), Ok(60_000));
        let ago = clock::wall_ms() - moment("2h").expect("so long ago");
        assert!((7_200_000..7_260_000).contains(&ago), "{ago}");
        for bad in ["", "x", "5y", "2026-13-01", "yesterday", "é"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
        assert_eq!(shown_time(86_400_123), "1970-01-02T00:00:00Z");
    }
}
