//! A build: instructions in order, each that changes files a layer, each layer cached under a
//! key of what it was made of.

use crate::dockerfile::{self, Step, What, Words, default_dockerfile};
use crate::files::{at, hex, make_private};
use crate::store::{Held, Image, check_name};
use crate::{INTERRUPTED, Store, base, copy, layer, run_step};
use leanbox::{Error, ErrorKind, ImageConfig, Result};
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

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
    let app = check_app(&options.app)?;
    let file = app.join("Dockerfile");
    let (text, name) = match fs::read_to_string(&file) {
        Ok(text) => (text, file.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            (default_dockerfile(Some(&app)), "default Dockerfile".to_string())
        }
        Err(error) => return Err(Error::io(file.display(), &error)),
    };
    let steps = dockerfile::parse(&text, &name)?;
    let mut build = Build {
        held: store.hold()?,
        app: &app,
        layers: Vec::new(),
        config: ImageConfig::default(),
        env: Vec::new(),
        own_cmd: false,
    };
    for (index, step) in steps.iter().enumerate() {
        stop_if_interrupted()?;
        let head = format!("step {}/{}: {}", index + 1, steps.len(), describe(&step.what));
        let told = build.carry_out(step, &mut |state| progress(&format!("{head}{state}")));
        told.map_err(|error| error.during(format!("{name}:{}", step.line)))?;
    }
    build.config.env = build.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    build.config.main = main_file(&app);
    let Build { held, layers, config, .. } = build;
    held.put_image(&options.name, layers, config)
}

/// Ends a build after Ctrl-C.
pub(crate) fn stop_if_interrupted() -> Result<()> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err(Error::new(ErrorKind::Gone, "interrupted; nothing half made is left"));
    }
    Ok(())
}

fn check_app(app: &Path) -> Result<PathBuf> {
    let meta = fs::metadata(app).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, format!("{}: no such app folder", app.display()))
        }
        _ => Error::io(app.display(), &error),
    })?;
    if !meta.is_dir() {
        return Err(Error::invalid(format!(
            "{}: not a folder; an app is a folder with code",
            app.display()
        )));
    }
    app.canonicalize().map_err(at(app))
}

/// `hello/hello.py`, else `main.py`, `app.py`, or the only one there is.
fn main_file(app: &Path) -> Option<String> {
    let own = format!("{}.py", app.file_name()?.to_string_lossy());
    let named = [own.as_str(), "main.py", "app.py"];
    if let Some(name) = named.iter().find(|name| app.join(name).is_file()) {
        return Some((*name).to_string());
    }
    let names = fs::read_dir(app).ok()?.flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut scripts = names.filter(|name| name.ends_with(".py"));
    scripts.next().filter(|_| scripts.next().is_none())
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
        let image = match self.held.store.image(image) {
            Ok(image) => {
                say("");
                image
            }
            Err(_) if base::is_base(image) => {
                say(" (bootstrapping, once)");
                self.bootstrap(image)?
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
        let found = copy::find(self.app, sources)?;
        let folder = dest.ends_with('/') || dest == "." || dest.ends_with("/.");
        if found.len() > 1 && sources.len() > 1 && !folder {
            return Err(Error::invalid(format!(
                "COPY of several sources to {dest}: the destination must end with /"
            )));
        }
        let below = found.iter().any(|file| file.name.components().count() > 1);
        let several = found.len() > 1 || below || self.app.join(&sources[0]).is_dir();
        let target = self.absolute(dest);
        let mut key = self.key("COPY", &format!("{} {folder}", target.display()));
        copy::hash(&mut key, &found)?;
        self.layer(hex(key), say, |root, _| copy::copy(root, &found, &target, folder || several))
    }

    fn workdir(&mut self, dir: &Path, say: &mut dyn FnMut(&str)) -> Result<()> {
        let key = self.key("WORKDIR", &dir.display().to_string());
        self.layer(hex(key), say, |root, _| copy::make_folders(root, dir))
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
            let text =
                format!("RUN ended with {}{oom}; its own output is above", outcome.shell_code());
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
        make: impl FnOnce(&std::os::fd::OwnedFd, &Path) -> Result<()>,
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
        make(&root, &made)?;
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
        self.layers.iter().rev().map(|key| self.held.store.layer(key)).collect()
    }

    /// A path of the image: relative ones begin at the working directory.
    fn absolute(&self, path: &str) -> PathBuf {
        let from = if self.config.working_dir.is_empty() { "/" } else { &self.config.working_dir };
        Path::new(from).join(path).components().collect()
    }
}
