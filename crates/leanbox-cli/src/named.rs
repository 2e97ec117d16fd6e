//! Detached containers by their names. Each has a folder in the state folder, which is closed to
//! other users, and while it runs a host of its own: a process that holds the folder's lock, keeps
//! the logs, and serves requests on a socket there. A lock that can be had tells of a host that is
//! gone, whatever else is written there.
//!
//! ```text
//! named/NAME/  lock     held by the host for as long as it lives
//!              record   what was asked for, as JSON
//!              socket   requests (`protocol`)
//!              log, log.1   what the program printed (`logs`)
//!              paused   there while it is paused
//!              outcome  how it ended, as JSON, written whole
//! ```

pub(crate) mod cp;
pub(crate) mod exec;
pub(crate) mod logs;
pub(crate) mod protocol;
pub(crate) mod supervisor;
pub(crate) mod use_of;
pub(crate) mod verbs;

use crate::outcome::Report;
use leanbox::{Error, ErrorKind, Result};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The longest name: a folder's, with room for what stands around it in messages.
const NAME_MAX_BYTES: usize = 64;
/// Between two looks at what tells no other way.
const LOOK: Duration = Duration::from_millis(20);

/// What a detached container was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) root: String,
    pub(crate) command: Vec<String>,
    /// The host's process id.
    pub(crate) host_pid: u32,
    /// Seconds since 1970.
    pub(crate) started: u64,
}

/// Where a container is in its life.
#[derive(Debug)]
pub(crate) enum State {
    Running,
    Paused,
    Ended(Report),
    /// Its host was killed, and it with its host.
    HostGone,
}

impl State {
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Running => "running".into(),
            Self::Paused => "paused".into(),
            Self::Ended(ended) => format!("exited ({})", ended.exit_code),
            Self::HostGone => "host gone".into(),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Ended(_) | Self::HostGone)
    }
}

/// A named container's folder.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
}

/// A name that can be a folder's and no option.
pub(crate) fn name(text: &str) -> std::result::Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && text.len() <= NAME_MAX_BYTES && text.chars().all(fits) {
        return Ok(text.to_string());
    }
    Err(format!(
        "letters, digits, _ . and -, at most {NAME_MAX_BYTES}, the first a letter or digit"
    ))
}

/// The network namespace of one that runs.
pub(crate) fn network_of(name: &str) -> Result<OwnedFd> {
    if !leanbox::is_machine_root() {
        let text = format!("--network container:{name} takes root");
        return Err(Error::new(ErrorKind::Unsupported, text).remedy(
            "each container of an ordinary user is in a user namespace of its own, which no other \
             can join",
        ));
    }
    protocol::asked_for_descriptor(&Named::find(name)?, &protocol::Request::Network)
}

fn parent() -> PathBuf {
    leanbox::state_folder().join("named")
}

impl Named {
    /// Makes the folder of a new one. Only one of two that come at once gets it.
    pub(crate) fn create(asked: Option<&str>) -> Result<(Self, File)> {
        let name = asked
            .map_or_else(|| format!("c{:x}-{:x}", std::process::id(), now_ns()), str::to_string);
        let folder = parent().join(&name);
        let private = |recursive| {
            let mut builder = fs::DirBuilder::new();
            builder.mode(0o700).recursive(recursive);
            builder
        };
        let wrap = |path: &PathBuf| {
            let path = path.display().to_string();
            move |error: std::io::Error| Error::io(path, &error)
        };
        private(true).create(parent()).map_err(wrap(&parent()))?;
        match private(false).create(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Error::new(
                    ErrorKind::Busy,
                    format!("{name:?}: there is one of this name"),
                )
                .remedy(format!("remove it (leanbox rm {name}) or choose another name")));
            }
            made => made.map_err(wrap(&folder))?,
        }
        let named = Self { name, folder };
        let lock = File::create(named.folder.join("lock")).map_err(wrap(&named.folder))?;
        // Whoever looks for its host has it for a moment.
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)
            .map_err(|errno| Error::syscall("flock(lock of a named container)", errno))?;
        Ok((named, lock))
    }

    /// One that is there.
    pub(crate) fn find(text: &str) -> Result<Self> {
        let missing = || {
            Error::new(ErrorKind::NotFound, format!("{text:?}: no container of this name"))
                .remedy("leanbox ps -a lists them")
        };
        let name = name(text).map_err(|_| missing())?;
        let folder = parent().join(&name);
        if folder.is_dir() { Ok(Self { name, folder }) } else { Err(missing()) }
    }

    /// All there are, by name.
    pub(crate) fn all() -> Vec<Self> {
        let entries = fs::read_dir(parent()).into_iter().flatten().flatten();
        let named = |entry: fs::DirEntry| {
            let name = name(entry.file_name().to_str()?).ok()?;
            Some(Self { name, folder: entry.path() })
        };
        let mut all: Vec<Self> = entries.filter_map(named).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Whether its host lives.
    pub(crate) fn has_host(&self) -> bool {
        let Ok(lock) = File::open(self.folder.join("lock")) else { return false };
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
    }

    /// Where it is in its life.
    pub(crate) fn state(&self) -> State {
        // The lock first: whoever ends writes how before it lets go.
        if self.has_host() {
            let is_paused = self.folder.join("paused").exists();
            return if is_paused { State::Paused } else { State::Running };
        }
        self.read("outcome").map_or(State::HostGone, State::Ended)
    }

    /// What was asked for; of one that is being made not yet.
    pub(crate) fn record(&self) -> Option<Record> {
        self.read("record")
    }

    fn read<T: for<'a> Deserialize<'a>>(&self, file: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.folder.join(file)).ok()?).ok()
    }

    /// Writes a file whole or not at all.
    pub(crate) fn write<T: Serialize>(&self, file: &str, value: &T) -> Result<()> {
        let (path, new) = (self.folder.join(file), self.folder.join(format!("{file}.new")));
        let text = serde_json::to_vec(value).unwrap_or_default();
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|error| Error::io(path.display(), &error))
    }

    /// Waits until it is over, at most for `limit`; whether it came to that.
    pub(crate) fn is_over_within(&self, limit: Option<Duration>) -> bool {
        let until = limit.map(|limit| Instant::now() + limit);
        while self.has_host() {
            if until.is_some_and(|until| Instant::now() >= until) {
                return false;
            }
            std::thread::sleep(LOOK);
        }
        true
    }

    /// Leaves nothing of it.
    pub(crate) fn remove(&self) -> Result<()> {
        fs::remove_dir_all(&self.folder)
            .map_err(|error| Error::io(self.folder.display(), &error).during("rm"))
    }

    /// The error where something is asked of one that is over.
    pub(crate) fn not_running(&self) -> Error {
        let text = format!("{:?} is not running: {}", self.name, self.state().words());
        Error::new(ErrorKind::Gone, text)
    }
}

/// Nanoseconds since 1970.
pub(crate) fn now_ns() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}
