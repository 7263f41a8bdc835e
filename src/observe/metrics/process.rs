//! `process_*` as every Prometheus client library has them, read from `/proc` at each scrape.
//!
//! What cannot be read, as on systems without `/proc`, is left out.

use std::fs;

use super::exposition::{Exposition, MetricType};

/// Ticks a second in `/proc/*/stat`: the kernel's `USER_HZ`, 100 on every architecture that we
/// build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Writes the families.
#[expect(clippy::too_many_lines, reason = "a table of families")]
pub(super) fn write(exposition: &mut Exposition) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let boot = fs::read_to_string("/proc/stat")
        .ok()
        .and_then(|system| boot_time(&system));
    // The directory that is being read is one of them.
    let open = fs::read_dir("/proc/self/fd")
        .ok()
        .map(|entries| entries.count().saturating_sub(1));

    let mut write = |name: &str, metric_type: MetricType, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            exposition.family(name, metric_type, help);
            exposition.sample(name, &[], value);
        }
    };
    let count = |number: Option<usize>| {
        number
            .and_then(|number| u32::try_from(number).ok())
            .map(f64::from)
    };
    write(
        "process_cpu_seconds_total",
        MetricType::Counter,
        "CPU time used, user and system, in seconds.",
        cpu_time(&stat),
    );
    write(
        "process_open_fds",
        MetricType::Gauge,
        "Open file descriptors.",
        count(open),
    );
    write(
        "process_max_fds",
        MetricType::Gauge,
        "Most file descriptors that may be open.",
        max_fds(&limits),
    );
    write(
        "process_virtual_memory_bytes",
        MetricType::Gauge,
        "Virtual memory, in bytes.",
        kibibytes(&status, "VmSize:"),
    );
    write(
        "process_resident_memory_bytes",
        MetricType::Gauge,
        "Resident memory, in bytes.",
        kibibytes(&status, "VmRSS:"),
    );
    write(
        "process_start_time_seconds",
        MetricType::Gauge,
        "Unix time at which the process started, in seconds.",
        boot.and_then(|boot| Some(boot + field(&stat, 22)? / TICKS_PER_SECOND)),
    );
    write(
        "process_threads",
        MetricType::Gauge,
        "Threads of the process.",
        field(&stat, 20),
    );
}

/// A numbered field of `/proc/self/stat`, counted from 1 as in proc(5), beyond the second, which
/// may hold anything.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace()
        .nth(number.checked_sub(3)?)?
        .parse()
        .ok()
}

fn cpu_time(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS_PER_SECOND)
}

/// The Unix time of the boot, from `/proc/stat`.
fn boot_time(system: &str) -> Option<f64> {
    system
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}

/// The soft limit, from `/proc/self/limits`; none where it is unlimited.
fn max_fds(limits: &str) -> Option<f64> {
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()
}

/// A size from `/proc/self/status`, which is in KiB whatever the page size, in bytes.
fn kibibytes(status: &str, name: &str) -> Option<f64> {
    let size = status.lines().find_map(|line| line.strip_prefix(name))?;
    size.split_ascii_whitespace()
        .next()?
        .parse::<f64>()
        .ok()
        .map(|kibibytes| kibibytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_that_looks_like_fields_misleads_nobody() {
        let stat = "42 (a) 1 (b) S 1 2 3 4 5 6 7 8 9 10 150 250 13 14 15 16 7 18 4200 20 21";
        assert_eq!(cpu_time(stat), Some(4.0));
        assert_eq!(
            (field(stat, 20), field(stat, 22)),
            (Some(7.0), Some(4200.0))
        );
        assert_eq!(
            (field("", 14), field(stat, 99), field(stat, 1)),
            (None, None, None)
        );
    }

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(
            boot_time("cpu 1\nbtime 1700000000\nprocesses 2\n"),
            Some(1_700_000_000.0)
        );
        assert_eq!(
            max_fds("Max processes 1 2 p\nMax open files            1024    4096   files\n"),
            Some(1024.0)
        );
        assert_eq!(max_fds("Max open files unlimited unlimited files\n"), None);
        assert_eq!(
            kibibytes("VmSize:\t  12 kB\nVmRSS:\t 3 kB\n", "VmRSS:"),
            Some(3072.0)
        );
    }

    #[test]
    fn this_process_has_all_of_them() {
        let mut exposition = Exposition::appending_to(String::new());
        write(&mut exposition);
        assert_eq!(
            exposition
                .into_text()
                .lines()
                .filter(|line| line.starts_with("# TYPE process_"))
                .count(),
            7
        );
    }
}
