//! What a process of its own uses, as the kernel counts it.

use std::path::Path;

/// CPU seconds and memory of a process at one moment.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Usage {
    /// In user and system mode, of all its threads.
    pub cpu_s: f64,
    /// Bytes resident now.
    pub resident: u64,
    /// The most ever.
    pub peak: u64,
}

/// `None`: it has ended.
pub fn usage(pid: u32) -> Option<Usage> {
    let dir = Path::new("/proc").join(pid.to_string());
    let stat = std::fs::read_to_string(dir.join("stat")).ok()?;
    let status = std::fs::read_to_string(dir.join("status")).ok()?;
    // SAFETY: it reads a setting of the system.
    let ticks_per_s = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    let memory = |name| kib(&status, name).unwrap_or(0) * 1024;
    Some(Usage { cpu_s: ticks(&stat)? as f64 / ticks_per_s, resident: memory("VmRSS"), peak: memory("VmHWM") })
}

/// utime + stime of `/proc/PID/stat`. The name, in brackets, may have spaces and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

fn kib(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    rest.trim().split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "4242 (a) b (c) S 1 4242 4242 0 -1 4194560 1 2 3 4 1500 250 7 8 20 0 30 0 9 10 11";
        assert_eq!(ticks(stat), Some(1750));
        assert_eq!(ticks("4242 (x) S 1"), None);
    }

    #[test]
    fn memory_is_found_by_its_name() {
        let status = "Name:\tjava\nVmHWM:\t  204800 kB\nVmRSS:\t  1024 kB\n";
        assert_eq!((kib(status, "VmHWM"), kib(status, "VmRSS"), kib(status, "Vm")), (Some(204_800), Some(1024), None));
    }

    #[test]
    fn this_process_is_there_and_others_are_not() {
        let mine = usage(std::process::id()).expect("it runs");
        assert!(mine.resident > 0 && mine.peak >= mine.resident);
        assert_eq!(usage(u32::MAX), None);
    }
}
