//! From a command line to an exit code: configuration, logging, signals.

use std::ffi::OsString;
use std::io::Write as _;

use contract::exit;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogConfig, Start};
use crate::run::run;

/// Runs the server for a command line, whose first argument is the program's name, and returns
/// the exit code (see [`contract::exit`]). It starts its own runtime and takes SIGTERM and
/// SIGINT: the first stops in order, the second at once.
pub fn main<I>(args: I) -> u8
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let config = match Start::from_args(args, |name| std::env::var(name).ok()) {
        Ok(Start::Run(config)) => *config,
        Ok(Start::Print(text)) => {
            // A reader that hung up wants no more.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return exit::OK;
        }
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return exit::CONFIG;
        }
    };
    start_log(&config.log);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "starting the runtime");
            return exit::UNAVAILABLE;
        }
    };
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> u8 {
    let signals =
        || Ok::<_, std::io::Error>((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?));
    let (mut terminate, mut interrupt) = match signals() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "listening for signals");
            return exit::UNAVAILABLE;
        }
    };
    let (first, stop) = tokio::sync::oneshot::channel::<()>();
    let second = async move {
        either(&mut terminate, &mut interrupt).await;
        tracing::info!("stopping; a second signal stops at once");
        // The server may have ended by itself.
        let _ = first.send(());
        either(&mut terminate, &mut interrupt).await;
    };
    let server = run(config, async {
        // A dropped sender would be a signal as well.
        let _ = stop.await;
    });
    tokio::select! {
        ended = server => match ended {
            Ok(()) => exit::OK,
            Err(error) => {
                tracing::error!(error = %crate::workers::with_causes(&error), "the server ended");
                error.exit_code()
            }
        },
        () = second => {
            tracing::warn!("stopped at once by a second signal");
            exit::KILLED
        }
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

fn start_log(config: &LogConfig) {
    let filter = EnvFilter::new(&config.level);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if config.json {
        log.json().init();
    } else {
        log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    }
}
