//! Settings: texts from a TOML file, the environment and flags become one validated
//! [`Config`], or the list of every mistake in them.

mod access;
mod command;
mod handler;
mod keys;
mod settings;
mod validate;
mod values;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use command_line::values::{listen_address, path};
use contract::signature::Secret;
use contract::without_userinfo;
use entrance::{Tls, Tokens};

use crate::inbox::Location;

use command::command;
pub use handler::{CommandConfig, Feed, Format, HandlerConfig, HttpConfig, SetAside};
use keys::KEYS;
use settings::{Origin, Settings};
use validate::validate;

/// Everything the server needs to know to run, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the one listener; port 0 picks a free port.
    pub listen: SocketAddr,
    /// The server's folder; made when absent.
    pub dir: PathBuf,
    /// Where the inbox is.
    pub inbox: Location,
    /// How long an attempt belongs to a server that gives no sign of life.
    pub lease: Duration,
    /// File that is written, as one JSON object, once the server answers.
    pub ready_file: Option<PathBuf>,
    /// Who may read the page, the read API and the metrics without a token.
    pub read_from: ReadFrom,
    /// Who may read from anywhere, and change something; empty means one that the server makes in `dir`.
    pub tokens: Tokens,
    /// What a client may ask of the listener.
    pub serve: ServeConfig,
    /// Time that running deliveries get to finish at shutdown.
    pub shutdown_timeout: Duration,
    /// Live streams served at once.
    pub max_streams: usize,
    /// Bytes in the largest event that `GET /v1/events` sends.
    pub max_event_bytes: usize,
    /// What is asked of a notice.
    pub notices: NoticeConfig,
    /// Which stores may tell of their objects themselves.
    pub store_events: StoreEventsConfig,
    /// Where the buckets are.
    pub s3: S3Config,
    /// Limits on fetching.
    pub fetch: FetchConfig,
    /// When a failed delivery is tried again.
    pub retry: RetryConfig,
    /// Who gets the objects.
    pub handler: HandlerConfig,
    /// The queue that is pulled from, if any.
    pub pull: Option<PullConfig>,
    /// How the buckets are listed for what no notice told of.
    pub reconcile: ReconcileConfig,
    /// How long a cut may be missing, while a higher one is done, before that is an alarm.
    pub missing_alarm: Duration,
    /// What the inbox keeps of done objects.
    pub retention: RetentionConfig,
    /// Level and format of the log.
    pub log: LogConfig,
}

/// Who may read what has arrived without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// Only this machine.
    Loopback,
    /// Nobody, for a proxy on this machine speaks for others.
    Nobody,
}

/// What a client may ask of the listener.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// The certificate; `None` serves plain HTTP.
    pub tls: Option<Tls>,
    /// Connections served at once.
    pub max_connections: usize,
    /// Time a client gets for the handshake, for a request's head, and to take the next piece of an answer.
    pub client_timeout: Duration,
    /// How long a connection may be open without a request.
    pub idle_timeout: Duration,
    /// Largest head of a request (request line and headers), in bytes.
    pub max_head_bytes: usize,
    /// Most header lines of a request.
    pub max_headers: usize,
}

/// What is asked of a notice before it is taken.
#[derive(Debug, Clone)]
pub struct NoticeConfig {
    /// Buckets whose notices are taken; never empty.
    pub buckets: Vec<String>,
    /// Regions that a notice may name; empty means any, since none is ever used to address a store.
    pub regions: Vec<String>,
    /// Any one of these must have signed; empty means unsigned, on loopback only.
    pub secrets: Vec<Secret>,
    /// How far a signed time may be from our clock.
    pub clock_tolerance: Duration,
    /// Largest body, in bytes.
    pub max_bytes: usize,
    /// Time a sender gets for the body.
    pub read_timeout: Duration,
}

/// Which stores may tell of their objects themselves, and how they write.
#[derive(Debug, Clone)]
pub struct StoreEventsConfig {
    /// Their tokens, each with a name; empty means that none may.
    pub senders: Tokens,
    /// Names of those that do not encode keys.
    pub raw_keys: Vec<String>,
    /// Names of those that do. Of one in neither list each record shows it.
    pub encoded_keys: Vec<String>,
    /// What the agent keeps below it is no event.
    pub control_prefix: String,
}

