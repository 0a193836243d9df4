//! What the command lines of all programs have in common.
//!
//! A program that is installed has to say which build it is, has a man page and completions, and is
//! asked for its health where there is no shell and no curl: in an image that holds nothing else.

mod generate;
mod health;
pub mod values;
mod version;

pub use generate::generate;
pub use health::{HEALTH_TIMEOUT, healthy, healthy_by};
pub use version::version;
