//! `GET /v1/events`: the events of done objects, for consumers without our code.
//!
//! | query or header | meaning |
//! |---|---|
//! | `from` | `oldest` (the default), `newest`, or a position: what comes after it. With `newest` and a `limit`, the last so many events |
//! | `Last-Event-ID` | a position, before `from`: so a browser's `EventSource` goes on by itself |
//! | `limit` | ends after so many events |
//! | `follow` | whether it goes on with what becomes done later; the default is yes for SSE alone |
//! | `Accept: text/event-stream` | server-sent events instead of NDJSON |
//!
//! Each event is a JSON object: `id` (its position), `object` (the object's number in the inbox), and
//! `data` (the event's text) or `data_base64` (for bytes that are no UTF-8). An object whose format
//! does not keep the borders of events comes as its lines: each says `"row":"line"`, and its `id` says
//! it as well (I10). An object whose events can no longer be read is one with `error` in their place,
//! so that a reader sees what it misses. Anything that waiting may mend breaks the stream off, and
//! the reader asks again from its last position. A position beyond the last object is refused: whoever has
//! it read from another inbox, and would miss all up to it.
//!
//! Numbers are those of the reader that the inbox recorded when the object was done ([`Reading`]), so
//! a position means the same for as long as the row is kept.
//!
//! In memory are one batch of events and what is read ahead of one object, for each stream: a reader
//! that takes nothing for `client_timeout` is hung up on, and goes on where it was.

mod encode;
mod position;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as UrlQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use contract::CutKind;
use futures_util::stream;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use crate::app::{App, OpenStream};
use crate::error::ApiError;
use crate::fetch::{Content, FetchError, Verdict};
use crate::handler::{BatchLimits, Batches, HandlerError};
use crate::inbox::{Row, State as ObjectState};
use crate::reading::Reading;
use encode::Format;
use position::{Position, RowNumber};

/// How much of an object is encoded at a time.
const BATCH_EVENTS: usize = 1000;
const BATCH_BYTES: usize = 64 << 10;

/// Objects asked of the inbox at once.
const PAGE: usize = 16;

/// How often the inbox is asked for what another server has entered.
const LOOK: Duration = Duration::from_secs(1);

/// Looks without anything new before the connection is shown to live.
const LOOKS_A_BEAT: u32 = 15;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    from: Option<String>,
    limit: Option<u64>,
    follow: Option<bool>,
}

pub(crate) async fn get(
    State(app): State<App>,
    headers: HeaderMap,
    wanted: Result<UrlQuery<Wanted>, QueryRejection>,
) -> Result<Response, ApiError> {
    let wrong = |message: String| ApiError::new(StatusCode::BAD_REQUEST, "query", message);
    let UrlQuery(wanted) = wanted.map_err(|error| wrong(error.body_text()))?;
    if wanted.limit == Some(0) {
        return Err(wrong("limit is 0; it is a number from 1".to_owned()));
    }
    let text = |name| headers.get(name).map(|value: &http::HeaderValue| value.to_str().unwrap_or("?"));
    let bounds = app.inbox.done_bounds().await?;
    let from = text("last-event-id").filter(|id| !id.is_empty()).or(wanted.from.as_deref());
    let after = match from.unwrap_or("oldest") {
        "oldest" => Position::object(bounds.dropped),
        "newest" => Position::object(bounds.last),
        from => from.parse().map_err(|()| {
            wrong(format!("the position is {from:?}; it is oldest, newest, or the id of an event"))
        })?,
    };
    if after.next_order() <= bounds.dropped && after != Position::START {
        let message =
            format!("events up to position {} are kept no more (retention); ask from=oldest", bounds.dropped);
        return Err(ApiError::new(StatusCode::GONE, "dropped", message));
    }
    if after.order > bounds.last {
        let message = format!(
            "position {after} is beyond the end of the feed, which is {}: it is of another inbox; ask from=oldest, \
             or from=newest with limit=N for the last N events",
            bounds.last
        );
        return Err(ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "beyond_the_end", message));
    }
    let format = Format::wanted(text(header::ACCEPT.as_str()).unwrap_or_default());
    let stream = OpenStream::new(&app)?;
    let (pieces, sent) = mpsc::channel(1);
    let reader = Reader {
        follow: wanted.follow.unwrap_or(format == Format::Sse),
        left: wanted.limit.unwrap_or(u64::MAX),
        last: wanted.limit.filter(|_| from == Some("newest")),
        quiet: 0,
        changes: app.inbox.changes(),
        app,
        after,
        format,
        pieces,
    };
    tokio::spawn(async move {
        reader.run().await;
        drop(stream);
    });
    let body = stream::unfold(sent, |mut sent| async { Some((sent.recv().await?, sent)) });
    Ok(([(header::CONTENT_TYPE, format.content_type())], Body::from_stream(body)).into_response())
}

