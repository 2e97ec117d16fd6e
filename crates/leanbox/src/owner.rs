//! Who owns what on this machine: one record per template in the state folder, locked for as
//! long as its process lives. It says which id blocks, groups and folders are in use, so that
//! whoever starts next can tell what a dead owner left, and reclaims it.

mod abandoned;

use crate::{Error, Result, cgroup};
pub use abandoned::{Abandoned, abandoned};
use leanbox_launcher::wire::{BLOCKS_MAX, IDS_PER_SLOT};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// First host id of block 0. systemd's UIDS-GIDS document lists 1879048192–2147483647 as
/// unused; it holds exactly [`BLOCKS_MAX`] blocks.
const FIRST_ID: u32 = 1_879_048_192;
/// Where root reserves id blocks, whatever its state folder: they are the machine's.
const MACHINE: &str = "/run/leanbox";
/// Blocks reserved at a time: few, so that many owners find room.
const CHUNK: usize = 16;

/// A piece of a record: written for people and for whoever reclaims.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    boot_id: String,
    pid_namespace: String,
    pid: u32,
    start_time: u64,
    blocks: Vec<u32>,
    groups: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

/// This process as owner of one template's things.
#[derive(Debug)]
pub(crate) struct Owner {
    name: String,
    folder: PathBuf,
    file: File,
    record: Record,
    /// Bytes of the record as written.
    length: usize,
    free: Vec<u32>,
    /// Whose the blocks are, where the state folder is not the machine's.
    ids: Option<Box<Owner>>,
}

/// A block of 65,536 host ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block(pub(crate) u32);

impl Block {
    /// Its first host id.
    pub(crate) fn first_id(self) -> u32 {
        FIRST_ID + self.0 * IDS_PER_SLOT
    }
}

/// The state folder: `/run/leanbox`, or below `XDG_RUNTIME_DIR` without root;
/// `LEANBOX_STATE` names another. Whichever root uses, id blocks are reserved in `/run/leanbox`,
/// so that no two owners get the same; owners that see different `/run`, or cannot write there,
/// do not know of each other.
#[must_use]
pub fn state_folder() -> PathBuf {
    if let Some(named) = std::env::var_os("LEANBOX_STATE") {
        return PathBuf::from(named);
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(own) if !rustix::process::geteuid().is_root() => PathBuf::from(own).join("leanbox"),
        _ => PathBuf::from("/run/leanbox"),
    }
}

impl Owner {
    /// Registers this process, and reclaims what dead owners left.
    pub(crate) fn register() -> Result<Self> {
        Self::register_at(state_folder())
    }

    fn register_at(folder: PathBuf) -> Result<Self> {
        let ids = match machine_folder(&folder)? {
            Some(machine) => Some(Box::new(Self::register_in(machine, "leanbox-ids", None)?)),
            None => None,
        };
        Self::register_in(folder, "leanbox", ids)
    }

