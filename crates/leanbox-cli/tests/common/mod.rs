//! A root file system of busybox and the built command, for the tests.
#![allow(clippy::unwrap_used, dead_code, reason = "tests; not every test uses all of it")]

pub(crate) mod done;

pub(crate) use done::Done;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const APPLETS: &str = "sh cat echo id true sleep kill env pwd hostname head wc yes ls printf dd";

/// A folder that goes with the test, with a root file system in `root`.
pub(crate) struct Place(pub(crate) PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A place of that name with a busybox root.
pub(crate) fn place(name: &str) -> Place {
    let path = std::env::temp_dir().join(format!("leanbox-cli-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    let place = Place(path);
    let root = place.0.join("root");
    for dir in ["bin", "etc", "usr/bin", "tmp", "app"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox"))
        .expect("the tests need busybox: apt-get install busybox-static");
    for applet in APPLETS.split_whitespace() {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    place.file("etc/passwd", "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n");
    place
}

impl Place {
    /// The root file system.
    pub(crate) fn root(&self) -> String {
        self.0.join("root").display().to_string()
    }

    /// Puts a file into the root.
    pub(crate) fn file(&self, path: &str, text: &str) {
        fs::write(self.0.join("root").join(path), text).unwrap();
    }

    /// Puts a program into the root.
    pub(crate) fn program(&self, path: &str, text: &str) {
        self.file(path, text);
        let path = self.0.join("root").join(path);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Puts the image configuration beside the root.
    pub(crate) fn config(&self, json: &str) {
        fs::write(self.0.join("root.json"), json).unwrap();
    }

    /// `leanbox` with these words, in this place and with a store of its own.
    pub(crate) fn leanbox(&self, words: &[&str]) -> Command {
        let mut command = done::leanbox();
        command.args(words).current_dir(&self.0).env("LEANBOX_STORE", self.0.join("store"));
        command.stdin(Stdio::null());
        command
    }

    /// `leanbox run OPTIONS root WORDS` to its end.
    pub(crate) fn run(&self, options: &[&str], words: &[&str]) -> Done {
        let words = [&["run"], options, &["./root"], words].concat();
        Done::of(self.leanbox(&words).output().unwrap())
    }

    /// The same for a shell script.
    pub(crate) fn sh(&self, options: &[&str], script: &str) -> Done {
        self.run(options, &["sh", "-c", script])
    }
}

impl Done {
    /// It failed with that code and one line of leanbox's that has these words in it.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, words: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.starts_with("leanbox: "), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        assert!(self.err.contains(words), "{words:?} is not in {self:?}");
    }

    /// It printed that and nothing on standard error, and exited with 0.
    #[track_caller]
    pub(crate) fn said(&self, text: &str) {
        assert_eq!((self.code, self.out.as_str(), self.err.as_str()), (0, text, ""), "{self:?}");
    }
}

/// A command that runs on, with its output in a file to look at.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) out: PathBuf,
}

impl Running {
    pub(crate) fn start(place: &Place, command: &mut Command) -> Self {
        let out = place.0.join("out");
        let child = command.stdout(fs::File::create(&out).unwrap()).spawn().unwrap();
        Self { child, out }
    }

    /// Waits until it has printed that.
    pub(crate) fn await_text(&self, text: &str) {
        for _ in 0..3000 {
            if fs::read_to_string(&self.out).unwrap().contains(text) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{text:?} was not printed");
    }

    pub(crate) fn signal(&self, signal: &str) {
        done::send(&self.child, signal);
    }

    pub(crate) fn end(mut self) -> (i32, String) {
        let code = self.child.wait().unwrap().code().expect("leanbox itself was killed");
        (code, fs::read_to_string(&self.out).unwrap())
    }
}

impl Drop for Running {
    /// A test that failed leaves nothing running.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Feeds a command's standard input.
pub(crate) fn fed(command: &mut Command, input: &[u8]) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    output
}

/// Whether anything below `folder` has a name that begins with that.
pub(crate) fn has_entry(folder: &Path, prefix: &str) -> bool {
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
}

/// The outcome in the last line.
pub(crate) fn json_of(text: &str) -> serde_json::Value {
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}
