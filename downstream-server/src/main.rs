//! The server's own program; all of it is in the library, for the one-command binary calls it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(downstream_server::main(std::env::args_os(), option_env!("SLUICEGATE_COMMIT")))
}
