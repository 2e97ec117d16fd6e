//! What detached containers use, and what they may use from now on: `stats` and `update`.

use super::protocol::{Disk, Request, Update, asked, asked_for_text};
use super::{Named, verbs};
use crate::outcome::size;
use crate::run::limits::DiskArgs;
use crate::{say, values};
use leanbox::{
    BlockDevice, Container, IdList, IoLimit, LimitsChange, Result, Stats, parse_bytes, parse_cpus,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Arguments of `leanbox stats`.
#[derive(Debug, clap::Args)]
pub(crate) struct StatsArgs {
    /// One line of JSON for each, with all that is known
    #[arg(long)]
    json: bool,
    /// Again and again after this time, as in 2 or 500ms, while any of them runs; CPU is the share
    /// of one in that time
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    every: Option<Duration>,
    /// [default: all that run]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Arguments of `leanbox update`. What is not given stays as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct UpdateArgs {
    /// The most memory it may use; less than it uses now is refused
    #[arg(long, short, value_name = "SIZE", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Swap beside the memory (run's --memory-swap counts both)
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    swap: Option<u64>,
    /// CPU time a second, as in 1.5 for one CPU and a half
    #[arg(long, value_name = "N", value_parser = parse_cpus)]
    cpus: Option<f64>,
    /// Share of the CPUs against others, who have 100: from 1 to 10000
    #[arg(long, value_name = "N")]
    cpu_weight: Option<u32>,
    /// CPUs that it may run on, as in 0-3,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<IdList>,
    /// NUMA nodes that its memory comes from, as in 0-1
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<IdList>,
    /// The most processes and threads at one time
    #[arg(long, visible_alias = "pids-limit", value_name = "N")]
    pids: Option<u32>,
    #[command(flatten)]
    disks: DiskArgs,
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// `stats`: what each uses now, once or again and again.
pub(crate) fn stats(args: &StatsArgs) -> Result<ExitCode> {
    let mut before = HashMap::new();
    let Some(every) = args.every else { return round(args, &args.names_now(), &mut before) };
    round(args, &args.names_now(), &mut before)?;
    loop {
        std::thread::sleep(every);
        let names: Vec<String> = args.names_now().into_iter().filter(|name| runs(name)).collect();
        if names.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        // One may end in between: the next round is without it.
        let _ = round(args, &names, &mut before);
    }
}

/// What each had used, and when.
type Before = HashMap<String, (Instant, Duration)>;

impl StatsArgs {
    fn names_now(&self) -> Vec<String> {
        match self.names.is_empty() {
            true => Named::all().into_iter().filter(Named::has_host).map(|one| one.name).collect(),
            false => self.names.clone(),
        }
    }
}

fn runs(name: &str) -> bool {
    Named::find(name).is_ok_and(|named| named.has_host())
}

fn round(args: &StatsArgs, names: &[String], before: &mut Before) -> Result<ExitCode> {
    if !args.json {
        say(&line("NAME", ["CPU", "MEMORY", "PEAK", "PIDS", "READ", "WRITTEN"].map(String::from)));
    }
    verbs::each(names, |named| {
        let text = asked_for_text(named, &Request::Stats)?;
        match args.json {
            true => say(&text),
            false => say(&row(named, &serde_json::from_str(&text).unwrap_or_default(), before)),
        }
        Ok(())
    })
}

/// `update`.
pub(crate) fn update(args: &UpdateArgs) -> Result<ExitCode> {
    let change = || Update {
        memory: args.memory,
        swap: args.swap,
        cpus: args.cpus,
        cpu_weight: args.cpu_weight,
        cpuset_cpus: args.cpuset_cpus.as_ref().map(ToString::to_string),
        cpuset_mems: args.cpuset_mems.as_ref().map(ToString::to_string),
        pids: args.pids,
        disks: args.disks.limits().iter().map(sent).collect(),
        io_weight: args.disks.blkio_weight,
    };
    verbs::each(&args.names, |named| asked(named, &Request::Update(change())))
}

/// What a host answers to `stats`.
pub(crate) fn report(name: &str, stats: &Stats) -> String {
    let microseconds = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let (cpu, memory) = (&stats.cpu, &stats.memory);
    json!({
        "name": name,
        "cpu_us": microseconds(cpu.total),
        "cpu_user_us": cpu.user.map(microseconds),
        "cpu_system_us": cpu.system.map(microseconds),
        "throttled_periods": cpu.throttling.map(|one| one.throttled),
        "throttled_us": cpu.throttling.map(|one| microseconds(one.time)),
        "memory_bytes": memory.current_bytes,
        "memory_peak_bytes": memory.peak_bytes,
        "memory_anon_bytes": memory.anon_bytes,
        "memory_file_bytes": memory.file_bytes,
        "oom_kills": memory.oom_kills,
        "pids": stats.pids,
        "io_read_bytes": stats.io.map(|io| io.read_bytes),
        "io_write_bytes": stats.io.map(|io| io.write_bytes),
        "io_reads": stats.io.map(|io| io.reads),
        "io_writes": stats.io.map(|io| io.writes),
        "pressure_memory_some_avg10": stats.pressure.and_then(|one| one.memory).map(|one| one.some.avg10),
        "pressure_cpu_some_avg10": stats.pressure.and_then(|one| one.cpu).map(|one| one.some.avg10),
        "pressure_io_some_avg10": stats.pressure.and_then(|one| one.io).map(|one| one.some.avg10),
    })
    .to_string()
}

/// What a host does for `update`.
pub(crate) fn change(container: &Container, asked: Update) -> Result<()> {
    let list = |text: Option<String>| text.map(|list| list.parse::<IdList>()).transpose();
    container.update(&LimitsChange {
        memory_max_bytes: asked.memory,
        swap_max_bytes: asked.swap,
        pids_max: asked.pids,
        cpus: asked.cpus,
        cpu_weight: asked.cpu_weight,
        cpuset_cpus: list(asked.cpuset_cpus)?,
        cpuset_mems: list(asked.cpuset_mems)?,
        io: asked.disks.iter().map(received).collect(),
        io_weight: asked.io_weight,
    })
}

fn sent(limit: &IoLimit) -> Disk {
    Disk {
        device: (limit.device.major, limit.device.minor),
        read_bps: limit.read_bps,
        write_bps: limit.write_bps,
        read_iops: limit.read_iops,
        write_iops: limit.write_iops,
    }
}

fn received(disk: &Disk) -> IoLimit {
    let (major, minor) = disk.device;
    IoLimit {
        read_bps: disk.read_bps,
        write_bps: disk.write_bps,
        read_iops: disk.read_iops,
        write_iops: disk.write_iops,
        ..IoLimit::new(BlockDevice { major, minor })
    }
}

fn row(named: &Named, stats: &Value, before: &mut Before) -> String {
    let bytes = |key: &str| stats[key].as_u64().map_or_else(|| "-".to_string(), rounded);
    let used = Duration::from_micros(stats["cpu_us"].as_u64().unwrap_or(0));
    let now = Instant::now();
    let cpu = match before.insert(named.name.clone(), (now, used)) {
        None => format!("{:.2} s", used.as_secs_f64()),
        Some((then, less)) => {
            let share = used.saturating_sub(less).div_duration_f64(now - then);
            format!("{:.1} %", share * 100.0)
        }
    };
    let columns = [
        cpu,
        bytes("memory_bytes"),
        bytes("memory_peak_bytes"),
        stats["pids"].to_string(),
        bytes("io_read_bytes"),
        bytes("io_write_bytes"),
    ];
    line(&named.name, columns)
}

fn line(name: &str, columns: [String; 6]) -> String {
    let columns = columns.map(|column| format!("{column:>11}"));
    format!("{name:<20}{}", columns.concat())
}

/// In the largest unit that leaves something, without its fraction.
fn rounded(bytes: u64) -> String {
    let unit = [30, 20, 10].into_iter().find(|unit| bytes >> unit > 0).unwrap_or(0);
    size(bytes >> unit << unit)
}
