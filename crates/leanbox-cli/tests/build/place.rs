//! A folder with an app and a store of its own, and the built command.

use crate::done::{self, Done};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that goes with the test. Below it: `app`, `store`, `state`.
pub(crate) struct Place(pub(crate) PathBuf);

/// A place of that name with an empty app.
pub(crate) fn place(name: &str) -> Place {
    let path = std::env::temp_dir().join(format!("leanbox-build-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(path.join("app")).unwrap();
    Place(path)
}

/// A place whose app has that Dockerfile.
pub(crate) fn app(name: &str, dockerfile: &str) -> Place {
    let place = place(name);
    place.put("app/Dockerfile", dockerfile);
    place
}

impl Drop for Place {
    fn drop(&mut self) {
        let left = names(&self.path("store/tmp"));
        let _ = fs::remove_dir_all(&self.0);
        assert!(left.is_empty() || std::thread::panicking(), "left in the store: {left:?}");
    }
}

impl Place {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Puts a file there, with the folders above it.
    pub(crate) fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        fs::symlink_metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Any program in this place, with its store and state folder.
    pub(crate) fn program(&self, name: &str) -> Command {
        self.prepared(Command::new(name))
    }

    fn prepared(&self, mut command: Command) -> Command {
        command
            .current_dir(&self.0)
            .env("LEANBOX_STORE", self.path("store"))
            .env("LEANBOX_STATE", self.path("state"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.prepared(done::leanbox());
        command.args(words);
        command
    }

    pub(crate) fn leanbox(&self, words: &[&str]) -> Done {
        Done::of(self.command(words).output().unwrap())
    }

    /// Builds the app as the image `t`.
    pub(crate) fn build(&self) -> Done {
        self.leanbox(&["build", "app", "--name", "t"])
    }

    /// Builds it, which succeeds.
    #[track_caller]
    pub(crate) fn built(&self) -> Done {
        self.build().good()
    }

    /// Replaces the Dockerfile and builds, which succeeds.
    #[track_caller]
    pub(crate) fn built_of(&self, dockerfile: &str) -> Done {
        self.put("app/Dockerfile", dockerfile);
        self.built()
    }

    /// Runs a shell script in the image `t`; what it printed.
    #[track_caller]
    pub(crate) fn sh(&self, script: &str) -> String {
        self.leanbox(&["run", "--entrypoint", "sh", "t", "-c", script]).good().out
    }

    /// Runs the image `t`; what it printed.
    #[track_caller]
    pub(crate) fn run(&self, words: &[&str]) -> String {
        self.leanbox(&[&["run", "t"], words].concat()).good().out
    }

    /// Exports the image `t` to the folder `out`.
    #[track_caller]
    pub(crate) fn exported(&self) {
        self.leanbox(&["export", "t", "out"]).good();
    }

    /// Keys of the layers of the image `t`.
    pub(crate) fn layers(&self) -> Vec<String> {
        let images = self.leanbox(&["images", "--json"]).good().out;
        let images: serde_json::Value = serde_json::from_str(&images).unwrap();
        let image = images.as_array().unwrap().iter().find(|image| image["name"] == "t").unwrap();
        let layers = image["layers"].as_array().unwrap();
        layers.iter().map(|key| key.as_str().unwrap().to_string()).collect()
    }

    /// Names of all images.
    pub(crate) fn images(&self) -> Vec<String> {
        let listed = self.leanbox(&["images"]).good().out;
        let first = |line: &str| line.split_whitespace().next().unwrap().to_string();
        listed.lines().skip(1).map(first).collect()
    }

    /// Starts it, with what it prints in the file `said`.
    pub(crate) fn start(&self, words: &[&str]) -> Running<'_> {
        let said = fs::File::create(self.path("said")).unwrap();
        let mut command = self.command(words);
        command.stdout(said.try_clone().unwrap()).stderr(said);
        Running { child: command.spawn().unwrap(), place: self }
    }
}

/// Names of what is in a folder, in order; of none if there is no folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn await_that(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Processes with these words in their command line.
pub(crate) fn processes_with(words: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let line = |pid: &String| fs::read_to_string(format!("/proc/{pid}/cmdline")).ok();
    let is_one = |pid: &String| line(pid).is_some_and(|line| line.contains(words));
    names(Path::new("/proc"))
        .into_iter()
        .filter(|pid| pid.starts_with(|c: char| c.is_ascii_digit()) && *pid != own)
        .filter(is_one)
        .collect()
}

impl Done {
    /// It exited with 0.
    #[track_caller]
    pub(crate) fn good(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// It exited with 1 and a last line of leanbox's that has all these words; no other line of
    /// it is an error.
    #[track_caller]
    pub(crate) fn failed(&self, words: &[&str]) {
        assert_eq!(self.code, 1, "{self:?}");
        let last = self.err.lines().last().unwrap_or_default();
        assert!(last.starts_with("leanbox: "), "{self:?}");
        assert_eq!(self.err.matches("leanbox: ").count(), 1, "{self:?}");
        for word in words {
            assert!(last.contains(word), "{word:?} is not in {last:?}");
        }
        assert!(!last.ends_with('.') && !last.contains("a bug in"), "{last:?}");
    }

    /// The progress line of the step that begins with these words.
    #[track_caller]
    pub(crate) fn step(&self, words: &str) -> &str {
        let is_it = |line: &&str| line.split_once(": ").is_some_and(|(_, s)| s.starts_with(words));
        self.err.lines().find(is_it).unwrap_or_else(|| panic!("no step {words:?} in {self:?}"))
    }
}

/// A command that runs on.
pub(crate) struct Running<'a> {
    pub(crate) child: Child,
    place: &'a Place,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running<'_> {
    pub(crate) fn said(&self) -> String {
        self.place.read("said")
    }

    /// Waits until it has printed that.
    #[track_caller]
    pub(crate) fn await_text(&self, text: &str) {
        await_that(text, || self.said().contains(text));
    }

    pub(crate) fn signal(&self, signal: &str) {
        done::send(&self.child, signal);
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its exit code and what it printed; it ends soon.
    #[track_caller]
    pub(crate) fn end(mut self) -> (i32, String) {
        await_that("its end", || self.child.try_wait().unwrap().is_some());
        let code = self.child.wait().unwrap().code().expect("leanbox itself was killed");
        (code, self.said())
    }
}