/// One stream; its reader's slowness is its own.
struct Reader {
    app: App,
    changes: Receiver<Arc<Row>>,
    after: Position,
    format: Format,
    follow: bool,
    /// Events that may still be sent.
    left: u64,
    /// So many events before where it stands it begins.
    last: Option<u64>,
    /// Looks that showed nothing new.
    quiet: u32,
    pieces: mpsc::Sender<Result<Bytes, io::Error>>,
}

/// Why a stream ends before its end.
enum Broken {
    /// The reader is gone, or has all that it wanted.
    Over,
    /// It shall ask again.
    Retry(String),
}

impl Reader {
    async fn run(mut self) {
        let stopping = self.app.stopping.clone();
        let ended = tokio::select! {
            ended = self.read() => ended,
            () = stopping.cancelled() => Ok(()),
        };
        if let Err(Broken::Retry(why)) = ended {
            tracing::warn!(after = %self.after, why, "a stream of events broke off");
            // Nobody may be there any more to hear it.
            let _ = self.pieces.send(Err(io::Error::other(why))).await;
        }
    }

    async fn read(&mut self) -> Result<(), Broken> {
        if let Some(events) = self.last {
            self.after = self.before_the_last(events).await?;
        }
        loop {
            let rows = self.app.inbox.done_from(self.after.next_order(), PAGE).await;
            let rows = rows.map_err(|error| Broken::Retry(error.to_string()))?;
            for row in &rows {
                self.object(row).await?;
            }
            if rows.is_empty() {
                if !self.follow {
                    return Ok(());
                }
                self.news().await?;
            }
        }
    }

    /// The place before the last `wanted` events of what is done by now. How many events an object gives is
    /// seen by reading it, as it is read again to be sent: whoever wants the last few reads one object.
    async fn before_the_last(&self, mut wanted: u64) -> Result<Position, Broken> {
        let mut at = self.after.order;
        loop {
            let rows = self.app.inbox.done_until(at, PAGE).await;
            let rows = rows.map_err(|error| Broken::Retry(error.to_string()))?;
            for row in &rows {
                let order = row.done_order.unwrap_or_default();
                let last = self.last_row(row).await?;
                let count = last.map_or(0, |last| last.number + 1);
                if let Some((last, skipped)) = last.zip(count.checked_sub(wanted)) {
                    return Ok(Position::after_rows(order, last.rows, skipped));
                }
                wanted -= count;
                at = order.saturating_sub(1);
            }
            if rows.is_empty() {
                return Ok(Position::object(at));
            }
        }
    }

    /// The last row of the object that can be sent.
    async fn last_row(&self, row: &Row) -> Result<Option<RowNumber>, Broken> {
        let mut last = None;
        let read = async {
            let Some(mut content) = self.open(row).await? else { return Ok(()) };
            let mut batches = self.batches(row, &mut content)?;
            while let Some(batch) = batches.next().await? {
                last = Some(RowNumber { rows: batch.rows, number: batch.first + batch.count - 1 });
            }
            Ok::<_, Ended>(())
        };
        match read.await {
            Ok(()) | Err(Ended::Unreadable(_)) => Ok(last),
            Err(Ended::Broken(broken)) => Err(broken),
        }
    }

