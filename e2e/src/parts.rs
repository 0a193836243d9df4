//! The programs of the pipeline, each as it is installed: the agent with a configuration file, the
//! server with flags, the notifier with its environment; and the local cloud in a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use blob_store::{BlobStore, Credentials, S3Options, S3Store};
use contract::ObjectMetadata;
use futures_util::TryStreamExt as _;
use serde_json::json;

use crate::process::{Program, folder, free_port};
use crate::program;

/// The one bucket.
pub const BUCKET: &str = "events";
/// Where the agent's objects lie in it.
pub const PREFIX: &str = "data/";
/// The access key of the local cloud.
pub const ACCESS_KEY: &str = "local";
/// Its secret.
pub const SECRET_KEY: &str = "local-secret";
/// Signs the notices.
pub const NOTICE_SECRET: &str = "a secret that only tests know";

/// An agent: where it listens, where its folder is, and how it is tuned.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Takes its configuration, its ready file and its log.
    pub folder: PathBuf,
    /// Its `data_dir`.
    pub data: PathBuf,
    /// Where its http source listens.
    pub http: SocketAddr,
    /// Where its netcat source listens.
    pub netcat: SocketAddr,
    /// Its admin address.
    pub admin: SocketAddr,
    /// The URL of S3.
    pub s3: String,
    /// Further lines of its tables.
    pub tuning: Tuning,
}

/// Lines of TOML for the tables of the agent's configuration.
#[derive(Clone, Debug, Default)]
pub struct Tuning {
    /// Of `[sources.http]`.
    pub http: String,
    /// Of `[sources.netcat]`.
    pub netcat: String,
    /// Of `[channels.main]`.
    pub channel: String,
    /// Of `[sinks.s3]`.
    pub sink: String,
    /// Of `[sinks.s3.roll]`.
    pub roll: String,
    /// Of `[sinks.s3.credentials]`; the local cloud's keys if empty.
    pub credentials: String,
}

impl Agent {
    /// An agent on free ports that keeps everything in `folder`.
    pub fn new(home: &Path, s3: &str, tuning: Tuning) -> Self {
        Self {
            folder: folder(home),
            data: home.join("agent"),
            http: free_port(),
            netcat: free_port(),
            admin: free_port(),
            s3: s3.to_owned(),
            tuning,
        }
    }

    /// The program, its configuration written.
    pub fn program(&self) -> Program {
        let Self { data, http, netcat, admin, s3, tuning, .. } = self;
        let Tuning { http: http_more, netcat: netcat_more, channel, sink, roll, credentials } = tuning;
        let keys = format!(
            "from = \"static\"\naccess_key_id = \"{ACCESS_KEY}\"\nsecret_access_key = \"{SECRET_KEY}\""
        );
        let credentials = if credentials.is_empty() { &keys } else { credentials };
        let ready = self.folder.join("agent.ready");
        let text = format!(
            r#"config_version = 1
data_dir = "{data}"
ready_file = "{ready}"
[admin]
listen = "{admin}"
[sources.http]
kind = "http"
listen = "{http}"
{http_more}
[sources.netcat]
kind = "netcat"
listen = "{netcat}"
{netcat_more}
[channels.main]
kind = "durable"
{channel}
[sinks.s3]
kind = "s3"
bucket = "{BUCKET}"
prefix = "{PREFIX}"
endpoint = "{s3}"
# Not asked at each start: those requests would draw the faults that are meant for cuts.
conditional = true
multipart_checksum = "full_object"
region = "us-east-1"
path_style = true
{sink}
[sinks.s3.roll]
{roll}
[sinks.s3.credentials]
{credentials}
"#,
            data = data.display(),
            ready = ready.display(),
        );
        let config = self.folder.join("agent.toml");
        std::fs::write(&config, text).expect("a configuration can be written");
        Program {
            name: "agent",
            file: program("ingest-agent"),
            args: vec!["--config".into(), config.into()],
            ready: Some(ready),
            log: self.folder.join("agent.log"),
            ..Program::default()
        }
    }

    /// The channel's folder.
    pub fn channel(&self) -> PathBuf {
        self.data.join("channels/main")
    }

    /// Where events are posted.
    pub fn events_url(&self) -> String {
        format!("http://{}/v1/events", self.http)
    }

    /// A URL of its admin address.
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }
}

/// S3 and the Lambda Runtime API in a process of its own, with the bucket that notifies.
#[derive(Clone, Debug)]
pub struct Cloud {
    folder: PathBuf,
    /// Where S3 listens.
    pub s3: SocketAddr,
    /// Where the Lambda Runtime API listens.
    pub lambda: SocketAddr,
    /// How long the function may take over one try.
    pub timeout: Duration,
    /// Before the second try of an invocation; the third comes after twice that.
    pub retry_delay: Duration,
}

impl Cloud {
    /// A cloud on free ports that keeps everything in `folder`.
    pub fn new(home: &Path) -> Self {
        folder(&home.join("run"));
        folder(&home.join("logs"));
        Self {
            folder: home.to_owned(),
            s3: free_port(),
            lambda: free_port(),
            timeout: Duration::from_secs(30),
            retry_delay: Duration::from_secs(1),
        }
    }

