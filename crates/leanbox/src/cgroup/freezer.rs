//! Freezing a slot: nothing in it runs until it is thawed (the kernel's `freezer-subsystem.rst`
//! for v1, `cgroup-v2.rst` for v2).
//!
//! In: the slot's folder of v2, or where the owner's folders for freezing may be, and what lists
//! the slot's processes. Out: everything stands still, or goes on, or is on its way to its end.
//! Never: costs a slot anything that is not paused.

use super::file;
use super::layout::{Hierarchy, Version};
use super::remove::{kill_listed, remove_folders};
use crate::{Error, ErrorKind, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::collections::{BTreeSet, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long everything in a slot may take to stand still. A process has to run for it: with the
/// least CPU limit once a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// So long only the CPU is given up between two looks; most slots stand still by then.
const EAGER: Duration = Duration::from_millis(1);
/// The sleep between two looks after that. v2 tells by poll(2), but at most every 10 ms.
const SLEEP: Duration = Duration::from_micros(100);
/// Lists a folder's processes, and moves one. That takes a lock that all forks and exits of the
/// machine share, and getting it after a while waits for RCU: the first pause of a slot takes up
/// to 23 ms on a busy machine. `tasks` saves it only for a thread that moves itself.
const LIST: &str = "cgroup.procs";

/// Where the slots of one owner are frozen that have no folder of v2. Made at the first pause,
/// removed when dropped.
#[derive(Debug)]
pub(super) struct Home {
    version: Version,
    folder: PathBuf,
    made: Mutex<bool>,
}

impl Home {
    pub(super) fn new(hierarchy: &Hierarchy, name: &str) -> Self {
        let folder = hierarchy.folder.join(name);
        Self { version: hierarchy.version, folder, made: Mutex::default() }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn make(&self, tell: impl FnOnce(BorrowedFd<'_>) -> Result<()>) -> Result<()> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if *made {
            return Ok(());
        }
        file::make_folder(&self.folder)?;
        if self.version == Version::V1 {
            let folder = file::open(&self.folder, OFlags::RDONLY | OFlags::DIRECTORY);
            if let Err(error) = folder.and_then(|folder| tell(folder.as_fd())) {
                let _ = remove_folders(&self.folder);
                return Err(error);
            }
            // v1 patches its checks into the kernel's code with the machine's first frozen group,
            // and out with the last: a pause and a resume then took 96 and 82 µs p50, and 7 and 2
            // with an empty group that stays frozen (Linux 6.18, one process). Only for speed.
            let still = self.folder.join("still");
            let _ = file::make_folder(&still)
                .and_then(|()| file::write(&still.join("freezer.state"), "FROZEN"));
        }
        *made = true;
        Ok(())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if *self.made.get_mut().unwrap_or_else(PoisonError::into_inner) {
            let _ = remove_folders(&self.folder);
        }
    }
}

/// What freezes one slot.
#[derive(Debug)]
pub(crate) struct Freezer {
    version: Version,
    folder: PathBuf,
    /// Where the folder is made when it is needed; `None` for the slot's own of v2.
    home: Option<Arc<Home>>,
    /// A file that lists the slot's processes.
    members: PathBuf,
    files: OnceLock<Files>,
    /// Whether all of the slot is in the folder; held while it is frozen or thawed.
    joined: Mutex<bool>,
    frozen: AtomicBool,
    /// It was killed: nothing freezes it any more.
    killed: AtomicBool,
}

impl Freezer {
    /// For the group `name` whose folders are `places`; `None` where nothing can freeze it.
    pub(super) fn new(places: &[Hierarchy], home: Option<&Arc<Home>>, name: &str) -> Option<Self> {
        let own = places.iter().find(|place| place.version == Version::V2);
        let home = if own.is_some() { None } else { Some(Arc::clone(home?)) };
        let (version, folder) = match (own, &home) {
            (Some(own), _) => (own.version, own.folder.clone()),
            (None, home) => home.as_ref().map(|home| (home.version, home.folder.join(name)))?,
        };
        let listing = own.or_else(|| places.iter().find(|place| place.roles.pids))?;
        Some(Self {
            version,
            folder,
            members: listing.folder.join(LIST),
            joined: Mutex::new(home.is_none()),
            home,
            files: OnceLock::new(),
            frozen: AtomicBool::new(false),
            killed: AtomicBool::new(false),
        })
    }

    /// Freezes everything in the slot; back when all of it stands still. On an error it goes on.
    /// `tell` is told of a new folder of v1 before anything is frozen below it.
    pub(crate) fn freeze(&self, tell: impl FnOnce(BorrowedFd<'_>) -> Result<()>) -> Result<()> {
        let mut joined = self.joined();
        let files = self.files(tell)?;
        // Before it is so, and before the look at `killed`: whoever kills meanwhile thaws, or is
        // seen here.
        self.frozen.store(true, SeqCst);
        let frozen = self.freeze_all(files, &mut joined);
        if frozen.is_err() {
            let _ = self.let_go(files);
        }
        frozen
    }

    /// Has processes brought into the slot's groups while nothing freezes or thaws it; the next
    /// freeze finds them there.
    ///
    /// # Errors
    /// `Busy` while it is frozen, else those of `bring`.
    pub(crate) fn admit<T>(&self, bring: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut joined = self.joined();
        if self.frozen.load(SeqCst) {
            let paused = Error::new(ErrorKind::Busy, "the container is paused");
            return Err(paused.remedy("resume it first"));
        }
        *joined = self.home.is_none();
        bring()
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) -> Result<()> {
        let _one_at_a_time = self.joined();
        match self.files.get() {
            Some(files) if self.frozen.load(SeqCst) => self.let_go(files),
            _ => Ok(()),
        }
    }

    /// What was killed has to be thawed to die, on v1. Nothing of it runs another instruction:
    /// all of it is killed first.
    pub(crate) fn end(&self) {
        self.killed.store(true, SeqCst);
        if let (true, Some(files)) = (self.frozen.load(SeqCst), self.files.get()) {
            kill_listed(&self.folder, &mut HashSet::new());
            let _ = self.let_go(files);
        }
    }

    /// As good as new, for the next slot of the group.
    pub(super) fn renew(&self) -> Result<()> {
        self.thaw()?;
        *self.joined() = self.home.is_none();
        self.killed.store(false, SeqCst);
        Ok(())
    }

    fn freeze_all(&self, files: &Files, joined: &mut bool) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        files.set(self.version, true)?;
        loop {
            if !*joined {
                // What comes into a frozen group is frozen.
                self.join(files)?;
            }
            self.await_stillness(files, until)?;
            // A fork that had begun before its process was moved ends outside; but by now none is
            // under way.
            if *joined || self.are_all_inside()? {
                *joined = true;
                return Ok(());
            }
        }
    }

    fn let_go(&self, files: &Files) -> Result<()> {
        files.set(self.version, false)?;
        self.frozen.store(false, SeqCst);
        Ok(())
    }

    /// Moves what is not in the folder yet.
    fn join(&self, files: &Files) -> Result<()> {
        let inside = read_list(&self.folder.join(LIST))?;
        for id in read_list(&self.members)?.difference(&inside) {
            match file::write_raw(&files.join, &id.to_string()) {
                // It has ended.
                Ok(()) | Err(Errno::SRCH) => {}
                Err(errno) => {
                    let call = format!("write({:?}, \"{id}\")", self.folder.join(LIST));
                    return Err(Error::syscall(call, errno));
                }
            }
        }
        Ok(())
    }

    fn await_stillness(&self, files: &Files, until: Instant) -> Result<()> {
        let eager = Instant::now() + EAGER;
        loop {
            if self.killed.load(SeqCst) {
                return Err(Error::new(ErrorKind::Gone, "the container was killed"));
            }
            if files.is_still(self.version)? {
                return Ok(());
            }
            match Instant::now() {
                now if now > until => return Err(not_still()),
                now if now > eager => crate::thread::pause(SLEEP),
                _ => rustix::thread::sched_yield(),
            }
        }
    }

    /// Asked when all inside stand still, and so none of them ends. A number of one that had ended
    /// may have become a stranger's before it was moved: that one goes free.
    fn are_all_inside(&self) -> Result<bool> {
        let members = read_list(&self.members)?;
        let inside = read_list(&self.folder.join(LIST))?;
        if let Some(above) = self.home.as_ref().and_then(|home| home.folder.parent()) {
            for stranger in inside.difference(&members) {
                let _ = file::write(&above.join(LIST), &stranger.to_string());
            }
        }
        Ok(members.is_subset(&inside))
    }

    fn files(&self, tell: impl FnOnce(BorrowedFd<'_>) -> Result<()>) -> Result<&Files> {
        if let Some(files) = self.files.get() {
            return Ok(files);
        }
        if let Some(home) = &self.home {
            home.make(tell)?;
            file::make_folder(&self.folder)?;
        }
        let opened = Files::open(self.version, &self.folder);
        if opened.is_err() && self.home.is_some() {
            let _ = remove_folders(&self.folder);
        }
        let opened = opened?;
        Ok(self.files.get_or_init(|| opened))
    }

    fn joined(&self) -> MutexGuard<'_, bool> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        if let (Some(files), Some(_)) = (self.files.get(), &self.home) {
            let _ = self.let_go(files);
            let _ = remove_folders(&self.folder);
        }
    }
}

/// A frozen group's files that stay open.
#[derive(Debug)]
struct Files {
    /// What is asked for.
    wish: OwnedFd,
    /// What is so.
    state: OwnedFd,
    join: OwnedFd,
}

impl Files {
    fn open(version: Version, folder: &Path) -> Result<Self> {
        let (wish, state) = match version {
            Version::V1 => ("freezer.state", "freezer.state"),
            Version::V2 => ("cgroup.freeze", "cgroup.events"),
        };
        Ok(Self {
            wish: file::open(&folder.join(wish), OFlags::WRONLY)?,
            state: file::open(&folder.join(state), OFlags::RDONLY)?,
            join: file::open(&folder.join(LIST), OFlags::WRONLY)?,
        })
    }

    fn set(&self, version: Version, frozen: bool) -> Result<()> {
        let (file, value) = match (version, frozen) {
            (Version::V1, true) => ("freezer.state", "FROZEN"),
            (Version::V1, false) => ("freezer.state", "THAWED"),
            (Version::V2, true) => ("cgroup.freeze", "1"),
            (Version::V2, false) => ("cgroup.freeze", "0"),
        };
        file::write_raw(&self.wish, value)
            .map_err(|errno| Error::syscall(format!("write({file}, {value:?})"), errno))
    }

    fn is_still(&self, version: Version) -> Result<bool> {
        let mut text = [0; 128];
        let length = rustix::io::retry_on_intr(|| rustix::io::pread(&self.state, &mut text[..], 0))
            .map_err(|errno| Error::syscall("pread(state of the freezer)", errno))?;
        let line: &[u8] = match version {
            Version::V1 => b"FROZEN",
            Version::V2 => b"frozen 1",
        };
        Ok(text[..length].split(|byte| *byte == b'\n').any(|one| one == line))
    }
}

fn read_list(path: &Path) -> Result<BTreeSet<u32>> {
    let text = file::read(path)?;
    let ids: BTreeSet<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    if ids.contains(&0) {
        // Written to a list it would stand for this process.
        let text = format!("{path:?} lists a process that this pid namespace does not show");
        return Err(Error::new(ErrorKind::Unsupported, text).remedy("pause it from outside"));
    }
    Ok(ids)
}

fn not_still() -> Error {
    let text = format!("not all of the container stands still after {PATIENCE:?}; it goes on");
    Error::new(ErrorKind::Busy, text)
        .remedy("does a process wait for a device or a network, or is its CPU limit too small?")
}

/// Where neither version can.
pub(super) fn unsupported() -> Error {
    Error::new(ErrorKind::Unsupported, "no mounted cgroup hierarchy can freeze a container")
        .remedy("mount cgroup2, or v1's freezer: mount -t cgroup -o freezer …")
}
