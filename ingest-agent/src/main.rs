//! The `ingest-agent` program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ingest_agent::cli::main(option_env!("SLUICEGATE_COMMIT"))
}
