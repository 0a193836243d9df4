//! The wiring and the shutdown order: read this first.
