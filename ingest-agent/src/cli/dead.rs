//! `sluicegate-agent dead ...`: cuts that the store would never take, listed, sent again or given up.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use contract::{SinkName, exit};

use super::Failure;
use crate::error::{open_code, s3_code};
use crate::sink::s3::dead::{DeadCuts, DeadError};

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum DeadCommand {
    /// List them, one JSON object a line: number, key, events, why, and the file that keeps the object
    List(Of),
    /// Send cuts again, under the same keys, at the agent's next start
    Replay(Which),
    /// Give cuts up for good; their events stay counted as dead-lettered
    Drop(Which),
}

#[derive(Debug, Args)]
pub(super) struct Of {
    /// The channel's folder, such as DATA_DIR/channels/main
    #[arg(long)]
    dir: PathBuf,
    /// The sink
    #[arg(long, default_value = "s3")]
    sink: SinkName,
}

#[derive(Debug, Args)]
pub(super) struct Which {
    #[command(flatten)]
    of: Of,
    /// Numbers from the list
    #[arg(required_unless_present = "all")]
    numbers: Vec<u64>,
    /// Every one of the list
    #[arg(long, conflicts_with = "numbers")]
    all: bool,
}

pub(super) fn execute(command: DeadCommand) -> Result<(), Failure> {
    match command {
        DeadCommand::List(of) => of.with(|dead| {
            for cut in dead.list() {
                println!("{}", serde_json::to_string(&cut).expect("its members are texts and numbers"));
            }
            Ok(())
        }),
        DeadCommand::Replay(which) => which.each("is sent again at the next start", DeadCuts::replay),
        DeadCommand::Drop(which) => which.each("is given up", DeadCuts::drop_cut),
    }
}

impl Of {
    fn with(&self, act: impl FnOnce(&mut DeadCuts) -> Result<(), DeadError>) -> Result<(), Failure> {
        let dir = super::channel::existing(&self.dir)?;
        let done = DeadCuts::open(dir, &self.sink).and_then(|mut dead| {
            let acted = act(&mut dead);
            acted.and(dead.close())
        });
        done.map_err(|error| Failure::new(exit_code(&error), "dead cuts", &error))
    }
}

impl Which {
    /// One after the other, each told once it is recorded.
    fn each(
        self,
        done: &str,
        act: impl Fn(&mut DeadCuts, u64) -> Result<(), DeadError>,
    ) -> Result<(), Failure> {
        self.of.with(|dead| {
            let listed = || dead.list().iter().map(|cut| cut.number).collect();
            let numbers: Vec<u64> = if self.all { listed() } else { self.numbers };
            numbers.into_iter().try_for_each(|number| {
                act(dead, number)?;
                println!("cut {number} {done}");
                Ok(())
            })
        })
    }
}

fn exit_code(error: &DeadError) -> u8 {
    match error {
        DeadError::Open(error) => open_code(error),
        DeadError::NoSink(_) | DeadError::NoCut(_) => exit::DATA,
        DeadError::Sink(error) => s3_code(error),
        DeadError::Close(_) => exit::IO,
    }
}
