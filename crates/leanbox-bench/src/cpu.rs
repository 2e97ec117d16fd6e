//! How much of the CPUs was used, as `/proc/stat` counts it (proc(5)): for the whole machine,
//! since a container's time is on no process's account once it is gone.

use crate::statistics::number;
use std::fs;

/// The kernel's counters, in ticks of all CPUs together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CpuTimes {
    /// user, nice, system, irq, softirq; a guest's time is in user.
    busy: u64,
    /// idle, iowait.
    idle: u64,
    /// What the host of a virtual machine gave to others.
    steal: u64,
    cpus: u64,
}

impl CpuTimes {
    pub(crate) fn now() -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    fn parse(stat: &str) -> Self {
        let mut lines = stat.lines().take_while(|line| line.starts_with("cpu"));
        let all = lines.next().unwrap_or_default();
        let ticks: Vec<u64> =
            all.split_whitespace().skip(1).filter_map(|tick| tick.parse().ok()).collect();
        let sum = |fields: &[usize]| fields.iter().filter_map(|field| ticks.get(*field)).sum();
        Self {
            busy: sum(&[0, 1, 2, 5, 6]),
            idle: sum(&[3, 4]),
            steal: sum(&[7]),
            cpus: lines.count() as u64,
        }
    }

    /// CPUs that are online.
    pub(crate) fn cpus(self) -> u64 {
        self.cpus
    }

    /// How many CPUs were busy since `earlier`, and how many were taken away (0 … all).
    pub(crate) fn used_since(self, earlier: Self) -> (f64, f64) {
        let busy = self.busy.saturating_sub(earlier.busy);
        let steal = self.steal.saturating_sub(earlier.steal);
        let all = busy + steal + self.idle.saturating_sub(earlier.idle);
        let cpus = |ticks| number(self.cpus) * number(ticks) / number(all.max(1));
        (cpus(busy), cpus(steal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_what_was_neither_idle_nor_taken_away() {
        let before = CpuTimes::parse("cpu  10 0 10 100 0 0 0 0 0 0\ncpu0 1\ncpu1 1\nintr 5\n");
        let after = CpuTimes::parse("cpu  50 5 20 130 10 3 2 40 0 0\ncpu0 1\ncpu1 1\nintr 5\n");
        // 60 busy, 40 idle, 40 taken away, of 140 ticks of two CPUs
        let (used, stolen) = after.used_since(before);
        assert!((used - 2.0 * 60.0 / 140.0).abs() < 1e-9, "{used}");
        assert!((stolen - 2.0 * 40.0 / 140.0).abs() < 1e-9, "{stolen}");
        assert_eq!(after.used_since(after), (0.0, 0.0));
    }
}
