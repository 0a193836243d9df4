//! One connection: reading, syncing and answering at the same time.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use durable_channel::AppendError;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::NetcatConfig;
use super::answers::{Answer, Answers};
use crate::decode::lines::Lines;
use crate::event::{Draft, Known};
use crate::source::intake::{Intake, Room};
use crate::source::listen;
use crate::telemetry::SourceMetrics;

/// What the connections of one source share.
pub(super) struct Shared {
    config: NetcatConfig,
    intake: Intake,
    max_batch_events: u64,
    metrics: Arc<SourceMetrics>,
    shutdown: CancellationToken,
    /// Read buffers between two reads: an idle connection holds none.
    buffers: Mutex<Vec<Vec<u8>>>,
}

/// One connection and what it owes.
pub(super) struct Connection {
    stream: TcpStream,
    shared: Arc<Shared>,
    lines: Lines,
    /// Room for a line that spans many reads. Whoever has it never waits for more.
    long_line: Option<Room>,
    /// Batches in the order of their lines.
    batches: VecDeque<Batch>,
    answers: Answers,
    state: State,
    last_heard: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// The sender closed its side: it sends nothing that could be lost.
    Ended,
    /// We read no more, whatever the sender still sends.
    Stopped,
}

/// Lines that are stored or refused together.
enum Batch {
    Unsynced { lines: u64, synced: Synced },
    Refused { lines: u64, answer: Answer },
}

type Synced = Pin<Box<dyn Future<Output = Result<u32, AppendError>> + Send>>;

/// The line is longer than the limit.
struct TooLong;

/// The lines of one read: one draft, or several where the channel limits the events of a batch.
struct Drafts<'a> {
    shared: &'a Shared,
    full: Vec<Draft>,
    open: Draft,
}

/// The most that is read at once, and so about the size of the largest batch.
const READ_BYTES: usize = 256 << 10;

/// The least that is read at once, whatever is known to wait.
const LEAST_READ_BYTES: usize = 4 << 10;

/// Read buffers kept between reads, for all connections of a source together.
const KEPT_BUFFERS: usize = 4;

/// Up to here the beginning of a line may wait for its end without reserving room.
const FREE_PARTIAL_BYTES: usize = 16 << 10;

// === impl Shared ===

impl Shared {
    pub(super) fn new(
        config: NetcatConfig,
        intake: Intake,
        metrics: Arc<SourceMetrics>,
        shutdown: CancellationToken,
    ) -> Self {
        let max_batch_events = intake.max_batch_events();
        Self { config, intake, max_batch_events, metrics, shutdown, buffers: Mutex::default() }
    }

    /// Runs `with` on a buffer of [`READ_BYTES`].
    fn with_buffer<R>(&self, with: impl FnOnce(&mut [u8]) -> R) -> R {
        let kept = self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = kept.unwrap_or_else(|| vec![0; READ_BYTES]);
        let result = with(&mut buffer);
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.len() < KEPT_BUFFERS {
            buffers.push(buffer);
        }
        result
    }
}

// === impl Connection ===

impl Connection {
    pub(super) fn new(stream: TcpStream, shared: Arc<Shared>) -> Self {
        Self {
            stream,
            shared,
            lines: Lines::default(),
            long_line: None,
            batches: VecDeque::new(),
            answers: Answers::default(),
            state: State::Reading,
            last_heard: Instant::now(),
        }
    }

    /// Serves the connection to its end.
    pub(super) async fn serve(mut self) {
        match self.serve_until_done().await {
            Ok(()) if self.state == State::Stopped => listen::close_gently(self.stream).await,
            Ok(()) => {}
            Err(error) => tracing::debug!(%error, "a netcat connection broke"),
        }
    }