    /// Waits until there may be something new, here or by another server.
    async fn news(&mut self) -> Result<(), Broken> {
        loop {
            tokio::select! {
                row = self.changes.recv() => match row {
                    Ok(row) if row.state != ObjectState::Done => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => return Ok(()),
                    Err(RecvError::Closed) => return Err(Broken::Over),
                },
                () = tokio::time::sleep(LOOK) => {
                    self.quiet += 1;
                    if self.quiet.is_multiple_of(LOOKS_A_BEAT) {
                        self.send(self.format.beat()).await?;
                    }
                    return Ok(());
                }
            }
        }
    }

    async fn object(&mut self, row: &Row) -> Result<(), Broken> {
        let order = row.done_order.unwrap_or_default();
        match self.events(order, row).await {
            Ok(()) => {}
            Err(Ended::Broken(broken)) => return Err(broken),
            Err(Ended::Unreadable(why)) => {
                self.send(self.format.error(Position::object(order), row.id, &why)).await?;
            }
        }
        self.after = Position::object(order);
        Ok(())
    }

    /// The object of a row; `None` for one of set-aside events, which are no part of the feed.
    async fn open(&self, row: &Row) -> Result<Option<Content>, Ended> {
        let store = self.app.stores.get(&row.bucket);
        let store = store.ok_or_else(|| FetchError::Bucket(row.bucket.clone()))?;
        let content = Content::open(store.clone(), &row.place(), &self.app.fetch).await?;
        if content.identity().as_str() != row.identity {
            return Err(Ended::Unreadable("another object lies under this key now".to_owned()));
        }
        let set_aside = content.metadata().is_some_and(|metadata| metadata.kind == CutKind::Dead);
        let skipped = set_aside || content.is_control();
        Ok((!skipped).then_some(content))
    }

    fn batches<'c>(&self, row: &Row, content: &'c mut Content) -> Result<Batches<'c>, Ended> {
        let reading = numbered_by(row, content);
        let limits =
            BatchLimits { events: BATCH_EVENTS, bytes: BATCH_BYTES, event_bytes: self.app.max_event_bytes };
        Ok(Batches::read_by(content, &reading, limits, "events.max_event_bytes")?)
    }

    async fn events(&mut self, order: u64, row: &Row) -> Result<(), Ended> {
        let Some(mut content) = self.open(row).await? else { return Ok(()) };
        let had = self.after.had_of(order);
        let mut batches = self.batches(row, &mut content)?;
        while let Some(batch) = batches.next().await? {
            let skipped = had.saturating_sub(batch.first).min(batch.count);
            let wanted = (batch.count - skipped).min(self.left);
            if wanted == 0 {
                continue;
            }
            let at = |number| Position { order, row: Some(RowNumber { rows: batch.rows, number }) };
            let first = batch.first + skipped;
            let rows = batch.iter().skip(skipped as usize).take(wanted as usize);
            let rows = rows.zip(first..).map(|(row, number)| (at(number), row));
            self.send(self.format.rows(row.id, rows)).await?;
            self.after = at(first + wanted - 1);
            self.left -= wanted;
            if self.left == 0 {
                return Err(Ended::Broken(Broken::Over));
            }
        }
        Ok(())
    }

    async fn send(&self, piece: Bytes) -> Result<(), Broken> {
        self.pieces.send(Ok(piece)).await.map_err(|_| Broken::Over)
    }
}

/// The reader by which a done object's events are numbered. What its server could not read has no
/// numbers yet, so it gets those of the reader that we know by now.
fn numbered_by(row: &Row, content: &Content) -> Reading {
    match &row.reader {
        None => Reading::BEFORE,
        Some(Reading::Unread(_)) => content.reading().clone(),
        Some(recorded) => recorded.clone(),
    }
}

/// Why an object's events end too early.
enum Ended {
    Broken(Broken),
    /// No later attempt would read them.
    Unreadable(String),
}

impl From<Broken> for Ended {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<FetchError> for Ended {
    fn from(error: FetchError) -> Self {
        match error.verdict() {
            Verdict::Retry | Verdict::Later => Self::Broken(Broken::Retry(error.to_string())),
            Verdict::Missing | Verdict::Overwritten | Verdict::Never => Self::Unreadable(error.to_string()),
        }
    }
}

impl From<HandlerError> for Ended {
    fn from(error: HandlerError) -> Self {
        match error {
            HandlerError::Fetch(error) => error.into(),
            other => Self::Unreadable(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
