//! COPY: files of the app folder into the image. Sources are resolved beneath the app, the
//! destination inside the image's root, links included; nothing is followed out of either.

use crate::files::at;
use leanbox::{Error, ErrorKind, Result};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid};
use sha2::Sha256;
use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// A file to be copied: where it is, and its name below the destination ("" for a folder whose
/// contents are meant).
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) name: PathBuf,
}

/// All files that `sources` name in the app, ignored ones left out.
pub(crate) fn find(app: &Path, sources: &[String]) -> Result<Vec<Found>> {
    let ignored = Ignored::read(app)?;
    let mut found = Vec::new();
    for source in sources {
        let before = found.len();
        for path in matching(app, source)? {
            collect(app, &path, &ignored, &mut found)?;
        }
        if found.len() == before && !Path::new(&app.join(source)).is_dir() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("COPY {source}: no such file in the app folder {}", app.display()),
            ));
        }
    }
    Ok(found)
}

/// Paths beneath the app that a source names; `*`, `?` and `[…]` match within a component.
fn matching(app: &Path, source: &str) -> Result<Vec<PathBuf>> {
    let outside = || Error::invalid(format!("COPY {source}: outside the app folder"));
    let mut paths = vec![PathBuf::new()];
    for part in Path::new(source).components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(outside()),
            Component::Normal(name) => {
                let pattern = name.to_string_lossy().into_owned();
                paths = paths
                    .iter()
                    .map(|p| children(app, p, &pattern))
                    .collect::<Result<Vec<_>>>()?
                    .concat();
            }
        }
    }
    let inside = app.canonicalize().map_err(at(app))?;
    for path in &paths {
        let real = app.join(path).canonicalize().map_err(at(path))?;
        if !real.starts_with(&inside) {
            return Err(outside());
        }
    }
    Ok(paths)
}

fn children(app: &Path, folder: &Path, pattern: &str) -> Result<Vec<PathBuf>> {
    if !pattern.contains(['*', '?', '[']) {
        let path = folder.join(pattern);
        let there = fs::symlink_metadata(app.join(&path)).is_ok();
        return Ok(if there { vec![path] } else { Vec::new() });
    }
    let full = app.join(folder);
    let mut names: Vec<String> = fs::read_dir(&full)
        .map_err(at(&full))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| glob(pattern.as_bytes(), name.as_bytes()))
        .collect();
    names.sort();
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// `*`, `?` and `[a-z]`, as in Go's filepath.Match.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            glob(&pattern[1..], name) || (!name.is_empty() && glob(pattern, &name[1..]))
        }
        (Some(b'?'), Some(_)) => glob(&pattern[1..], &name[1..]),
        (Some(b'['), Some(c)) => match pattern.iter().position(|b| *b == b']') {
            Some(end) => class(&pattern[1..end], *c) && glob(&pattern[end + 1..], &name[1..]),
            None => false,
        },
        (Some(p), Some(c)) if p == c => glob(&pattern[1..], &name[1..]),
        _ => false,
    }
}

fn class(set: &[u8], c: u8) -> bool {
    let (negated, set) = set.strip_prefix(b"^").map_or((false, set), |set| (true, set));
    let mut hit = false;
    let mut at = 0;
    while at < set.len() {
        if set.get(at + 1) == Some(&b'-') && at + 2 < set.len() {
            hit |= (set[at]..=set[at + 2]).contains(&c);
            at += 3;
        } else {
            hit |= set[at] == c;
            at += 1;
        }
    }
    hit != negated
}

/// A source and everything below it. A folder's contents are copied, not itself; a link that is
/// named is followed, one inside a folder is kept.
fn collect(app: &Path, path: &Path, ignored: &Ignored, found: &mut Vec<Found>) -> Result<()> {
    let full = app.join(path);
    if !fs::metadata(&full).map_err(at(&full))?.is_dir() {
        if !ignored.matches(path) {
            let name = path.file_name().map(PathBuf::from).unwrap_or_default();
            found.push(Found { path: full.canonicalize().map_err(at(&full))?, name });
        }
        return Ok(());
    }
    let full = full.canonicalize().map_err(at(&full))?;
    for below in crate::files::walk(&full)? {
        let name = below.strip_prefix(&full).unwrap_or(&below).to_path_buf();
        if !ignored.matches(&path.join(&name)) {
            found.push(Found { path: below, name });
        }
    }
    Ok(())
}

/// What a build sees of the files, for the cache key.
pub(crate) fn hash(hash: &mut Sha256, found: &[Found]) -> Result<()> {
    found.iter().try_for_each(|file| crate::files::hash_file(hash, &file.name, &file.path))
}

/// Copies into the detached root. `dest` is absolute; `folder`: it must be one.
pub(crate) fn copy(root: &OwnedFd, found: &[Found], dest: &Path, folder: bool) -> Result<()> {
    let is_dir = open_inside(root, dest, OFlags::PATH | OFlags::DIRECTORY).is_ok();
    if folder || is_dir {
        make_folders(root, dest)?;
        return found.iter().try_for_each(|file| place(root, file, &dest.join(&file.name)));
    }
    make_folders(root, dest.parent().unwrap_or(Path::new("/")))?;
    found.iter().try_for_each(|file| place(root, file, dest))
}

