//! One slot's resource group.
//!
//! In: its parent's folders and the limits. Out: how to join it, what it used, an empty group
//! again. Never: knows whose it is; a launcher joins, the host reads and kills.

use super::events;
use super::file;
use super::freezer::{self, Freezer, Home};
use super::layout::{Hierarchy, Roles, Version};
use super::members::Members;
use super::plan::{changes, settings};
use super::remove::remove_folders;
use super::stats::{self, Wide};
use super::usage::{Baseline, Counters, CpuMeter, Usage};
use super::write;
use crate::{Error, ErrorKind, Limits, LimitsChange, Result, Stats, probe};
use rustix::fs::OFlags;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Memory that may stay charged to a group that serves again: what the kernel charges ahead for
/// one CPU; twice that where it is a small part of the limit, since asking for it takes 30 µs. Measured on 6.18: after `true` a group shows 252 KiB; after a Python program 300 to
/// 700, and 140 to 200 once it was asked to give back, which are objects freed in the background.
const LEFT_OVER_MOST_BYTES: u64 = 256 * 1024;

/// A killed process takes some ten microseconds to be gone, if it has little memory.
const EMPTY_PAUSE: Duration = Duration::from_micros(100);

/// Somebody has asked for [`Stats`]: what they need at the renewal of a group costs it two reads.
static WIDE_WANTED: AtomicBool = AtomicBool::new(false);

/// One slot's folder in each hierarchy that carries a limit or a counter. Dropping it removes
/// them, once no process is left.
#[derive(Debug)]
pub(crate) struct Group {
    folders: Folders,
    join: Vec<OwnedFd>,
    into: Option<OwnedFd>,
    counters: Counters,
    members: Arc<Members>,
    memory_max_bytes: AtomicU64,
    freezer: Option<Arc<Freezer>>,
    /// Since the first update of its limits.
    updated: Mutex<Option<Box<Limits>>>,
    /// What the counters of [`Stats`] said at its last renewal; `None`: nobody had asked for them.
    wide: Mutex<Option<Wide>>,
}

impl Group {
    pub(super) fn create(
        parents: &[Hierarchy],
        freezers: Option<&Arc<Home>>,
        name: &str,
        limits: &Limits,
    ) -> Result<Self> {
        write::check(parents, limits, false)?;
        let mut folders = Folders(Vec::with_capacity(parents.len()));
        for parent in parents {
            make(parent, name, limits, &mut folders)?;
        }
        let counters = Counters::open(&folders.0)?;
        let memory_max_bytes = AtomicU64::new(limits.memory_max_bytes);
        let freezer = Freezer::new(&folders.0, freezers, name).map(Arc::new);
        let members = Arc::new(Members::of(&folders.0));
        let (join, into) = (Vec::new(), None);
        let (updated, wide) = (Mutex::default(), Mutex::new(Some(Wide::default())));
        let mut group = Self {
            folders,
            join,
            into,
            counters,
            members,
            memory_max_bytes,
            freezer,
            updated,
            wide,
        };
        for place in &group.folders.0 {
            match place.version {
                Version::V1 => {
                    group.join.push(file::open(&place.folder.join("tasks"), OFlags::WRONLY)?);
                }
                Version::V2 => {
                    let flags = OFlags::PATH | OFlags::DIRECTORY;
                    group.into = Some(file::open(&place.folder, flags)?);
                }
            }
        }
        Ok(group)
    }

    /// What a single-threaded process writes `0` to, to join on v1: each hierarchy's `tasks`.
    /// Not `cgroup.procs`: moving a whole process takes a lock that all forks and exits of the
    /// machine share, and getting it after a pause waits for RCU. Measured on kernel 6.18, 50 ms
    /// after the last: 5,400 to 7,200 µs by `cgroup.procs`, about 40 µs by `tasks`.
    pub(crate) fn join_fds(&self) -> &[OwnedFd] {
        &self.join
    }

