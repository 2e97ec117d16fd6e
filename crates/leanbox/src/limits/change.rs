//! Limits that change while a container runs.

use super::{IdList, IoLimit, Limits};

/// Other limits for a running container ([`Container::update`](crate::Container::update)); what is
/// `None` or empty stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LimitsChange {
    /// As [`Limits::memory_max_bytes`].
    pub memory_max_bytes: Option<u64>,
    /// As [`Limits::swap_max_bytes`].
    pub swap_max_bytes: Option<u64>,
    /// As [`Limits::pids_max`].
    pub pids_max: Option<u32>,
    /// As [`Limits::cpus`].
    pub cpus: Option<f64>,
    /// As [`Limits::cpu_weight`].
    pub cpu_weight: Option<u32>,
    /// As [`Limits::cpuset_cpus`].
    pub cpuset_cpus: Option<IdList>,
    /// As [`Limits::cpuset_mems`].
    pub cpuset_mems: Option<IdList>,
    /// As [`Limits::io`]: of each device what is given, the rest stays.
    pub io: Vec<IoLimit>,
    /// As [`Limits::io_weight`].
    pub io_weight: Option<u32>,
}

impl LimitsChange {
    /// What `limits` become.
    pub(crate) fn applied_to(&self, limits: &Limits) -> Limits {
        let mut io = limits.io.clone();
        for change in &self.io {
            match io.iter_mut().find(|one| one.device == change.device) {
                Some(one) => *one = one.with(change),
                None => io.push(*change),
            }
        }
        Limits {
            memory_max_bytes: self.memory_max_bytes.unwrap_or(limits.memory_max_bytes),
            swap_max_bytes: self.swap_max_bytes.unwrap_or(limits.swap_max_bytes),
            pids_max: self.pids_max.unwrap_or(limits.pids_max),
            cpus: self.cpus.or(limits.cpus),
            cpu_weight: self.cpu_weight.or(limits.cpu_weight),
            cpuset_cpus: self.cpuset_cpus.clone().or_else(|| limits.cpuset_cpus.clone()),
            cpuset_mems: self.cpuset_mems.clone().or_else(|| limits.cpuset_mems.clone()),
            io,
            io_weight: self.io_weight.or(limits.io_weight),
            ..limits.clone()
        }
    }
}
