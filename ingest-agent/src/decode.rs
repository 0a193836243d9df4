//! What people send, taken apart into events.
