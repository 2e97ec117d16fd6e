//! The thread that watches a container's system calls, from before its start to the end of the last
//! process.

use super::call::{self, Told};
use super::reason::{Facts, Failed};
use super::{Explanation, Lift, Reason, Refusal, place};
use crate::filter::names;
use crate::{Error, ErrorKind, Result, cgroup, thread};
use leanbox_sys::trace::{self, Event};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

const STACK_BYTES: usize = 256 << 10;
/// Different refusals that are kept.
const KEPT_MAX: usize = 200;
/// SIGSYS (signal(7)): what a filter kills with.
const SIGSYS: i32 = 31;
/// ENOSYS.
const NO_SUCH_CALL: i32 = 38;
/// Instead of an errno's name.
const KILLED: &str = "SIGSYS";
const DONE: &str = "ok";

/// A thread that watches.
#[derive(Debug)]
pub(crate) struct Tracer(JoinHandle<Explanation>);

impl Tracer {
    /// Watches a parked container; returns when nothing of it can be missed any more.
    pub(crate) fn begin(container: BorrowedFd<'_>, facts: Facts) -> Result<Self> {
        let died = || Error::new(ErrorKind::Gone, "explain: the container died before its start");
        let pid = cgroup::pid_of(container).ok_or_else(died)?.as_raw_nonzero().get();
        let (tell, told) = channel();
        let thread =
            thread::begin("leanbox-explain", STACK_BYTES, move || watch(pid, facts, &tell));
        let thread = thread.map_err(|error| Error::io("a thread to explain", &error))?;
        match told.recv() {
            Ok(Ok(())) => Ok(Self(thread)),
            Ok(Err(errno)) => {
                let error = Error::syscall("ptrace(PTRACE_SEIZE)", errno).during("explain");
                Err(match errno {
                    Errno::PERM => error.remedy("it takes a kernel.yama.ptrace_scope of 2 at most"),
                    _ => error,
                })
            }
            Err(_) => Err(died()),
        }
    }

    /// What was refused, when all of it has ended.
    pub(crate) fn finish(self) -> Explanation {
        self.0.join().unwrap_or_default()
    }
}

/// A call that somebody is in.
struct Call {
    nr: u64,
    args: [u64; 6],
    is_foreign: bool,
}

/// What is known of each process: the call it is in.
struct Watch {
    facts: Facts,
    calls: HashMap<i32, Call>,
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
            Event::Call { nr, args, is_foreign } => {
                self.calls.insert(pid, Call { nr, args, is_foreign });
            }
            Event::Exec => {
                self.is_program = true;
                // By another thread, whose number this one's is now.
                self.calls.remove(&pid);
                if let Some(path) = place::without_set_ids(pid) {
                    let call = format!("execve(\"{}\")", place::shown(&path));
                    self.refuse(call, DONE, Reason::NoSetId);
                }
            }
            Event::Ended(errno) => {
                if let Some(call) = self.calls.remove(&pid).filter(|_| self.is_program) {
                    self.ended(pid, &call, errno);
                }
            }
            Event::Killed(signal) => {
                let call = self.calls.remove(&pid);
                if let Some(call) = call.filter(|_| signal == SIGSYS && self.is_program) {
                    self.failed_as(pid, &call, Errno::PERM, KILLED);
                }
            }
            Event::Gone => drop(self.calls.remove(&pid)),
            Event::Signal(_) | Event::Stopped | Event::Other => {}
        }
    }

    /// `errno`: 0 if it succeeded.
    fn ended(&mut self, pid: i32, call: &Call, errno: i32) {
        // The only thread of a process that a filter kills sees its call end, and the signal next.
        if (call.is_foreign || errno == NO_SUCH_CALL) && place::has_pending(pid, SIGSYS) {
            self.failed_as(pid, call, Errno::PERM, KILLED);
        } else if errno == 0 {
            self.succeeded(pid, call);
        } else {
            let code = u16::try_from(errno).unwrap_or(0);
            let errno = Errno::from_raw_os_error(errno);
            self.failed_as(pid, call, errno, &names::errno_name(code));
        }
    }

    /// What can be opened and has nothing in it.
    fn succeeded(&mut self, pid: i32, call: &Call) {
        let name = u32::try_from(call.nr).ok().and_then(names::name);
        let Some(name) = name.filter(|name| name.starts_with("open") && !call.is_foreign) else {
            return;
        };
        let Told { words, path } = call::tell(pid, name, &call.args);
        let Some(path) = path.filter(|path| path.starts_with("/proc/")) else { return };
        if let Some(mount) = place::mount_of(pid, &path).filter(|mount| mount.is_mask) {
            self.refuse(words, DONE, Reason::Masked(place::shown(&mount.point)));
        }
    }

    fn failed_as(&mut self, pid: i32, call: &Call, errno: Errno, error: &str) {
        let Ok(nr) = u32::try_from(call.nr) else { return };
        if call.is_foreign {
            // Its numbers are not those of our policy, which lets none of them pass.
            if error == KILLED {
                let words = format!("call {nr} of another architecture");
                self.refuse(words, error, Reason::Filter(Lift::Profile));
            }
            return;
        }
        let name = names::name(nr).map_or_else(|| format!("call {nr}"), str::to_string);
        let Told { words, path } = call::tell(pid, &name, &call.args);
        if self.is_again(&words, error) {
            return;
        }
        let mount = path.as_deref().and_then(|path| place::mount_of(pid, path));
        let path = path.as_deref();
        let failed = Failed { pid, nr, name: &name, args: &call.args, errno, path, mount };
        let Some(reason) = self.facts.reason(&failed) else { return };
        // A filter that kills a process kills all its threads, whatever call they are in.
        if error != KILLED || matches!(reason, Reason::Filter(_) | Reason::Machine) {
            self.refuse(words, error, reason);
        }
    }

    /// Whether it is known already; it is counted.
    fn is_again(&mut self, call: &str, error: &str) -> bool {
        let known = self.places.get(&(call.to_string(), error.to_string()));
        known.map(|at| self.explanation.refusals[*at].count += 1).is_some()
    }

    fn refuse(&mut self, call: String, error: &str, reason: Reason) {
        if self.is_again(&call, error) {
            return;
        }
        let refusals = &mut self.explanation.refusals;
        if refusals.len() == KEPT_MAX {
            self.explanation.more += 1;
            return;
        }
        self.places.insert((call.clone(), error.to_string()), refusals.len());
        refusals.push(Refusal { call, error: error.to_string(), count: 1, reason });
    }
}
