//! The one table of settings. A row makes a TOML key, a flag and an environment variable of
//! the same name: `s3.endpoint` is `--s3-endpoint` and `SLUICEGATE_SERVER_S3_ENDPOINT`.

/// One setting: its name in the TOML file, its default and what it does.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// What the help shows in place of the value.
    pub(super) value: &'static str,
    pub(super) default: Option<&'static str>,
    /// A secret has no flag (process lists are public) and is never printed.
    pub(super) secret: bool,
    pub(super) help: &'static str,
}

impl Key {
    /// The long flag, without its dashes.
    pub(super) fn flag(&self) -> String {
        self.name.replace(['.', '_'], "-")
    }

    /// The environment variable.
    pub(super) fn variable(&self) -> String {
        format!("SLUICEGATE_SERVER_{}", self.name.replace('.', "_").to_uppercase())
    }
}

const fn key(
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> Key {
    Key { name, value, default, secret: false, help }
}

const fn secret(name: &'static str, help: &'static str) -> Key {
    Key { name, value: "SECRET", default: None, secret: true, help }
}

/// Every setting, in the order in which the help shows them.
#[rustfmt::skip] // A table reads best with one row a line.
pub(super) const KEYS: &[Key] = &[
    key("listen", "ADDRESS", Some("127.0.0.1:8090"), "address for notices, the page, metrics and health; port 0 picks a free one"),
    key("dir", "FOLDER", Some("./sluicegate-server"), "the server's own folder, in which the inbox is by default"),
    secret("inbox", "where the inbox is: an SQLite file, or postgres://USER:PASSWORD@HOST/DATABASE, which many servers may share"),
    key("inbox_ca_file", "FILE", None, "who may sign PostgreSQL's certificate, as PEM, instead of whom this machine trusts"),
    key("lease", "DURATION", Some("60s"), "how long an attempt belongs to a server that gives no sign of life, where servers share an inbox"),
    key("read_from", "WHO", Some("loopback"), "who may read the page, the read API and the metrics without a token: loopback, or nobody if a proxy on this machine passes requests on"),
    secret("tokens", "tokens that may read from anywhere and change something, as NAME:TOKEN, separated by commas; without any the server makes one in the file token of its folder"),
    key("token_file", "FILE", None, "file with one NAME:TOKEN a line, in addition"),
    key("tls.certificate", "FILE", None, "PEM file with the certificate chain; with tls.key the listener speaks HTTPS alone. SIGHUP reads both again"),
    key("tls.key", "FILE", None, "PEM file with the certificate's key"),
    key("client_timeout", "DURATION", Some("30s"), "time a client gets for a TLS handshake, for a request's head, and to take the next piece of an answer"),
    key("idle_timeout", "DURATION", Some("75s"), "how long a connection may be open without a request; longer than a proxy in front keeps it, or requests are lost to it"),
    key("max_head_bytes", "SIZE", Some("16KiB"), "largest head of a request: its first line and headers; a larger one is 431"),
    key("max_headers", "NUMBER", Some("100"), "most header lines of a request; one with more is 431"),
    key("shutdown_timeout", "DURATION", Some("20s"), "time that running deliveries get to finish at shutdown"),
    key("max_connections", "NUMBER", Some("1024"), "connections served at once; more wait in the listen queue. Fewer where the limit of open files asks for it"),
    key("max_streams", "NUMBER", Some("64"), "live streams (GET /v1/stream) served at once"),
    key("events.max_event_bytes", "SIZE", Some("16MiB"), "largest event that GET /v1/events sends; an object that holds a larger one is an error in its place"),
    key("notices.buckets", "NAMES", None, "buckets whose notices are taken, separated by commas; required"),
    key("notices.regions", "NAMES", None, "regions that a notice may name, separated by commas; any if absent. A notice never decides which store is asked"),
    secret("notices.secrets", "shared secrets of the signature, separated by commas (whsec_... or plain text); any one of them signs, so that a secret can be rotated"),
    key("notices.secret_file", "FILE", None, "file with one secret a line, in addition"),
    key("notices.clock_tolerance", "DURATION", Some("5m"), "how far a notice's signed time may be from our clock"),
    key("notices.max_bytes", "SIZE", Some("64KiB"), "largest body of a notice"),
    key("notices.read_timeout", "DURATION", Some("10s"), "time a sender gets for the body of a notice"),
    secret("store_events.tokens", "tokens of stores that post events of their objects (POST /v1/store-events), as NAME:TOKEN, separated by commas; none may without one"),
    key("store_events.token_file", "FILE", None, "file with one NAME:TOKEN a line, in addition"),
    key("store_events.raw_keys", "NAMES", None, "senders that do not encode keys, separated by commas; of a sender in neither list each record shows it, as far as it can"),
    key("store_events.encoded_keys", "NAMES", None, "senders that encode keys as S3 does"),
    key("store_events.control_prefix", "PREFIX", Some("_sluicegate/"), "keys that begin so are the agent's own (its control_prefix) and no events"),
    key("s3.region", "REGION", Some("us-east-1"), "region of the buckets"),
    key("s3.endpoint", "URL", None, "an S3-compatible store instead of AWS"),
    key("s3.path_style", "BOOL", Some("false"), "address buckets in the path instead of the host name"),
    key("s3.profile", "NAME", None, "profile of the AWS configuration files"),
    key("s3.role_arn", "ARN", None, "role to assume"),
    key("s3.external_id", "ID", None, "external id for the role to assume"),
    key("s3.access_key_id", "ID", None, "static access key; without it the AWS default chain is used"),
    secret("s3.secret_access_key", "secret of the static access key"),
    key("fetch.concurrency", "NUMBER", Some("8"), "objects fetched at once"),
    key("fetch.read_timeout", "DURATION", Some("30s"), "longest wait for the next bytes of an object"),
    key("fetch.timeout", "DURATION", Some("1h"), "longest wait for the store in one attempt, all waits added; the handler's own time does not count"),
    key("fetch.max_object_bytes", "SIZE", Some("5GiB"), "largest object that is fetched"),
    key("fetch.max_decoded_bytes", "SIZE", Some("20GiB"), "largest object after decompression"),
    key("fetch.max_expansion", "NUMBER", Some("500"), "most decoded bytes for each stored one, beyond fetch.expansion_floor_bytes; more is a bomb and a dead letter"),
    key("fetch.expansion_floor_bytes", "SIZE", Some("256MiB"), "decoded bytes up to which any expansion will do"),
    key("fetch.max_zstd_window", "SIZE", Some("8MiB"), "largest window of an object's zstd compression, which is memory that each object being decoded takes; zstd's levels up to 19 need no more, --long and --ultra may"),
    key("fetch.codec", "HOW", Some("by_header"), "what says how an object is compressed that the agent did not write: by_header (Content-Encoding, else the key's ending) or by_name (the ending alone)"),
    key("fetch.verify_foreign", "BOOL", Some("true"), "ask the store for the CRC32C of objects that the agent did not write, one more request each, and compare"),
    key("fetch.read_ahead_bytes", "SIZE", Some("1MiB"), "how much of an object is read while it waits for its turn, per object"),
    key("retry.base", "DURATION", Some("500ms"), "wait before the second attempt; doubles with each attempt, with jitter"),
    key("retry.max", "DURATION", Some("5m"), "longest wait between two attempts"),
    key("retry.attempts", "NUMBER", Some("20"), "attempts before an object becomes a dead letter"),
    key("retry.missing_attempts", "NUMBER", Some("8"), "attempts at an object that the store says it does not hold"),
    key("retry.max_retry_after", "DURATION", Some("1h"), "longest wait that a handler may ask for (Retry-After); a longer one is cut to it"),
    key("handler.kind", "KIND", Some("log"), "who gets the objects: log, ndjson, lines, command or http"),
    key("handler.path", "FILE", None, "ndjson, lines: the file to which every event is appended, as a JSON value (ndjson) or as it is in the object (lines)"),
    key("handler.rotate_bytes", "SIZE", None, "ndjson, lines: from this size on the next file begins: out.ndjson, out-000001.ndjson and so on [default: never]"),
    key("handler.rotate_age", "DURATION", None, "ndjson, lines: after this time the next file begins, if the file holds anything [default: never]"),
    key("handler.command", "PROGRAM", None, "command: the program; with arguments a list, as in [\"psql\", \"-f\", \"load.sql\"], on a command line written as JSON; no shell comes between"),
    key("handler.feed", "WHAT", None, "command, http: what is handed over at a time: object (all its decoded bytes; command only, and its default), batch (the default of http) or event (one)"),
    key("handler.timeout", "DURATION", None, "command: longest run; then the program and all that it started are killed [default: 5m]; http: longest wait for an answer [default: 30s]"),
    key("handler.later_codes", "CODES", None, "command: exit codes that mean \"not now\": tried again, without using attempts up [default: 75]"),
    key("handler.dead_codes", "CODES", None, "command: exit codes that make the object a dead letter at once [default: 65]"),
    key("handler.log_bytes", "SIZE", None, "command: how much of a run's standard output and error goes to the log, each [default: 64KiB]"),
    key("handler.spool_dir", "FOLDER", None, "command: where a run's input waits as a file without a name, decoded [default: dir]"),
    key("handler.url", "URL", None, "http: where events are forwarded to, by POST"),
    secret("handler.secrets", "http: secrets that sign each batch after Standard Webhooks, separated by commas; several while one is rotated, none for no signature"),
    key("handler.secret_file", "FILE", None, "http: file with one secret a line, in addition"),
    key("handler.ca_file", "FILE", None, "http: PEM file of the certificate authorities to trust instead of the built-in ones"),
    key("handler.format", "FORMAT", None, "http: ndjson (events as they are in the object, each ended by a newline) or json (an array of them; what is no JSON as a string, what is no text as base64) [default: ndjson]"),
    key("handler.retry_statuses", "STATUSES", None, "http: statuses from 400 to 499 that are tried again as 5xx are, besides 429; others make a dead letter at once [default: 408,409,425]"),
    key("handler.batch_events", "NUMBER", None, "feed = batch: most events in a batch [default: 1000]"),
    key("handler.batch_bytes", "SIZE", None, "feed = batch: most bytes in a batch; a larger event makes one of its own [default: 1MiB]"),
    key("handler.max_event_bytes", "SIZE", None, "ndjson, and feed = batch or event: largest event; an object that holds a larger one is a dead letter [default: 16MiB]"),
    key("handler.set_aside", "WHAT", None, "command, http: skip or deliver objects of events that the agent set aside (dead letters) [default: skip]"),
    key("pull.queue_url", "URL", None, "SQS queue from which notices are pulled: S3 events, direct or by way of SNS or EventBridge; region from the URL, credentials as for s3"),
    key("pull.endpoint", "URL", None, "an SQS-compatible server instead of AWS"),
    key("pull.visibility", "DURATION", Some("60s"), "how long a message is kept from other servers without a sign of life"),
    key("pull.in_flight", "NUMBER", Some("200"), "messages at work at once"),
    key("pull.delete_when", "WHEN", Some("taken"), "when a message is deleted: taken, once it is synced in the inbox, or done, once its objects are handled"),
    key("reconcile.interval", "DURATION", Some("1h"), "time between two listings of the buckets for objects that no notice told of; off lists only when asked"),
    key("reconcile.prefixes", "PREFIXES", None, "what is listed in each bucket, separated by commas; the whole bucket if absent"),
    key("reconcile.foreign", "BOOL", Some("false"), "take in objects as well that no agent wrote; name prefixes that hold nothing else than what is to be handled"),
    key("reconcile.grace", "DURATION", Some("5m"), "objects younger than this are left to their notices"),
    key("reconcile.start", "WHERE", Some("oldest"), "oldest takes in what is in the bucket, newest only what was stored after the inbox was made"),
    key("reconcile.objects_per_second", "NUMBER", Some("5000"), "objects listed in a second at most"),
    key("continuity.missing_alarm", "DURATION", Some("15m"), "how long a cut may be missing before that is an alarm: longer than an upload may be late"),
    key("retention.done_age", "DURATION", Some("30d"), "how long the row of a done object is kept; our own cuts stay known for ever"),
    key("retention.done_rows", "NUMBER", Some("1000000"), "rows of done objects kept at most"),
    key("log.level", "FILTER", Some("info"), "log level or filter, such as info or downstream_server=debug"),
    key("log.format", "FORMAT", Some("text"), "text or json"),
];
