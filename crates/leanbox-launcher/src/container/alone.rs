//! A second program in a slot: it has no mailbox and no launcher; its start comes over its socket,
//! words and descriptors in one message.

use super::{Given, OWN, execute};
use crate::wire::{INLINE_MAX, Plan, SLOT_FD, Start, Step};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use leanbox_sys::{Errno, process, socket};

/// The message.
#[repr(C)]
struct Letter {
    start: Start,
    data: [u8; INLINE_MAX],
}

/// What a second program in a slot does when it has become its user: waits for its start, and
/// executes it. `has_terminal`: it gets its terminal with its streams.
pub(crate) fn execute_alone(plan: Plan, has_terminal: bool) -> ! {
    struct Own(UnsafeCell<MaybeUninit<Letter>>);
    // SAFETY: used once, by a process of one thread.
    unsafe impl Sync for Own {}
    static LETTER: Own = Own(UnsafeCell::new(MaybeUninit::zeroed()));
    let mailbox = core::ptr::null_mut();
    let terminal = has_terminal.then_some(0);
    let given = Given { plan, mailbox, seat: &OWN, joining: None, terminal, alone: true };
    let place = LETTER.0.get().cast::<u8>();
    // SAFETY: that many bytes, all zeroes, and nobody else's.
    let bytes = unsafe { core::slice::from_raw_parts_mut(place, size_of::<Letter>()) };
    let (length, came) = match socket::receive(SLOT_FD, bytes) {
        Ok(came) => (came.length, came),
        Err(errno) => given.give_up(Step::RECEIVE, errno),
    };
    if length == 0 {
        // The host has given up.
        process::exit(0);
    }
    if length < size_of::<Start>() {
        given.give_up(Step::RECEIVE, Errno::INVAL);
    }
    // SAFETY: plain numbers, written by the host; the bytes above are used no more.
    let Letter { start, data } = unsafe { &mut *place.cast::<Letter>() };
    execute(&given, start, data, &came.fds[..came.count])
}
