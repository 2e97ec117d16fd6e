//! Options of `leanbox run` that bound what the container uses, in Docker's spellings.

use crate::values;
use leanbox::{
    BlockDevice, Command, Error, IdList, IoLimit, Limits, Result, Rlimit, parse_bytes, parse_cpus,
};
use std::time::Duration;

/// Grace where only the signal is named, as with `docker stop`.
const GRACE: Duration = Duration::from_secs(10);
const SIGTERM: i32 = 15;

/// What it may use of disks, from its start (`run`) or from now on (`update`).
#[derive(Debug, clap::Args)]
pub(crate) struct DiskArgs {
    /// Bytes read from a disk a second, as in /dev/sda:1m. May be given again
    #[arg(long, value_name = "DEVICE:RATE", value_parser = bytes_of_device)]
    device_read_bps: Vec<(BlockDevice, u64)>,
    /// Bytes written to a disk a second
    #[arg(long, value_name = "DEVICE:RATE", value_parser = bytes_of_device)]
    device_write_bps: Vec<(BlockDevice, u64)>,
    /// Reads from a disk a second
    #[arg(long, value_name = "DEVICE:RATE", value_parser = number_of_device)]
    device_read_iops: Vec<(BlockDevice, u64)>,
    /// Writes to a disk a second
    #[arg(long, value_name = "DEVICE:RATE", value_parser = number_of_device)]
    device_write_iops: Vec<(BlockDevice, u64)>,
    /// Share of the disks against others, who have 100: from 1 to 10000
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) blkio_weight: Option<u32>,
}

impl DiskArgs {
    /// One for each disk.
    pub(crate) fn limits(&self) -> Vec<IoLimit> {
        let mut all: Vec<IoLimit> = Vec::new();
        let mut of = |device: BlockDevice, set: &dyn Fn(&mut IoLimit)| match all
            .iter_mut()
            .find(|limit| limit.device == device)
        {
            Some(limit) => set(limit),
            None => {
                let mut limit = IoLimit::new(device);
                set(&mut limit);
                all.push(limit);
            }
        };
        for (device, rate) in &self.device_read_bps {
            of(*device, &|limit| limit.read_bps = Some(*rate));
        }
        for (device, rate) in &self.device_write_bps {
            of(*device, &|limit| limit.write_bps = Some(*rate));
        }
        for (device, rate) in &self.device_read_iops {
            of(*device, &|limit| limit.read_iops = Some(*rate));
        }
        for (device, rate) in &self.device_write_iops {
            of(*device, &|limit| limit.write_iops = Some(*rate));
        }
        all
    }
}

/// What one container may use.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// The most memory it may use, with what is in /tmp; going past it kills it
    #[arg(long, short, value_name = "SIZE", value_parser = parse_bytes)]
    #[arg(default_value = "512m", allow_hyphen_values = true)]
    pub(crate) memory: u64,
    /// Memory and swap together; -1: as much swap as there is [default: no swap]
    #[arg(long, value_name = "SIZE", value_parser = swap, allow_hyphen_values = true)]
    memory_swap: Option<u64>,
    /// CPU time a second, as in 1.5 for one CPU and a half [default: no limit]
    #[arg(long, value_name = "N", value_parser = parse_cpus, allow_hyphen_values = true)]
    cpus: Option<f64>,
    /// Share of the CPUs against others, who have 100: from 1 to 10000
    #[arg(long, value_name = "N", conflicts_with = "cpu_shares", allow_hyphen_values = true)]
    cpu_weight: Option<u32>,
    /// The same as Docker says it, where others have 1024
    #[arg(long, value_name = "N", value_parser = shares, allow_hyphen_values = true)]
    cpu_shares: Option<u32>,
    /// CPUs that it may run on, as in 0-3,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<IdList>,
    /// NUMA nodes that its memory comes from, as in 0-1
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<IdList>,
    /// The most processes and threads at one time
    #[arg(long, visible_alias = "pids-limit", value_name = "N", default_value_t = 256)]
    #[arg(allow_hyphen_values = true)]
    pids: u32,
    #[command(flatten)]
    disks: DiskArgs,
    /// Limit of each process, as in nofile=1024:2048 (setrlimit(2)). May be given again
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<Rlimit>,
    /// The most that /tmp holds
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    #[arg(default_value = "64m", allow_hyphen_values = true)]
    tmp_size: u64,
    /// Kill it after this time, as in 10, 1.5s, 500ms, 2m (exit code 124) [default: never]
    #[arg(long, value_name = "TIME", value_parser = values::time, allow_hyphen_values = true)]
    pub(crate) timeout: Option<Duration>,
    /// Kill it when all its processes together have used this much CPU time (exit code 124)
    #[arg(long, value_name = "TIME", value_parser = values::time, allow_hyphen_values = true)]
    pub(crate) cpu_time: Option<Duration>,
    /// When its time is up, ask it first by --stop-signal, and kill it so much later
    #[arg(long, value_name = "TIME", value_parser = values::time, allow_hyphen_values = true)]
    stop_timeout: Option<Duration>,
    /// By which signal, as in INT or 2 [default: TERM; with it alone --stop-timeout is 10]
    #[arg(long, value_name = "SIGNAL", value_parser = values::signal)]
    stop_signal: Option<i32>,
    /// Kill it when it has written more than this to standard output and error together
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, allow_hyphen_values = true)]
    pub(crate) output_max: Option<u64>,
}

