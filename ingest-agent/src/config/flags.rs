//! Flags: a whole small configuration, or single values that win over a file's.
//!
//! They become entries of the same tree that a file is parsed into, so that there is one reader, one set of defaults
//! and one wording of mistakes.

use clap::Args;

use super::document::Table;
use super::mistakes::Origin;

/// The flags that are configuration.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Settings, also for a configuration file")]
pub struct Flags {
    /// The folder of everything that is kept on disk
    #[arg(long, value_name = "DIR", env = "SLUICEGATE_DIR")]
    pub dir: Option<String>,
    /// Where metrics, health and flush are served; port 0 takes a free one
    #[arg(long, value_name = "ADDR", env = "SLUICEGATE_ADMIN")]
    pub admin: Option<String>,
    /// Write a JSON object with every address to FILE once everything listens
    #[arg(long, value_name = "FILE", env = "SLUICEGATE_READY_FILE")]
    pub ready_file: Option<String>,
    /// What is logged: off, error, warn, info, debug, trace, or info,MODULE=debug
    #[arg(long, value_name = "LEVEL", env = "SLUICEGATE_LOG_LEVEL")]
    pub log_level: Option<String>,
    /// How it is logged: text or json
    #[arg(long, value_name = "FORMAT", env = "SLUICEGATE_LOG_FORMAT")]
    pub log_format: Option<String>,
    /// How long sinks may go on shipping at shutdown, such as 30s
    #[arg(long, value_name = "TIME", env = "SLUICEGATE_SHUTDOWN_TIMEOUT")]
    pub shutdown_timeout: Option<String>,
    /// A small pipeline without a file.
    #[command(flatten)]
    pub pipeline: PipelineFlags,
}

/// The flags that make a pipeline without a file: sources `http` and `netcat`, channel `main`, sink `s3`.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "A pipeline without a configuration file")]
pub struct PipelineFlags {
    /// The bucket
    #[arg(long, conflicts_with = "config")]
    pub bucket: Option<String>,
    /// What every key begins with
    #[arg(long, requires = "bucket")]
    pub prefix: Option<String>,
    /// The bucket's region
    #[arg(long, requires = "bucket")]
    pub region: Option<String>,
    /// URL of an S3 server other than AWS
    #[arg(long, value_name = "URL", requires = "bucket")]
    pub endpoint: Option<String>,
    /// Name the bucket in the path, as most servers other than AWS want it
    #[arg(long, requires = "bucket")]
    pub path_style: bool,
    /// Template of the part of the key between prefix and object name, such as dt=%Y-%m-%d
    #[arg(long, value_name = "TEMPLATE", requires = "bucket")]
    pub partition: Option<String>,
    /// ndjson, text, raw or json_lines
    #[arg(long, requires = "bucket")]
    pub format: Option<String>,
    /// none, gzip or zstd
    #[arg(long, requires = "bucket")]
    pub codec: Option<String>,
    /// Take events by HTTP here; with neither this nor --netcat, both listen on their default addresses
    #[arg(long, value_name = "ADDR", requires = "bucket")]
    pub http: Option<String>,
    /// Take lines by TCP here
    #[arg(long, value_name = "ADDR", requires = "bucket")]
    pub netcat: Option<String>,
}

// === impl Flags ===

impl Flags {
    /// Writes what is set into the tree.
    pub(super) fn apply(&self, document: &mut Table) {
        let mut set = |flag, path: &[&str], value: Option<&String>| {
            if let Some(value) = value {
                document.set(path, &Origin::Flag(flag), toml::Value::String(value.clone()));
            }
        };
        set("--dir", &["data_dir"], self.dir.as_ref());
        set("--admin", &["admin", "listen"], self.admin.as_ref());
        set("--ready-file", &["ready_file"], self.ready_file.as_ref());
        set("--log-level", &["log", "level"], self.log_level.as_ref());
        set("--log-format", &["log", "format"], self.log_format.as_ref());
        set("--shutdown-timeout", &["shutdown_timeout"], self.shutdown_timeout.as_ref());

        if self.pipeline.bucket.is_some() {
            self.apply_pipeline(document);
        }
    }

    /// As [`apply`](Self::apply), with the whole pipeline also where no flag asks for one.
    pub(super) fn apply_all(&self, document: &mut Table) {
        self.apply(document);
        self.apply_pipeline(document);
    }

    fn apply_pipeline(&self, document: &mut Table) {
        let mut set = |flag, path: &[&str], value: Option<&String>| {
            if let Some(value) = value {
                document.set(path, &Origin::Flag(flag), toml::Value::String(value.clone()));
            }
        };
        let PipelineFlags {
            bucket,
            prefix,
            region,
            endpoint,
            path_style,
            partition,
            format,
            codec,
            http,
            netcat,
        } = &self.pipeline;
        let word = |text: &str| Some(text.to_owned());
        set("--bucket", &["sinks", "s3", "kind"], word("s3").as_ref());
        set("--bucket", &["sinks", "s3", "bucket"], bucket.as_ref());
        set("--prefix", &["sinks", "s3", "prefix"], prefix.as_ref());
        set("--region", &["sinks", "s3", "region"], region.as_ref());
        set("--endpoint", &["sinks", "s3", "endpoint"], endpoint.as_ref());
        set("--path-style", &["sinks", "s3", "path_style"], path_style.then(|| "true".to_owned()).as_ref());
        set("--partition", &["sinks", "s3", "partition"], partition.as_ref());
        set("--format", &["sinks", "s3", "format"], format.as_ref());
        set("--codec", &["sinks", "s3", "codec"], codec.as_ref());
        let both = http.is_none() && netcat.is_none();
        for (flag, name, listen) in [("--http", "http", http), ("--netcat", "netcat", netcat)] {
            if both || listen.is_some() {
                set(flag, &["sources", name, "kind"], word(name).as_ref());
                set(flag, &["sources", name, "listen"], listen.as_ref());
            }
        }
    }
}
