//! The host's side of a keeper: its start, the requests to it, and its end. The keeper is a
//! child that sends no signal and is waited for here only; closing its socket ends it and every
//! slot it made.

use crate::owner::{self, Block};
use crate::packet::{packet_pair, receive_with_fds, send_with_fds};
use crate::plan::{Plan, step_error};
use crate::{Error, ErrorKind, Result, probe, thread};
use leanbox_launcher::LAUNCHER;
use leanbox_launcher::wire::{Ask, Reply, Request, Step, bytes_of, message_of};
use leanbox_sys::process::{CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUTS, End, peek_end};
use leanbox_sys::spawn::Spawning;
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::collections::HashMap;
use std::ffi::CStr;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How often, and how long apart, a keeper whose socket is closed is looked at: it ends within a
/// millisecond, unless its slots are frozen.
const END_LOOKS: u32 = 50;
const END_PAUSE: Duration = Duration::from_millis(2);

/// A running keeper.
#[derive(Debug)]
pub(crate) struct Keeper {
    control: Option<OwnedFd>,
    /// Until it was waited for.
    pid: Option<i32>,
    answers: Mutex<HashMap<u32, Answer>>,
}

/// A keeper on its way.
#[derive(Debug)]
pub(crate) struct Starting {
    keeper: Keeper,
    spawning: Spawning,
}

/// A reply and what came with it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    pub(crate) fd: Option<OwnedFd>,
}

impl Keeper {
    /// Starts a keeper for `plan`, hands it the trees, and has it map them once to the ids of
    /// `block`. It sets itself up while the host goes on.
    pub(crate) fn begin(
        plan: &Plan,
        trees: &[OwnedFd],
        mailboxes: &OwnedFd,
        block: Block,
    ) -> Result<Starting> {
        let plan_fd = sealed_memory("leanbox-plan", &plan.to_bytes())?;
        let (control, theirs) = packet_pair()?;
        let host = pidfd_open(getpid(), PidfdFlags::empty())
            .map_err(|errno| Error::syscall("pidfd_open(self)", errno))?;
        let hello = Request {
            ask: Ask::Trees as u32,
            block: block.0,
            id_base: block.first_id(),
            ..Request::default()
        };
        let trees: Vec<BorrowedFd<'_>> = trees.iter().map(AsFd::as_fd).collect();
        // Sent ahead: it finds them when it is ready, and need not wait for the host.
        send_with_fds(&control, bytes_of(&hello), &trees)
            .map_err(|errno| Error::syscall("sendmsg(keeper)", errno))?;
        let fds = [&theirs, &plan_fd, &host, mailboxes];
        let spawning = spawn_role(c"leanbox-keeper", KEEPER_NAMESPACES, &fds)?;
        let keeper =
            Self { control: Some(control), pid: Some(spawning.pid()), answers: Mutex::default() };
        Ok(Starting { keeper, spawning })
    }

    /// Has the keeper and every slot end, without waiting for it. Shut down, not only closed:
    /// processes that were forked from this one may have the socket open too.
    pub(crate) fn end(&mut self) {
        if let Some(control) = self.control.take() {
            let _ = rustix::net::shutdown(control, rustix::net::Shutdown::Both);
        }
    }

    /// Whether it has ended unasked: its end of the socket is closed.
    pub(crate) fn is_gone(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let Some(control) = &self.control else { return true };
        let mut fds = [PollFd::new(control, PollFlags::empty())];
        let ready = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        ready.is_ok_and(|count| count > 0)
    }

    /// Waits until the keeper, and so every slot, is gone.
    pub(crate) fn wait(&mut self) {
        self.end();
        if let Some(pid) = self.pid.take() {
            let _ = leanbox_sys::process::wait(pid, leanbox_sys::process::WALL);
        }
    }

    /// Sends a request with descriptors.
    pub(crate) fn send(&self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<()> {
        send_with_fds(self.control()?, bytes_of(&request), fds)
            .map_err(|errno| Error::syscall("sendmsg(keeper)", errno).with_kind(ErrorKind::Gone))
    }

    /// The answer to the request about `slot`; others that come first are kept for their askers.
    pub(crate) fn answer(&self, slot: u32) -> Result<Answer> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(answer) = answers.remove(&slot) {
                return Ok(answer);
            }
            let answer = self.receive()?;
            answers.insert(answer.reply.slot, answer);
        }
    }

    /// Has the keeper thaw what is in this folder of v1's freezer before it ends: of a dead host,
    /// too.
    pub(crate) fn thaws(&self, folder: BorrowedFd<'_>) -> Result<()> {
        /// No slot's number.
        const ASKER: u32 = u32::MAX;
        let request = Request { ask: Ask::Thaw as u32, slot: ASKER, ..Request::default() };
        self.send(request, &[folder])?;
        match self.answer(ASKER)?.reply {
            Reply { step: 0, .. } => Ok(()),
            Reply { errno, .. } => {
                Err(Error::syscall("fcntl(keeper)", Errno::from_raw_os_error(errno)))
            }
        }
    }

    fn receive(&self) -> Result<Answer> {
        let mut bytes = [0; size_of::<Reply>()];
        let control = self.control()?;
        let (length, mut fds) = receive_with_fds(control, &mut bytes)
            .map_err(|errno| Error::syscall("recvmsg(keeper)", errno))?;
        let mut reply =
            message_of::<Reply>(&bytes[..length]).ok_or_else(|| self.ended_unasked())?;
        let fd = fds.pop();
        if fd.is_none() && reply.pid > 0 {
            // It found no room here (`MSG_CTRUNC`).
            (reply.step, reply.errno) = (Step::TELL, Errno::MFILE.raw_os_error());
        }
        Ok(Answer { reply, fd })
    }

    /// That it has ended unasked, and how. Its socket tells so first; then it waits for its slots,
    /// which may be frozen.
    pub(crate) fn ended_unasked(&self) -> Error {
        let look = || self.pid.and_then(|pid| peek_end(pid).ok().flatten());
        let mut end = look();
        for _ in 0..END_LOOKS {
            if end.is_none() {
                thread::pause(END_PAUSE);
                end = look();
            }
        }
        let how = match end {
            Some(End::Exited(code)) => format!("it exited with {code}"),
            Some(End::Killed(signal)) => format!("killed by signal {signal}"),
            None => "its slots do not end".into(),
        };
        Error::new(ErrorKind::Gone, format!("the keeper ended unasked: {how}"))
    }

    fn control(&self) -> Result<&OwnedFd> {
        self.control.as_ref().ok_or_else(|| Error::new(ErrorKind::Gone, "the keeper has ended"))
    }

    /// The keeper's pid as this process sees it.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.unwrap_or(0)
    }
}

