//! A line of the table each: what the program got has to be what the limit says.

use crate::Row;
use crate::common::{has_layers_in_memory, has_peak};
use crate::place::{FILE_BYTES, MIB, Place, mib, shell, text};
use leanbox::{Cause, Command, End, IoLimit, Limits, LimitsChange, Outcome, Pool, Rlimit, Stdio};
use std::io::Write;
use std::time::Duration;

pub(crate) const ROWS: [Row; 20] = [
    ("memory 32 MiB", "takes 100 MiB", memory),
    ("memory 64 MiB, then 32 by `update`", "takes 50 MiB", memory_lowered),
    ("20 processes", "forks until it is refused", pids),
    ("0.2 CPUs", "spins for 1 s", cpus),
    ("CPU weight 50 beside 1,000", "spins for 2 s on one CPU", cpu_weight),
    ("cpuset CPU 0", "spins twice at a time for 1 s", cpuset_cpus),
    ("cpuset node 0", "asks for its nodes", cpuset_mems),
    ("8 MiB read a second", "reads 16 MiB past the page cache", read_bps),
    ("100 reads a second", "reads 64 KiB 256 times", read_iops),
    ("8 MiB written a second", "writes 16 MiB past the page cache", write_bps),
    ("100 writes a second", "writes 64 KiB 256 times", write_iops),
    ("`/tmp` of 16 MiB", "writes 100 MiB to a file", tmp),
    ("65,536 files in `/tmp`", "makes 70,000", files),
    ("writable root of 16 MiB", "writes 100 MiB to a file", writable),
    ("10 bytes of captured output", "prints 15 and a newline", captured),
    ("100,000 bytes of output, `output_max`", "prints for ever", output_max),
    ("300 ms", "ignores SIGTERM and spins", timeout),
    ("400 ms of CPU time", "spins twice at a time", cpu_time),
    ("ulimit nofile 16", "opens 64", nofile),
    ("ulimit fsize 8,192 bytes", "writes for ever", fsize),
];

fn memory(place: &Place) -> String {
    let limits = Limits { memory_max_bytes: 32 * MIB, ..Limits::default() };
    let outcome = place.sh(limits, "exec attack hog 100");
    assert_eq!((outcome.end, outcome.cause), (End::Signaled(9), Cause::OomKilled));
    assert!(has_peak(&outcome, 30 * MIB..=32 * MIB), "{outcome:?}");
    format!("{}, peak {}", ended(&outcome), mib(outcome.memory_peak_bytes))
}

fn memory_lowered(place: &Place) -> String {
    let pool = place.pool(Limits { memory_max_bytes: 64 * MIB, ..Limits::default() });
    let mut command = shell("read go; exec attack hog 50");
    let mut container = command.stdin(Stdio::Piped).spawn(&pool).unwrap();
    let less = LimitsChange { memory_max_bytes: Some(32 * MIB), ..LimitsChange::default() };
    container.update(&less).unwrap();
    container.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let outcome = container.wait().unwrap();
    assert_eq!(outcome.cause, Cause::OomKilled);
    assert!(shell("exec attack hog 50").output(&pool).unwrap().success());
    format!("{}; the next container not", ended(&outcome))
}

fn pids(place: &Place) -> String {
    let outcome = place.sh(Limits { pids_max: 20, ..Limits::default() }, "exec attack fork-bomb");
    assert_eq!(text(&outcome), "19 11");
    "19 more, then EAGAIN".into()
}

fn cpus(place: &Place) -> String {
    let limits = Limits { cpus: Some(0.2), ..Limits::default() };
    let outcome = place.sh(limits, "exec attack spin-wall 1000");
    assert!((0.03..0.4).contains(&share(&outcome)), "{outcome:?}");
    format!("{:.2} CPUs", share(&outcome))
}

fn cpu_weight(place: &Place) -> String {
    let pool = |weight| {
        let cpuset_cpus = Some("0".parse().unwrap());
        place.pool(Limits { cpuset_cpus, cpu_weight: Some(weight), ..Limits::default() })
    };
    let (light, heavy) = (pool(50), pool(1000));
    let spins = |pool: &Pool| Command::new("attack").args(["spin-wall", "2000"]).spawn(pool);
    let (light, heavy) = (spins(&light).unwrap(), spins(&heavy).unwrap());
    let (light, heavy) = (light.wait().unwrap(), heavy.wait().unwrap());
    let times = heavy.cpu.as_secs_f64() / light.cpu.as_secs_f64();
    assert!(times > 4.0, "{heavy:?} {light:?}");
    format!("1/{times:.0} of the other's CPU time")
}

fn cpuset_cpus(place: &Place) -> String {
    let limits = Limits { cpuset_cpus: Some("0".parse().unwrap()), ..Limits::default() };
    let outcome = place.sh(limits, "attack spin-wall 1000 & attack spin-wall 1000; wait");
    assert!(share(&outcome) < 1.1, "{outcome:?}");
    format!("{:.2} CPUs", share(&outcome))
}

fn cpuset_mems(place: &Place) -> String {
    let limits = Limits { cpuset_mems: Some("0".parse().unwrap()), ..Limits::default() };
    let outcome = place.sh(limits, "grep Mems_allowed_list /proc/self/status");
    assert_eq!(text(&outcome), "Mems_allowed_list:\t0");
    "node 0".into()
}

fn read_bps(place: &Place) -> String {
    slowed(place, "direct-read /data/large", &|disk| disk.read_bps = Some(8 * MIB))
}

fn read_iops(place: &Place) -> String {
    slowed(place, "direct-read /data/large", &|disk| disk.read_iops = Some(100))
}

fn write_bps(place: &Place) -> String {
    slowed(place, "direct-write /data/file", &|disk| disk.write_bps = Some(8 * MIB))
}

