//! Which partition an event belongs to.
