//! `leanbox bench report`: files of other benchmarks in, a page and a picture out.

use crate::{say, tell};
use leanbox::{Error, Result};
use leanbox_bench::page::{self, Source};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `leanbox bench report`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What `leanbox bench … --json` wrote, in the order of the page
    #[arg(value_name = "FILE.json", required = true)]
    files: Vec<PathBuf>,
    /// The page, one file that loads nothing
    #[arg(long, value_name = "OUT")]
    html: PathBuf,
    /// Also a picture of the main chart: throughput over processes if there is one, else latency
    #[arg(long, value_name = "OUT")]
    svg: Option<PathBuf>,
}

/// Runs it. Every file that is no report is named before anything is written.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let outs: Vec<&Path> =
        [Some(args.html.as_path()), args.svg.as_deref()].into_iter().flatten().collect();
    let targets = outs.iter().map(|out| target(out)).collect::<Result<Vec<_>>>()?;
    distinct(&targets, &args.files)?;
    let Some(sources) = sources(&args.files) else { return Ok(ExitCode::FAILURE) };
    let mut texts = vec![page::html(&sources)?];
    if args.svg.is_some() {
        texts.push(page::svg(&sources)?);
    }
    let grown = targets.iter().zip(&texts).map(|(target, text)| Growing::write(target, text));
    let grown = grown.collect::<Result<Vec<_>>>()?;
    for (growing, out) in grown.into_iter().zip(outs) {
        growing.finish()?;
        say(&format!("wrote {}", out.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// All files, or a line for each that is none.
fn sources(files: &[PathBuf]) -> Option<Vec<Source>> {
    let read: Vec<Result<Source>> = files.iter().map(|file| Source::read(file)).collect();
    for error in read.iter().filter_map(|source| source.as_ref().err()) {
        tell(&format!("leanbox: {error}"));
    }
    read.into_iter().collect::<Result<Vec<_>>>().ok()
}

/// Where to write: what a link names, and only where a file is or nothing.
fn target(out: &Path) -> Result<PathBuf> {
    match fs::canonicalize(out) {
        Ok(target) if target.is_file() => Ok(target),
        Ok(_) => Err(Error::invalid(format!("{}: there, but not a file", out.display()))
            .remedy("name a file to write")),
        Err(error) if error.kind() == ErrorKind::NotFound && out.file_name().is_some() => {
            Ok(out.to_path_buf())
        }
        Err(error) => Err(Error::io(out.display(), &error)),
    }
}

/// A report is never written over a file that it is made of, nor over the other one.
fn distinct(targets: &[PathBuf], files: &[PathBuf]) -> Result<()> {
    let read = files.iter().filter_map(|file| fs::canonicalize(file).ok());
    let mut taken: Vec<PathBuf> = read.collect();
    for target in targets {
        if taken.contains(target) {
            let text = format!("{}: named twice", target.display());
            return Err(Error::invalid(text).remedy("give --html and --svg files of their own"));
        }
        taken.push(target.clone());
    }
    Ok(())
}

/// A file that has another name until it is whole; gone again if it never is.
struct Growing {
    temporary: PathBuf,
    target: PathBuf,
}

impl Growing {
    fn write(target: &Path, text: &str) -> Result<Self> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let temporary = target.with_file_name(format!(".{name}.{}", std::process::id()));
        let wrap = |error: std::io::Error| Error::io(target.display(), &error);
        let mut file = fs::File::create_new(&temporary).map_err(wrap)?;
        let growing = Self { temporary, target: target.to_path_buf() };
        file.write_all(text.as_bytes()).map_err(wrap)?;
        Ok(growing)
    }

    fn finish(self) -> Result<()> {
        fs::rename(&self.temporary, &self.target)
            .map_err(|error| Error::io(self.target.display(), &error))
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        // Not there any more once it has been renamed.
        let _ = fs::remove_file(&self.temporary);
    }
}
