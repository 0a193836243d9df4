//! `sluicegate-agent channel ...`: what an operator does to a channel's folder while no agent runs on it.

mod report;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use contract::{ChannelId, SinkName, exit};
use durable_channel::{Channel as _, DurableChannel, Inspection, Options, RetireError};

use super::Failure;
use crate::error::{open_code, s3_code};
use crate::sink::s3::{Known, known};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum ChannelCommand {
    /// Show everything that the folder holds: segments, readers, journals, damage. Changes nothing
    Inspect(Look),
    /// Read and check every byte that counts, and print what is wrong. Changes nothing
    ///
    /// Exits with 0 if all is sound, with 65 if something is damaged, and with 74 if it could not be read.
    Verify(Look),
    /// Do what a start would do, set damaged bytes aside, and let readers without readable progress start again
    Repair {
        #[command(flatten)]
        dir: Dir,
        /// Do it; without this it is only said
        #[arg(long)]
        yes: bool,
    },
    /// Give up what the channel keeps for the reader NAME, for good
    Retire {
        #[command(flatten)]
        dir: Dir,
        /// The reader: the name of a sink that the configuration has no more
        name: SinkName,
    },
    /// Give a copy of a channel (a cloned disk, an old snapshot) an id of its own, so that it may ship
    Adopt(Dir),
}

#[derive(Debug, Args)]
pub(super) struct Look {
    #[command(flatten)]
    dir: Dir,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Dir {
    /// The channel's folder, such as DATA_DIR/channels/main
    dir: PathBuf,
}

pub(super) fn execute(command: ChannelCommand) -> Result<(), Failure> {
    match command {
        ChannelCommand::Inspect(look) => {
            let found = look.dir.inspect()?;
            if look.json {
                println!("{}", report::json(&found));
            } else {
                print!("{}", report::table(&found));
            }
            Ok(())
        }
        ChannelCommand::Verify(look) => {
            let found = look.dir.inspect()?;
            if look.json {
                println!("{}", report::json(&found));
            } else {
                print!("{}", report::verdict(&found));
            }
            if found.is_sound() {
                return Ok(());
            }
            Err(Failure { code: exit::DATA, text: format!("{} is damaged", look.dir.dir.display()) })
        }
        ChannelCommand::Repair { dir, yes } => repair(&dir, yes),
        ChannelCommand::Retire { dir, name } => {
            let channel = dir.open()?;
            channel.retire(name.as_str()).map_err(|error| {
                let code = if matches!(error, RetireError::Io { .. }) { exit::IO } else { exit::DATA };
                Failure::new(code, "retiring a reader", &error)
            })?;
            println!("the reader {name} is retired");
            channel.close().map_err(|error| Failure::new(exit::IO, "closing the channel", &error))
        }
        ChannelCommand::Adopt(dir) => {
            let path = existing(&dir.dir)?;
            let known = known_to_sinks(path)?;
            let id = DurableChannel::adopt(path, known.used_below);
            let id = id.map_err(|error| Failure::new(open_code(&error), "adopting the channel", &error))?;
            print!("{}", report::adopted(ChannelId(id), &known));
            Ok(())
        }
    }
}

fn repair(dir: &Dir, yes: bool) -> Result<(), Failure> {
    let found = dir.inspect()?;
    print!("{}", report::verdict(&found));
    if !yes {
        println!("nothing was changed; with --yes this is repaired as far as that needs no guess");
        return Ok(());
    }
    let repaired =
        DurableChannel::repair(&dir.dir, &Options::default(), known_to_sinks(&dir.dir)?.used_below);
    let repaired =
        repaired.map_err(|error| Failure::new(open_code(&error), "repairing the channel", &error))?;
    let mut text = format!(
        "cut {} torn bytes, copied {} frames, counted {} positions as damaged, set {} bytes aside\n",
        repaired.recovery.torn_bytes,
        repaired.recovery.copied_frames,
        repaired.damaged,
        repaired.set_aside_bytes,
    );
    for reader in &repaired.restarted {
        let _ = writeln!(text, "the reader {reader} starts again at the oldest event held");
    }
    print!("{text}");
    Ok(())
}

/// What sinks know of the channel, whatever is left of the log.
fn known_to_sinks(dir: &Path) -> Result<Known, Failure> {
    known(dir).map_err(|error| Failure::new(s3_code(&error), "reading the sinks' journals", &error))
}

/// The folder, if there is a channel in it: a mistyped one must not become a new channel.
pub(super) fn existing(dir: &Path) -> Result<&Path, Failure> {
    if ["identity", "segments"].iter().any(|name| dir.join(name).exists()) {
        return Ok(dir);
    }
    Err(Failure { code: exit::CONFIG, text: format!("there is no channel in {}", dir.display()) })
}

impl Dir {
    fn inspect(&self) -> Result<Inspection, Failure> {
        DurableChannel::inspect(existing(&self.dir)?)
            .map_err(|error| Failure::new(open_code(&error), "looking at the channel", &error))
    }

    fn open(&self) -> Result<DurableChannel, Failure> {
        let opened = DurableChannel::open(existing(&self.dir)?, &Options::default());
        let (channel, _) =
            opened.map_err(|error| Failure::new(open_code(&error), "opening the channel", &error))?;
        Ok(channel)
    }
}