impl LimitArgs {
    /// Those of the template.
    pub(crate) fn limits(&self) -> Result<Limits> {
        Ok(Limits {
            memory_max_bytes: self.memory,
            swap_max_bytes: self.swap()?,
            pids_max: self.pids,
            cpus: self.cpus,
            cpu_weight: self.cpu_weight.or(self.cpu_shares),
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            io: self.disks.limits(),
            io_weight: self.disks.blkio_weight,
            rlimits: self.ulimit.clone(),
            tmp_max_bytes: self.tmp_size,
            ..Limits::default()
        })
    }

    /// Those of the one program.
    pub(crate) fn apply(&self, command: &mut Command) -> Result<()> {
        if let Some(timeout) = self.timeout {
            command.timeout(timeout);
        }
        if let Some(cpu_time) = self.cpu_time {
            command.cpu_time(cpu_time);
        }
        if self.stop_timeout.is_some() || self.stop_signal.is_some() {
            let signal = self.stop_signal.unwrap_or(SIGTERM);
            command.grace(signal, self.stop_timeout.unwrap_or(GRACE))?;
        }
        if let Some(output_max) = self.output_max {
            command.output_max(output_max);
        }
        Ok(())
    }

    fn swap(&self) -> Result<u64> {
        match self.memory_swap {
            None => Ok(0),
            Some(u64::MAX) => Ok(u64::MAX),
            Some(both) => both.checked_sub(self.memory).ok_or_else(|| {
                Error::invalid(format!("--memory-swap of {both} bytes is below --memory"))
                    .remedy("it is memory and swap together")
            }),
        }
    }
}

fn swap(text: &str) -> Result<u64> {
    if text == "-1" { Ok(u64::MAX) } else { parse_bytes(text) }
}

/// The kernel's own conversion (`sched_weight_to_cgroup`): 1,024 shares weigh 100.
fn shares(text: &str) -> Result<u32> {
    let shares = text.parse::<u32>().ok().filter(|shares| (2..=262_144).contains(shares));
    let weight = shares.map(|shares| (shares * 100 + 512) / 1024);
    weight.map(|weight| weight.clamp(1, 10_000)).ok_or_else(|| {
        Error::invalid(format!("{text:?} is not a number of cpu shares"))
            .remedy("write a number from 2 to 262144")
    })
}

fn bytes_of_device(text: &str) -> Result<(BlockDevice, u64)> {
    let (device, rate) = device_and_rate(text)?;
    Ok((device.parse()?, parse_bytes(rate)?))
}

fn number_of_device(text: &str) -> Result<(BlockDevice, u64)> {
    let (device, rate) = device_and_rate(text)?;
    let number = rate
        .parse()
        .map_err(|_| Error::invalid(format!("{rate:?} is not a number of operations a second")))?;
    Ok((device.parse()?, number))
}

fn device_and_rate(text: &str) -> Result<(&str, &str)> {
    text.rsplit_once(':').ok_or_else(|| {
        Error::invalid(format!("{text:?} is not a device and a rate"))
            .remedy("write DEVICE:RATE, as in /dev/sda:1m or 8:0:1m")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_as_the_kernel_has_them() {
        let weights = ["2", "512", "1024", "2048", "262144"].map(|text| shares(text).unwrap());
        assert_eq!(weights, [1, 50, 100, 200, 10_000]);
        for text in ["1", "0", "-1", "x", "262145"] {
            assert!(shares(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_rate_is_of_a_device() {
        let device = BlockDevice { major: 8, minor: 0 };
        assert_eq!(bytes_of_device("8:0:1m").unwrap(), (device, 1 << 20));
        assert_eq!(number_of_device("8:0:100").unwrap(), (device, 100));
        for text in ["", "1m", "8:0:", "/dev/null:1m", "/nowhere:1m"] {
            assert!(bytes_of_device(text).is_err(), "{text}");
        }
    }
}
