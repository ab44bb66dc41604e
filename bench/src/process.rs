//! What the kernel knows about a process and the machine, from `/proc`. Linux only: elsewhere nothing is known.

use std::{fs, path::Path};

/// Clock ticks per second in `/proc/<id>/stat`: 100 on every Linux, whatever its timer.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory of a process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Memory {
    pub(crate) resident_mib: f64,
    /// The most it ever had.
    pub(crate) peak_mib: f64,
}

pub(crate) fn memory_of(process: u32) -> Option<Memory> {
    parse_memory(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

fn parse_memory(status: &str) -> Option<Memory> {
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: f64 = line
            .trim_start_matches(':')
            .trim()
            .trim_end_matches(" kB")
            .trim()
            .parse()
            .ok()?;
        Some(kib / 1024.0)
    };
    Some(Memory {
        resident_mib: mib("VmRSS")?,
        peak_mib: mib("VmHWM")?,
    })
}

/// Processor seconds that a process has used.
pub(crate) fn cpu_seconds_of(process: u32) -> Option<f64> {
    parse_cpu_seconds(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

fn parse_cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is a name in brackets that may hold spaces; user and system time are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut ticks = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().ok());
    Some((ticks.next()?? + ticks.next()??) as f64 / TICKS_PER_SECOND)
}

/// The load average over the last minute.
pub(crate) fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg")
        .ok()?
        .split(' ')
        .next()?
        .parse()
        .ok()
}

pub(crate) fn cpu_model() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

pub(crate) fn memory_total_mib() -> Option<f64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some((kib / 1024.0).round())
}

pub(crate) fn kernel_release() -> Option<String> {
    Some(
        fs::read_to_string("/proc/sys/kernel/osrelease")
            .ok()?
            .trim()
            .to_owned(),
    )
}

/// The kind of file system that a path lies on: a database on one in memory would not be durable.
pub(crate) fn file_system_of(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    file_system_in(&fs::read_to_string("/proc/mounts").ok()?, &path)
}

fn file_system_in(mounts: &str, path: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(place, _)| path.starts_with(place))
        // Later mounts lie over earlier ones.
        .max_by_key(|(place, _)| place.len())
        .map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_processor_time_are_read() {
        let memory = parse_memory("Name:\thuika\nVmHWM:\t  102400 kB\nVmRSS:\t   51200 kB\n").unwrap();
        assert_eq!((memory.resident_mib, memory.peak_mib), (50.0, 100.0));
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 4 0 100 1 1";
        assert_eq!(parse_cpu_seconds(stat), Some(4.0));
        assert_eq!(parse_memory(""), None);
    }

    #[test]
    fn the_longest_mount_point_decides() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n";
        assert_eq!(
            file_system_in(mounts, Path::new("/tmp/x")).as_deref(),
            Some("tmpfs")
        );
        assert_eq!(
            file_system_in(mounts, Path::new("/tmpx")).as_deref(),
            Some("ext4")
        );
    }
}
