//! What the command lines of all programs have in common.
//!
//! A program that is installed has to say which build it is, has a man page and completions, knows
//! by which name people call it, says what to do when the system refuses it a port or a folder, and
//! is asked for its health where there is no shell and no curl: in an image that holds nothing else.

mod generate;
mod health;
mod program;
mod refused;
pub mod values;
mod version;

pub use generate::generate;
pub use health::{HEALTH_TIMEOUT, healthy, healthy_by};
pub use program::{AGENT, Program, SERVER};
pub use refused::{folder_help, port_help, refused};
pub use version::version;
