//! What the page shows beyond the inbox: the rates of the last minutes and the last lines.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::broadcast;

use crate::fetch::Content;
use crate::handler::one;
use crate::inbox::Totals;
use crate::reading::Reading;

/// Seconds of rates that are kept.
pub(crate) const SECONDS: usize = 120;

/// Lines that are kept.
const LINES: usize = 20;

/// Messages that a slow stream may fall behind before it must read the summary again.
const BACKLOG: usize = 64;

/// What one second brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Rate {
    /// Events in objects that became done.
    pub(crate) events: u64,
    /// Bytes of them, as stored.
    pub(crate) bytes: u64,
    /// The longest lag of an object that became done, in milliseconds.
    pub(crate) lag_ms: Option<u64>,
}

/// One of the last events that arrived, or lines of objects that do not keep the borders of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// Its object's number in the inbox.
    pub(crate) object: i64,
    /// What it is: `event` or `line`.
    pub(crate) row: &'static str,
    /// Its text, cut to 500 characters.
    pub(crate) text: String,
}

/// What is sent to live streams besides changed rows.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// A second has passed.
    Tick {
        /// The inbox's totals.
        totals: Totals,
        /// What the second brought.
        rate: Rate,
        /// When the oldest object that is neither done nor dead was told of.
        oldest_owed_ms: Option<i64>,
    },
    /// The last lines are others now.
    Lines(Arc<Vec<Line>>),
}

/// Rates and lines, in memory only: a restart begins anew.
#[derive(Debug)]
pub(crate) struct Live {
    state: Mutex<State>,
    messages: broadcast::Sender<Message>,
}

#[derive(Debug)]
struct State {
    last: Totals,
    /// The longest lag since the last second ended.
    lag_ms: Option<u64>,
    rates: VecDeque<Rate>,
    lines: VecDeque<Line>,
}

impl Live {
    /// Nothing yet; rates count from these totals on.
    pub(crate) fn new(totals: Totals) -> Self {
        let state = State { last: totals, lag_ms: None, rates: VecDeque::new(), lines: VecDeque::new() };
        Self { state: Mutex::new(state), messages: broadcast::Sender::new(BACKLOG) }
    }

    /// Ends a second: what was added to the totals since the last call is its rate.
    pub(crate) fn tick(&self, totals: Totals, oldest_owed_ms: Option<i64>) {
        let mut state = self.state();
        let rate = Rate {
            events: totals.events.saturating_sub(state.last.events),
            bytes: totals.bytes.saturating_sub(state.last.bytes),
            lag_ms: state.lag_ms.take(),
        };
        state.last = totals;
        if state.rates.len() == SECONDS {
            state.rates.pop_front();
        }
        state.rates.push_back(rate);
        // Nobody watching is no error.
        let _ = self.messages.send(Message::Tick { totals, rate, oldest_owed_ms });
    }

    /// Notes the lag and the last rows of an object that became done.
    pub(crate) fn arrived(&self, object: i64, lag_ms: u64, content: &Content) {
        // What cannot be taken apart has nothing to show.
        let (row, last) = match content.reading() {
            Reading::Rows(rows) => (one(*rows), content.lines().last()),
            Reading::Unread(_) | Reading::Later(_) => ("", Vec::new()),
        };
        let mut state = self.state();
        state.lag_ms = state.lag_ms.max(Some(lag_ms));
        if last.is_empty() {
            return;
        }
        state.lines.extend(last.into_iter().map(|text| Line { object, row, text }));
        let surplus = state.lines.len().saturating_sub(LINES);
        state.lines.drain(..surplus);
        if self.messages.receiver_count() > 0 {
            let lines = Arc::new(state.lines.iter().cloned().collect());
            // Nobody watching is no error.
            let _ = self.messages.send(Message::Lines(lines));
        }
    }

    /// The rates of the last seconds, oldest first.
    pub(crate) fn rates(&self) -> Vec<Rate> {
        self.state().rates.iter().copied().collect()
    }

    /// The last lines, oldest first.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.state().lines.iter().cloned().collect()
    }

    /// Messages from now on.
    pub(crate) fn messages(&self) -> broadcast::Receiver<Message> {
        self.messages.subscribe()
    }

    /// A panic of another holder leaves counts that are right or one line short.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