/// Where the buckets are and who we are to them.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// Region of the buckets.
    pub region: String,
    /// URL of an S3-compatible store; `None` is AWS.
    pub endpoint: Option<String>,
    /// Buckets are addressed in the path.
    pub path_style: bool,
    /// Who we are.
    pub credentials: S3Credentials,
}

/// Whose credentials are used.
#[derive(Clone)]
pub enum S3Credentials {
    /// The AWS default chain.
    Default,
    /// A profile of the AWS configuration files.
    Profile(String),
    /// An access key.
    Static {
        /// The key's id.
        access_key_id: String,
        /// The key's secret.
        secret_access_key: String,
    },
    /// A role, assumed with what the default chain gives.
    AssumeRole {
        /// The role.
        arn: String,
        /// What the role's owner asks of third parties.
        external_id: Option<String>,
    },
}

impl std::fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("Default"),
            Self::Profile(name) => write!(f, "Profile({name})"),
            Self::Static { access_key_id, .. } => write!(f, "Static({access_key_id}, ..)"),
            Self::AssumeRole { arn, .. } => write!(f, "AssumeRole({arn})"),
        }
    }
}

/// Limits on fetching.
#[derive(Debug, Clone)]
pub struct FetchConfig {
    /// Objects fetched at once.
    pub concurrency: usize,
    /// Longest wait for an answer, and then for each next piece of the body.
    pub read_timeout: Duration,
    /// Longest wait for the store in one attempt, all waits added.
    pub timeout: Duration,
    /// Largest object as stored, in bytes.
    pub max_object_bytes: u64,
    /// Largest object after decompression, in bytes.
    pub max_decoded_bytes: u64,
    /// Decoded bytes for each stored byte at most.
    pub max_expansion: u64,
    /// Decoded bytes up to which any expansion will do.
    pub expansion_floor_bytes: u64,
    /// Largest window of a compression, in bytes: memory that each object being decoded takes.
    pub max_zstd_window: u64,
    /// What says how an object is compressed that is not ours.
    pub codec: CodecBy,
    /// Whether the store is asked for the checksum of an object that is not ours.
    pub verify_foreign: bool,
    /// Bytes read of an object while it waits for its turn at the handler.
    pub read_ahead_bytes: usize,
}

/// What says how an object is compressed that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecBy {
    /// Its `Content-Encoding`, or, where that names no compression, the key's ending.
    Header,
    /// The key's ending alone.
    Name,
}

/// When a failed delivery is tried again, and when no more.
#[derive(Debug, Clone)]
pub struct RetryConfig {
    /// Wait before the second attempt; it doubles with each attempt.
    pub base: Duration,
    /// Longest wait.
    pub max: Duration,
    /// Attempts before an object becomes a dead letter.
    pub attempts: u32,
    /// Attempts at an object that the store does not hold.
    pub missing_attempts: u32,
    /// Longest wait that a handler may ask for.
    pub max_retry_after: Duration,
}

/// How the buckets are listed for what no notice told of.
#[derive(Debug, Clone)]
pub struct ReconcileConfig {
    /// Time from the end of a listing to the next; `None` lists only when asked.
    pub interval: Option<Duration>,
    /// What is listed in each bucket; never empty, and the empty prefix is the whole bucket.
    pub prefixes: Vec<String>,
    /// Whether objects that are not ours are taken in as well.
    pub foreign: bool,
    /// Objects younger than this are left to their notices.
    pub grace: Duration,
    /// Whether objects from before the inbox was made are taken in as well.
    pub whole: bool,
    /// Objects listed in a second at most.
    pub objects_per_second: u32,
}

/// The SQS queue that notices are pulled from.
#[derive(Debug, Clone)]
pub struct PullConfig {
    /// The queue's URL.
    pub queue_url: String,
    /// URL of an SQS-compatible server; `None` is AWS.
    pub endpoint: Option<String>,
    /// How long a message is kept from other servers without a sign of life, at least 1 s.
    pub visibility: Duration,
    /// Messages at work at once.
    pub in_flight: usize,
    /// When a message is deleted.
    pub delete_when: DeleteWhen,
}

/// When a pulled message is deleted from its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteWhen {
    /// Once all that it tells of is in the inbox, which then owes it.
    Taken,
    /// Once its objects are done; what is given up stays for the queue's redrive policy.
    Done,
}

