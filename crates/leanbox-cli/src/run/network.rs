//! `--network` of `leanbox run`.

use leanbox::{Network, TemplateBuilder};

/// What network it sees.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkArgs {
    /// none: its own, with a loopback device only. host: the host's, with all that listens there
    #[arg(long, value_name = "none|host", default_value = "none")]
    network: Which,
}

/// By Docker's names.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Which {
    None,
    Host,
}

impl NetworkArgs {
    pub(crate) fn apply(&self, builder: TemplateBuilder) -> TemplateBuilder {
        builder.network(match self.network {
            Which::None => Network::None,
            Which::Host => Network::Host,
        })
    }
}
