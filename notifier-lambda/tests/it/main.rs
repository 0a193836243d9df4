//! The notifier against real servers: the relay alone, and the whole program under the local cloud's Runtime API.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lambda;
mod program;
mod relay;
mod server;

/// A secret that nobody uses.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
