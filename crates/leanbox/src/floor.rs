//! The host's side of the benchmark's floors: a small process runs them, so that they neither
//! suffer nor profit from the size of this one. For benchmarks only.

use crate::keeper::spawn_role;
use crate::packet::{packet_pair, receive_with_fds, send_with_fds};
use crate::{Error, ErrorKind, Result};
pub use leanbox_launcher::wire::FloorKind;
use leanbox_launcher::wire::{FLOOR_SAMPLES_MAX, FloorReply, FloorRequest, bytes_of, message_of};
pub use leanbox_launcher::{DIRTY, NOTHING, SLEEP};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// The floor process. It inherits the CPU binding of the thread that starts it.
#[derive(Debug)]
pub struct Floor {
    control: Option<OwnedFd>,
    samples: OwnedFd,
    pid: i32,
}

impl Floor {
    /// Starts it.
    ///
    /// # Errors
    /// The process or its memory cannot be made.
    pub fn start() -> Result<Self> {
        let wrap = |errno| Error::syscall("memfd_create(\"leanbox-floor\")", errno);
        let samples =
            rustix::fs::memfd_create("leanbox-floor", MemfdFlags::CLOEXEC).map_err(wrap)?;
        rustix::fs::ftruncate(&samples, (FLOOR_SAMPLES_MAX * 8) as u64).map_err(wrap)?;
        let (control, theirs) = packet_pair()?;
        let spawning = spawn_role(c"leanbox-floor", 0, &[&theirs, &samples])?;
        let pid = spawning.pid();
        spawning.finish().map_err(|errno| {
            Error::syscall("execveat(floor)", Errno::from_raw_os_error(errno.0))
        })?;
        Ok(Self { control: Some(control), samples, pid })
    }

    /// Measures `count` times (at most 16,384). `texts`: for
    /// [`VforkExec`](FloorKind::VforkExec) the program; for [`Classic`](FloorKind::Classic) the
    /// root file system, then `cgroup.procs` files.
    ///
    /// # Errors
    /// What the floor met.
    pub fn measure(&self, kind: FloorKind, count: usize, texts: &[&str]) -> Result<Vec<Duration>> {
        let mut request = FloorRequest::default();
        let joined: Vec<u8> =
            texts.iter().flat_map(|text| text.bytes().chain([0])).chain([0]).collect();
        let room = request.texts.get_mut(..joined.len());
        room.ok_or_else(|| Error::invalid("the floor's texts are too long"))?
            .copy_from_slice(&joined);
        self.ask(kind, count, request, &[])
    }

    /// Measures the fork mode into the namespaces, group and tasks files in `fds`.
    pub(crate) fn measure_fork(
        &self,
        count: usize,
        namespaces: u64,
        into_group: bool,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Vec<Duration>> {
        let into_group = u64::from(into_group);
        let request = FloorRequest { namespaces, into_group, ..FloorRequest::default() };
        self.ask(FloorKind::ForkInto, count, request, fds)
    }

    fn ask(
        &self,
        kind: FloorKind,
        count: usize,
        mut request: FloorRequest,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Vec<Duration>> {
        let count = count.min(FLOOR_SAMPLES_MAX);
        (request.kind, request.count) = (kind as u32, u32::try_from(count).unwrap_or(0));
        let gone = || Error::new(ErrorKind::Gone, "the floor process ended");
        let control = self.control.as_ref().ok_or_else(gone)?;
        let wrap = |errno| Error::syscall("floor", errno);
        send_with_fds(control, bytes_of(&request), fds).map_err(wrap)?;
        let mut bytes = [0; size_of::<FloorReply>()];
        let (length, _) = receive_with_fds(control, &mut bytes).map_err(wrap)?;
        let reply = message_of::<FloorReply>(&bytes[..length]).ok_or_else(gone)?;
        if reply.errno != 0 {
            return Err(Error::syscall(
                format!("floor {kind:?}"),
                crate::error::told_errno(reply.errno),
            ));
        }
        self.read(count)
    }

    fn read(&self, count: usize) -> Result<Vec<Duration>> {
        let mut bytes = vec![0; count * 8];
        rustix::io::pread(&self.samples, &mut bytes, 0)
            .map_err(|errno| Error::syscall("pread(samples)", errno))?;
        let words = bytes.chunks_exact(8).map(|word| word.try_into().unwrap_or([0; 8]));
        Ok(words.map(|word| Duration::from_nanos(u64::from_ne_bytes(word))).collect())
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.control = None;
        let _ = leanbox_sys::process::wait(self.pid, leanbox_sys::process::WALL);
    }
}
