//! Whether the inbox would take a notice now: what a commit says that was made for the question.
//!
//! Nothing is believed that was not tried: a database that is stopped, frozen, locked, read-only or on a full disk
//! looks like any other until somebody writes. So whoever asks causes a write that asks for what a notice
//! asks for, once a second at most. An inbox that nobody asks about is left alone.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::database::Database;
use super::error::InboxError;
use super::{Answer, Inbox, job};

/// How long an answer is given again.
const FRESH: Duration = Duration::from_secs(1);

/// How long a commit is waited for; a health check waits a little longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why no notice would be taken.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotReady {
    /// The write failed.
    #[error(transparent)]
    Failed(#[from] InboxError),
    /// The database does not answer.
    #[error("no commit was answered for {} s", .0.as_secs())]
    Silent(Duration),
}

/// What was asked last, and what was heard.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    heard: Option<(Instant, Result<(), NotReady>)>,
    asked: Option<Question>,
}

#[derive(Debug)]
struct Question {
    since: Instant,
    answer: Answer<()>,
}

impl Inbox {
    /// Whether a notice that is sent now would be taken. Answers within about two seconds, whatever the database does.
    pub async fn ready(&self) -> Result<(), NotReady> {
        if let Some(failure) = self.failure() {
            return Err(NotReady::Failed(InboxError::Poisoned(failure)));
        }
        let mut readiness = self.readiness.lock().await;
        if let Some((at, result)) = &readiness.heard
            && at.elapsed() < FRESH
        {
            return result.clone();
        }
        let result = match timeout(PATIENCE, self.commit_for(&mut readiness)).await {
            Ok(result) => result.map_err(NotReady::Failed),
            Err(_) => Err(NotReady::Silent(
                readiness.asked.as_ref().map_or(PATIENCE, |asked| asked.since.elapsed()),
            )),
        };
        match (&readiness.heard, &result) {
            (Some((_, Err(_))), Ok(())) => tracing::info!("the inbox takes notices again"),
            (None | Some((_, Ok(()))), Err(error)) => tracing::error!(%error, "the inbox takes no notices"),
            _ => {}
        }
        readiness.heard = Some((Instant::now(), result.clone()));
        result
    }

    /// Waits for a commit that ends from now on. At most one is under way: a database that does not answer is not asked
    /// again and again.
    async fn commit_for(&self, readiness: &mut Readiness) -> Result<(), InboxError> {
        // What was answered when nobody listened any more is no news.
        readiness.asked.take_if(|asked| {
            !matches!(asked.answer.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Empty))
        });
        let question = match &mut readiness.asked {
            Some(question) => question,
            none => {
                let name = self.commits.clone();
                let (job, answer) = job(move |at, _| Ok(touch(at, &name)?));
                self.send(job).await?;
                none.insert(Question { since: Instant::now(), answer })
            }
        };
        let answer = (&mut question.answer).await;
        readiness.asked = None;
        answer.map_err(|_| self.published.closed())?
    }
}

/// Writes something, and takes the locks that a new notice takes.
fn touch(at: &Database, commits: &str) -> Result<(), super::DatabaseError> {
    at.execute("UPDATE objects SET repeats = repeats WHERE identity = ''", &[])?;
    at.execute("UPDATE counters SET value = value WHERE name = ?1", &[commits.into()])?;
    Ok(())
}