    async fn serve_until_done(&mut self) -> io::Result<()> {
        while self.state == State::Reading || !self.batches.is_empty() || !self.answers.is_empty() {
            let reading = self.state == State::Reading;
            let reads = reading
                && self.batches.len() < self.shared.config.max_unsynced_batches
                && !self.answers.is_full();
            let owes = !self.answers.is_empty();
            let heard = self.last_heard;
            let Self { stream, shared, lines, long_line, batches, answers, .. } = &mut *self;
            tokio::select! {
                // Answers first: they are what the sender waits for, and they free memory.
                biased;
                () = poll_fn(|context| poll_answers(batches, answers, shared.config.ack_every_event, context)) => {
                    self.write()?;
                }
                writable = stream.writable(), if owes => {
                    writable?;
                    self.write()?;
                }
                () = shared.shutdown.cancelled(), if reading => self.end(State::Stopped),
                room = room_to_read(stream, &shared.intake, lines.partial(), long_line), if reads => match room? {
                    Some((bytes, room)) => self.read(bytes, room)?,
                    None => self.refuse_for_room(),
                },
                () = silence(heard, shared.config.idle_timeout), if reads && !owes => self.end(State::Stopped),
            }
        }
        Ok(())
    }

    /// Writes as much as the sender's system takes now.
    fn write(&mut self) -> io::Result<()> {
        loop {
            let bytes = self.answers.bytes();
            if bytes.is_empty() {
                return Ok(());
            }
            match self.stream.try_write(bytes) {
                Ok(written) => self.answers.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads once, as much as there is room for, and appends the lines that are complete.
    fn read(&mut self, bytes: usize, room: Room) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let mut drafts = Drafts::new(&shared);
        let read: io::Result<_> = shared.with_buffer(|buffer| {
            let read = self.stream.try_read(&mut buffer[..bytes])?;
            Ok(match read {
                0 => None,
                read => Some(self.take(&buffer[..read], &mut drafts)),
            })
        });
        let taken = match read {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        self.last_heard = Instant::now();
        let Some(taken) = taken else {
            let last = self.lines.partial();
            if shared.config.emit_unterminated && !last.is_empty() {
                drafts.push_line(last);
            }
            self.append(drafts.into_all(), room);
            self.end(State::Ended);
            return Ok(());
        };
        self.append(drafts.into_all(), room);
        if let Err(TooLong) = taken {
            let limit = shared.config.max_line_bytes;
            shared.metrics.refused_too_large.inc();
            self.refuse(format!("Event exceeds the maximum length ({limit} chars, including newline)"));
        } else if !self.hold_partial() {
            self.refuse_for_room();
        }
        Ok(())
    }

    /// Encodes the lines that `chunk` completes.
    fn take(&mut self, chunk: &[u8], drafts: &mut Drafts<'_>) -> Result<(), TooLong> {
        let limit = self.shared.config.max_line_bytes;
        // The limit counts the newline, which is not in the line here.
        let fits = |line: &[u8]| if line.len() < limit { Ok(()) } else { Err(TooLong) };
        self.lines.feed(chunk, |line| {
            fits(line)?;
            drafts.push_line(line);
            Ok(())
        })?;
        fits(self.lines.partial())
    }

    /// Reserves room while the beginning of a long line waits for its end.
    fn hold_partial(&mut self) -> bool {
        if self.lines.partial().len() <= FREE_PARTIAL_BYTES {
            self.long_line = None;
            return true;
        }
        let room = self.long_line.get_or_insert_default();
        self.shared.intake.grow_patient(room, self.lines.partial().len())
    }

    /// Appends the drafts of one read; the last of them keeps the room that all of them have.
    fn append(&mut self, drafts: Vec<Draft>, mut room: Room) {
        if !drafts.is_empty()
            && let Some(long_line) = self.long_line.take()
        {
            // The first draft begins with the long line.
            room.join(long_line);
        }
        let mut room = Some(room);
        let last = drafts.len().saturating_sub(1);
        for (index, draft) in drafts.into_iter().enumerate() {
            let room = if index == last { room.take() } else { None };
            let lines = u64::from(draft.count());
            let batch = match self.shared.intake.append(draft) {
                Ok(unsynced) => {
                    let synced = async move {
                        let synced = unsynced.synced().await;
                        drop(room);
                        synced
                    };
                    Batch::Unsynced { lines, synced: Box::pin(synced) }
                }
                Err(error) => {
                    self.shared.intake.count_refused(&error, lines);
                    Batch::Refused { lines, answer: Answer::failed(error) }
                }
            };
            self.batches.push_back(batch);
        }
    }

    /// Answers what was read last with a failure and reads no more.
    fn refuse(&mut self, reason: impl std::fmt::Display) {
        self.batches.push_back(Batch::Refused { lines: 1, answer: Answer::failed(reason) });
        self.end(State::Stopped);
    }

    fn refuse_for_room(&mut self) {
        self.shared.metrics.refused_full.inc();
        self.refuse("no memory for so long a line now, try again later");
    }

    /// Reads no more. What was not stored by now never will be, and gives its memory back at once.
    fn end(&mut self, state: State) {
        self.state = state;
        self.lines = Lines::default();
        self.long_line = None;
    }
}

// === impl Drafts ===

impl<'a> Drafts<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self { shared, full: Vec::new(), open: shared.intake.draft() }
    }

    fn push_line(&mut self, line: &[u8]) {
        if u64::from(self.open.count()) >= self.shared.max_batch_events {
            self.full.push(std::mem::replace(&mut self.open, self.shared.intake.draft()));
        }
        self.open.push_known(line, Known::ONE_LINE);
    }

    fn into_all(mut self) -> Vec<Draft> {
        if !self.open.is_empty() {
            self.full.push(self.open);
        }
        self.full
    }
}

/// Moves every answer that is known, in the order of the lines, from `batches` to `answers`; ready once there was one.
fn poll_answers(
    batches: &mut VecDeque<Batch>,
    answers: &mut Answers,
    with_ok: bool,
    context: &mut Context<'_>,
) -> Poll<()> {
    let mut moved = Poll::Pending;
    while let Some(batch) = batches.front_mut()
        && let Poll::Ready((answer, lines)) = batch.poll_answer(context)
    {
        batches.pop_front();
        if with_ok || answer != Answer::Ok {
            answers.push(answer, lines);
        }
        moved = Poll::Ready(());
    }
    moved
}

/// Waits until nothing was heard for `timeout`.
async fn silence(last_heard: Instant, timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => sleep_until(last_heard + timeout).await,
        None => pending().await,
    }
}

