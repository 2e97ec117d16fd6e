//! How slots come by a network that the keeper does not make.

use super::forwarding::Forwarding;
use super::pasta::{Pasta, Pastas};
use super::{Network, namespace};
use crate::owner::{Owner, has_blocks, state_folder};
use crate::{Bind, Error, Result};
use std::fs::Permissions;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
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
    /// The same without root.
    Carried(Box<Pastas>),
}

/// The network namespace of a slot; it lasts as long as this or anybody in it.
#[derive(Debug)]
pub(crate) struct Attachment {
    namespace: Arc<OwnedFd>,
    _pasta: Option<Pasta>,
}

impl AsFd for Attachment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
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
            Network::Nat(nat) => {
                let folder = state_folder().join(format!("{}-net", owner.name()));
                owner.owns_folder(folder.clone())?;
                std::fs::create_dir(&folder)
                    .map_err(|error| Error::io(folder.display(), &error))?;
                let resolv_conf = folder.join("resolv.conf");
                let (attachments, text) = if has_blocks() {
                    let forwarding = Forwarding::begin(nat, owner)?;
                    let text = forwarding.resolv_conf().to_string();
                    (Self::Forwarded(Box::new(forwarding)), text)
                } else {
                    let pastas = Pastas::begin(nat, folder)?;
                    let text = pastas.resolv_conf().to_string();
                    (Self::Carried(Box::new(pastas)), text)
                };
                let is_taken = binds.iter().any(|bind| bind.target == Path::new(RESOLV_CONF));
                if !is_taken && !text.is_empty() {
                    binds.push(show_resolv_conf(resolv_conf, &text)?);
                }
                Ok(attachments)
            }
        }
    }

    /// The network of one slot.
    pub(crate) fn attach(&self) -> Result<Option<Attachment>> {
        let during = |error: Error| error.during("making a network");
        let (namespace, pasta) = match self {
            Self::Nothing => return Ok(None),
            Self::Joined(namespace) => (Arc::clone(namespace), None),
            Self::Forwarded(forwarding) => {
                (Arc::new(forwarding.namespace().map_err(during)?), None)
            }
            Self::Carried(pastas) => {
                let (namespace, pasta) = pastas.namespace().map_err(during)?;
                (Arc::new(namespace), Some(pasta))
            }
        };
        Ok(Some(Attachment { namespace, _pasta: pasta }))
    }
}

/// A file with that text, for every user inside, whatever this process's umask is.
fn show_resolv_conf(file: PathBuf, text: &str) -> Result<Bind> {
    std::fs::write(&file, text)
        .and_then(|()| std::fs::set_permissions(&file, Permissions::from_mode(0o644)))
        .map_err(|error| Error::io(file.display(), &error))?;
    Ok(Bind::new(file, RESOLV_CONF).read_only())
}
