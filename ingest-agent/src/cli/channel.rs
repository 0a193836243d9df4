//! `ingest-agent channel ...`: what an operator does to a channel's folder while no agent runs on it.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use contract::{ChannelId, SinkName, exit};
use durable_channel::{Channel as _, DurableChannel, Options, RetireError};

use super::Failure;
use crate::error::open_code;

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum ChannelCommand {
    /// Show the channel's id, its positions and its readers
    Show(Dir),
    /// Give up what the channel keeps for the reader NAME, for good
    Retire {
        /// The reader: the name of a sink that the configuration has no more
        name: SinkName,
        #[command(flatten)]
        dir: Dir,
    },
    /// Give a copy of a channel (a cloned disk, an old snapshot) an id of its own, so that it may ship
    Adopt(Dir),
}

#[derive(Debug, Args)]
pub(super) struct Dir {
    /// The channel's folder, such as DATA_DIR/channels/main
    #[arg(long)]
    dir: PathBuf,
}

pub(super) fn execute(command: ChannelCommand) -> Result<(), Failure> {
    match command {
        ChannelCommand::Show(dir) => {
            let channel = dir.open()?;
            let stats = channel.stats();
            println!("channel {}", ChannelId(channel.id()));
            println!("positions {} to {}, {} bytes", stats.first, stats.next, stats.used_bytes);
            for reader in channel.readers() {
                println!("reader {} is done with all below {}", reader.name, reader.released);
            }
            close(&channel)
        }
        ChannelCommand::Retire { name, dir } => {
            let channel = dir.open()?;
            channel.retire(name.as_str()).map_err(|error| {
                let code = if matches!(error, RetireError::Io { .. }) { exit::IO } else { exit::DATA };
                Failure::new(code, "retiring a reader", &error)
            })?;
            println!("the reader {name} is retired");
            close(&channel)
        }
        ChannelCommand::Adopt(dir) => {
            let id = DurableChannel::adopt(dir.existing()?);
            let id = id.map_err(|error| Failure::new(open_code(&error), "adopting the channel", &error))?;
            println!("the channel's id is {} from now on", ChannelId(id));
            Ok(())
        }
    }
}

fn close(channel: &DurableChannel) -> Result<(), Failure> {
    channel.close().map_err(|error| Failure::new(exit::IO, "closing the channel", &error))
}

impl Dir {
    /// The folder, if it is there: a mistyped one must not become a new channel.
    pub(super) fn existing(&self) -> Result<&Path, Failure> {
        if self.dir.is_dir() {
            return Ok(&self.dir);
        }
        let text = format!("there is no channel in {}", self.dir.display());
        Err(Failure { code: exit::CONFIG, text })
    }

    fn open(&self) -> Result<DurableChannel, Failure> {
        let opened = DurableChannel::open(self.existing()?, &Options::default());
        let (channel, _) =
            opened.map_err(|error| Failure::new(open_code(&error), "opening the channel", &error))?;
        Ok(channel)
    }
}
