//! The Source contract, the kinds of sources, and the one match that runs one.

pub mod http;
pub mod netcat;
