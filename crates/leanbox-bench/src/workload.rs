//! One start of each mode, from the call until its outcome is known.

use crate::{Mode, Options};
use leanbox::floor::{Floor, NOTHING};
use leanbox::{Command, Error, Policy, Pool, Result, Rootfs, Stdio, Template};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Slots kept ready: enough that a start finds one while the keeper makes the next.
const RESERVE: usize = 8;

/// A prepared workload.
pub(crate) struct Workload {
    mode: Mode,
    pool: Pool,
    command: Command,
}

impl Workload {
    pub(crate) fn prepare(options: &Options, root: &Folder) -> Result<Self> {
        let rootfs = Rootfs::open(&root.0)?;
        let template = Template::builder(rootfs).policy(options.policy).build()?;
        let ready = match (options.mode, options.policy) {
            (Mode::Fork, _) => 0,
            (_, Policy::Reuse) => 1,
            (_, Policy::Once) => RESERVE,
        };
        let pool = Pool::new(&template, ready)?;
        let mut command = match options.mode {
            Mode::Exec => Command::new("/nothing"),
            _ => Command::noop(),
        };
        command.stdin(Stdio::Null).stdout(Stdio::Null).stderr(Stdio::Null);
        let mut workload = Self { mode: options.mode, pool, command };
        workload.once()?;
        Ok(workload)
    }

    /// Starts one container and waits for its outcome.
    pub(crate) fn once(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        if self.mode == Mode::Fork {
            let end = self.pool.template().fork_noop()?.wait()?;
            let taken = begin.elapsed();
            return if end == leanbox::End::Exited(0) { Ok(taken) } else { Err(unexpected()) };
        }
        let outcome = self.command.status(&self.pool)?;
        if outcome.success() { Ok(outcome.wall) } else { Err(unexpected()) }
    }

    /// In the fork mode the same, called by the floors' process.
    pub(crate) fn once_by(&self, floor: &Floor, count: usize) -> Result<Vec<Duration>> {
        match self.mode {
            Mode::Fork => self.pool.template().measure_fork(floor, count),
            _ => Ok(Vec::new()),
        }
    }

    /// Waits until the reserve is full and what was used is gone.
    pub(crate) fn settle(&self) -> Result<()> {
        if self.mode == Mode::Fork { Ok(()) } else { self.pool.settle() }
    }
}

fn unexpected() -> Error {
    Error::invalid("a benchmark container ended with another code than 0")
}

/// A root file system with only the do-nothing program, removed with this value.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("leanbox-bench-{}", std::process::id()));
        let folder = Self(path);
        let program = folder.program();
        let made = fs::create_dir_all(&folder.0)
            .and_then(|()| fs::write(&program, NOTHING))
            .and_then(|()| fs::set_permissions(&program, fs::Permissions::from_mode(0o755)));
        made.map_err(|error| Error::io(folder.0.display(), &error))?;
        Ok(folder)
    }

    /// The program's path on the host.
    pub(crate) fn program(&self) -> PathBuf {
        Path::new(&self.0).join("nothing")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
