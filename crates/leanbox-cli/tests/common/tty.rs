//! A terminal for the command to run in, and a server for it to run.

use super::common::Place;
use super::common::done::send;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// `leanbox` in a terminal of its own.
pub(crate) struct Tty {
    master: File,
    slave: File,
    child: Child,
    bytes: Receiver<Vec<u8>>,
    pub(crate) seen: Vec<u8>,
}

impl Tty {
    pub(crate) fn begin(place: &Place, words: &[&str], size: (u16, u16)) -> Self {
        Self::of(place.leanbox(words), size)
    }

    /// A command in it.
    pub(crate) fn of(mut command: Command, (rows, columns): (u16, u16)) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = File::from(rustix::fs::open(name, flags, Mode::empty()).unwrap());
        let master = File::from(master);
        let stream = || slave.try_clone().unwrap();
        command.stdin(stream()).stdout(stream()).stderr(stream());
        // SAFETY: system calls alone, on its own standard input.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
                Ok(())
            });
        }
        let (sender, bytes) = channel();
        let mut reader = master.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = reader.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let child = command.spawn().unwrap();
        Self { master, slave, child, bytes, seen: Vec::new() }
    }

    /// Waits until that is shown.
    pub(crate) fn until(&mut self, words: &str) {
        while !String::from_utf8_lossy(&self.seen).contains(words) {
            match self.bytes.recv_timeout(Duration::from_secs(20)) {
                Ok(bytes) => self.seen.extend(bytes),
                Err(_) => panic!("{words:?} is not in {:?}", String::from_utf8_lossy(&self.seen)),
            }
            let keep = self.seen.len().saturating_sub(1 << 16);
            self.seen.drain(..keep);
        }
    }

    pub(crate) fn keys(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
    }

    pub(crate) fn signal(&self, signal: &str) {
        send(&self.child, signal);
    }

    /// Whether keys are handed on as they are.
    pub(crate) fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    pub(crate) fn end(&mut self) -> i32 {
        self.child.wait().unwrap().code().expect("leanbox itself was killed")
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program in the root that answers one request on each of the sockets 3 and 4.
pub(crate) fn server(place: &Place) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/serve.c");
    let target = place.0.join("root/bin/serve");
    let gcc =
        std::process::Command::new("gcc").args(["-static", "-o"]).arg(&target).arg(source).status();
    assert!(gcc.expect("the tests need a C compiler: apt-get install gcc libc6-dev").success());
}
