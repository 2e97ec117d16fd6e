//! `--burst`: many starts at once, from the first call until the program of the last runs, which
//! each tells by one byte into a common pipe. leanbox as a library, on a reserve of ready slots,
//! spawning in a loop without waiting; `crun run`, as many processes, spawned in a loop.

use super::level::Level;
use super::process::Process;
use super::stage::{ECHO, Runs, Stage, heed};
use super::tool::Tool;
use super::words;
use crate::Summary;
use leanbox::{Command, Error, ErrorKind, Pool, Result, Rootfs, Stdio, Template};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use serde::Serialize;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Between two looks whether a signal has come.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// One tool's burst.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Burst {
    /// `leanbox` or `crun`.
    pub tool: String,
    /// How many at once.
    pub count: usize,
    /// Slots ready before; leanbox alone has such.
    pub reserve: usize,
    /// Until the program of the last ran, in microseconds from the burst's beginning.
    pub last_us: f64,
    /// Until half of them ran.
    pub p50_us: f64,
}

/// Starts `count` at once, with leanbox on `reserve` ready slots; with crun where it works.
///
/// # Errors
/// A container cannot be started, or a signal has come.
pub(crate) fn run(
    stage: &Stage,
    count: usize,
    reserve: usize,
    crun: bool,
    interrupted: &AtomicBool,
) -> Result<Vec<Burst>> {
    let template = Template::builder(Rootfs::open(stage.root())?).build()?;
    let pool = Pool::new(&template, reserve)?;
    pool.settle()?;
    let start = |write| leanbox(&pool, count, write, interrupted);
    let mut bursts = vec![burst(Tool::Leanbox, count, reserve, interrupted, start)?];
    drop((pool, template));
    if crun {
        let start = |write| crun_runs(stage, count, write, interrupted);
        bursts.push(burst(Tool::Crun, count, 0, interrupted, start)?);
    }
    Ok(bursts)
}

/// Reads while `start` starts them and waits for them.
fn burst(
    tool: Tool,
    count: usize,
    reserve: usize,
    interrupted: &AtomicBool,
    start: impl FnOnce(OwnedFd) -> Result<()>,
) -> Result<Burst> {
    let pipe = pipe_with(PipeFlags::CLOEXEC);
    let (read, write) = pipe.map_err(|errno| Error::syscall("pipe2(O_CLOEXEC)", errno))?;
    let begin = Instant::now();
    let times = std::thread::scope(|scope| {
        let reader = scope.spawn(|| arrivals(&read, begin, interrupted));
        let started = start(write);
        let times = reader.join().unwrap_or_else(|_| Err(Error::invalid("the reader died")));
        started.and(times)
    })?;
    if times.len() != count {
        let text = format!("{}: {} of {count} containers ran", tool.name(), times.len());
        return Err(Error::new(ErrorKind::System, text));
    }
    let Summary { p50_us, max_us, .. } = Summary::of(&times);
    Ok(Burst { tool: tool.name().into(), count, reserve, last_us: max_us, p50_us })
}

fn leanbox(pool: &Pool, count: usize, write: OwnedFd, interrupted: &AtomicBool) -> Result<()> {
    let mut command = Command::new(ECHO);
    command.stdin(Stdio::Null).stdout(Stdio::Fd(write)).stderr(Stdio::Null);
    let mut containers = Vec::with_capacity(count);
    for _ in 0..count {
        heed(interrupted)?;
        containers.push(command.spawn(pool)?);
    }
    // The last writer of ours.
    drop(command);
    for container in containers {
        let outcome = container.wait()?;
        if !outcome.success() {
            return Err(Error::invalid(format!("leanbox: {ECHO}: {:?}", outcome.end)));
        }
    }
    Ok(())
}

fn crun_runs(stage: &Stage, count: usize, write: OwnedFd, interrupted: &AtomicBool) -> Result<()> {
    let mut processes = Vec::with_capacity(count);
    for number in 0..count {
        heed(interrupted)?;
        let id = format!("{}-burst-{number}", stage.name());
        let mut command = words::oci_runtime(Tool::Crun, Level::Full, stage, Runs::Echo, &id);
        let copy = write.try_clone().map_err(|error| Error::io("dup", &error))?;
        let null = std::process::Stdio::null();
        processes.push(Process::spawn(command.stdout(copy).stderr(null))?);
    }
    drop(write);
    for mut process in processes {
        let status = process.wait(interrupted)?;
        if !status.success() {
            return Err(Error::new(ErrorKind::System, format!("crun run: {status}")));
        }
    }
    Ok(())
}

/// When each byte came, until the last writer has gone.
fn arrivals(read: &OwnedFd, begin: Instant, interrupted: &AtomicBool) -> Result<Vec<Duration>> {
    let (mut times, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        heed(interrupted)?;
        let mut fds = [PollFd::new(read, PollFlags::IN)];
        match poll(&mut fds, Some(&LOOK)) {
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => {}
            Err(errno) => return Err(Error::syscall("poll(pipe)", errno)),
        }
        let count = rustix::io::read(read, &mut bytes[..]);
        let count = count.map_err(|errno| Error::syscall("read(pipe)", errno))?;
        if count == 0 {
            return Ok(times);
        }
        times.resize(times.len() + count, begin.elapsed());
    }
}
