//! Where the rows run: a root file system, and a folder on a disk with a large file, to be written
//! to. (The root may be a copy in memory, where ids cannot be mapped.)

use crate::common::{Folder, folder, hostile};
use leanbox::{
    Bind, BlockDevice, Command, Container, IoLimit, Limits, Outcome, Pool, Result, Rootfs, Stdio,
    Template, TemplateBuilder,
};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

pub(crate) const MIB: u64 = 1 << 20;
/// The file's, and what `direct-write` writes.
pub(crate) const FILE_BYTES: u64 = 16 * MIB;

pub(crate) struct Place {
    root: Folder,
    data: Folder,
}

impl Place {
    pub(crate) fn make(name: &str) -> Self {
        let (root, data) = (hostile(&format!("over-{name}")), folder(&format!("over-{name}-data")));
        fs::set_permissions(&data.0, fs::Permissions::from_mode(0o777)).unwrap();
        fs::create_dir(root.0.join("data")).unwrap();
        let mut file = fs::File::create(data.0.join("large")).unwrap();
        (0..FILE_BYTES / MIB).for_each(|_| file.write_all(&[7; 1 << 20]).unwrap());
        file.sync_all().unwrap();
        Self { root, data }
    }

    fn builder(&self, limits: Limits) -> TemplateBuilder {
        Template::builder(Rootfs::open(&self.root.0).unwrap()).limits(limits)
    }

    pub(crate) fn pool(&self, limits: Limits) -> Pool {
        let builder = self.builder(limits).bind(Bind::new(&self.data.0, "/data"));
        Pool::new(&builder.build().unwrap(), 1).unwrap()
    }

    /// One whose root takes so much.
    pub(crate) fn writable(&self, bytes: u64) -> Result<Pool> {
        Pool::new(&self.builder(Limits::default()).writable(bytes).build()?, 1)
    }

    /// A shell script under these limits.
    pub(crate) fn sh(&self, limits: Limits, script: &str) -> Outcome {
        shell(script).output(&self.pool(limits)).unwrap()
    }

    /// The limits of the disk that all lies on.
    pub(crate) fn disk(&self) -> IoLimit {
        let number = fs::metadata(&self.root.0).unwrap().dev();
        let numbers = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
        let device = fs::canonicalize(format!("/sys/dev/block/{numbers}"))
            .expect("block I/O is tried on a disk: set TMPDIR to a folder of one");
        let is_part = device.join("partition").exists();
        let disk = if is_part { device.parent().unwrap() } else { &device };
        let device: BlockDevice =
            fs::read_to_string(disk.join("dev")).unwrap().trim().parse().unwrap();
        IoLimit::new(device)
    }
}

pub(crate) fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// A container that is past `script`, and goes on.
pub(crate) fn past(pool: &Pool, script: &str) -> Container {
    let mut command = shell(&format!("{script}; echo; exec sleep 1000"));
    let mut container = command.stdout(Stdio::Piped).spawn(pool).unwrap();
    let mut byte = [0];
    while byte != *b"\n" {
        container.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
    }
    container
}

pub(crate) fn text(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.stdout.bytes).trim().to_string()
}

pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB as f64)
}

/// Its kernel, and where its memory controller is.
pub(crate) fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let layout = match (crate::common::has_memory_v1(), Path::new("/sys/fs/cgroup/cgroup.procs")) {
        (true, _) => "cgroup v1 or hybrid",
        (false, top) if top.exists() => "cgroup v2 alone",
        (false, _) => "cgroup v2",
    };
    format!("Linux {}, {layout}", kernel.trim())
}