    fn register_in(folder: PathBuf, kind: &str, ids: Option<Box<Self>>) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        make_private(&folder)?;
        let me = identify()?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{kind}-{}-{}-{count}", me.pid, me.start_time);
        let _lock = lock_state(&folder)?;
        reclaim_dead(&folder);
        let path = folder.join(&name);
        let file = open_record(&path, true).map_err(|e| Error::syscall(path.display(), e))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| Error::syscall(format!("flock({})", path.display()), errno))?;
        let mut owner = Self { name, folder, file, record: me, length: 0, free: Vec::new(), ids };
        match &owner.ids {
            None => owner.reserve(CHUNK)?,
            Some(_) => owner.write()?,
        }
        Ok(owner)
    }

    /// The record's name, used for its groups too.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Writes down groups before they are made.
    pub(crate) fn owns_groups(&mut self, groups: Vec<PathBuf>) -> Result<()> {
        if let Some(ids) = &mut self.ids {
            // What lives in them has the ids.
            ids.owns_groups(groups.clone())?;
        }
        self.record.groups = groups;
        self.write()
    }

    /// Writes down a folder before it is made.
    pub(crate) fn owns_folder(&mut self, folder: PathBuf) -> Result<()> {
        self.record.folders.push(folder);
        self.write()
    }

    /// A block that no other live slot has.
    pub(crate) fn take_block(&mut self) -> Result<Block> {
        if let Some(ids) = &mut self.ids {
            return ids.take_block();
        }
        if self.free.is_empty() {
            let folder = self.folder.clone();
            let _lock = lock_state(&folder)?;
            self.reserve(CHUNK)?;
        }
        let exhausted = || Error::syscall("id blocks", Errno::AGAIN).remedy("end some containers");
        self.free.pop().map(Block).ok_or_else(exhausted)
    }

    /// Gives a block back, once nothing of its slot lives.
    pub(crate) fn give_block(&mut self, block: Block) {
        match &mut self.ids {
            Some(ids) => ids.give_block(block),
            None => self.free.push(block.0),
        }
    }

    fn reserve(&mut self, count: usize) -> Result<()> {
        let mut taken = vec![false; BLOCKS_MAX];
        for record in records(&self.folder).filter_map(|path| read_record(&path)) {
            for block in record.blocks {
                if let Some(entry) = taken.get_mut(block as usize) {
                    *entry = true;
                }
            }
        }
        let free = (0u32..).zip(&taken).filter(|(_, taken)| !**taken).map(|(block, _)| block);
        let mut got: Vec<u32> = free.take(count).collect();
        self.record.blocks.extend(&got);
        got.reverse();
        self.free.extend(got);
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        let path = self.folder.join(&self.name);
        let text = serde_json::to_vec(&self.record)
            .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?;
        self.file
            .rewind()
            .and_then(|()| self.file.write_all(&text))
            .and_then(|()| match text.len() < self.length {
                true => self.file.set_len(text.len() as u64),
                false => Ok(()),
            })
            .map_err(|error| Error::io(path.display(), &error))?;
        self.length = text.len();
        Ok(())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        for folder in &self.record.folders {
            let _ = fs::remove_dir_all(folder);
        }
        // A forked child may live on in its group: the record stays for whoever reclaims next.
        if !self.record.groups.iter().any(|group| group.exists()) {
            let _ = fs::remove_file(self.folder.join(&self.name));
        }
    }
}

/// What dead owners left is ended and removed; returns how many there were.
///
/// # Errors
/// The state folder cannot be opened.
pub fn reclaim() -> Result<usize> {
    let folder = state_folder();
    make_private(&folder)?;
    let dead = {
        let _lock = lock_state(&folder)?;
        reclaim_dead(&folder)
    };
    if let Some(machine) = machine_folder(&folder)? {
        let _lock = lock_state(&machine)?;
        reclaim_dead(&machine);
    }
    Ok(dead)
}

/// The machine's folder, where it is another than the state folder and can be written to. Without
/// root there are no blocks to reserve.
fn machine_folder(state: &Path) -> Result<Option<PathBuf>> {
    let machine = Path::new(MACHINE);
    if state == machine || !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let closed = [Errno::ROFS, Errno::ACCESS, Errno::PERM].map(|errno| Some(errno.raw_os_error()));
    match make_private(machine) {
        Err(error) if closed.contains(&error.errno()) => Ok(None),
        Err(error) => Err(error),
        Ok(()) => {
            let open = rustix::fs::access(machine, rustix::fs::Access::WRITE_OK).is_ok();
            Ok(open.then(|| machine.to_path_buf()))
        }
    }
}

fn reclaim_dead(folder: &Path) -> usize {
    records(folder).filter(|path| reclaim_one(path)).count()
}

/// Whether the record's owner was dead; then all it names is gone.
fn reclaim_one(path: &Path) -> bool {
    let Ok(file) = open_record(path, false) else { return false };
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return false;
    }
    let record = read_record(path).unwrap_or_default();
    let mut clean = true;
    if record.boot_id == boot_id() {
        clean = record.groups.iter().all(|group| cgroup::remove_tree(group).is_ok());
    }
    for left in &record.folders {
        // A copy that was being made may still grow for a moment.
        clean &= fs::remove_dir_all(left).is_ok() || !left.exists();
    }
    // A record whose groups are still busy keeps its id blocks reserved until the next try.
    clean && fs::remove_file(path).is_ok()
}

