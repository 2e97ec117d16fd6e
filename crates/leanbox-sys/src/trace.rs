//! Watching the system calls of other processes: ptrace(2). All calls about one process come from
//! the thread that seized it.

use crate::arch::{self, nr};
use crate::errno::{call, int};
use crate::{Errno, Result, process};

const SEIZE: usize = 0x4206;
const INTERRUPT: usize = 0x4207;
const LISTEN: usize = 0x4208;
const SYSCALL: usize = 24;
const GET_SYSCALL_INFO: usize = 0x420e;
/// System calls tell themselves apart from signals, what is forked or cloned is seized too, an exec
/// is told, and all of them are killed when the tracer ends.
const OPTIONS: usize = 1 | 2 | 4 | 8 | 0x10 | 0x10_0000;
/// `__WNOTHREAD`: only what this thread has seized.
const OF_THIS_THREAD: i32 = 0x2000_0000;

const SIGTRAP: i32 = 5;
/// SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU.
const STOPPING: [i32; 4] = [19, 20, 21, 22];
const EVENT_EXEC: i32 = 4;
const EVENT_STOP: i32 = 128;

/// What a process has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// It is about to make this call.
    Call {
        /// Its number.
        nr: u64,
        /// Its arguments.
        args: [u64; 6],
        /// Whether the number is of another architecture's table (32-bit calls of this machine).
        is_foreign: bool,
    },
    /// Its call has ended with this errno, or 0.
    Ended(i32),
    /// It is another program now.
    Exec,
    /// It gets this signal next.
    Signal(i32),
    /// It was stopped as a whole, and stays so.
    Stopped,
    /// It goes on from something that nobody asks for.
    Other,
    /// It was killed by this signal.
    Killed(i32),
    /// It is gone.
    Gone,
}

/// Begins to watch a process, and brings it to a stop, which is the first [`Event::Other`].
pub fn seize(pid: i32) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { call(nr::PTRACE, [SEIZE, int(pid), 0, OPTIONS]) }?;
    // SAFETY: numbers only.
    unsafe { call(nr::PTRACE, [INTERRUPT, int(pid), 0, 0]) }.map(drop)
}

/// Waits until one of them comes to something: which, and to what. `ECHILD` when none is left.
pub fn next() -> Result<(i32, Event)> {
    let (pid, status) = process::wait(-1, process::WALL | OF_THIS_THREAD)?;
    let signal = status & 0x7f;
    if signal != 0x7f {
        return Ok((pid, if signal == 0 { Event::Gone } else { Event::Killed(signal) }));
    }
    let (signal, event) = ((status >> 8) & 0xff, status >> 16);
    let event = match (signal, event) {
        (_, EVENT_STOP) if STOPPING.contains(&signal) => Event::Stopped,
        (_, EVENT_EXEC) => Event::Exec,
        (_, 1..) => Event::Other,
        (_, _) if signal == SIGTRAP | 0x80 => of_call(pid).unwrap_or(Event::Other),
        _ => Event::Signal(signal),
    };
    Ok((pid, event))
}

/// Has it go on after an event, to its next call. One that was killed meanwhile tells so itself.
pub fn go_on(pid: i32, event: Event) {
    let (request, signal) = match event {
        Event::Stopped => (LISTEN, 0),
        Event::Signal(signal) => (SYSCALL, signal),
        _ => (SYSCALL, 0),
    };
    // SAFETY: numbers only.
    let _ = unsafe { call(nr::PTRACE, [request, int(pid), 0, int(signal)]) };
}

fn of_call(pid: i32) -> Result<Event> {
    /// struct ptrace_syscall_info.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        op: u8,
        pad: [u8; 3],
        arch: u32,
        pointers: [u64; 2],
        words: [u64; 8],
    }
    let mut info = Info::default();
    let args = [GET_SYSCALL_INFO, int(pid), size_of::<Info>(), &raw mut info as usize];
    // SAFETY: the structure is as long as it says.
    unsafe { call(nr::PTRACE, args) }?;
    let [first, a, b, c, d, e, f, _] = info.words;
    match info.op {
        1 => {
            let (args, is_foreign) = ([a, b, c, d, e, f], info.arch != arch::AUDIT);
            Ok(Event::Call { nr: first, args, is_foreign })
        }
        // The value, and whether it is an error.
        2 if a & 0xff != 0 => Ok(Event::Ended((first as i64).wrapping_neg() as i32)),
        2 => Ok(Event::Ended(0)),
        _ => Err(Errno::INVAL),
    }
}
