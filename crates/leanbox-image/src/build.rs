//! A build: instructions in order, each that changes files a layer, each layer cached under a
//! key of what it was made of.

use crate::app::{self, Dockerfile};
use crate::dockerfile::{self, Step, What, Words};
use crate::files::{at, hex, make_private};
use crate::held::Held;
use crate::store::{Image, Store, check_name};
use crate::{base, copy, layer, run_step, stop_if_interrupted};
use leanbox::{Error, ErrorKind, ImageConfig, Result};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

/// What to build.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// The app folder.
    pub app: PathBuf,
    /// The image's name.
    pub name: String,
}

/// A build under way.
struct Build<'a> {
    held: Held<'a>,
    app: &'a Path,
    layers: Vec<String>,
    config: ImageConfig,
    env: Vec<(String, String)>,
    /// CMD was set here and not inherited.
    own_cmd: bool,
}

/// Builds an image of an app; `progress` gets a line for each step.
///
/// # Errors
/// Of the Dockerfile with file and line, of a step with its exit code; nothing half made is left.
pub fn build(
    store: &Store,
    options: &BuildOptions,
    progress: &mut dyn FnMut(&str),
) -> Result<Image> {
    check_name(&options.name)?;
    if base::is_base(&options.name) {
        return Err(Error::invalid(format!("{}: the name of a built-in base", options.name)));
    }
    let app = app::check(&options.app)?;
    let Dockerfile { text, name } = Dockerfile::of(&app)?;
    let steps = dockerfile::parse(&text, &name)?;
    let mut build = Build {
        held: hold(store, progress)?,
        app: &app,
        layers: Vec::new(),
        config: ImageConfig::default(),
        env: Vec::new(),
        own_cmd: false,
    };
    let built = build.all(&steps, &name, progress).and_then(|()| build.finish(&options.name));
    built.map_err(|error| build.make_room(error))
}

fn hold<'a>(store: &'a Store, progress: &mut dyn FnMut(&str)) -> Result<Held<'a>> {
    if let Some(held) = Held::take(store)? {
        return Ok(held);
    }
    progress("waiting for another command that changes the image store");
    store.hold()
}

