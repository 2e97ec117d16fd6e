//! Several driver processes at once: this program again, in a hidden mode. All are prepared, then
//! begin at the same moment; what they tell is merged.
//!
//! In: a job and how many. Out: merged seconds, totals, the CPUs used. They end when their input
//! closes, which the end of this process does, whatever ends it.

use crate::cpu::CpuTimes;
use crate::driver::{Job, Word};
use crate::second::{Merger, Second, Totals};
use crate::{Options, leaks, start_line};
use leanbox::{Error, ErrorKind, Result};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// From the word until all begin: long enough that the last has heard it.
const AHEAD: Duration = Duration::from_millis(30);
/// How often to look whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
/// How long drivers may take to be ready: 64 of them make their slots at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// Driver processes; dropping them ends them.
#[derive(Debug)]
pub(crate) struct Drivers {
    children: Vec<(Child, Option<ChildStdin>)>,
    words: mpsc::Receiver<(usize, Word)>,
    leaked: usize,
}

/// What they did together.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) totals: Totals,
    /// CPUs of the whole machine that were busy meanwhile.
    pub(crate) cpus_used: f64,
    /// What they left behind.
    pub(crate) leaked: usize,
}

impl Drivers {
    /// Begins them and waits until all are ready.
    ///
    /// # Errors
    /// What one of them could not do, or it is to end.
    pub(crate) fn prepare(job: &Job, count: usize) -> Result<Self> {
        let (sender, words) = mpsc::channel();
        let mut drivers = Self { children: Vec::with_capacity(count), words, leaked: 0 };
        for driver in 0..count {
            let seed = job.seed.wrapping_add(driver as u64);
            let own = begin(&Job { seed, ..job.clone() }, driver, &sender)?;
            drivers.children.push(own);
        }
        drop(sender);
        drivers.await_ready(&job.options)?;
        Ok(drivers)
    }

    fn await_ready(&mut self, options: &Options) -> Result<()> {
        let (mut left, begin) = (self.children.len(), Instant::now());
        while left > 0 {
            match self.words.recv_timeout(LOOK) {
                Ok((_, Word::Ready)) => left -= 1,
                Ok((driver, word)) => return Err(unexpected(driver, word)),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(silent()),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if options.is_stopped() {
                return Err(Error::new(ErrorKind::Gone, "interrupted"));
            }
            if begin.elapsed() > PATIENCE {
                let text = format!("{left} driver processes were not ready in {PATIENCE:?}");
                return Err(Error::new(ErrorKind::Exhausted, text)
                    .remedy("use fewer processes, or a smaller reserve"));
            }
        }
        Ok(())
    }

    /// Has all begin at one moment, and listens to their end.
    ///
    /// # Errors
    /// The first of any driver.
    pub(crate) fn run(mut self, options: &Options, mut tell: impl FnMut(&Second)) -> Result<Run> {
        let at = start_line::ahead(AHEAD);
        for (driver, (_, input)) in self.children.iter_mut().enumerate() {
            let told = input.as_mut().map_or(Ok(()), |input| writeln!(input, "{at}"));
            told.map_err(|error| Error::io(format!("driver {driver}"), &error))?;
        }
        let due = start_line::sleep_until(at) + options.duration;
        let before = CpuTimes::now();
        let (mut run, mut merger) = (Run::default(), Merger::new(self.children.len()));
        let (mut left, mut after) = (self.children.len(), None);
        while left > 0 {
            match self.words.recv_timeout(LOOK) {
                Ok((driver, Word::Second(second))) => {
                    if let Some(merged) = merger.add(driver, second) {
                        tell(&merged);
                        run.totals.add(merged);
                    }
                }
                Ok((_, Word::End(leaked))) => {
                    left -= 1;
                    self.leaked += leaked;
                }
                Ok((driver, word)) => return Err(unexpected(driver, word)),
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(silent()),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if options.is_stopped() {
                self.close();
            }
            if after.is_none() && Instant::now() + LOOK / 2 >= due {
                after = Some(CpuTimes::now());
            }
        }
        run.totals.add(merger.finish());
        run.cpus_used = after.unwrap_or_else(CpuTimes::now).used_since(before).0;
        let pids: Vec<u32> = self.children.iter().map(|(child, _)| child.id()).collect();
        run.leaked = self.leaked;
        drop(self);
        run.leaked += leaks::left_by(&pids);
        Ok(run)
    }

    /// Tells all that there is no more to do.
    fn close(&mut self) {
        self.children.iter_mut().for_each(|(_, input)| *input = None);
    }
}

impl Drop for Drivers {
    /// Each ends by itself within its grace.
    fn drop(&mut self) {
        self.close();
        for (child, _) in &mut self.children {
            let _ = child.wait();
        }
    }
}

fn begin(
    job: &Job,
    driver: usize,
    sender: &mpsc::Sender<(usize, Word)>,
) -> Result<(Child, Option<ChildStdin>)> {
    let text = serde_json::to_string(job).map_err(|error| Error::invalid(error.to_string()))?;
    let mut command = Command::new(&job.options.program);
    command.args(["bench", "driver"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    // Ctrl-C is for this process, which then tells them.
    command.process_group(0);
    let wrap = |error: std::io::Error| Error::io(format!("driver {driver}"), &error);
    let mut child = command.spawn().map_err(wrap)?;
    let (mut input, output) = (child.stdin.take(), child.stdout.take());
    let told = input.as_mut().map_or(Ok(()), |input| writeln!(input, "{text}"));
    let sender = sender.clone();
    std::thread::spawn(move || {
        for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()) {
            let word = line.ok().and_then(|line| serde_json::from_str(&line).ok());
            if word.is_none_or(|word| sender.send((driver, word)).is_err()) {
                return;
            }
        }
    });
    if let Err(error) = told {
        drop(input);
        let _ = child.wait();
        return Err(wrap(error));
    }
    Ok((child, input))
}

fn unexpected(driver: usize, word: Word) -> Error {
    match word {
        Word::Failed(text) => Error::new(ErrorKind::System, format!("driver {driver}: {text}")),
        _ => Error::new(ErrorKind::Gone, format!("driver {driver} ended before its time")),
    }
}

fn silent() -> Error {
    Error::new(ErrorKind::Gone, "a driver process ended without a word")
}