/// What the inbox keeps of done objects. Our own cuts stay known for ever by their numbers.
#[derive(Debug, Clone, Copy)]
pub struct RetentionConfig {
    /// Age of the oldest row that is kept.
    pub age: Duration,
    /// Rows that are kept.
    pub rows: u64,
}

/// Level and format of the log.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// A level or a filter.
    pub level: String,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Start {
    /// Run with this configuration.
    Run(Box<Config>),
    /// Ask the server that listens here whether it is ready, and end.
    AskHealth {
        /// Where it listens.
        address: SocketAddr,
        /// The file of the certificate that it shows, if it speaks TLS.
        certificate: Option<PathBuf>,
    },
    /// Write man pages and completions, and end.
    Generate {
        /// The definition of the command line.
        command: Box<clap::Command>,
        /// How the program was called.
        called: String,
        /// Below which folder.
        share: PathBuf,
    },
    /// Print a new secret, and end.
    NewSecret,
    /// Print the version, and end.
    ShowVersion,
    /// Print this and end: help, or an answer to `--check-config` or `--print-config`.
    Print(String),
}

/// Every mistake in the configuration, one a line.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(
    /// The mistakes, each with where it was written.
    pub Vec<String>,
);

impl Start {
    /// Reads a command line (the first argument is the program's name) over the environment,
    /// which `variable` looks up, over the file named by `--config`.
    ///
    /// # Errors
    /// Every mistake found, not only the first.
    pub fn from_args<I>(args: I, variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError>
    where
        I: IntoIterator,
        I::Item: Into<OsString> + Clone,
    {
        let mut args = args.into_iter().map(Into::into).peekable();
        let called =
            args.peek().map(|name: &OsString| name.to_string_lossy().into_owned()).unwrap_or_default();
        let matches = match command().try_get_matches_from(args) {
            Ok(matches) => matches,
            Err(error) if error.use_stderr() => return Err(ConfigError(vec![error.render().to_string()])),
            Err(shown) if shown.kind() == ErrorKind::DisplayVersion => return Ok(Self::ShowVersion),
            Err(help) => return Ok(Self::Print(help.render().to_string())),
        };
        // It has the one subcommand `new`, and cannot be called without it.
        if matches.subcommand_name() == Some("secret") {
            return Ok(Self::NewSecret);
        }
        if let Some(share) = matches.get_one::<String>("generate") {
            return Ok(Self::Generate { command: Box::new(command()), called, share: share.into() });
        }
        let mut settings = Settings::with_defaults();
        let file =
            matches.get_one::<String>("config").cloned().or_else(|| variable("SLUICEGATE_SERVER_CONFIG"));
        if let Some(path) = file.map(PathBuf::from) {
            match std::fs::read_to_string(&path) {
                Ok(text) => settings.read_file(&path, &text),
                Err(error) => settings.mistake(format!("reading {}: {error}", path.display())),
            }
        }
        for key in KEYS {
            if let Some(text) = variable(&key.variable()) {
                settings.set(key, vec![text], Origin::Variable(key.variable()));
            }
            if !key.secret
                && let Some(text) = matches.get_one::<String>(key.name)
            {
                settings.set(key, vec![text.clone()], Origin::Flag(key.flag()));
            }
        }
        if matches.get_flag("health") {
            let address = settings.optional("listen", listen_address);
            let certificate = settings.optional("tls.certificate", path);
            return address
                .map(|address| Self::AskHealth { address, certificate })
                .ok_or_else(|| ConfigError(settings.into_mistakes()));
        }
        let ready_file = matches.get_one::<String>("ready-file").map(PathBuf::from);
        let printed = matches.get_flag("print-config").then(|| print(&settings));
        let config = validate(settings, ready_file)?;
        Ok(match printed {
            Some(text) => Self::Print(text),
            None if matches.get_flag("check-config") => {
                Self::Print("the configuration is valid\n".to_owned())
            }
            None => Self::Run(Box::new(config)),
        })
    }
}

fn print(settings: &Settings) -> String {
    let mut text = String::new();
    for key in KEYS {
        let Some(setting) = settings.get(key.name) else { continue };
        let shown = match (key.secret, setting.values.as_slice()) {
            (true, _) => "\"(secret)\"".to_owned(),
            (false, [one]) => without_userinfo(&format!("{one:?}")),
            (false, several) => without_userinfo(&format!("{several:?}")),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} = {shown} # {}", key.name, setting.origin);
    }
    text
}

#[cfg(test)]
mod tests;
