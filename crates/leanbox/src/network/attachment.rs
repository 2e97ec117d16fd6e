//! How slots come by a network that the keeper does not make.

use super::forwarding::Forwarding;
use super::{Network, namespace};
use crate::owner::{Owner, has_blocks, state_folder};
use crate::{Bind, Error, ErrorKind, Result};
use std::fs::Permissions;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Where a template's slots have their networks from.
#[derive(Debug)]
pub(crate) enum Attachments {
    /// The keeper makes them, or all are the host's.
    Nothing,
    /// One for all.
    Joined(Arc<OwnedFd>),
    /// One for each, out through the host.
    Forwarded(Box<Forwarding>),
}

/// The network namespace of a slot; it lasts as long as this or anybody in it.
#[derive(Debug)]
pub(crate) struct Attachment(Arc<OwnedFd>);

impl AsFd for Attachment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Attachments {
    /// What the network needs before any slot, and what slots see of it: more binds.
    pub(crate) fn prepare(
        network: &Network,
        owner: &mut Owner,
        binds: &mut Vec<Bind>,
    ) -> Result<Self> {
        match network {
            Network::None | Network::Host => Ok(Self::Nothing),
            Network::Join(path) => Ok(Self::Joined(Arc::new(namespace::open_to_join(path)?))),
            Network::Nat(_) if !has_blocks() => {
                let text = "network nat needs the machine's root";
                Err(Error::new(ErrorKind::Unsupported, text).remedy(
                    "without root, hand sockets over (--listen, --fd) or take network host",
                ))
            }
            Network::Nat(nat) => {
                let forwarding = Forwarding::begin(nat, owner)?;
                let is_taken = binds.iter().any(|bind| bind.target == Path::new(RESOLV_CONF));
                if !is_taken && !forwarding.resolv_conf().is_empty() {
                    binds.push(resolv_conf(forwarding.resolv_conf(), owner)?);
                }
                Ok(Self::Forwarded(Box::new(forwarding)))
            }
        }
    }

    /// The network of one slot.
    pub(crate) fn attach(&self) -> Result<Option<Attachment>> {
        Ok(match self {
            Self::Nothing => None,
            Self::Joined(namespace) => Some(Attachment(Arc::clone(namespace))),
            Self::Forwarded(forwarding) => {
                let namespace = forwarding.namespace();
                let namespace = namespace.map_err(|error| error.during("making a network"))?;
                Some(Attachment(Arc::new(namespace)))
            }
        })
    }
}

/// A file with that text, to be shown inside; it goes with its owner.
fn resolv_conf(text: &str, owner: &mut Owner) -> Result<Bind> {
    let folder = state_folder().join(format!("{}-net", owner.name()));
    owner.owns_folder(folder.clone())?;
    let file = folder.join("resolv.conf");
    // For every user inside, whatever this process's umask is.
    std::fs::create_dir(&folder)
        .and_then(|()| std::fs::write(&file, text))
        .and_then(|()| std::fs::set_permissions(&file, Permissions::from_mode(0o644)))
        .map_err(|error| Error::io(file.display(), &error))?;
    Ok(Bind::new(file, RESOLV_CONF).read_only())
}
