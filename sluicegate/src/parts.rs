//! What runs in each child: the settings from standard input, turned into the configuration of
//! one program, and that program's own `run`.

use std::fs;
use std::future::Future;
use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use contract::exit;
use local_cloud::{CloudOptions, EtagKind, LocalCloud, Notify};
use tokio::signal::unix::{SignalKind, signal};

use crate::Part;
use crate::settings::{BUCKET, PREFIX, REGION, Settings};

/// Runs a part until it is told to stop, or its parent is gone.
pub(crate) fn run(part: Part) -> anyhow::Result<ExitCode> {
    let settings = read_settings().context("reading the settings from standard input")?;
    std::thread::spawn(end_with_parent);
    // What is written here holds the keys and the events of whoever started us.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match part {
            Part::Cloud => cloud(&settings).await,
            Part::Server => server(&settings).await,
            Part::Notifier => notifier(&settings).await,
            Part::Agent => agent(&settings).await,
        }
    })
}

/// One line of JSON, read byte by byte: what follows it is the lifeline.
fn read_settings() -> anyhow::Result<Settings> {
    let mut line = Vec::new();
    for byte in std::io::stdin().lock().bytes() {
        match byte? {
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    Ok(serde_json::from_slice(&line)?)
}

/// Standard input closes when the parent ends, however it ends. Then this process ends at once:
/// whatever it had answered is on disk, and an orphan would only keep a port.
fn end_with_parent() {
    let mut nothing = [0; 64];
    while std::io::stdin().read(&mut nothing).is_ok_and(|read| read > 0) {}
    std::process::exit(i32::from(exit::TEMPFAIL));
}

/// Completes when the parent asks this part to stop.
fn stop_asked() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        terminate.recv().await;
    })
}

fn start_log() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
}

/// Says to the parent that this part answers.
fn ready(part: Part, settings: &Settings) -> std::io::Result<()> {
    fs::write(settings.ready_file(part), "{}")
}

async fn cloud(settings: &Settings) -> anyhow::Result<ExitCode> {
    let stop = stop_asked()?;
    start_log();
    let options = CloudOptions {
        s3_addr: settings.s3,
        lambda_addr: settings.lambda,
        access_key: settings.keys.access_key.clone(),
        secret_key: settings.keys.secret_key.clone(),
        region: REGION.to_owned(),
        function_timeout: settings.lambda_timeout,
        retry_delays: [settings.lambda_retry_delay, settings.lambda_retry_delay * 2],
        notify: Notify { bucket: Some(BUCKET.to_owned()), prefix: PREFIX.to_owned(), suffix: String::new() },
        request_log: Some(settings.dir.join("logs/s3-requests.jsonl")),
        etag: EtagKind::Opaque,
        ..CloudOptions::new(settings.dir.join("s3"))
    };
    let cloud = LocalCloud::start(options).await?;
    cloud.create_bucket(BUCKET).await?;
    ready(Part::Cloud, settings)?;
    stop.await;
    cloud.shutdown().await;
    Ok(ExitCode::from(exit::OK))
}

async fn server(settings: &Settings) -> anyhow::Result<ExitCode> {
    use downstream_server::config::Start;

    let stop = stop_asked()?;
    let dir = settings.dir.join("server");
    let flags = [
        ("--listen", settings.page.to_string()),
        ("--dir", dir.display().to_string()),
        ("--ready-file", settings.ready_file(Part::Server).display().to_string()),
        ("--notices-buckets", BUCKET.to_owned()),
        ("--s3-endpoint", format!("http://{}", settings.s3)),
        ("--s3-region", REGION.to_owned()),
        ("--s3-path-style", "true".to_owned()),
        ("--s3-access-key-id", settings.keys.access_key.clone()),
        ("--handler-kind", "ndjson".to_owned()),
        ("--handler-path", dir.join("events.ndjson").display().to_string()),
        // The cloud beside it is back in a moment, however it ended.
        ("--retry-base", "200ms".to_owned()),
        ("--retry-max", "5s".to_owned()),
    ];
    let arguments = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
    let secrets = |name: &str| match name {
        "SLUICEGATE_SERVER_NOTICES_SECRETS" => Some(settings.keys.notice_secret.clone()),
        "SLUICEGATE_SERVER_S3_SECRET_ACCESS_KEY" => Some(settings.keys.secret_key.clone()),
        _ => None,
    };
    let start = Start::from_args(std::iter::once("server".to_owned()).chain(arguments), secrets)?;
    let Start::Run(config) = start else { bail!("the server was not asked to run") };
    start_log();
    ended(Box::pin(downstream_server::run(*config, stop)).await)
}

async fn notifier(settings: &Settings) -> anyhow::Result<ExitCode> {
    let stop = stop_asked()?;
    let config = notifier_lambda::Config::from_lookup(|name| match name {
        "SLUICEGATE_NOTIFY_URL" => Some(format!("http://{}/v1/notices", settings.page)),
        "SLUICEGATE_NOTIFY_SECRET" => Some(settings.keys.notice_secret.clone()),
        _ => None,
    })?;
    notifier_lambda::logging::init(&config.log)?;
    ready(Part::Notifier, settings)?;
    tokio::select! {
        result = notifier_lambda::run(config) => ended(result),
        // An invocation that is cut short has not succeeded: Lambda gives it again.
        () = stop => Ok(ExitCode::from(exit::OK)),
    }
}

async fn agent(settings: &Settings) -> anyhow::Result<ExitCode> {
    use ingest_agent::config::{Config, Flags};

    let value = |name: &str| {
        Some(match name {
            "DIR" => settings.dir.join("agent").display().to_string(),
            "READY_FILE" => settings.ready_file(Part::Agent).display().to_string(),
            "ADMIN" => settings.admin.to_string(),
            "HTTP" => settings.http.to_string(),
            "NETCAT" => settings.netcat.to_string(),
            "S3" => format!("http://{}", settings.s3),
            "ACCESS_KEY" => settings.keys.access_key.clone(),
            "SECRET_KEY" => settings.keys.secret_key.clone(),
            _ => return None,
        })
    };
    let config = Config::parse("agent.toml", include_str!("agent.toml"), &Flags::default(), &value)
        .map_err(|mistakes| anyhow!("{mistakes}"))?;
    let log = ingest_agent::logging::init(&config.log_level, config.log_format)?;
    match ingest_agent::cli::serve(config, log).await {
        Ok(_) => Ok(ExitCode::from(exit::OK)),
        Err(error) => {
            let code = error.exit_code();
            eprintln!("agent: {:#}", anyhow::Error::from(error));
            Ok(ExitCode::from(code))
        }
    }
}

/// A part that could not go on says why in its log; the parent starts it again.
fn ended(result: Result<(), impl std::error::Error + Send + Sync + 'static>) -> anyhow::Result<ExitCode> {
    result.map(|()| ExitCode::from(exit::OK)).map_err(anyhow::Error::from)
}
