//! What to measure: plain values, checked once, handed on to driver processes as JSON.

use leanbox::floor::FloorKind;
use leanbox::{Error, Network, Policy, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Driver processes at most: each has a template of its own, and a machine has room for 64.
pub(crate) const PROCESSES_MAX: usize = 64;
/// Driver threads at most in one process.
pub(crate) const THREADS_MAX: usize = 256;
/// Slots at most on one machine.
pub(crate) const SLOTS_MAX: usize = 4096;
/// The highest rate of arrivals that makes sense: a start takes some microseconds.
const RATE_MAX: f64 = 1e6;

/// What a container does before it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Exits at once without executing anything: the original's critical path.
    #[default]
    Noop,
    /// Executes the do-nothing program.
    Exec,
    /// The call that returns twice; no security boundary.
    Fork,
    /// A whole `leanbox run` process that executes the do-nothing program.
    Cold,
    /// Executes the given command in the given root.
    Command,
    /// Executes a program that writes a file to its scratch.
    Dirty,
}

impl Mode {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::Exec => "exec",
            Self::Fork => "fork",
            Self::Cold => "cold",
            Self::Command => "command",
            Self::Dirty => "dirty",
        }
    }

    /// The floor that the kernel sets for it.
    #[must_use]
    pub fn floor(self) -> FloorKind {
        match self {
            Self::Noop => FloorKind::Vfork,
            Self::Fork => FloorKind::Fork,
            Self::Exec | Self::Cold | Self::Command | Self::Dirty => FloorKind::VforkExec,
        }
    }

    /// How a report names that floor.
    #[must_use]
    pub fn floor_name(self) -> &'static str {
        match self.floor() {
            FloorKind::Vfork => "vfork",
            FloorKind::VforkExec => "vfork + exec",
            _ => "fork",
        }
    }
}

/// A command in a root file system of the caller's.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct InRoot {
    /// The root file system.
    pub rootfs: PathBuf,
    /// The program and its arguments.
    pub words: Vec<String>,
}

/// What to measure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// How long the sustained loop runs.
    pub duration: Duration,
    /// What a container does.
    pub mode: Mode,
    /// For [`Mode::Command`].
    pub command: Option<InRoot>,
    /// Whether slots serve once or again.
    #[serde(with = "policy_by_name")]
    pub policy: Policy,
    /// Whether slots use the host's network instead of one of their own.
    pub host_network: bool,
    /// Bind drivers, keepers and slots to one CPU.
    pub pin: Option<u32>,
    /// Stands before each line, as `@name`.
    pub name: Option<String>,
    /// Driver processes, each with a template and a pool of its own.
    pub processes: usize,
    /// Driver threads in each process, which share its pool.
    pub threads: usize,
    /// Arrivals a second, of all drivers together, whether starts keep up or not; `None`: each
    /// driver starts the next when the last has ended.
    pub rate: Option<f64>,
    /// Slots kept ready in each process; `None`: as the policy needs.
    pub reserve: Option<usize>,
    /// Turns of floors, starts and `classic`; `None`: as many as the medians need.
    pub turns: Option<usize>,
    /// The original's lines and nothing after them.
    #[serde(skip)]
    pub lines_only: bool,
    /// Begin when a line comes on standard input, after [`READY`](crate::READY) was said.
    #[serde(skip)]
    pub await_go: bool,
    /// The `leanbox` program, for driver processes and whole processes.
    pub program: PathBuf,
    /// Set from outside: end soon, and say what there is.
    #[serde(skip)]
    pub stop: Arc<AtomicBool>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(10),
            mode: Mode::Noop,
            command: None,
            policy: Policy::Once,
            host_network: false,
            pin: None,
            name: None,
            processes: 1,
            threads: 1,
            rate: None,
            reserve: None,
            turns: None,
            lines_only: false,
            await_go: false,
            program: PathBuf::new(),
            stop: Arc::default(),
        }
    }
}

impl Options {
    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// The option and what it may be.
    pub fn validate(&self) -> Result<()> {
        within("--processes", self.processes, PROCESSES_MAX)?;
        within("--threads", self.threads, THREADS_MAX)?;
        if let Some(rate) = self.rate.filter(|rate| !(*rate > 0.0 && *rate <= RATE_MAX)) {
            return Err(Error::invalid(format!(
                "--rate {rate}: a number above 0, at most 1000000"
            )));
        }
        if let Some(reserve) = self.reserve {
            within("--reserve", reserve, SLOTS_MAX / self.processes)?;
        }
        if self.duration.is_zero() {
            return Err(Error::invalid("--seconds 0: a number above 0"));
        }
        if self.mode == Mode::Command && self.command.is_none() {
            return Err(Error::invalid("no command to run in the root file system"));
        }
        Ok(())
    }

    /// What the policy is called in a report.
    #[must_use]
    pub fn policy_name(&self) -> &'static str {
        if self.mode == Mode::Fork { "shared" } else { policy_name(self.policy) }
    }

    /// The network of the slots.
    #[must_use]
    pub fn network(&self) -> Network {
        if self.host_network { Network::Host } else { Network::None }
    }

    /// Whether it is to end soon.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A count from 1 to `max`.
pub(crate) fn within(option: &str, count: usize, max: usize) -> Result<()> {
    if (1..=max).contains(&count) {
        return Ok(());
    }
    Err(Error::invalid(format!("{option} {count}: a number from 1 to {max}")))
}

fn policy_name(policy: Policy) -> &'static str {
    match policy {
        Policy::Once => "once",
        Policy::Reuse => "reuse",
        Policy::Shared => "shared",
    }
}

/// A policy as its name.
mod policy_by_name {
    use super::{Policy, policy_name};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(policy: &Policy, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(policy_name(*policy))
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(input: D) -> Result<Policy, D::Error> {
        let name = String::deserialize(input)?;
        let known = [Policy::Once, Policy::Reuse, Policy::Shared];
        let found = known.into_iter().find(|policy| policy_name(*policy) == name);
        found.ok_or_else(|| D::Error::custom(format!("{name:?} is no policy")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_reach_a_driver_as_they_are() {
        let options = Options { policy: Policy::Reuse, rate: Some(2.5), ..Options::default() };
        let text = serde_json::to_string(&options).unwrap();
        let back: Options = serde_json::from_str(&text).unwrap();
        assert_eq!((back.policy, back.rate, back.processes), (Policy::Reuse, Some(2.5), 1));
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused_by_name() {
        let refused = |options: Options| options.validate().unwrap_err().to_string();
        let base = Options::default;
        assert!(base().validate().is_ok());
        assert!(refused(Options { processes: 65, ..base() }).contains("--processes 65"));
        assert!(refused(Options { threads: 0, ..base() }).contains("--threads 0"));
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(refused(Options { rate: Some(rate), ..base() }).contains("--rate"));
        }
        let many = Options { reserve: Some(100), processes: 64, ..base() };
        assert!(refused(many).contains("from 1 to 64"));
    }
}
