//! The thread that watches a container's system calls, from before its start to the end of the last
//! process.

use super::call::{self, Told};
use super::reason::{Facts, Failed};
use super::{Explanation, Refusal, place};
use crate::filter::names;
use crate::{Error, ErrorKind, Result, thread};
use leanbox_sys::trace::{self, Event};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

const STACK_BYTES: usize = 256 << 10;
/// Different refusals that are kept.
const KEPT_MAX: usize = 200;
/// SIGSYS (signal(7)): what a filter kills with.
const SIGSYS: i32 = 31;

/// A thread that watches.
#[derive(Debug)]
pub(crate) struct Tracer(JoinHandle<Explanation>);

impl Tracer {
    /// Watches a parked container; returns when nothing of it can be missed any more.
    pub(crate) fn begin(container: BorrowedFd<'_>, facts: Facts) -> Result<Self> {
        let pid = pid_of(container)?;
        let (tell, told) = channel();
        let thread =
            thread::begin("leanbox-explain", STACK_BYTES, move || watch(pid, facts, &tell));
        let thread = thread.map_err(|error| Error::io("a thread to explain", &error))?;
        match told.recv() {
            Ok(Ok(())) => Ok(Self(thread)),
            Ok(Err(errno)) => {
                let error = Error::syscall("ptrace(PTRACE_SEIZE)", errno).during("explain");
                Err(error.remedy("it takes a kernel.yama.ptrace_scope of 2 at most"))
            }
            Err(_) => {
                Err(Error::new(ErrorKind::Gone, "explain: the container died before its start"))
            }
        }
    }

    /// What was refused, when all of it has ended.
    pub(crate) fn finish(self) -> Explanation {
        self.0.join().unwrap_or_default()
    }
}

/// As this process sees it, whoever has it in another pid namespace.
fn pid_of(container: BorrowedFd<'_>) -> Result<i32> {
    let path = format!("/proc/self/fdinfo/{}", container.as_raw_fd());
    let text = std::fs::read_to_string(&path).map_err(|error| Error::io(&path, &error))?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.filter(|pid| *pid > 0)
        .ok_or_else(|| Error::new(ErrorKind::Gone, "explain: the container died before its start"))
}

/// What is known of each process: the call it is in.
struct Watch {
    facts: Facts,
    calls: HashMap<i32, (u64, [u64; 6])>,
    /// Once it is the program, and not what starts it.
    is_program: bool,
    places: HashMap<(String, String), usize>,
    explanation: Explanation,
}

fn watch(pid: i32, facts: Facts, tell: &Sender<Result<(), Errno>>) -> Explanation {
    if let Err(errno) = trace::seize(pid) {
        let _ = tell.send(Err(Errno::from_raw_os_error(errno.0)));
        return Explanation::default();
    }
    let mut watch = Watch {
        facts,
        calls: HashMap::new(),
        is_program: false,
        places: HashMap::new(),
        explanation: Explanation::default(),
    };
    // The first event is that it stands still: from then on it goes from call to call.
    let mut tell = Some(tell);
    while let Ok((pid, event)) = trace::next() {
        watch.see(pid, event);
        trace::go_on(pid, event);
        if let Some(tell) = tell.take() {
            let _ = tell.send(Ok(()));
        }
    }
    watch.explanation
}

impl Watch {
    fn see(&mut self, pid: i32, event: Event) {
        match event {
            Event::Call { nr, args } => drop(self.calls.insert(pid, (nr, args))),
            Event::Exec => self.is_program = true,
            Event::Ended(errno) => {
                let call = self.calls.remove(&pid);
                if let Some((nr, args)) = call.filter(|_| errno != 0 && self.is_program) {
                    self.failed(pid, nr, &args, Errno::from_raw_os_error(errno));
                }
            }
            Event::Killed(signal) => {
                let call = self.calls.remove(&pid);
                if let Some((nr, args)) = call.filter(|_| signal == SIGSYS && self.is_program) {
                    self.failed_as(pid, nr, &args, Errno::PERM, "SIGSYS");
                }
            }
            Event::Gone => drop(self.calls.remove(&pid)),
            Event::Signal(_) | Event::Stopped | Event::Other => {}
        }
    }

    fn failed(&mut self, pid: i32, nr: u64, args: &[u64; 6], errno: Errno) {
        let code = u16::try_from(errno.raw_os_error()).unwrap_or(0);
        self.failed_as(pid, nr, args, errno, &names::errno_name(code));
    }

    fn failed_as(&mut self, pid: i32, nr: u64, args: &[u64; 6], errno: Errno, error: &str) {
        let Ok(nr) = u32::try_from(nr) else { return };
        let name = names::name(nr).map_or_else(|| format!("call {nr}"), str::to_string);
        let Told { words, path } = call::tell(pid, &name, args);
        let mount = path.as_deref().and_then(|path| place::mount_of(pid, path));
        let path = path.as_deref();
        let failed = Failed { nr, name: &name, args, errno, path, mount };
        let Some(reason) = self.facts.reason(&failed) else { return };
        let refusals = &mut self.explanation.refusals;
        match self.places.get(&(words.clone(), error.to_string())) {
            Some(at) => refusals[*at].count += 1,
            None if refusals.len() == KEPT_MAX => self.explanation.more += 1,
            None => {
                self.places.insert((words.clone(), error.to_string()), refusals.len());
                refusals.push(Refusal { call: words, error: error.to_string(), count: 1, reason });
            }
        }
    }
}