    /// Of [`join_fds`](Self::join_fds) those that limit: without the one that only counts CPU time.
    pub(crate) fn limiting_fds(&self) -> Vec<BorrowedFd<'_>> {
        let places = self.folders.0.iter().filter(|place| place.version == Version::V1);
        let limits =
            |place: &Hierarchy| place.roles != Roles { cpu_time: true, ..Roles::default() };
        let joins = places.zip(&self.join).filter(|(place, _)| limits(place));
        joins.map(|(_, tasks)| tasks.as_fd()).collect()
    }

    /// The v2 folder, for `CLONE_INTO_CGROUP`.
    #[expect(clippy::wrong_self_convention, reason = "named after the flag")]
    pub(crate) fn into_dir(&self) -> Option<BorrowedFd<'_>> {
        self.into.as_ref().map(AsFd::as_fd)
    }

    /// A fresh descriptor of v2's `cgroup.procs`, to join by writing `0`: for a process that may
    /// not be born into the group, such as one in another user namespace. `None` without v2.
    pub(crate) fn open_v2_procs(&self) -> Result<Option<OwnedFd>> {
        let Some(v2) = self.folders.v2() else { return Ok(None) };
        file::open(&v2.folder.join("cgroup.procs"), OFlags::WRONLY).map(Some)
    }

    /// Whether it counts anything: not where its owner goes without groups.
    pub(crate) fn counts(&self) -> bool {
        !self.folders.0.is_empty()
    }

    /// The counters as they stand.
    #[cfg(test)]
    pub(crate) fn usage(&self) -> Result<Usage> {
        self.counters.usage()
    }

    /// Has its cpuset hold for whoever was cloned into it.
    pub(crate) fn hold_cpuset(&self) -> Result<()> {
        if probe::kernel_version() >= (6, 4) {
            return Ok(());
        }
        self.folders.0.iter().try_for_each(write::renew_cpuset)
    }

    /// The counters now, to be taken off a later reading.
    pub(crate) fn baseline(&self) -> Result<Baseline> {
        self.counters.baseline()
    }

    /// What was used since `baseline`, and the baseline of whoever runs next. `was_killed`: a
    /// process was, and the kernel may have done it.
    pub(crate) fn since(&self, baseline: &Baseline, was_killed: bool) -> Result<(Usage, Baseline)> {
        self.counters.since(baseline, self.memory_max_bytes.load(Relaxed), was_killed)
    }

    /// How many processes and threads are in the group, the launcher among them.
    pub(crate) fn processes(&self) -> Result<u64> {
        self.counters.processes()
    }

    /// Starts a new peak of memory, unless that of `last` is as good as new: it has risen over
    /// `quiet_bytes`, the peak after the last reset, by no more than the kernel charges ahead.
    /// `false`: this kernel cannot; take a fresh group.
    pub(crate) fn renew_peak(&self, last: &Baseline, quiet_bytes: &mut u64) -> Result<bool> {
        if last.memory_peak_bytes() <= quiet_bytes.saturating_add(LEFT_OVER_MOST_BYTES) {
            return Ok(true);
        }
        let can = self.counters.reset_peak()?;
        *quiet_bytes = self.counters.peak_bytes()?;
        Ok(can)
    }

    /// Makes the group as good as new, when no process is left in it: gives back the memory that
    /// is still charged to it (0.2 to 1 ms, where there is any) and starts a new peak. `false`:
    /// not now, as too much is freed in the background, or not on this kernel; take a fresh group.
    pub(crate) fn recycle(&self) -> Result<bool> {
        self.counters.has_served();
        self.freezer.iter().try_for_each(|freezer| freezer.renew())?;
        if self.members.are_spoiled() || self.is_updated() {
            return Ok(false);
        }
        self.renew_wide();
        let Some(memory) = self.folders.0.iter().find(|place| place.roles.memory) else {
            return Ok(true);
        };
        let part = self.memory_max_bytes.load(Relaxed) / 1024;
        let most = part.clamp(LEFT_OVER_MOST_BYTES, 2 * LEFT_OVER_MOST_BYTES);
        if memory_now(memory)? > most {
            give_back(memory);
        }
        Ok(memory_now(memory)? <= most && self.counters.reset_peak()?)
    }

    /// Whether it has other limits than its template.
    pub(crate) fn is_updated(&self) -> bool {
        lock(&self.updated).is_some()
    }

    /// Changes its limits while it is in use. `template`: what it was made with.
    pub(crate) fn update(&self, template: &Limits, change: &LimitsChange) -> Result<()> {
        let mut updated = lock(&self.updated);
        let now = updated.as_deref().unwrap_or(template);
        let wanted = change.applied_to(now);
        write::check(&self.folders.0, &change.applied_to(&Limits::default()), true)?;
        let mut plan = Vec::new();
        for place in &self.folders.0 {
            write::check_cpuset(place, &wanted)?;
            self.check_memory(place, now, &wanted)?;
            let changes = changes(place.version, place.roles, now, &wanted);
            plan.extend(changes.into_iter().map(|setting| (place.folder.clone(), setting)));
        }
        // What the kernel may refuse for what is in use comes first: memory.
        plan.sort_by_key(|(_, setting)| !setting.file.starts_with("memory."));
        // Before it is so: from here on the group serves nobody else.
        *updated = Some(Box::new(now.clone()));
        write::write_all(&plan)?;
        self.memory_max_bytes.store(wanted.memory_max_bytes, Relaxed);
        *updated = Some(Box::new(wanted));
        Ok(())
    }

    /// v2 kills where v1 refuses: what cannot be freed is not taken away.
    fn check_memory(&self, place: &Hierarchy, now: &Limits, wanted: &Limits) -> Result<()> {
        let (now, most) = (now.memory_max_bytes, wanted.memory_max_bytes);
        if place.version == Version::V1 || !place.roles.memory || most >= now {
            return Ok(());
        }
        let used = stats::unfreeable_bytes(place)?;
        if used <= most {
            return Ok(());
        }
        let text = format!("memory limit of {most} bytes: {used} are in use and cannot be freed");
        Err(Error::new(ErrorKind::Busy, text).remedy("ask for more, or end something in it"))
    }

    /// What it uses and has used, since `baseline`. Whoever asks makes the groups of all slots
    /// keep what they need for it at their renewal.
    pub(crate) fn stats(&self, baseline: &Baseline) -> Result<Stats> {
        WIDE_WANTED.store(true, Relaxed);
        let usage = self.counters.all()?.delta(baseline);
        stats::read(&self.folders.0, &usage, lock(&self.wide).as_ref())
    }

    /// Readable when it runs out of memory.
    pub(crate) fn memory_event(&self) -> Result<OwnedFd> {
        let memory = self.folders.0.iter().find(|place| place.roles.memory);
        let none = || Error::new(ErrorKind::Unsupported, "the container has no memory group");
        events::out_of_memory(memory.ok_or_else(none)?)
    }

    /// At the end of a run in a group that serves again.
    pub(crate) fn renew_wide(&self) {
        let roles = self.folders.0.iter().any(|place| place.roles.cpu || place.roles.io);
        let wanted = roles || WIDE_WANTED.load(Relaxed);
        *lock(&self.wide) = if wanted { Wide::read(&self.folders.0).ok() } else { None };
    }

    /// What tells the CPU time since `baseline` to whoever has no group.
    pub(crate) fn cpu_meter(&self, baseline: &Baseline) -> Result<CpuMeter> {
        self.counters.cpu_meter(baseline)
    }

    /// What freezes everything in the group.
    pub(crate) fn freezer(&self) -> Result<&Arc<Freezer>> {
        self.freezer.as_ref().ok_or_else(freezer::unsupported)
    }

    /// After a kill: what is frozen may need that to die.
    pub(crate) fn end_freeze(&self) {
        if let Some(freezer) = &self.freezer {
            freezer.end();
        }
    }

    /// Who lives in it, to be killed whatever namespaces they are in.
    pub(crate) fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// Kills whoever lives in it until nobody does; whether it came to that in time.
    pub(crate) fn empty_within(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        loop {
            // A neighbour that traces a process may hold it back after its end.
            if self.processes().is_ok_and(|count| count == 0) || self.members.have_ended() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            self.members.kill();
            crate::thread::pause(EMPTY_PAUSE);
        }
    }

    /// Kills everything in the group at once. `false`: v1, or v2 before 5.14, cannot; kill pid 1
    /// of the slot instead.
    pub(crate) fn kill(&self) -> bool {
        self.folders.v2().is_some_and(|v2| file::kill_at_once(&v2.folder))
    }
}