fn records(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("leanbox-"))
        .map(|entry| entry.path())
}

fn read_record(path: &Path) -> Option<Record> {
    let mut text = String::new();
    open_record(path, false).ok()?.take(1 << 20).read_to_string(&mut text).ok()?;
    // Its owner may be about to cut off what a longer text left at the end.
    serde_json::Deserializer::from_str(&text).into_iter().next()?.ok()
}

fn open_record(path: &Path, create: bool) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let flags = if create { flags | OFlags::CREATE | OFlags::EXCL } else { flags };
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).map(File::from)
}

/// Makes the state folder. One that others may write to is refused: what a record there names is
/// removed and killed by whoever reclaims.
fn make_private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let meta = made.and_then(|()| fs::metadata(folder)).map_err(|error| {
        Error::io(folder.display(), &error).during("state folder").remedy("run as root")
    })?;
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::invalid(format!("{}: belongs to another user", folder.display()))
            .during("state folder")
            .remedy("run as root, or name one of your own in LEANBOX_STATE"));
    }
    if meta.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(Error::invalid(format!("{}: others may write to it", folder.display()))
        .during("state folder")
        .remedy("give it to yourself alone (chmod 700), or name another in LEANBOX_STATE"))
}

/// Holds the state folder for the short time of a look or a change.
fn lock_state(folder: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let locked = rustix::fs::open(folder, flags, Mode::empty()).and_then(|dir| {
        rustix::fs::flock(&dir, FlockOperation::LockExclusive)?;
        Ok(dir)
    });
    locked.map_err(|errno| Error::syscall(format!("flock({})", folder.display()), errno))
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_string()
}

/// This process: a pid alone means nothing after it has ended.
fn identify() -> Result<Record> {
    let stat = fs::read_to_string("/proc/self/stat")
        .map_err(|error| Error::io("/proc/self/stat", &error).remedy("mount /proc"))?;
    let start_time = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().nth(19)?.parse().ok())
        .unwrap_or(0);
    let pid_namespace = fs::read_link("/proc/self/ns/pid")
        .map(|link| link.display().to_string())
        .unwrap_or_default();
    let record = Record {
        boot_id: boot_id(),
        pid_namespace,
        pid: std::process::id(),
        start_time,
        ..Record::default()
    };
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_state_folder_that_others_may_write_to_is_refused() {
        let folder = std::env::temp_dir().join(format!("leanbox-state-{}", std::process::id()));
        make_private(&folder).unwrap();
        make_private(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = make_private(&folder);
        fs::remove_dir(&folder).unwrap();
        assert!(refused.unwrap_err().to_string().contains("others may write to it"));
    }

    #[test]
    fn owners_of_different_state_folders_share_no_id_block() {
        assert!(rustix::process::geteuid().is_root(), "this test needs root");
        let temporary = |name: &str| {
            std::env::temp_dir().join(format!("leanbox-ids-{}-{name}", std::process::id()))
        };
        let folders = [temporary("one"), temporary("other"), PathBuf::from(MACHINE)];
        let mut owners = folders.clone().map(|folder| Owner::register_at(folder).unwrap());
        let mut blocks = Vec::new();
        for owner in &mut owners {
            // More than were reserved at first.
            blocks.extend((0..=CHUNK).map(|_| owner.take_block().unwrap().0));
        }
        drop(owners);
        let count = blocks.len();
        blocks.sort_unstable();
        blocks.dedup();
        assert_eq!(blocks.len(), count);
        // Nothing else is in them.
        folders[..2].iter().for_each(|folder| fs::remove_dir(folder).unwrap());
        let ours = format!("leanbox-ids-{}-", std::process::id());
        let left = |path: PathBuf| path.to_string_lossy().contains(&ours);
        assert!(!records(Path::new(MACHINE)).any(left));
    }
}
