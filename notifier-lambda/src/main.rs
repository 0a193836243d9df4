//! The `notifier-lambda` program: what AWS Lambda starts as `bootstrap`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use contract::exit;
use notifier_lambda::{Config, RunError, help, logging};

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let name = name(arguments.next().as_deref());
    // Lambda gives it no argument; a person who asks a file what it is gives one.
    match arguments.next().as_deref() {
        Some("--version" | "-V") => {
            let commit =
                option_env!("SLUICEGATE_COMMIT").map(|commit| format!(" ({commit})")).unwrap_or_default();
            println!("{name} {}{commit}\nnotice {}", env!("CARGO_PKG_VERSION"), contract::Notice::VERSION);
            return ExitCode::from(exit::OK);
        }
        Some("--help" | "-h") => {
            print!("{}", help(&name));
            return ExitCode::from(exit::OK);
        }
        Some(other) if other.starts_with('-') => {
            eprintln!("{name} takes no argument {other:?}; see {name} --help");
            return ExitCode::from(exit::CONFIG);
        }
        // An emulator of Lambda may name the handler.
        _ => {}
    }
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return ExitCode::from(exit::CONFIG);
        }
    };
    match run(config) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            eprintln!("{name}: {error:#}");
            let code = match error.downcast_ref() {
                Some(RunError::NotLambda(_)) => exit::CONFIG,
                Some(RunError::Open(_) | RunError::Runtime(_)) => exit::UNAVAILABLE,
                _ => exit::SOFTWARE,
            };
            ExitCode::from(code)
        }
    }
}

/// The name that it was called by: it is installed under others than it is built by.
fn name(called: Option<&str>) -> String {
    let file = called.and_then(|called| Path::new(called).file_name());
    file.map_or_else(|| "sluicegate-notifier".to_owned(), |file| file.to_string_lossy().into_owned())
}

fn run(config: Config) -> anyhow::Result<()> {
    logging::init(&config.log).context("starting the log")?;
    // One invocation at a time: more threads would only cost start-up time.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    Ok(runtime.block_on(notifier_lambda::run(config))?)
}
