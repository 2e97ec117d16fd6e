//! The groups that `classic` writes its pid into: one in every mounted v1 hierarchy, or one of
//! v2 where there is no other. Its critical path itself runs in the floor process.

use leanbox::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The groups, removed with this value.
#[derive(Debug)]
pub(crate) struct Groups {
    folders: Vec<PathBuf>,
}

impl Groups {
    /// Makes them below this process's own groups.
    pub(crate) fn create() -> Result<Self> {
        let read = |path| fs::read_to_string(path).map_err(|error| Error::io(path, &error));
        let (own, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?);
        let mut groups = Self { folders: Vec::new() };
        for parent in parents(&own, &mounts) {
            let folder = parent.join(format!("leanbox-classic-{}", std::process::id()));
            match fs::create_dir(&folder) {
                // Without root it has the hierarchies that were delegated.
                Err(error)
                    if error.kind() == std::io::ErrorKind::PermissionDenied
                        && !leanbox::is_machine_root() =>
                {
                    continue;
                }
                made => made.map_err(|error| Error::io(folder.display(), &error))?,
            }
            groups.folders.push(folder.clone());
            for file in ["cpuset.cpus", "cpuset.mems"] {
                inherit(&parent, &folder, file)?;
            }
        }
        Ok(groups)
    }

    /// Their `cgroup.procs` files.
    pub(crate) fn procs(&self) -> Vec<String> {
        let procs = |folder: &PathBuf| folder.join("cgroup.procs").display().to_string();
        self.folders.iter().map(procs).collect()
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for folder in &self.folders {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// A v1 cpuset group takes nobody until it has CPUs and memory nodes. One of v2 has no such files
/// where its parent holds processes.
fn inherit(parent: &Path, folder: &Path, file: &str) -> Result<()> {
    let target = folder.join(file);
    let Ok(value) = fs::read_to_string(parent.join(file)) else { return Ok(()) };
    if !target.exists() {
        return Ok(());
    }
    fs::write(&target, value).map_err(|error| Error::io(target.display(), &error))
}

/// This process's group in each v1 hierarchy, else in v2.
fn parents(own: &str, mounts: &str) -> Vec<PathBuf> {
    let of_type = |kind: &str| -> Vec<PathBuf> {
        let lines = mounts.lines().filter_map(|line| line.split_once(" - "));
        let lines = lines.filter(|(_, super_block)| super_block.split(' ').next() == Some(kind));
        lines.filter_map(|(mount, super_block)| parent(own, mount, super_block)).collect()
    };
    let v1 = of_type("cgroup");
    if v1.is_empty() { of_type("cgroup2") } else { v1 }
}

fn parent(own: &str, mount: &str, super_block: &str) -> Option<PathBuf> {
    let mut mount = mount.split(' ').skip(3);
    let (root, at) = (mount.next()?, mount.next()?);
    let options = super_block.split(' ').nth(2)?;
    let path = own.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let first = controllers.split(',').next()?;
        options.split(',').any(|option| option == first).then_some(path)
    });
    let path = path.or_else(|| own.lines().find_map(|line| line.strip_prefix("0::")))?;
    let below = path.strip_prefix(root).unwrap_or(path).trim_start_matches('/');
    Some(Path::new(at).join(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_v1_hierarchy_has_a_place_and_v2_only_alone() {
        let own = "2:memory:/a/b\n1:name=systemd:/\n0::/x\n";
        let mounts = "35 31 0:32 / /cg/memory rw - cgroup cgroup rw,memory\n\
                      40 31 0:37 / /cg/systemd rw - cgroup cgroup rw,name=systemd\n\
                      41 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(parents(own, mounts), [Path::new("/cg/memory/a/b"), Path::new("/cg/systemd/")]);
        let v2 = mounts.lines().last().unwrap();
        assert_eq!(parents(own, v2), [Path::new("/cg/unified/x")]);
    }
}
