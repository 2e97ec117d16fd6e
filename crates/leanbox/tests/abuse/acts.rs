//! What the abusers do inside, by name: everything that they can get.

use std::fs;
use std::io::{ErrorKind, Write};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(1000);
const PIECE: usize = 1 << 20;
/// How many files a container tries to make.
const FILES: usize = 1_000_000;

pub(crate) fn run(act: &str) {
    match act.split_once(' ').unwrap_or((act, "")) {
        ("fork_bomb", _) => fork_bomb(),
        ("memory_bomb", _) => memory_bomb(),
        ("scratch_filler", _) => fill_scratch(),
        ("million_files", _) => many_files(),
        ("output_flood", mib) => flood(mib.parse().unwrap()),
        ("descriptor_hog", _) => descriptors(),
        ("thread_hog", _) => threads(),
        ("zombie_maker", _) => zombies(),
        ("deaf", _) => deaf(),
        ("daemons", _) => daemons(50),
        ("held_output", _) => held_output(),
        ("busy_loop", _) => busy(),
        ("busy_crowd", _) => busy_crowd(),
        ("stopped", _) => stop(),
        ("pipe_hog", _) => pipes(),
        _ => panic!("no act {act}"),
    }
}

/// fork(2) by a single system call: 0 in the child; `None` where there can be no more.
fn fork() -> Option<i32> {
    // SAFETY: the abusers' children only sleep, compute and end.
    unsafe { leanbox_sys::process::fork(0) }.ok()
}

fn end(code: i32) -> ! {
    leanbox_sys::process::exit(code)
}

/// Children fork as well, for ever.
fn fork_bomb() {
    loop {
        let _ = fork();
    }
}

fn memory_bomb() {
    loop {
        std::mem::forget(vec![1_u8; 16 * PIECE]);
    }
}

fn fill(path: &str) -> usize {
    let mut file = fs::File::create(path).unwrap();
    let piece = vec![1_u8; PIECE];
    (0..100_000).take_while(|_| file.write_all(&piece).is_ok()).count()
}

fn fill_scratch() {
    println!("\ngot {}", fill("/tmp/x") + fill("/dev/shm/x"));
}

fn many_files() {
    let make = |number: &usize| fs::File::create(format!("/tmp/{number}")).is_ok();
    println!("\ngot {}", (0..FILES).take_while(make).count());
}

fn flood(mib: usize) {
    let piece = vec![b'x'; PIECE];
    for _ in 0..mib {
        match std::io::stdout().write_all(&piece) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            written => written.unwrap(),
        }
    }
}

fn descriptors() {
    let open = || fs::File::open("/dev/null").map(std::mem::forget).is_ok();
    println!("\ngot {}", (0..1_000_000).take_while(|_| open()).count());
}

fn threads() {
    let sleep = || std::thread::Builder::new().spawn(|| std::thread::sleep(LONG)).is_ok();
    let count = (0..100_000).take_while(|_| sleep()).count();
    println!("\ngot {count}");
    end(0);
}

/// Whose children end and are never waited for.
fn zombies() {
    loop {
        if fork() == Some(0) {
            end(0);
        }
    }
}

/// As the kernel's init it hears nothing that can be ignored.
fn deaf() {
    for signal in (1..=64).filter(|signal| ![9, 19].contains(signal)) {
        let _ = leanbox_sys::process::set_signal(signal, true);
    }
    std::thread::sleep(LONG);
}

/// Forked twice, in sessions of their own, with no streams.
fn daemons(count: usize) {
    for _ in 0..count {
        if fork() == Some(0) {
            let _ = leanbox_sys::process::setsid();
            if fork() != Some(0) {
                end(0);
            }
            let _ = leanbox_sys::fd::close_from(0);
            std::thread::sleep(LONG);
            end(0);
        }
    }
}

/// A grandchild keeps the streams.
fn held_output() {
    println!("\ngot 1");
    if fork() == Some(0) {
        if fork() == Some(0) {
            std::thread::sleep(LONG);
        }
        end(0);
    }
    end(0);
}

fn busy() {
    loop {
        std::hint::spin_loop();
    }
}

fn busy_crowd() {
    while fork().is_some_and(|child| child != 0) {}
    busy();
}

fn stop() {
    let own = leanbox_sys::process::getpid();
    loop {
        let _ = leanbox_sys::process::kill(own, 19); // SIGSTOP
    }
}

/// The kernel's memory for pipes, as much as one user may have.
fn pipes() {
    let piece = vec![1_u8; PIECE];
    let mut got = 0;
    while let Ok((reader, writer)) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK) {
        let _ = rustix::pipe::fcntl_setpipe_size(&writer, PIECE);
        got += rustix::io::write(&writer, &piece).unwrap_or(0);
        std::mem::forget((reader, writer));
    }
    println!("\ngot {}", got / PIECE);
}
