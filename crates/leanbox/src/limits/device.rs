//! Block devices and what may be read from and written to them.

use crate::{Error, ErrorKind, Result};
use std::fmt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::str::FromStr;

/// A block device by its numbers: `/dev/sda`, `8:0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockDevice {
    /// Of its driver.
    pub major: u32,
    /// Of the device.
    pub minor: u32,
}

/// What may be read from and written to one device a second. On cgroup v1 only what goes to the
/// device at once counts as written (`O_DIRECT`, fsync(2)), not what the kernel writes back later
/// (the kernel's `blkio-controller.rst`); on v2 all of it (`cgroup-v2.rst`, "io.max").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoLimit {
    /// A whole disk, not a partition.
    pub device: BlockDevice,
    /// Bytes read a second.
    pub read_bps: Option<u64>,
    /// Bytes written a second.
    pub write_bps: Option<u64>,
    /// Read operations a second.
    pub read_iops: Option<u64>,
    /// Write operations a second.
    pub write_iops: Option<u64>,
}

impl IoLimit {
    /// None yet, of this device.
    #[must_use]
    pub fn new(device: BlockDevice) -> Self {
        Self { device, read_bps: None, write_bps: None, read_iops: None, write_iops: None }
    }

    /// The kernel takes 0 for no limit.
    pub(super) fn validate(&self) -> Result<()> {
        let all = [self.read_bps, self.write_bps, self.read_iops, self.write_iops];
        if all.contains(&Some(0)) {
            let text = format!("block I/O limit of 0 for {}", self.device);
            return Err(Error::invalid(text).remedy("at least 1 a second, or none"));
        }
        self.device.check()
    }

    /// What the other limits too, on top of this.
    pub(crate) fn with(self, other: &Self) -> Self {
        Self {
            device: self.device,
            read_bps: other.read_bps.or(self.read_bps),
            write_bps: other.write_bps.or(self.write_bps),
            read_iops: other.read_iops.or(self.read_iops),
            write_iops: other.write_iops.or(self.write_iops),
        }
    }
}

impl BlockDevice {
    /// The kernel limits whole disks.
    fn check(self) -> Result<()> {
        let folder = format!("/sys/dev/block/{self}");
        if !Path::new(&folder).exists() {
            let text = format!("block I/O limit for {self}: no such block device");
            return Err(Error::new(ErrorKind::NotFound, text).remedy("lsblk lists them"));
        }
        if Path::new(&folder).join("partition").exists() {
            let text = format!("block I/O limit for {self}: it is a partition");
            return Err(Error::invalid(text).remedy("name the whole disk: lsblk shows which"));
        }
        Ok(())
    }
}

impl FromStr for BlockDevice {
    type Err = Error;

    /// The path of a device, or `MAJOR:MINOR`.
    ///
    /// # Errors
    /// It cannot be looked at, or is no block device.
    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.split_once(':').and_then(|(major, minor)| {
            Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
        });
        if let Some(device) = numbers {
            return Ok(device);
        }
        let metadata = std::fs::metadata(text)
            .map_err(|error| Error::io(format!("stat({text:?})"), &error))?;
        if !metadata.file_type().is_block_device() {
            return Err(Error::invalid(format!("{text:?} is not a block device"))
                .remedy("name a disk, as in /dev/sda or 8:0"));
        }
        let number = metadata.rdev();
        Ok(Self { major: rustix::fs::major(number), minor: rustix::fs::minor(number) })
    }
}

impl fmt::Display for BlockDevice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_by_numbers_or_by_its_path() {
        let device: BlockDevice = "8:16".parse().unwrap();
        assert_eq!((device.major, device.minor), (8, 16));
        let line = "/dev/null".parse::<BlockDevice>().unwrap_err().to_string();
        assert!(line.starts_with("\"/dev/null\" is not a block device; "), "{line}");
        let error = "/dev/no-such".parse::<BlockDevice>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_is_no_disk_or_no_limit_is_refused() {
        let nowhere = IoLimit::new(BlockDevice { major: 4000, minor: 1 });
        let line = nowhere.validate().unwrap_err().to_string();
        assert!(line.starts_with("block I/O limit for 4000:1: no such block device; "), "{line}");
        let zero = IoLimit { read_bps: Some(0), ..nowhere };
        let line = zero.validate().unwrap_err().to_string();
        assert!(line.starts_with("block I/O limit of 0 for 4000:1; "), "{line}");
    }
}