    /// The one command's part of that name, which is told what it needs on its standard input.
    pub fn program(&self) -> Program {
        let Self { folder, s3, lambda, timeout, retry_delay } = self;
        let settings = json!({
            "dir": folder, "s3": s3, "lambda": lambda,
            "lambda_timeout": timeout, "lambda_retry_delay": retry_delay,
            // The other parts' addresses, which this one has no use for.
            "http": s3, "netcat": s3, "admin": s3, "page": s3,
            "keys": { "access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "notice_secret": NOTICE_SECRET },
        });
        Program {
            name: "cloud",
            file: program("sluicegate"),
            args: vec!["cloud".into()],
            input: Some(format!("{settings}\n")),
            ready: Some(folder.join("run/cloud.json")),
            log: folder.join("logs/cloud.log"),
            ..Program::default()
        }
    }

    /// The URL of S3.
    pub fn url(&self) -> String {
        format!("http://{}", self.s3)
    }

    /// The file that takes a line for each request to S3.
    pub fn requests(&self) -> PathBuf {
        self.folder.join("logs/s3-requests.jsonl")
    }

    /// The bucket, as anybody with the keys sees it.
    pub async fn bucket(&self) -> impl BlobStore + use<> {
        bucket(&self.url()).await
    }
}

/// The bucket at the S3 of this URL, as anybody with the keys sees it.
pub async fn bucket(url: &str) -> impl BlobStore + use<> {
    let credentials = Credentials::Static {
        access_key_id: ACCESS_KEY.to_owned(),
        secret_access_key: SECRET_KEY.to_owned(),
        session_token: None,
    };
    let options = S3Options {
        region: Some("us-east-1".to_owned()),
        endpoint: Some(url.to_owned()),
        path_style: true,
        credentials,
        ..S3Options::new(BUCKET)
    };
    S3Store::connect(options).await.expect("a client without special wishes can be made")
}

/// Every key below `prefix`, in order.
pub async fn keys(bucket: &impl BlobStore, prefix: &str) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    loop {
        let page = bucket.list(prefix, keys.last().map(String::as_str), 1000).await.expect("S3 lists");
        keys.extend(page.objects.into_iter().map(|object| object.key));
        if !page.truncated {
            return keys;
        }
    }
}

/// The object of this key: its metadata and its bytes as stored.
pub async fn object(bucket: &impl BlobStore, key: &str) -> (ObjectMetadata, Vec<u8>) {
    let object = bucket.get(key, None, None).await.unwrap_or_else(|error| panic!("{key}: {error}"));
    let metadata = ObjectMetadata::from_pairs(|name| object.info.metadata.get(name).map(String::as_str));
    let metadata = metadata.unwrap_or_else(|error| panic!("{key}: {error}"));
    let pieces: Vec<_> = object.body.try_collect().await.unwrap_or_else(|error| panic!("{key}: {error}"));
    (metadata, pieces.concat())
}

/// Every object of the agents, in the order of their keys.
pub async fn objects(bucket: &impl BlobStore) -> Vec<(ObjectMetadata, Vec<u8>)> {
    let mut objects = Vec::new();
    for key in keys(bucket, PREFIX).await {
        objects.push(object(bucket, &key).await);
    }
    objects
}

/// A downstream server.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its log and ready file.
    pub folder: PathBuf,
    /// Its `dir`.
    pub inbox: PathBuf,
    /// Where it listens.
    pub addr: SocketAddr,
    /// The URL of S3.
    pub s3: String,
    /// Flags for the handler and whatever else.
    pub flags: Vec<String>,
}

impl Server {
    /// A server on a free port that keeps everything in `folder`.
    pub fn new(home: &Path, s3: &str, flags: &[(&str, &str)]) -> Self {
        let flags = flags.iter().flat_map(|(flag, value)| [format!("--{flag}"), (*value).to_owned()]);
        let inbox = home.join("inbox");
        Self { folder: folder(home), inbox, addr: free_port(), s3: s3.to_owned(), flags: flags.collect() }
    }

    /// The program.
    pub fn program(&self) -> Program {
        let ready = self.folder.join("server.ready");
        let flags = [
            ("--listen", self.addr.to_string()),
            ("--dir", self.inbox.display().to_string()),
            ("--ready-file", ready.display().to_string()),
            ("--notices-buckets", BUCKET.to_owned()),
            ("--s3-endpoint", self.s3.clone()),
            ("--s3-path-style", "true".to_owned()),
            ("--s3-access-key-id", ACCESS_KEY.to_owned()),
        ];
        let mut args: Vec<_> =
            flags.into_iter().flat_map(|(flag, value)| [flag.into(), value.into()]).collect();
        args.extend(self.flags.iter().map(Into::into));
        Program {
            name: "server",
            file: program("downstream-server"),
            args,
            env: vec![
                ("SLUICEGATE_SERVER_NOTICES_SECRETS", NOTICE_SECRET.to_owned()),
                ("SLUICEGATE_SERVER_S3_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ],
            ready: Some(ready),
            log: self.folder.join("server.log"),
            ..Program::default()
        }
    }

    /// A URL on its address.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// The token that it made for itself at its first start.
    pub fn token(&self) -> String {
        let text = std::fs::read_to_string(self.inbox.join("token"));
        text.expect("the server made a token").trim().to_owned()
    }
}

/// The notifier, which posts to `notices` what `lambda` invokes it with.
pub fn notifier(folder: &Path, lambda: SocketAddr, notices: SocketAddr) -> Program {
    Program {
        name: "notifier",
        file: program("notifier-lambda"),
        env: vec![
            ("SLUICEGATE_NOTIFY_URL", format!("http://{notices}/v1/notices")),
            ("SLUICEGATE_NOTIFY_SECRET", NOTICE_SECRET.to_owned()),
            ("AWS_LAMBDA_RUNTIME_API", lambda.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", "sluicegate-notifier".to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128".to_owned()),
        ],
        log: folder.join("notifier.log"),
        ..Program::default()
    }
}
