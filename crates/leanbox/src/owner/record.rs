//! A record: a file of lines, each a piece of JSON that adds to those before. Written by its owner
//! only, one line at a time and behind the others, so that whatever cuts a write off (a kill, a
//! full disk) leaves what was written before.

use crate::{Error, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirEntry, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Records of more slots than there can be are shorter.
const BYTES_MAX: u64 = 1 << 20;

/// What a record says, or a piece of it: for people and for whoever reclaims.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) boot_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) pid_namespace: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) pid: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) start_time: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) blocks: Vec<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) groups: Vec<PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) folders: Vec<PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) networks: Vec<OwnedNetwork>,
}

/// A table of packet filter rules, of the record's name, and the links that are under it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OwnedNetwork {
    /// The network namespace that they are in: `net:[NUMBER]`.
    pub(crate) namespace: String,
    /// The links' group.
    pub(crate) group: u32,
}

fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

impl Record {
    /// This process: a pid alone means nothing after it has ended.
    pub(super) fn of_this_process() -> Result<Self> {
        let pid = std::process::id();
        let wrap = |error| Error::io("/proc/self", &error).remedy("mount /proc");
        let (boot_id, pid_namespace) = (boot_id()?, pid_namespace().map_err(wrap)?);
        let start_time = start_time(pid).map_err(wrap)?;
        Ok(Self { boot_id, pid_namespace, pid, start_time, ..Self::default() })
    }

    /// What the file says; `None` where it is gone.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let wrap = |error| Error::io(path.display(), &error);
        let file = match open(path, false) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened.map_err(|errno| Error::syscall(path.display(), errno))?,
        };
        let mut text = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut text).map_err(wrap)?;
        let mut all = Self::default();
        let pieces = text.split(|byte| *byte == b'\n');
        pieces.filter_map(|piece| serde_json::from_slice(piece).ok()).for_each(|one| all.add(one));
        Ok(Some(all))
    }

    pub(super) fn add(&mut self, piece: Self) {
        if !piece.boot_id.is_empty() {
            let Self { boot_id, pid_namespace, pid, start_time, .. } = piece;
            (self.boot_id, self.pid_namespace) = (boot_id, pid_namespace);
            (self.pid, self.start_time) = (pid, start_time);
        }
        self.blocks.extend(piece.blocks);
        self.groups.extend(piece.groups);
        self.folders.extend(piece.folders);
        self.networks.extend(piece.networks);
    }

    /// Writes this piece behind the others; all of it or nothing.
    pub(super) fn append_to(&self, mut file: &File, path: &Path) -> Result<()> {
        let mut text = serde_json::to_vec(self)
            .map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?;
        // One that was cut off, and could not be taken back, ends here.
        text.insert(0, b'\n');
        let written = file.metadata().and_then(|before| {
            file.write_all(&text).inspect_err(|_| drop(file.set_len(before.len())))
        });
        written.map_err(|error| Error::io(format!("write({})", path.display()), &error))
    }
}

/// All records in a state folder; owners have folders there too.
pub(super) fn all_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_record = |entry: &DirEntry| {
        entry.file_name().to_string_lossy().starts_with("leanbox-")
            && entry.file_type().is_ok_and(|kind| kind.is_file())
    };
    let listed = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let listed = listed.map_err(|error| Error::io(folder.display(), &error))?;
    Ok(listed.iter().filter(|entry| is_record(entry)).map(DirEntry::path).collect())
}

pub(super) fn open(path: &Path, create: bool) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let flags = if create { flags | OFlags::CREATE | OFlags::EXCL } else { flags };
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).map(File::from)
}

/// Of the kernel that runs.
pub(super) fn boot_id() -> Result<String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(PATH);
    text.map(|text| text.trim().to_string())
        .map_err(|error| Error::io(PATH, &error).remedy("mount /proc"))
}

pub(super) fn pid_namespace() -> std::io::Result<String> {
    fs::read_link("/proc/self/ns/pid").map(|link| link.display().to_string())
}

/// In clock ticks after the boot (proc_pid_stat(5)).
pub(super) fn start_time(pid: u32) -> std::io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').unwrap_or_default();
    Ok(rest.split_whitespace().nth(19).and_then(|ticks| ticks.parse().ok()).unwrap_or(0))
}

/// Whether it has ended and nobody has waited for it yet.
pub(super) fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_was_cut_off_takes_nothing_of_those_before_and_after_it() {
        let path = std::env::temp_dir().join(format!("leanbox-record-{}", std::process::id()));
        let file = open(&path, true).unwrap();
        let blocks = |blocks: &[u32]| Record { blocks: blocks.to_vec(), ..Record::default() };
        Record::of_this_process().unwrap().append_to(&file, &path).unwrap();
        blocks(&[1, 2]).append_to(&file, &path).unwrap();
        (&file).write_all(b"\n{\"blocks\":[3,").unwrap();
        blocks(&[4]).append_to(&file, &path).unwrap();
        let read = Record::read(&path).unwrap().unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!((read.pid, read.blocks), (std::process::id(), vec![1, 2, 4]));
        assert!(!read.boot_id.is_empty());
    }
}