/// Makes the folder `path` and all above it, links resolved inside.
pub(crate) fn make_folders(root: &OwnedFd, path: &Path) -> Result<()> {
    let mut so_far = PathBuf::from("/");
    for part in path.components().filter(|part| matches!(part, Component::Normal(_))) {
        let above = open_inside(root, &so_far, OFlags::PATH | OFlags::DIRECTORY)?;
        so_far.push(part);
        match rustix::fs::mkdirat(&above, part.as_os_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => {
                drop(open_inside(root, &so_far, OFlags::PATH | OFlags::DIRECTORY)?)
            }
            Err(errno) => {
                return Err(Error::syscall(format!("mkdir({:?})", so_far.display()), errno));
            }
        }
    }
    Ok(())
}

fn open_inside(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
        .map_err(|errno| Error::syscall(format!("openat2({:?}, IN_ROOT)", path.display()), errno))
}

/// Puts one file where it belongs, owned by root; what was there is replaced, never followed.
fn place(root: &OwnedFd, file: &Found, dest: &Path) -> Result<()> {
    let meta = fs::symlink_metadata(&file.path).map_err(at(&file.path))?;
    let mode = Mode::from_raw_mode(meta.mode() & 0o7777);
    let wrap = |errno| Error::syscall(format!("copy to {:?}", dest.display()), errno);
    if meta.is_dir() {
        make_folders(root, dest)?;
        let made = open_inside(root, dest, OFlags::RDONLY | OFlags::DIRECTORY)?;
        return rustix::fs::fchmod(&made, mode).map_err(wrap);
    }
    let above = open_inside(
        root,
        dest.parent().unwrap_or(Path::new("/")),
        OFlags::PATH | OFlags::DIRECTORY,
    )?;
    let name = dest.file_name().unwrap_or_default();
    match rustix::fs::unlinkat(&above, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(wrap(errno)),
    }
    if meta.is_symlink() {
        let target = fs::read_link(&file.path).map_err(at(&file.path))?;
        rustix::fs::symlinkat(&target, &above, name).map_err(wrap)?;
    } else if meta.is_file() {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made =
            rustix::fs::openat(&above, name, flags, Mode::from_raw_mode(0o600)).map_err(wrap)?;
        let mut made = fs::File::from(made);
        let mut source = fs::File::open(&file.path).map_err(at(&file.path))?;
        std::io::copy(&mut source, &mut made).and_then(|_| made.flush()).map_err(at(dest))?;
        made.set_permissions(fs::Permissions::from_mode(meta.mode() & 0o7777)).map_err(at(dest))?;
    } else {
        return Err(Error::invalid(format!(
            "{}: neither file, folder nor link",
            file.path.display()
        )));
    }
    let (root_id, root_group) = (Some(Uid::ROOT), Some(Gid::ROOT));
    rustix::fs::chownat(&above, name, root_id, root_group, AtFlags::SYMLINK_NOFOLLOW).map_err(wrap)
}

/// `.dockerignore`: the last pattern that matches wins, `!` takes back.
struct Ignored(Vec<(bool, Vec<String>)>);

impl Ignored {
    fn read(app: &Path) -> Result<Self> {
        let path = app.join(".dockerignore");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.map_err(at(&path))?,
        };
        let lines =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let patterns = lines.map(|line| {
            let (except, line) = line.strip_prefix('!').map_or((false, line), |line| (true, line));
            let parts = line.split('/').filter(|part| !part.is_empty() && *part != ".");
            (except, parts.map(String::from).collect())
        });
        Ok(Self(patterns.collect()))
    }

    fn matches(&self, path: &Path) -> bool {
        let parts: Vec<String> =
            path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        let hit = |pattern: &[String]| {
            (1..=parts.len()).any(|count| parts_match(pattern, &parts[..count]))
        };
        self.0.iter().rfind(|(_, pattern)| hit(pattern)).is_some_and(|(except, _)| !except)
    }
}

fn parts_match(pattern: &[String], parts: &[String]) -> bool {
    match (pattern.first(), parts.first()) {
        (None, None) => true,
        (Some(any), _) if any == "**" => {
            parts_match(&pattern[1..], parts)
                || (!parts.is_empty() && parts_match(pattern, &parts[1..]))
        }
        (Some(p), Some(c)) => {
            glob(p.as_bytes(), c.as_bytes()) && parts_match(&pattern[1..], &parts[1..])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_within_a_name() {
        for (pattern, name, hit) in [
            ("*.py", "a.py", true),
            ("*.py", "a.pyc", false),
            ("?.t[x-z]t", "a.txt", true),
            ("[^a]*", "abc", false),
            ("*", ".hidden", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), hit, "{pattern} {name}");
        }
    }

    #[test]
    fn the_last_matching_ignore_pattern_wins() {
        let parts = |text: &str| text.split('/').map(String::from).collect();
        let ignored = Ignored(vec![
            (false, parts("*.log")),
            (true, parts("keep.log")),
            (false, parts("**/x")),
        ]);
        assert!(ignored.matches(Path::new("a.log")));
        assert!(!ignored.matches(Path::new("keep.log")));
        assert!(ignored.matches(Path::new("a/b/x/c")));
        assert!(!ignored.matches(Path::new("a/b")));
    }
}
