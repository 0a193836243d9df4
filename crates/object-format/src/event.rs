//! An event as writers take it and as readers give it back.

use crate::Known;

/// An event to be written. `H` gives its [`Headers`].
#[derive(Debug, Clone, Copy)]
pub struct Event<'a, H> {
    /// The event's own time in milliseconds since the epoch, if its source knew one.
    pub timestamp_ms: Option<i64>,
    /// When it arrived, in milliseconds since the epoch.
    pub arrival_ms: i64,
    /// Its headers.
    pub headers: H,
    /// Its body.
    pub body: &'a [u8],
    /// What whoever took it in has seen of the body already.
    pub known: Known,
}

/// An event that was read back from an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedEvent {
    /// The event's own time, else when it arrived; milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// Names and values in their order; a name may come twice.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Gives an event's headers, name and value, in their order; as often as they are asked for.
pub trait Headers<'a>: Clone + IntoIterator<Item = (&'a str, &'a str)> {}

impl<'a, H: Clone + IntoIterator<Item = (&'a str, &'a str)>> Headers<'a> for H {}

impl<'a, H: Headers<'a>> Event<'a, H> {
    /// The event's own time, else when it arrived.
    pub fn time_ms(&self) -> i64 {
        self.timestamp_ms.unwrap_or(self.arrival_ms)
    }

    /// Whether it is more than a body.
    pub(crate) fn has_meta(&self) -> bool {
        self.timestamp_ms.is_some() || self.headers.clone().into_iter().next().is_some()
    }
}
