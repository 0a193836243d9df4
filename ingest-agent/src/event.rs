//! The one event type and its encoding.