/// Waits until there is something to read, then for room for that much: a sender that is silent holds no room.
///
/// A line that has room already does not wait for more, and `None` tells that there is none: those it waited for
/// might wait for it.
async fn room_to_read(
    stream: &TcpStream,
    intake: &Intake,
    partial: &[u8],
    long_line: &mut Option<Room>,
) -> io::Result<Option<(usize, Room)>> {
    stream.readable().await?;
    let waiting = usize::try_from(rustix::io::ioctl_fionread(stream)?).unwrap_or(READ_BYTES);
    if waiting == 0 {
        // The end of the stream, an error, or a false alarm: none of them needs room.
        return Ok(Some((LEAST_READ_BYTES, Room::default())));
    }
    let bytes = waiting.clamp(LEAST_READ_BYTES, READ_BYTES);
    let Some(room) = long_line else {
        return Ok(Some((bytes, intake.reserve(bytes).await)));
    };
    let fits = |bytes: &usize| intake.grow_patient(room, partial.len() + bytes);
    Ok([bytes, LEAST_READ_BYTES].into_iter().find(fits).map(|bytes| (bytes, Room::default())))
}

// === impl Batch ===

impl Batch {
    /// The answer to each of its lines, once it is known.
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<(Answer, u64)> {
        match self {
            Self::Refused { lines, answer } => Poll::Ready((answer.clone(), *lines)),
            Self::Unsynced { lines, synced } => {
                let synced = ready!(synced.as_mut().poll(context));
                Poll::Ready((synced.map_or_else(Answer::failed, |_| Answer::Ok), *lines))
            }
        }
    }
}
