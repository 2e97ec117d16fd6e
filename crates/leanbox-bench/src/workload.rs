//! One start of each mode, from the call until its outcome is known. Everything that a benchmark
//! asks of the library's pools and containers is here.

use crate::folder::Folder;
use crate::{Mode, Options};
use leanbox::floor::Floor;
use leanbox::{Command, Container, End, Error, ErrorKind, Policy, Pool, Result};
use leanbox::{Rootfs, Stdio, Template};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

/// Slots kept ready with `once`: enough that a start finds one while the keeper makes the next.
const RESERVE: usize = 8;
/// How often whoever waits long looks whether the benchmark is to end.
const LOOK: Duration = Duration::from_millis(100);

/// A prepared workload, shared by the threads of a driver.
#[derive(Debug)]
pub(crate) struct Workload {
    options: Options,
    /// Whole processes have none of ours.
    pool: Option<Pool>,
    folder: PathBuf,
}

/// What one thread starts containers with.
#[derive(Debug)]
pub(crate) struct Starter<'a> {
    workload: &'a Workload,
    command: Command,
}

impl Workload {
    /// Prepares it, and starts one container to see that it can be done.
    pub(crate) fn prepare(options: &Options, root: &Folder) -> Result<Self> {
        let folder = root.path.clone();
        let pool = match options.mode {
            Mode::Cold => None,
            _ => Some(pool(options, &folder)?),
        };
        let workload = Self { options: options.clone(), pool, folder };
        workload.starter().once()?;
        Ok(workload)
    }

    pub(crate) fn starter(&self) -> Starter<'_> {
        let words = self.options.command.as_ref().map(|command| command.words.as_slice());
        let mut command = match (self.options.mode, words) {
            (Mode::Noop | Mode::Fork, _) => Command::noop(),
            (Mode::Dirty, _) => Command::new("/dirty"),
            (Mode::Command, Some([program, args @ ..])) => {
                let mut command = Command::new(program);
                command.args(args);
                command
            }
            _ => Command::new("/nothing"),
        };
        command.stdin(Stdio::Null).stdout(Stdio::Null).stderr(Stdio::Null);
        Starter { workload: self, command }
    }

    /// In the fork mode the same, called by the floors' process.
    pub(crate) fn once_by(&self, floor: &Floor, count: usize) -> Result<Vec<Duration>> {
        match (&self.pool, self.options.mode) {
            (Some(pool), Mode::Fork) => pool.template().measure_fork(floor, count),
            _ => Ok(Vec::new()),
        }
    }

    /// Waits until the reserve is full and what was used is gone.
    pub(crate) fn settle(&self) -> Result<()> {
        match &self.pool {
            Some(pool) if self.options.mode != Mode::Fork => pool.settle(),
            _ => Ok(()),
        }
    }

    /// Another pool of the same template, with that many slots ready.
    pub(crate) fn with_reserve(&self, ready: usize) -> Result<Self> {
        let pool = Pool::new(self.pool.as_ref().ok_or_else(no_pool)?.template(), ready)?;
        // In looks, for a Ctrl-C does not wait for a thousand slots.
        while pool.ready() < ready {
            if self.options.is_stopped() {
                return Err(Error::new(ErrorKind::Gone, "interrupted"));
            }
            std::thread::sleep(LOOK);
        }
        pool.settle()?;
        let (options, folder) = (self.options.clone(), self.folder.clone());
        Ok(Self { options, pool: Some(pool), folder })
    }

    /// That many containers that only sleep.
    pub(crate) fn live(&self, count: usize) -> Result<Vec<Container>> {
        (0..count).map(|_| self.sleeping(1)).collect()
    }

    /// A container of that many processes that only sleep.
    pub(crate) fn sleeping(&self, processes: usize) -> Result<Container> {
        let mut command = Command::new("/sleep");
        command.arg(processes.to_string());
        command.stdin(Stdio::Null).stdout(Stdio::Null).stderr(Stdio::Null);
        command.spawn(self.pool.as_ref().ok_or_else(no_pool)?)
    }

    /// The process that makes its slots.
    pub(crate) fn keeper_pid(&self) -> Option<i32> {
        self.pool.as_ref().map(|pool| pool.template().keeper_pid())
    }
}

fn no_pool() -> Error {
    Error::invalid("whole processes have no container to keep")
}

fn pool(options: &Options, folder: &Path) -> Result<Pool> {
    let root = options.command.as_ref().map_or(folder, |command| &command.rootfs);
    let builder = Template::builder(Rootfs::open(root)?).policy(options.policy);
    let template = builder.network(options.network()).build()?;
    let ready = match (options.mode, options.policy, options.reserve) {
        (Mode::Fork, ..) => 0,
        (_, _, Some(reserve)) => reserve,
        (_, Policy::Reuse, None) => options.threads,
        (_, _, None) => RESERVE.max(options.threads * 2),
    };
    Pool::new(&template, ready)
}

impl Starter<'_> {
    /// Starts one container and waits for its outcome.
    pub(crate) fn once(&mut self) -> Result<Duration> {
        match (self.workload.options.mode, &self.workload.pool) {
            (Mode::Fork, Some(pool)) => fork(pool),
            (Mode::Command, Some(pool)) => {
                interruptible(&mut self.command, pool, &self.workload.options)
            }
            (_, Some(pool)) => {
                let outcome = self.command.status(pool)?;
                ended(outcome.end, outcome.wall)
            }
            (_, None) => self.whole_process(),
        }
    }

    /// Starts one and tells when it executed its first instruction; `None` where no slot is woken.
    pub(crate) fn first_instruction(&mut self) -> Result<Option<Duration>> {
        let (Mode::Noop | Mode::Exec, Some(pool)) =
            (self.workload.options.mode, &self.workload.pool)
        else {
            return Ok(None);
        };
        let outcome = self.command.stamp().status(pool)?;
        ended(outcome.end, outcome.wall).map(|_| outcome.first_instruction)
    }

    fn whole_process(&self) -> Result<Duration> {
        let Workload { options, folder, .. } = self.workload;
        let mut command = process::Command::new(&options.program);
        command.arg("run").arg(folder).arg("/nothing");
        command.stdin(process::Stdio::null()).stdout(process::Stdio::null());
        // Ctrl-C is for the benchmark.
        command.process_group(0);
        let begin = Instant::now();
        let status =
            command.status().map_err(|error| Error::io(options.program.display(), &error))?;
        let taken = begin.elapsed();
        ended(End::Exited(status.code().unwrap_or(-1)), taken)
    }
}

fn fork(pool: &Pool) -> Result<Duration> {
    let begin = Instant::now();
    let end = pool.template().fork_noop()?.wait()?;
    ended(end, begin.elapsed())
}

/// The caller's command may take long, and the benchmark's end does not wait for it.
fn interruptible(command: &mut Command, pool: &Pool, options: &Options) -> Result<Duration> {
    let mut container = command.spawn(pool)?;
    loop {
        if let Some(outcome) = container.wait_timeout(LOOK)? {
            return ended(outcome.end, outcome.wall);
        }
        if options.is_stopped() {
            return Err(Error::new(ErrorKind::Gone, "interrupted"));
        }
    }
}

fn ended(end: End, taken: Duration) -> Result<Duration> {
    match end {
        End::Exited(0) => Ok(taken),
        End::Exited(code) => Err(Error::invalid(format!(
            "a benchmark container ended with code {code}, and only 0 counts as a start"
        ))),
        End::Signaled(signal) => {
            Err(Error::invalid(format!("a benchmark container was ended by signal {signal}")))
        }
    }
}
