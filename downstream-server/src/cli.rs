//! From a command line to an exit code: configuration, logging, signals.

use std::ffi::OsString;
use std::io::Write as _;
use std::sync::Arc;

use command_line::SERVER;
use contract::signature::Secret;
use contract::{Notice, ObjectMetadata, exit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::{Config, ConfigError, LogConfig, Start};
use crate::handler::Handler;
use crate::run::run_handler;

/// Runs the server for a command line, whose first argument is the program's name, and returns
/// the exit code (see [`contract::exit`]). It starts its own runtime and takes SIGTERM and
/// SIGINT: the first stops in order, the second at once. `commit` is that of the build.
pub fn main<I>(args: I, commit: Option<&str>) -> u8
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    start(args.into_iter().map(Into::into).collect(), commit, None)
}

/// As [`main`], with a handler of the caller's own instead of the configured one.
pub fn main_with<I>(args: I, handler: impl Handler + 'static) -> u8
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    start(args.into_iter().map(Into::into).collect(), None, Some(Arc::new(handler)))
}

fn start(args: Vec<OsString>, commit: Option<&str>, handler: Option<Arc<dyn Handler>>) -> u8 {
    SERVER.runs_as(args.first().map(OsString::as_os_str));
    let config = match read(&args) {
        Ok(Start::Run(config)) => *config,
        Ok(Start::AskHealth { address, certificate }) => {
            let asked = match certificate {
                Some(file) => command_line::healthy_by(address, |stream| entrance::pinned(&file, stream)),
                None => command_line::healthy(address),
            };
            return told(exit::UNAVAILABLE, asked);
        }
        Ok(Start::Generate { command, called, share }) => {
            let done = command_line::generate(
                command.version(command_line::version(commit, &formats())),
                &called,
                &share,
            );
            let done = done.map_err(|error| format!("writing below {}: {error}", share.display()));
            return told(exit::IO, done);
        }
        Ok(Start::NewSecret) => return new_secret(),
        Ok(Start::ShowVersion) => {
            return print(&format!("{SERVER} {}\n", command_line::version(commit, &formats())));
        }
        Ok(Start::Print(text)) => return print(&text),
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return exit::CONFIG;
        }
    };
    let level = start_log(&config.log);
    entrance::descriptors::raise();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "starting the runtime");
            return exit::UNAVAILABLE;
        }
    };
    runtime.block_on(async {
        tokio::spawn(follow_level(args, level));
        Box::pin(serve(config, handler)).await
    })
}

fn read(args: &[OsString]) -> Result<Start, ConfigError> {
    Start::from_args(args, |name| std::env::var(name).ok())
}

/// Each SIGHUP reads the settings again and takes the log's level over, and nothing else.
async fn follow_level(args: Vec<OsString>, level: Level) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        match read(&args) {
            Ok(Start::Run(config)) => {
                tracing::info!(
                    level = config.log.level,
                    "the log's level is taken over, and no other setting"
                );
                // It fails only when the log has ended.
                let _ = level.reload(EnvFilter::new(&config.log.level));
            }
            Ok(_) => {}
            Err(mistakes) => tracing::error!(%mistakes, "the settings cannot be read again; the level stays"),
        }
    }
}

/// The versions of everything that the server keeps or reads.
pub fn formats() -> String {
    format!(
        "inbox {}, notice {}, object metadata {}",
        crate::inbox::VERSION,
        Notice::VERSION,
        ObjectMetadata::VERSION
    )
}

fn print(text: &str) -> u8 {
    // A reader that hung up wants no more.
    let _ = std::io::stdout().write_all(text.as_bytes());
    exit::OK
}

/// Prints a secret that nobody has had before.
fn new_secret() -> u8 {
    let mut bytes = [0; 32];
    if let Err(error) = getrandom::fill(&mut bytes) {
        eprintln!("reading random bytes: {error}");
        return exit::UNAVAILABLE;
    }
    let secret = Secret::try_from(&bytes[..]).expect("32 bytes are enough");
    print(&format!("{}\n", secret.reveal()))
}

/// The exit code of a command that is done or says why not.
fn told(code: u8, done: Result<(), String>) -> u8 {
    match done {
        Ok(()) => exit::OK,
        Err(text) => {
            eprintln!("{text}");
            code
        }
    }
}

async fn serve(config: Config, handler: Option<Arc<dyn Handler>>) -> u8 {
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
    let server = run_handler(config, handler, async {
        // A dropped sender would be a signal as well.
        let _ = stop.await;
    });
    tokio::select! {
        ended = server => match ended {
            Ok(()) => exit::OK,
            Err(error) => {
                let help = error.help();
                tracing::error!(error = %crate::workers::with_causes(&error), help, "the server ended");
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

/// Changes the level of the running program.
type Level = reload::Handle<EnvFilter, Registry>;

fn start_log(config: &LogConfig) -> Level {
    let (filter, level) = reload::Layer::new(EnvFilter::new(&config.level));
    let log = tracing_subscriber::registry().with(filter);
    if config.json {
        log.with(fmt::layer().json().with_writer(std::io::stderr)).init();
    } else {
        let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
        log.with(fmt::layer().with_ansi(ansi).with_writer(std::io::stderr)).init();
    }
    level
}