fn describe(what: &What) -> String {
    let words = |words: &Words| match words {
        Words::Shell(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        Words::Exec(words) => format!("{words:?}"),
    };
    match what {
        What::From(image) => format!("FROM {image}"),
        What::Copy { sources, dest } => format!("COPY {} {dest}", sources.join(" ")),
        What::Run(command) => format!("RUN {}", words(command)),
        What::Env(pairs) => {
            let pairs: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("ENV {}", pairs.join(" "))
        }
        What::Workdir(dir) => format!("WORKDIR {dir}"),
        What::User(user) => format!("USER {user}"),
        What::Cmd(command) => format!("CMD {}", words(command)),
        What::Entrypoint(command) => format!("ENTRYPOINT {}", words(command)),
    }
}

impl Build<'_> {
    fn all(&mut self, steps: &[Step], name: &str, progress: &mut dyn FnMut(&str)) -> Result<()> {
        for (index, step) in steps.iter().enumerate() {
            stop_if_interrupted()?;
            let head = format!("step {}/{}: {}", index + 1, steps.len(), describe(&step.what));
            let told = self.carry_out(step, &mut |state| progress(&format!("{head}{state}")));
            told.map_err(|error| error.during(format!("{name}:{}", step.line)))?;
        }
        Ok(())
    }

    fn finish(&mut self, name: &str) -> Result<Image> {
        stop_if_interrupted()?;
        self.config.env = self.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.config.main = app::main_file(self.app);
        self.held.put_image(name, self.layers.clone(), self.config.clone())
    }

    /// On a full disk, what was built so far would leave no room for anything.
    fn make_room(&self, error: Error) -> Error {
        let full = [Errno::NOSPC, Errno::DQUOT].map(|errno| Some(errno.raw_os_error()));
        if !full.contains(&error.errno()) {
            return error;
        }
        // What cannot be removed now goes with the next `rmi`.
        let _ = self.held.collect();
        error.remedy("the image store's disk is full: free some space, or name a folder on another disk in LEANBOX_STORE")
    }

    fn carry_out(&mut self, step: &Step, say: &mut dyn FnMut(&str)) -> Result<()> {
        let expand = |text: &str| crate::expand::expand(text, &self.env);
        match &step.what {
            What::From(image) => self.from(image, say),
            What::Copy { sources, dest } => {
                let sources: Vec<String> = sources.iter().map(|source| expand(source)).collect();
                let dest = expand(dest);
                self.copy(&sources, &dest, say)
            }
            What::Run(words) => self.run(&words.argv(), say),
            What::Workdir(dir) => {
                let dir = self.absolute(&expand(dir));
                self.config.working_dir = dir.display().to_string();
                self.workdir(&dir, say)
            }
            What::Env(pairs) => {
                say("");
                // All pairs of one instruction see the variables from before it.
                let new: Vec<(String, String)> =
                    pairs.iter().map(|(key, value)| (key.clone(), expand(value))).collect();
                self.env.retain(|(key, _)| new.iter().all(|(other, _)| other != key));
                self.env.extend(new);
                Ok(())
            }
            What::User(user) => {
                say("");
                self.config.user = expand(user);
                Ok(())
            }
            What::Cmd(words) => {
                say("");
                self.own_cmd = true;
                self.config.cmd = words.argv();
                Ok(())
            }
            What::Entrypoint(words) => {
                say("");
                self.config.entrypoint = words.argv();
                if !self.own_cmd {
                    self.config.cmd = Vec::new();
                }
                Ok(())
            }
        }
    }

    fn from(&mut self, image: &str, say: &mut dyn FnMut(&str)) -> Result<()> {
        if image == "scratch" {
            say("");
            return Ok(());
        }
        let unknown =
            |error: &Error| error.kind() == ErrorKind::NotFound || check_name(image).is_err();
        let image = match self.held.store.image(image) {
            Ok(image) => {
                say("");
                image
            }
            Err(_) if base::is_base(image) => {
                say(" (bootstrapping, once)");
                self.bootstrap(image)?
            }
            Err(error) if unknown(&error) => {
                let text = format!("FROM {image}: no such image in the store");
                let remedy = "built in are leanbox/python:3, leanbox/busybox and scratch";
                return Err(Error::new(ErrorKind::NotFound, text).remedy(remedy));
            }
            Err(error) => return Err(error),
        };
        self.layers = image.layers;
        self.config = ImageConfig { main: None, ..image.config };
        let pair =
            |entry: &String| entry.split_once('=').map(|(k, v)| (k.to_string(), v.to_string()));
        self.env = self.config.env.iter().filter_map(pair).collect();
        Ok(())
    }

    /// A base is an image like any other, with its content as its layer's key.
    fn bootstrap(&self, name: &str) -> Result<Image> {
        let made = self.new_layer()?;
        base::fill(name, &made.join("diff"))?;
        let mut hash = Sha256::new();
        for path in crate::files::walk(&made.join("diff"))? {
            let name = path.strip_prefix(&made).unwrap_or(&path).to_path_buf();
            crate::files::hash_file(&mut hash, &name, &path)?;
        }
        let key = hex(hash);
        self.held.put_layer(&key, &made)?;
        let config = ImageConfig { env: vec![base::ENV.into()], ..ImageConfig::default() };
        self.held.put_image(name, vec![key], config)
    }

    fn copy(&mut self, sources: &[String], dest: &str, say: &mut dyn FnMut(&str)) -> Result<()> {
        let folder = dest.ends_with('/') || dest == "." || dest.ends_with("/.");
        if sources.len() > 1 && !folder {
            return Err(Error::invalid(format!(
                "COPY of several sources to {dest}: the destination must end with /"
            )));
        }
        let found = copy::find(self.app, sources)?;
        let target = self.absolute(dest);
        let mut key = self.key("COPY", &format!("{} {folder}", target.display()));
        copy::hash(&mut key, &found)?;
        self.layer(hex(key), say, |root| copy::copy(root, &found, &target, folder))
    }

    fn workdir(&mut self, dir: &Path, say: &mut dyn FnMut(&str)) -> Result<()> {
        let key = self.key("WORKDIR", &dir.display().to_string());
        self.layer(hex(key), say, |root| copy::make_folders(root, dir))
    }

    fn run(&mut self, argv: &[String], say: &mut dyn FnMut(&str)) -> Result<()> {
        let workdir = match self.config.working_dir.as_str() {
            "" => "/".to_string(),
            dir => dir.to_string(),
        };
        let mut key = self.key("RUN", &format!("{argv:?} {workdir:?} {:?}", self.config.user));
        key.update(format!("{:?}", self.env));
        let key = hex(key);
        if self.cached(&key, say) {
            return Ok(());
        }
        if self.layers.is_empty() {
            return Err(Error::invalid("RUN on scratch: there is no program in an empty image"));
        }
        let made = self.new_layer()?;
        let workdir = &workdir;
        let step = run_step::Step { argv, env: &self.env, workdir, user: &self.config.user };
        let outcome = run_step::run(&step, &self.lower(), &made)?;
        if !outcome.success() {
            let oom = if outcome.oom_killed { " (out of memory)" } else { "" };
            let code = outcome.shell_code();
            let text = format!("RUN ended with {code}{oom}; its own output is above");
            return Err(Error::new(ErrorKind::System, text));
        }
        self.held.put_layer(&key, &made)?;
        self.layers.push(key);
        Ok(())
    }

    /// A layer made by file operations on the merged view.
    fn layer(
        &mut self,
        key: String,
        say: &mut dyn FnMut(&str),
        make: impl FnOnce(&std::os::fd::OwnedFd) -> Result<()>,
    ) -> Result<()> {
        if self.cached(&key, say) {
            return Ok(());
        }
        let made = self.new_layer()?;
        let lower = self.lower();
        let root = if lower.is_empty() {
            crate::files::open_folder(&made.join("diff"))?
        } else {
            layer::merged(&lower, Some(&made))?
        };
        make(&root)?;
        drop(root);
        self.held.put_layer(&key, &made)?;
        self.layers.push(key);
        Ok(())
    }

    fn cached(&mut self, key: &str, say: &mut dyn FnMut(&str)) -> bool {
        let there = self.held.has_layer(key);
        say(if there { " (cached)" } else { "" });
        if there {
            self.layers.push(key.to_string());
        }
        there
    }

    fn new_layer(&self) -> Result<PathBuf> {
        let made = self.held.temporary("layer")?;
        for name in ["diff", "work"] {
            make_private(&made.join(name))?;
        }
        let diff = made.join("diff");
        fs::set_permissions(&diff, fs::Permissions::from_mode(0o755)).map_err(at(&diff))?;
        Ok(made)
    }

    /// Parent layer, instruction and its words.
    fn key(&self, instruction: &str, words: &str) -> Sha256 {
        let mut hash = Sha256::new();
        for part in [self.layers.last().map_or("", String::as_str), instruction, words] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        hash
    }

    fn lower(&self) -> Vec<PathBuf> {
        self.held.lower(&self.layers)
    }

    /// A path of the image: relative ones begin at the working directory, `..` is taken as text.
    fn absolute(&self, path: &str) -> PathBuf {
        let mut clean = PathBuf::from("/");
        for part in Path::new("/").join(&self.config.working_dir).join(path).components() {
            match part {
                Component::Normal(name) => clean.push(name),
                // The top is its own parent.
                Component::ParentDir => drop(clean.pop()),
                _ => {}
            }
        }
        clean
    }
}
