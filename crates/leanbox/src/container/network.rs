//! The network of a running container, for others to join.

use super::Container;
use crate::{Error, ErrorKind, Result, cgroup};
use std::fs::File;
use std::os::fd::OwnedFd;

impl Container {
    /// Its network namespace, for [`Network::Join`](crate::Network::Join) as
    /// `/proc/self/fd/NUMBER`, or setns(2). To be used while it runs only: afterwards its pool may
    /// have another container in it.
    ///
    /// # Errors
    /// `Gone` if it has ended.
    pub fn network_namespace(&self) -> Result<OwnedFd> {
        // Not the program's, which may have gone into another.
        let pidfd = self.running("network")?.launcher();
        let gone = || Error::new(ErrorKind::Gone, "network: the container has ended");
        let pid = cgroup::pid_of(pidfd).ok_or_else(gone)?;
        let path = format!("/proc/{}/ns/net", pid.as_raw_nonzero());
        let namespace = File::open(&path).map_err(|error| Error::io(&path, &error))?;
        // It was not another's who had that number meanwhile.
        cgroup::pid_of(pidfd).ok_or_else(gone)?;
        Ok(namespace.into())
    }
}
