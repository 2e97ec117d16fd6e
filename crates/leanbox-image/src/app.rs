//! The app folder: what is looked at before a build begins.

use crate::default_dockerfile;
use crate::files::at;
use leanbox::{Error, ErrorKind, Result};
use std::fs;
use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};

/// The app's Dockerfile, or the default one.
pub(crate) struct Dockerfile {
    pub(crate) text: String,
    /// What messages call it.
    pub(crate) name: String,
}

/// The folder's real path.
pub(crate) fn check(app: &Path) -> Result<PathBuf> {
    let meta = fs::metadata(app).map_err(|error| match error.kind() {
        Io::NotFound => {
            Error::new(ErrorKind::NotFound, format!("{}: no such app folder", app.display()))
        }
        _ => Error::io(app.display(), &error).during("app folder"),
    })?;
    if !meta.is_dir() {
        let text = format!("{}: not a folder; an app is a folder with code", app.display());
        return Err(Error::invalid(text));
    }
    app.canonicalize().map_err(at(app))
}

impl Dockerfile {
    /// A Dockerfile that is there but cannot be read is no reason to take the default one.
    pub(crate) fn of(app: &Path) -> Result<Self> {
        let path = app.join("Dockerfile");
        let requirements = app.join("requirements.txt");
        if fs::symlink_metadata(&path).is_err_and(|error| error.kind() == Io::NotFound) {
            // Better said before a base is made than after it.
            if fs::symlink_metadata(&requirements).is_ok() {
                check_file(&requirements)?;
            }
            if scripts(app).next().is_none() {
                let text = format!("{}: neither a Dockerfile nor a .py file in it", app.display());
                return Err(Error::invalid(text));
            }
            let text = default_dockerfile(Some(app));
            return Ok(Self { text, name: "default Dockerfile".into() });
        }
        check_file(&path)?;
        let text = fs::read_to_string(&path).map_err(at(&path))?;
        Ok(Self { text, name: path.display().to_string() })
    }
}

fn check_file(path: &Path) -> Result<()> {
    let meta = fs::metadata(path).map_err(|error| match error.kind() {
        Io::NotFound => {
            Error::new(ErrorKind::NotFound, format!("{}: a link to nothing", path.display()))
        }
        _ => Error::io(path.display(), &error),
    })?;
    if meta.is_file() {
        return Ok(());
    }
    Err(Error::invalid(format!("{}: not a file", path.display())))
}

/// `hello/hello.py`, else `main.py`, `app.py`, or the only one there is.
pub(crate) fn main_file(app: &Path) -> Option<String> {
    let own = format!("{}.py", app.file_name()?.to_string_lossy());
    let named = [own.as_str(), "main.py", "app.py"];
    if let Some(name) = named.iter().find(|name| app.join(name).is_file()) {
        return Some((*name).to_string());
    }
    let mut scripts = scripts(app);
    scripts.next().filter(|_| scripts.next().is_none())
}

fn scripts(app: &Path) -> impl Iterator<Item = String> {
    let names = fs::read_dir(app).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".py"))
}
