//! `--network` of `leanbox run`, and what leads in and out of it.

use crate::named;
use leanbox::{Allow, Error, Nat, Network, Publish, Result, TemplateBuilder};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

/// What network it sees.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// none: its own, with a loopback device only. nat: its own, out through this host, IPv4 alone;
    /// private, link-local and metadata addresses and the host itself are refused. host: the host's,
    /// with all that listens there. container:NAME: that of a detached container. join:FILE: that of
    /// /run/netns/NAME or /proc/PID/ns/net
    #[arg(long, value_name = "none|nat|host|container:NAME|join:FILE", default_value = "none")]
    #[arg(value_parser = which)]
    network: Which,
    /// With nat, let it reach this although it would be refused: by tcp unless /udp follows. A
    /// name's addresses are those of now. May be given again
    #[arg(long, value_name = "HOST|CIDR:PORT[-PORT]", value_parser = allow)]
    allow: Vec<Allowed>,
    /// With nat, lead a port of this host (of 127.0.0.1, unless an address is named) to one inside.
    /// May be given again
    #[arg(long, short, value_name = "[ADDR:]PORT:PORT[/udp]", value_parser = publish)]
    publish: Vec<Publish>,
    /// With nat, ask this server for names [default: those that this host asks]. May be given again
    #[arg(long, value_name = "ADDR")]
    dns: Vec<Ipv4Addr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Which {
    None,
    Nat,
    Host,
    Join(PathBuf),
    Container(String),
}

/// All that one word allows.
type Allowed = Vec<Allow>;

fn which(word: &str) -> Result<Which> {
    match word {
        "none" => Ok(Which::None),
        "nat" => Ok(Which::Nat),
        "host" => Ok(Which::Host),
        _ => match word.split_once(':') {
            Some(("join", file)) if !file.is_empty() => Ok(Which::Join(file.into())),
            Some(("container", name)) => {
                Ok(Which::Container(named::name(name).map_err(Error::invalid)?))
            }
            _ => Err(Error::invalid(format!("{word:?} is no network")).remedy(
                "it is none, nat, host, container:NAME, or join:FILE as in join:/run/netns/NAME",
            )),
        },
    }
}

fn allow(word: &str) -> Result<Allowed> {
    Allow::read(word)
}

fn publish(word: &str) -> Result<Publish> {
    word.parse()
}

impl NetworkArgs {
    /// What only means something with another network.
    pub(crate) fn check(&self) -> Result<()> {
        let given = [
            ("--allow", !self.allow.is_empty()),
            ("--publish", !self.publish.is_empty()),
            ("--dns", !self.dns.is_empty()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given && self.network != Which::Nat) {
            Some((option, _)) => Err(Error::invalid(format!("{option} is about --network nat"))
                .remedy(format!("leave {option} out, or add --network nat"))),
            None => Ok(()),
        }
    }

    /// With what has to stay open until the template is built.
    pub(crate) fn apply(
        &self,
        builder: TemplateBuilder,
    ) -> Result<(TemplateBuilder, Option<OwnedFd>)> {
        let mut joined = None;
        let network = match &self.network {
            Which::None => Network::None,
            Which::Container(name) => {
                let namespace = joined.insert(named::network_of(name)?);
                Network::Join(format!("/proc/self/fd/{}", namespace.as_raw_fd()).into())
            }
            Which::Host => Network::Host,
            Which::Join(file) => Network::Join(file.clone()),
            Which::Nat => Network::Nat(Nat {
                allow: self.allow.concat(),
                publish: self.publish.clone(),
                nameservers: (!self.dns.is_empty()).then(|| self.dns.clone()),
            }),
        };
        Ok((builder.network(network), joined))
    }
}
