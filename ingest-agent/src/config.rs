//! The configuration.

/// A validated configuration.
#[derive(Debug, Clone)]
pub struct Config {}