impl Drop for Keeper {
    /// The end of the socket ends the keeper; it ends when all its slots have.
    fn drop(&mut self) {
        self.wait();
    }
}

impl Starting {
    /// To ask for a slot ahead.
    pub(crate) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Waits until the keeper is set up: [`Unsupported`](ErrorKind::Unsupported) where it cannot
    /// map the trees' ids.
    pub(crate) fn ready(self, plan: &Plan) -> Result<Keeper> {
        let Self { mut keeper, spawning } = self;
        spawning.finish().map_err(|errno| {
            keeper.pid = None;
            Error::syscall("execveat(keeper)", Errno::from_raw_os_error(errno.0))
        })?;
        let answer = keeper.answer(0)?;
        let error = |step| step_error(plan, step, answer.reply.errno, false);
        match answer.reply.step {
            0 => Ok(keeper),
            step @ Step::TREE => Err(error(step).with_kind(ErrorKind::Unsupported)),
            step => {
                let error = error(step).during("making a keeper");
                Err(match error.kind() {
                    ErrorKind::Exhausted => error,
                    _ => error.remedy("leanbox doctor says what is missing"),
                })
            }
        }
    }
}

const KEEPER_NAMESPACES: u64 = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS;

/// Starts the static program in the role `name` with `fds` from 3 on and no streams.
pub(crate) fn spawn_role(
    name: &'static CStr,
    namespaces: u64,
    fds: &[&OwnedFd],
) -> Result<Spawning> {
    let raw: Vec<i32> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    leanbox_sys::spawn::spawn(program()?.as_raw_fd(), name, namespaces, &raw).map_err(|errno| {
        let error = Error::syscall(
            format!("clone3({namespaces:#x}) of the keeper"),
            Errno::from_raw_os_error(errno.0),
        );
        match error.kind() {
            ErrorKind::Exhausted => error,
            _ => error.remedy("leanbox needs root; leanbox doctor says what is missing"),
        }
    })
}

/// The static program as an open file: a sealed memfd, else (`vm.memfd_noexec=2`) a file in the
/// state folder.
fn program() -> Result<BorrowedFd<'static>> {
    static PROGRAM: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(program) = PROGRAM.get() {
        return Ok(program.as_fd());
    }
    let opened = program_memory().or_else(|_| program_file())?;
    Ok(PROGRAM.get_or_init(|| opened).as_fd())
}

/// Executable memory has to be asked for where `vm.memfd_noexec` is set (Linux 6.3); older
/// kernels do not know the flag.
fn program_memory() -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let asked = if probe::is_off("memfd_exec") { flags } else { flags | MemfdFlags::EXEC };
    let memory = match rustix::fs::memfd_create("leanbox", asked) {
        Err(Errno::INVAL) => rustix::fs::memfd_create("leanbox", flags),
        other => other,
    };
    seal(memory.map_err(|errno| Error::syscall("memfd_create(\"leanbox\")", errno))?, LAUNCHER)
}

/// It never has a name, so that nothing is left of it whenever this process dies.
fn program_file() -> Result<OwnedFd> {
    let folder = owner::state_folder();
    let wrap = |errno| Error::syscall(format!("open({}, O_TMPFILE)", folder.display()), errno);
    let write = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = rustix::fs::open(&folder, write, Mode::from_raw_mode(0o700)).map_err(wrap)?;
    let mut file = std::fs::File::from(file);
    file.write_all(LAUNCHER).map_err(|error| Error::io(folder.display(), &error))?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::syscall(path, errno))
}

/// Memory that nobody can change any more (memfd_create(2), sealed).
pub(crate) fn sealed_memory(name: &str, bytes: &[u8]) -> Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = rustix::fs::memfd_create(name, flags)
        .map_err(|errno| Error::syscall(format!("memfd_create({name:?})"), errno))?;
    seal(memory, bytes)
}

fn seal(memory: OwnedFd, bytes: &[u8]) -> Result<OwnedFd> {
    let mut file = std::fs::File::from(memory);
    file.write_all(bytes).map_err(|error| Error::io("memfd", &error))?;
    let memory = OwnedFd::from(file);
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&memory, seals)
        .map_err(|errno| Error::syscall("fcntl(memfd, F_ADD_SEALS)", errno))?;
    Ok(memory)
}

/// Whether the process of a pidfd has ended (pidfd_open(2), "poll").
pub(crate) fn has_ended(pidfd: impl AsFd, timeout_ms: i64) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let timeout = Timespec { tv_sec: timeout_ms / 1000, tv_nsec: timeout_ms % 1000 * 1_000_000 };
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0)
}
