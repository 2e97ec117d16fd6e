//! Who owns what on this machine: one record per template in the state folder, locked for as
//! long as its process lives. It says which id blocks, groups and folders are in use, so that
//! whoever starts next can tell what a dead owner left, and reclaims it.

mod reclaim;
mod record;

use crate::{Error, Result, network, userns};
use leanbox_launcher::wire::{BLOCKS_MAX, IDS_PER_SLOT};
pub use reclaim::{DeadOwner, dead_owners, reclaim, reclaim_dead_owners};
pub(crate) use record::OwnedNetwork;
use record::Record;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// First host id of block 0. systemd's UIDS-GIDS document lists 1879048192–2147483647 as
/// unused; it holds exactly [`BLOCKS_MAX`] blocks.
const FIRST_ID: u32 = 1_879_048_192;
/// Last host id of the last block.
const LAST_ID: u32 = 2_147_483_647;
/// Where root reserves id blocks, whatever its state folder: they are the machine's.
const MACHINE: &str = "/run/leanbox";
/// Blocks reserved at a time: few, so that many owners find room.
const CHUNK: usize = 16;

/// This process as owner of one template's things.
#[derive(Debug)]
pub(crate) struct Owner {
    name: String,
    folder: PathBuf,
    file: File,
    record: Record,
    free: Vec<u32>,
    /// Whose the blocks are, where the state folder is not the machine's.
    ids: Option<Box<Owner>>,
}

/// A block of 65,536 host ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block(pub(crate) u32);

impl Block {
    /// All the ids there are in this user namespace, which has no blocks to give: nobody's own.
    const WHOLE: Self = Self(u32::MAX);

    /// Its first id, as this process sees it.
    pub(crate) fn first_id(self) -> u32 {
        if self == Self::WHOLE { 0 } else { FIRST_ID + self.0 * IDS_PER_SLOT }
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
        Some(own) if !userns::is_machine_root() => PathBuf::from(own).join("leanbox"),
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
        let me = Record::of_this_process()?;
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{kind}-{}-{}-{count}", me.pid, me.start_time);
        let _lock = lock_state(&folder)?;
        reclaim::reclaim_in(&folder, &me.boot_id)?;
        let path = folder.join(&name);
        let file = record::open(&path, true).map_err(|e| Error::syscall(path.display(), e))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| Error::syscall(format!("flock({})", path.display()), errno))?;
        let record = Record::default();
        let mut owner = Self { name, folder, file, record, free: Vec::new(), ids };
        owner.write(me)?;
        if owner.ids.is_none() && has_blocks() {
            owner.reserve(CHUNK)?;
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
        self.write(Record { groups, ..Record::default() })
    }

    /// Writes down a folder before it is made.
    pub(crate) fn owns_folder(&mut self, folder: PathBuf) -> Result<()> {
        self.write(Record { folders: vec![folder], ..Record::default() })
    }

    /// Writes down a network before it is made.
    pub(crate) fn owns_network(&mut self, network: OwnedNetwork) -> Result<()> {
        self.write(Record { networks: vec![network], ..Record::default() })
    }

    /// A block that no other live slot has.
    pub(crate) fn take_block(&mut self) -> Result<Block> {
        if let Some(ids) = &mut self.ids {
            return ids.take_block();
        }
        if !has_blocks() {
            return Ok(Block::WHOLE);
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
            None if block == Block::WHOLE => {}
            None => self.free.push(block.0),
        }
    }

    fn reserve(&mut self, count: usize) -> Result<()> {
        let mut taken = vec![false; BLOCKS_MAX];
        for path in record::all_in(&self.folder)? {
            for block in Record::read(&path)?.unwrap_or_default().blocks {
                if let Some(entry) = taken.get_mut(block as usize) {
                    *entry = true;
                }
            }
        }
        let free = (0u32..).zip(&taken).filter(|(_, taken)| !**taken).map(|(block, _)| block);
        let mut got: Vec<u32> = free.take(count).collect();
        self.write(Record { blocks: got.clone(), ..Record::default() })?;
        got.reverse();
        self.free.extend(got);
        Ok(())
    }

    fn write(&mut self, piece: Record) -> Result<()> {
        piece.append_to(&self.file, &self.folder.join(&self.name))?;
        self.record.add(piece);
        Ok(())
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        for folder in &self.record.folders {
            let _ = fs::remove_dir_all(folder);
        }
        let mut networks = self.record.networks.iter();
        let taken_down = networks.all(|one| network::take_down(&self.name, one));
        // A forked child may live on in its group, and a folder that could not be removed is there:
        // the record stays for whoever reclaims next.
        let mut left = self.record.groups.iter().chain(&self.record.folders);
        if taken_down && !left.any(|path| reclaim::is_there(path)) {
            let _ = fs::remove_file(self.folder.join(&self.name));
        }
    }
}

/// The machine's folder, where it is another than the state folder and can be written to. Without
/// root there are no blocks to reserve.
fn machine_folder(state: &Path) -> Result<Option<PathBuf>> {
    let machine = Path::new(MACHINE);
    if state == machine || !userns::is_machine_root() || !has_blocks() {
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

/// Whether slots can have ids of their own: not in a user namespace without leanbox's.
pub(crate) fn has_blocks() -> bool {
    userns::has_machine_ids(FIRST_ID, LAST_ID)
}

/// Makes the state folder. One that others may write to is refused: what a record there names is
/// removed and killed by whoever reclaims.
fn make_private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let meta = made.and_then(|()| fs::metadata(folder)).map_err(|error| {
        Error::io(folder.display(), &error)
            .during("state folder")
            .remedy("run as root, or name a folder of your own in LEANBOX_STATE")
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
        assert!(!record::all_in(Path::new(MACHINE)).unwrap().into_iter().any(left));
    }
}
