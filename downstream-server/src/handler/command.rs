//! The `command` handler: a program of the user's own, run for each object, batch or event.
//!
//! What it is given is whole before it starts: the decoded bytes are written to a file without a
//! name, length and checksum are found right, and then that file is the program's standard
//! input. So it never takes the first half of an object for the whole, also when the server is
//! killed meanwhile, and it may leave its input unread. Batches and single events are taken out
//! of the stream as it passes; the last batch of an object comes only after the check.
//!
//! The program's exit code decides: 0 is done. A code in `later_codes` says "not now": the
//! object is tried again and that never uses its attempts up. A code in `dead_codes` makes it a
//! dead letter at once. Any other, a signal and the time-out are failures, tried again until the
//! attempts are used up. A program that cannot be started says nothing about the object: later.

mod environment;
mod output;
mod run;

use std::ffi::OsString;
use std::path::PathBuf;

use async_trait::async_trait;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use super::batches::{Batch, Batches};
use super::progress::Progress;
use super::{Delivery, Effect, Handler, HandlerError, NoEffect, skip_set_aside};
use crate::config::{CommandConfig, Feed};
use crate::fetch::Content;
use run::{How, Run};

/// Runs a program.
#[derive(Debug)]
pub struct Command {
    config: CommandConfig,
    /// Folder of the nameless files.
    spool: PathBuf,
    progress: Progress,
}

impl Command {
    /// Runs the program of `config`; what it is given waits in `spool`, an existing folder,
    /// unless the configuration names another.
    pub fn new(config: CommandConfig, spool: PathBuf) -> Self {
        let spool = config.spool_dir.clone().unwrap_or(spool);
        Self { config, spool, progress: Progress::default() }
    }

    async fn whole(&self, delivery: &Delivery, content: &mut Content) -> Result<(), HandlerError> {
        let mut file = self.spool().await?;
        while let Some(piece) = content.next().await? {
            file.write_all(&piece).await.map_err(HandlerError::later)?;
        }
        self.run(environment::of_object(delivery, content), file).await
    }

    async fn batch(
        &self,
        delivery: &Delivery,
        batch: &Batch,
        mut environment: Vec<(OsString, OsString)>,
    ) -> Result<(), HandlerError> {
        environment.extend(environment::of_batch(delivery, batch));
        let mut file = self.spool().await?;
        file.write_all(&batch.bytes).await.map_err(HandlerError::later)?;
        self.run(environment, file).await
    }

    /// A file that the disk forgets once the last program that has it open ends.
    async fn spool(&self) -> Result<tokio::fs::File, HandlerError> {
        let folder = self.spool.clone();
        let made = tokio::task::spawn_blocking(move || tempfile::tempfile_in(folder)).await;
        let file = made.map_err(HandlerError::later)?.map_err(HandlerError::later)?;
        Ok(tokio::fs::File::from_std(file))
    }

    async fn run(
        &self,
        environment: Vec<(OsString, OsString)>,
        mut input: tokio::fs::File,
    ) -> Result<(), HandlerError> {
        input.flush().await.map_err(HandlerError::later)?;
        input.rewind().await.map_err(HandlerError::later)?;
        let run = Run::start(&self.config, environment, input.into_std().await)
            .map_err(|error| not_started(&self.config.argv[0], error))?;
        let ended = run.end(&self.config).await;
        let code = match ended.how {
            How::Code(0) => return Ok(()),
            How::Code(code) => Some(code),
            How::Signal(_) | How::TimedOut(_) | How::Unknown(_) => None,
        };
        let is = |codes: &[i32]| code.is_some_and(|code| codes.contains(&code));
        Err(if is(&self.config.dead_codes) {
            HandlerError::Never(ended.into())
        } else if is(&self.config.later_codes) {
            HandlerError::later(ended)
        } else {
            HandlerError::retry(ended)
        })
    }
}

/// A key or a value of metadata that no environment can hold is the object's own fault; anything
/// else that keeps a program from starting befalls all objects alike.
fn not_started(program: &str, error: std::io::Error) -> HandlerError {
    let never = error.kind() == std::io::ErrorKind::InvalidInput;
    let error = NotStarted { program: program.to_owned(), source: error };
    if never { HandlerError::Never(error.into()) } else { HandlerError::later(error) }
}

#[derive(Debug, thiserror::Error)]
#[error("starting {program}: {source}")]
struct NotStarted {
    program: String,
    source: std::io::Error,
}

#[async_trait]
impl Handler for Command {
    fn name(&self) -> &'static str {
        "command"
    }

    async fn handle(
        &self,
        delivery: &Delivery,
        content: &mut Content,
    ) -> Result<Box<dyn Effect>, HandlerError> {
        if skip_set_aside(delivery, self.config.set_aside) {
            return Ok(Box::new(NoEffect));
        }
        match &self.config.feed {
            Feed::Object => self.whole(delivery, content).await?,
            Feed::Batches(limits) => {
                let environment = environment::of_object(delivery, content);
                let mut batches = Batches::new(content, *limits)?;
                while let Some(batch) = batches.next().await? {
                    if !self.progress.has(&delivery.id, &batch) {
                        self.batch(delivery, &batch, environment.clone()).await?;
                        self.progress.passed(&delivery.id, &batch);
                    }
                }
                self.progress.forget(&delivery.id);
            }
        }
        Ok(Box::new(NoEffect))
    }
}

#[cfg(test)]
mod tests;
