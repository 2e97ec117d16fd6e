//! One driver process, from the inside: prepares what it is told, waits for the start line, runs,
//! and tells every second what it did. Its job and the start line come through standard input,
//! one line each; when that closes, whoever wanted it is gone or has had enough, and it ends.

use crate::folder::Folder;
use crate::leaks::Census;
use crate::second::Second;
use crate::start_line;
use crate::subject::{Subject, pin};
use crate::{Options, machine};
use leanbox::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// How long a driver may take to end in order.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// What a driver is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) subject: Subject,
    pub(crate) options: Options,
    /// For arrivals: every driver has its own.
    pub(crate) seed: u64,
}

/// What a driver says, one line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    Ready,
    Second(Second),
    /// It left that much behind.
    End(usize),
    Failed(String),
}

/// Runs a driver process to its end; says itself what goes wrong.
///
/// # Errors
/// There was nobody to say it to.
pub fn drive() -> Result<()> {
    let outcome = listen().and_then(|(job, start)| run(job, &start));
    say(&match outcome {
        Ok(leaked) => Word::End(leaked),
        Err(error) => Word::Failed(error.to_string()),
    })
}

fn run(job: Job, start: &mpsc::Receiver<u64>) -> Result<usize> {
    let Job { subject, options, seed } = job;
    pin(options.pin)?;
    machine::open_launcher()?;
    let before = Census::take();
    let root = Folder::make()?;
    let prepared = subject.prepare(&options, &root)?;
    say(&Word::Ready)?;
    if let Ok(at) = start.recv() {
        let begin = start_line::sleep_until(at);
        let mut said = Ok(());
        prepared.run(&options, begin, seed, |second| {
            said = std::mem::replace(&mut said, Ok(())).and_then(|()| say(&Word::Second(second)));
            if said.is_err() {
                options.stop.store(true, Ordering::Relaxed);
            }
        })?;
        said?;
    }
    drop((prepared, root));
    Ok(Census::take().more_than(before))
}

/// Reads the job, and has a thread wait for the start line and for the end of the input.
fn listen() -> Result<(Job, mpsc::Receiver<u64>)> {
    let mut line = String::new();
    let wrap = |error: std::io::Error| Error::io("standard input", &error);
    std::io::stdin().read_line(&mut line).map_err(wrap)?;
    let mut job: Job = serde_json::from_str(&line).map_err(|error| {
        Error::invalid(format!("not a driver's job: {error}"))
            .remedy("leanbox bench start --processes begins drivers itself")
    })?;
    let stop = Arc::new(AtomicBool::new(false));
    job.options.stop = Arc::clone(&stop);
    let (sender, start) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(std::io::Result::ok) {
            let _ = line.parse().map(|at| sender.send(at));
        }
        drop(sender);
        stop.store(true, Ordering::Relaxed);
        std::thread::sleep(GRACE);
        // The keeper ends with this process, and every slot with the keeper.
        std::process::exit(1);
    });
    Ok((job, start))
}

fn say(word: &Word) -> Result<()> {
    let gone = |error| Error::new(ErrorKind::Gone, format!("standard output: {error}"));
    let text = serde_json::to_string(word).map_err(|error| Error::invalid(error.to_string()))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(gone)
}