fn write_iops(place: &Place) -> String {
    slowed(place, "direct-write /data/file", &|disk| disk.write_iops = Some(100))
}

/// All of it, in no less than the time that the limit says; not so without.
fn slowed(place: &Place, words: &str, limit: &dyn Fn(&mut IoLimit)) -> String {
    let mut disk = place.disk();
    limit(&mut disk);
    let script = format!("exec attack {words}");
    let slow = place.sh(Limits { io: vec![disk], ..Limits::default() }, &script);
    assert_eq!(text(&slow), FILE_BYTES.to_string(), "{slow:?}");
    assert!(slow.wall > Duration::from_millis(1500), "{slow:?}");
    let fast = place.sh(Limits::default(), &script);
    assert!(fast.wall < slow.wall, "{fast:?} {slow:?}");
    let (slow, fast) = (slow.wall.as_secs_f64(), fast.wall.as_secs_f64());
    format!("all in {slow:.2} s ({fast:.2} s without)")
}

fn tmp(place: &Place) -> String {
    let limits = Limits { tmp_max_bytes: 16 * MIB, ..Limits::default() };
    let outcome = place.sh(limits, &fill("/tmp/x"));
    no_space(&outcome, 16 * MIB..=16 * MIB)
}

fn files(place: &Place) -> String {
    let script =
        "cd /tmp; seq 1 70000 | while read n; do : >$n || break; done 2>/dev/null; ls | wc -l";
    let count = text(&place.sh(Limits::default(), script));
    assert!((60_000..=65_536).contains(&count.parse::<u32>().unwrap()), "{count}");
    format!("{count} files, then ENOSPC")
}

fn writable(place: &Place) -> String {
    if !has_layers_in_memory() {
        return format!("refused: {}", place.writable(16 * MIB).unwrap_err());
    }
    let pool = place.writable(16 * MIB).unwrap();
    no_space(&shell(&fill("/x")).output(&pool).unwrap(), 15 * MIB..=16 * MIB)
}

fn fill(path: &str) -> String {
    format!("dd if=/dev/zero of={path} bs=1M count=100; stat -c %s {path}")
}

fn no_space(outcome: &Outcome, sizes: std::ops::RangeInclusive<u64>) -> String {
    let said = String::from_utf8_lossy(&outcome.stderr.bytes);
    assert!(said.contains("No space left on device"), "{outcome:?}");
    let size = text(outcome).parse().unwrap();
    assert!(sizes.contains(&size), "{outcome:?}");
    format!("{}, then ENOSPC", mib(size))
}

fn captured(place: &Place) -> String {
    let limits = Limits { output_max_bytes: 10, ..Limits::default() };
    let outcome = place.sh(limits, "echo 123456789012345");
    assert_eq!(outcome.stdout.bytes, b"1234567890");
    assert!(outcome.stdout.truncated && outcome.success());
    "exit 0; 10 bytes are kept, `truncated` says so".into()
}

fn output_max(place: &Place) -> String {
    let pool = place.pool(Limits::default());
    let outcome = shell("exec yes").output_max(100_000).output(&pool).unwrap();
    assert_eq!((outcome.end, outcome.cause), (End::Signaled(9), Cause::OutputLimit));
    ended(&outcome)
}

fn timeout(place: &Place) -> String {
    let pool = place.pool(Limits::default());
    let mut command = shell("trap '' TERM; while :; do :; done");
    let outcome = command.timeout(Duration::from_millis(300)).output(&pool).unwrap();
    assert_eq!((outcome.end, outcome.cause), (End::Signaled(9), Cause::WallTimeout));
    assert!(outcome.wall >= Duration::from_millis(300), "{outcome:?}");
    format!("{} after {} ms", ended(&outcome), outcome.wall.as_millis())
}

fn cpu_time(place: &Place) -> String {
    let pool = place.pool(Limits::default());
    let mut command = shell("attack spin-wall 60000 & exec attack spin-wall 60000");
    let outcome = command.cpu_time(Duration::from_millis(400)).output(&pool).unwrap();
    assert_eq!((outcome.end, outcome.cause), (End::Signaled(9), Cause::CpuTimeout));
    assert!((395..600).contains(&outcome.cpu.as_millis()), "{outcome:?}");
    format!("{} after {} ms of it", ended(&outcome), outcome.cpu.as_millis())
}

fn nofile(place: &Place) -> String {
    let script = "i=3; while eval \"exec $i</dev/null\"; do echo $i; i=$((i+1)); done";
    let outcome = place.sh(ulimit("nofile=16"), script);
    assert!(!outcome.success(), "{outcome:?}");
    let last: u32 = text(&outcome).lines().last().unwrap().parse().unwrap();
    assert!(last < 16, "{outcome:?}");
    format!("descriptors up to {last}, then EMFILE")
}

fn fsize(place: &Place) -> String {
    let outcome = place.sh(ulimit("fsize=8192"), "yes >/tmp/x; echo $? $(stat -c %s /tmp/x)");
    const SIGXFSZ: u32 = 25;
    assert_eq!(text(&outcome), format!("{} 8192", 128 + SIGXFSZ));
    "SIGXFSZ at 8,192 bytes".into()
}

fn ulimit(limit: &str) -> Limits {
    let limit: Rlimit = limit.parse().unwrap();
    Limits { rlimits: vec![limit], ..Limits::default() }
}

fn share(outcome: &Outcome) -> f64 {
    outcome.cpu.as_secs_f64() / outcome.wall.as_secs_f64()
}

fn ended(outcome: &Outcome) -> String {
    let End::Signaled(signal) = outcome.end else { panic!("{outcome:?}") };
    format!("`{}`, signal {signal}", outcome.cause.name())
}
