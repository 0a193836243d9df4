//! The `notifier-lambda` program: what AWS Lambda starts as `bootstrap`.

use std::process::ExitCode;

use anyhow::Context as _;
use contract::exit;
use notifier_lambda::{Config, RunError, logging};

fn main() -> ExitCode {
    // Lambda gives it no argument; a person who asks a file what it is gives this one.
    if std::env::args().nth(1).is_some_and(|argument| ["--version", "-V"].contains(&argument.as_str())) {
        let commit =
            option_env!("SLUICEGATE_COMMIT").map(|commit| format!(" ({commit})")).unwrap_or_default();
        println!(
            "notifier-lambda {}{commit}\nnotice {}",
            env!("CARGO_PKG_VERSION"),
            contract::Notice::VERSION
        );
        return ExitCode::from(exit::OK);
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
            eprintln!("notifier-lambda: {error:#}");
            let code = match error.downcast_ref() {
                Some(RunError::NotLambda(_)) => exit::CONFIG,
                Some(RunError::Open(_) | RunError::Runtime(_)) => exit::UNAVAILABLE,
                _ => exit::SOFTWARE,
            };
            ExitCode::from(code)
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    logging::init(&config.log).context("starting the log")?;
    // One invocation at a time: more threads would only cost start-up time.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    Ok(runtime.block_on(notifier_lambda::run(config))?)
}
