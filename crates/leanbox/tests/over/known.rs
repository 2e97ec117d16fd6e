//! A figure each, beside what the load must have used.

use crate::Row;
use crate::common::{has_memory_v1, spin_when_told};
use crate::place::{FILE_BYTES, MIB, Place, mib, past};
use leanbox::{Limits, Stats};

pub(crate) const ROWS: [Row; 9] = [
    ("CPU time", "uses 1 s by its own clock", cpu),
    ("throttling", "spins for 1 s with 0.1 CPUs", throttling),
    ("memory", "holds 200 MiB", memory),
    ("file memory", "writes 50 MiB to `/tmp`", file_memory),
    ("processes", "a shell that has started two", pids),
    ("bytes read", "reads 16 MiB past the page cache", bytes_read),
    ("bytes written", "writes 16 MiB past the page cache", bytes_written),
    ("pressure (PSI)", "spins for 3 s with 0.1 CPUs", pressure),
    ("OOM kills", "one child of it takes more than there is", oom_kills),
];

fn stats(place: &Place, limits: Limits, script: &str) -> Stats {
    past(&place.pool(limits), script).stats().unwrap()
}

/// Within five percent.
fn close(is: f64, should: f64) {
    assert!((is - should).abs() <= should / 20.0, "{is}, should be {should}");
}

fn cpu(place: &Place) -> String {
    let (used, _busy) = spin_when_told(&place.pool(Limits::default()));
    close(used.as_secs_f64(), 1.0);
    format!("{:.3} s", used.as_secs_f64())
}

fn throttling(place: &Place) -> String {
    let limits = Limits { cpus: Some(0.1), ..Limits::default() };
    let told = stats(place, limits, "attack spin-wall 1000").cpu.throttling.unwrap();
    assert!(told.throttled >= 3 && told.periods >= told.throttled, "{told:?}");
    format!("{} of {} periods, {} ms", told.throttled, told.periods, told.time.as_millis())
}

/// Of v2 alone, where the kernel counts it.
fn pressure(place: &Place) -> String {
    let limits = Limits { cpus: Some(0.1), ..Limits::default() };
    match stats(place, limits, "attack spin-wall 3000").pressure {
        Some(_) if has_memory_v1() => panic!("v1 has none"),
        Some(told) => format!("CPU {:.0} % of 10 s", told.cpu.unwrap().some.avg10),
        None => "not told".into(),
    }
}

fn memory(place: &Place) -> String {
    // What starts it has gone when it says that it holds it.
    let pool = place.pool(Limits::default());
    let mut command = leanbox::Command::new("attack");
    let mut held =
        command.args(["hold", "200"]).stdout(leanbox::Stdio::Piped).spawn(&pool).unwrap();
    std::io::Read::read_exact(held.stdout.as_mut().unwrap(), &mut [0; 5]).unwrap();
    let memory = held.stats().unwrap().memory;
    let anon_bytes = memory.anon_bytes.unwrap();
    close(anon_bytes as f64, (200 * MIB) as f64);
    close(memory.current_bytes as f64, (200 * MIB) as f64);
    format!("{} in all, {} of it anonymous", mib(memory.current_bytes), mib(anon_bytes))
}

fn file_memory(place: &Place) -> String {
    let script = "dd if=/dev/zero of=/tmp/x bs=1M count=50 2>/dev/null";
    let file_bytes = stats(place, Limits::default(), script).memory.file_bytes.unwrap();
    close(file_bytes as f64, (50 * MIB) as f64);
    mib(file_bytes)
}

fn pids(place: &Place) -> String {
    let pids = stats(place, Limits::default(), "sleep 1000 & sleep 1000 & :").pids;
    assert_eq!(pids, 3);
    pids.to_string()
}

fn bytes_read(place: &Place) -> String {
    let io = io(place, "attack direct-read /data/large >/dev/null").unwrap();
    close(io.read_bytes as f64, FILE_BYTES as f64);
    format!("{} in {} reads", mib(io.read_bytes), io.reads)
}

fn bytes_written(place: &Place) -> String {
    let io = io(place, "attack direct-write /data/file >/dev/null").unwrap();
    close(io.write_bytes as f64, FILE_BYTES as f64);
    format!("{} in {} writes", mib(io.write_bytes), io.writes)
}

/// Counted where block I/O is limited.
fn io(place: &Place, script: &str) -> Option<leanbox::IoStats> {
    let disk =
        leanbox::IoLimit { read_iops: Some(100_000), write_iops: Some(100_000), ..place.disk() };
    stats(place, Limits { io: vec![disk], ..Limits::default() }, script).io
}

fn oom_kills(place: &Place) -> String {
    let limits = Limits { memory_max_bytes: 32 * MIB, ..Limits::default() };
    let told = stats(place, limits, "attack hog 100").memory.oom_kills;
    assert_eq!(told, 1);
    told.to_string()
}
