//! What this process uses, from `/proc`; nothing on systems without it.

/// CPU time and memory of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessStats {
    /// User and system time since the start.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Open file handles.
    pub open_fds: u64,
}

/// Reads them; `None` where `/proc` is not.
pub fn read() -> Option<ProcessStats> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (utime, stime) = cpu_ticks(&stat)?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(ProcessStats {
        cpu_seconds: (utime + stime) as f64 / USER_HZ,
        resident_bytes: resident_kib(&status)? * 1024,
        open_fds: std::fs::read_dir("/proc/self/fd").map_or(0, |d| d.count() as u64),
    })
}

/// Clock ticks per second in `/proc`: 100 on every architecture that Linux shows to programs.
const USER_HZ: f64 = 100.0;

fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15, counted after the command's name, which may contain anything but ends with the last parenthesis.
fn cpu_ticks(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 111 222 13 14";
        assert_eq!(cpu_ticks(stat), Some((111, 222)));
    }

    #[test]
    fn garbage_is_not_a_panic() {
        assert_eq!(cpu_ticks(""), None);
        assert_eq!(cpu_ticks("1 (x) S 1"), None);
    }
}
