//! Where a run in a reused slot can leave something, and whether it did: asked of the kernel,
//! through descriptors that were opened before anything ran in the slot.

use crate::{Error, ErrorKind, Result, probe};
use std::os::fd::OwnedFd;

/// Files that a reused slot's launcher opened: `/tmp`, `/dev/shm`, then what counts objects.
const SCRATCH: usize = 2;

/// Where a run in a reused slot can leave something, and how it looks when nothing is left.
#[derive(Debug)]
pub(crate) struct Traces {
    pub(crate) scratch: [(OwnedFd, Pristine); SCRATCH],
    /// `/proc/sysvipc/{shm,sem,msg}` and `/proc/net/dev` of the slot, with their first texts.
    counters: Vec<(OwnedFd, Vec<u8>)>,
    /// The group's peak of memory after it was last reset.
    pub(crate) quiet_peak_bytes: u64,
}

/// A tmpfs nobody wrote to, by its root folder: whoever leaves something in it, or alters the
/// folder, changes the time of the folder's status, which nobody can set.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pristine {
    mode: u32,
    owner: (u32, u32),
    links: u64,
    size: i64,
    changed: (i64, u64),
    older: Option<Older>,
}

/// What else is looked at where that time is the last tick's, so that what came within one tick
/// would not show.
#[derive(Debug, PartialEq, Eq)]
struct Older {
    blocks_free: u64,
    inodes_free: u64,
    attributes: usize,
}

impl Traces {
    pub(crate) fn first_look(mut opened: Vec<OwnedFd>) -> Result<Self> {
        let missing = || Error::new(ErrorKind::Gone, "the launcher handed over too few files");
        if opened.len() < SCRATCH {
            return Err(missing());
        }
        let counters = opened.split_off(SCRATCH);
        let counters = counters
            .into_iter()
            .map(|file| {
                let text = read(&file, &mut [0; TEXT_MOST])?.to_vec();
                Ok((file, text))
            })
            .collect::<Result<_>>()?;
        let mut scratch = opened.into_iter().map(|dir| {
            let pristine = Pristine::of(&dir)?;
            Ok::<_, Error>((dir, pristine))
        });
        let mut next = || scratch.next().unwrap_or_else(|| Err(missing()));
        Ok(Self { scratch: [next()?, next()?], counters, quiet_peak_bytes: 0 })
    }

    pub(crate) fn counters_untouched(&self) -> Result<bool> {
        for (file, first) in &self.counters {
            let mut text = [0; TEXT_MOST];
            if read(file, &mut text)? != first {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// More than a line of objects is surely not untouched.
const TEXT_MOST: usize = 1024;

/// The beginning of a small file of `/proc`.
fn read<'a>(file: &OwnedFd, text: &'a mut [u8; TEXT_MOST]) -> Result<&'a [u8]> {
    let length = rustix::io::pread(file, &mut text[..], 0)
        .map_err(|errno| Error::syscall("pread(traces of a slot)", errno))?;
    Ok(&text[..length])
}

impl Pristine {
    pub(crate) fn of(dir: &OwnedFd) -> Result<Self> {
        let wrap = |errno| Error::syscall("fstat(scratch of a slot)", errno);
        let stat = rustix::fs::fstat(dir).map_err(wrap)?;
        let older = if probe::times_tell_changes() { None } else { Some(Older::of(dir)?) };
        Ok(Self {
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            links: stat.st_nlink,
            size: stat.st_size,
            changed: (stat.st_ctime, stat.st_ctime_nsec),
            older,
        })
    }
}

impl Older {
    fn of(dir: &OwnedFd) -> Result<Self> {
        let space = rustix::fs::fstatvfs(dir)
            .map_err(|errno| Error::syscall("fstatfs(scratch of a slot)", errno))?;
        let attributes = rustix::fs::flistxattr(dir, &mut [0u8; 0][..]).unwrap_or(0);
        Ok(Self { blocks_free: space.f_bfree, inodes_free: space.f_ffree, attributes })
    }
}