/// The folders of one group, removed on drop: of a group half made too.
#[derive(Debug)]
struct Folders(Vec<Hierarchy>);

impl Folders {
    fn v2(&self) -> Option<&Hierarchy> {
        self.0.iter().find(|place| place.version == Version::V2)
    }
}

impl Drop for Folders {
    /// What is still busy after a bounded wait is left to the parent's removal.
    fn drop(&mut self) {
        for place in &self.0 {
            let _ = remove_folders(&place.folder);
        }
    }
}

/// Makes one folder and writes its limits; in `folders` from its first moment.
fn make(parent: &Hierarchy, name: &str, limits: &Limits, folders: &mut Folders) -> Result<()> {
    let folder = parent.folder.join(name);
    file::make_folder(&folder)?;
    folders.0.push(Hierarchy { folder: folder.clone(), ..*parent });
    let place = Hierarchy { folder, ..*parent };
    write::check_cpuset(&place, limits)?;
    write::fill_cpuset(&place, Some(limits))?;
    let settings = settings(parent.version, parent.roles, limits);
    settings.iter().try_for_each(|setting| write::write(&place.folder, setting))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn memory_now(place: &Hierarchy) -> Result<u64> {
    let name = match place.version {
        Version::V1 => "memory.usage_in_bytes",
        Version::V2 => "memory.current",
    };
    let path = place.folder.join(name);
    let text = file::read(&path)?;
    let not_a_number = || Error::new(ErrorKind::System, format!("{path:?} has no number"));
    text.trim().parse().map_err(|_| not_a_number())
}

/// Asks the kernel to free or hand up what is charged. It may refuse or do a part of it: what
/// counts is the usage afterwards.
fn give_back(place: &Hierarchy) {
    if place.version == Version::V2 && probe::is_off("memory_reclaim") {
        return;
    }
    let (name, value) = match place.version {
        Version::V1 => ("memory.force_empty", "0"),
        Version::V2 => ("memory.reclaim", "1G"),
    };
    let _ = file::write_if_there(&place.folder.join(name), value);
}
