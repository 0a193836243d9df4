//! How an event is written into an object.
