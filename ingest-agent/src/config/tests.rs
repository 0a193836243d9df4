use crate::channel::keys::Limits;

use super::*;

/// No variable is set but `SECRET` and `PORT`.
fn env(name: &str) -> Option<String> {
    match name {
        "SECRET" => Some("hunter2".to_owned()),
        "PORT" => Some("8099".to_owned()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Config, Mistakes> {
    Config::parse("agent.toml", text, &Flags::default(), &env)
}

/// A right configuration to which a case adds its mistake, from line 7 on.
const BASE: &str = "\
[sources.web]
kind = \"http\"

[sinks.s3]
kind = \"s3\"
bucket = \"bucket\"
";

#[track_caller]
fn mistakes(added: &str, expected: &[&str]) {
    let error = parse(&format!("{BASE}{added}\n")).expect_err("there are mistakes in it");
    let lines: Vec<_> = error.to_string().lines().map(str::to_owned).collect();
    assert_eq!(lines, expected, "{added}");
}

#[test]
fn a_minimal_configuration_has_one_durable_channel_that_everything_uses() {
    let config = parse(BASE).unwrap();
    assert_eq!(config.channels.len(), 1);
    let ChannelKind::Durable { dir, options } = &config.channels[0].kind else { panic!("it is durable") };
    assert_eq!(dir, &PathBuf::from("sluicegate-data/agent/channels/main"));
    assert_eq!(*options, durable_channel::Options::default());
    assert_eq!(config.sources[0].channels, [config.channels[0].name.clone()]);
    assert_eq!(config.sinks[0].channel, config.channels[0].name);
    let SinkKind::S3(s3) = &config.sinks[0].kind else { panic!("it is S3") };
    assert_eq!(s3.retain_high_bytes, options.capacity_bytes / 2, "half of the channel");
}

#[test]
fn every_source_and_the_admin_address_listen_on_loopback_unless_told_otherwise() {
    let config = parse(&format!("{BASE}[sources.lines]\nkind = \"netcat\"")).unwrap();
    let listens = config.sources.iter().map(|source| match &source.kind {
        SourceKind::Http(http) => http.listen,
        SourceKind::Netcat(netcat) => netcat.listen,
    });
    let listens: Vec<_> = listens.chain(config.admin).collect();
    assert_eq!(listens.len(), 3);
    assert!(listens.iter().all(|listen| listen.ip().is_loopback()), "{listens:?}");
}

#[test]
fn each_mistake_is_told_with_its_line_and_what_would_be_right() {
    mistakes("prefx = \"x\"", &["agent.toml:7: sinks.s3.prefx: unknown key; did you mean \"prefix\"?"]);
    mistakes(
        "zzz = 1",
        &[concat!(
            "agent.toml:7: sinks.s3.zzz: unknown key; known are kind, channel, start, bucket, prefix, region, endpoint, ",
            "path_style, conditional, payload_signing, multipart_checksum, storage_class, tags, ca_file, control_prefix, partition, unresolved, fallback_partition, ",
            "time_zone, round_down, format, meta, codec, codec_level, compression_threads, max_event, max_open_partitions, staging_memory, staging, ",
            "journal, retain_high, put_limit, part, upload_concurrency, retry_base, retry_max, alarm_after, retry_horizon, connect_timeout, read_timeout, ",
            "operation_timeout, complete_timeout, min_rate, roll, credentials"
        )],
    );
    mistakes("type = \"s3\"", &["agent.toml:7: sinks.s3.type: this key is called \"kind\" here"]);
    mistakes(
        "\"hdfs.rollInterval\" = 30",
        &["agent.toml:7: sinks.s3.hdfs.rollInterval: this key is called \"roll.age\" here"],
    );
    mistakes("encoder = \"text\"", &["agent.toml:7: sinks.s3.encoder: this key is called \"format\" here"]);
    mistakes(
        "format = \"json\"",
        &[
            "agent.toml:7: sinks.s3.format: \"json\" is none of \"ndjson\", \"text\", \"raw\", \"json_lines\"; did you mean \"ndjson\"?",
        ],
    );
    mistakes(
        "meta = \"my meta\"",
        &[
            "agent.toml:7: sinks.s3.meta: \"my meta\" is no name for the member of headers and time: 1 to 64 of A-Z a-z 0-9 _ - . @ $",
        ],
    );
    mistakes(
        "part = \"16 megs\"",
        &["agent.toml:7: sinks.s3.part: \"16 megs\" is not a size, such as \"64MiB\""],
    );
    mistakes("compression_threads = 65", &["agent.toml:7: sinks.s3.compression_threads: is more than 64"]);
    mistakes("part = 16", &["agent.toml:7: sinks.s3.part: 16 is not a size, such as \"64MiB\""]);
    mistakes(
        "part = \"1MiB\"",
        &["agent.toml:7: sinks.s3.part: 1048576 is not between 5242880 and 5368709120"],
    );
    mistakes(
        "roll = { age = \"5 minutes\" }",
        &["agent.toml:7: sinks.s3.roll.age: \"5 minutes\" is not a duration, such as \"30s\" or \"5m\""],
    );
    mistakes(
        "codec = \"gzipp\"",
        &[
            "agent.toml:7: sinks.s3.codec: \"gzipp\" is none of \"none\", \"gzip\", \"zstd\"; did you mean \"gzip\"?",
        ],
    );
    mistakes(
        "codec = \"gzip\"\ncodec_level = 12",
        &["agent.toml:8: sinks.s3.codec_level: gzip has no level 12: it takes 1 to 9"],
    );
    mistakes(
        "time_zone = \"Mars/Olympus\"",
        &["agent.toml:7: sinks.s3.time_zone: \"Mars/Olympus\" is no time zone, such as \"Europe/Zurich\""],
    );
    mistakes(
        "partition = \"dt=%Q\"",
        &[
            "agent.toml:7: sinks.s3.partition: unknown escape %Q (write %% for a percent sign), at byte 3 of the template",
        ],
    );
    mistakes(
        "round_down = \"7h30s\"",
        &["agent.toml:7: sinks.s3.round_down: \"7h30s\" is not a duration, such as \"30s\" or \"5m\""],
    );
    mistakes(
        "round_down = \"90s\"",
        &["agent.toml:7: sinks.s3.round_down: is not 1 to 60 seconds or minutes, or 1 to 24 hours"],
    );
    mistakes(
        "endpoint = \"localhost:9000\"",
        &["agent.toml:7: sinks.s3.endpoint: \"localhost:9000\" does not begin with http:// or https://"],
    );
    mistakes(
        "control_prefix = \"events/control/\"",
        &[concat!(
            "agent.toml:7: sinks.s3.control_prefix: \"events/control/\" lies within prefix \"events/\", ",
            "so claims would be notified"
        )],
    );
    mistakes("retry_base = \"1m\"", &["agent.toml:7: sinks.s3.retry_base: is not between 1ms and retry_max"]);
    mistakes(
        "[sinks.s3.credentials]\nfrom = \"static\"\naccess_key_id = \"AK\"",
        &["agent.toml:7: sinks.s3.credentials.secret_access_key: is needed with from = \"static\""],
    );
    mistakes(
        "[sources.lines]\nkind = \"netcat\"\nlisten = \"example.com:44444\"",
        &[concat!(
            "agent.toml:9: sources.lines.listen: \"example.com:44444\" is not an address and port, ",
            "such as \"127.0.0.1:8080\" or \"[::]:8080\""
        )],
    );
    mistakes(
        "[sources.lines]\nkind = \"htp\"\nport = 5140",
        &[
            "agent.toml:8: sources.lines.kind: \"htp\" is none of \"http\", \"netcat\"; did you mean \"http\"?",
        ],
    );
    mistakes(
        "[sources.lines]\nport = 5140",
        &["agent.toml:7: sources.lines.kind is missing: \"http\" or \"netcat\""],
    );
    mistakes(
        "[sources.Lines]\nkind = \"netcat\"",
        &["agent.toml:7: sources.Lines: \"Lines\" is not a name of 1 to 32 of a-z, 0-9 and _"],
    );
    mistakes(
        "[sources.lines]\nkind = \"netcat\"\nchannels = [\"mian\"]",
        &["agent.toml:9: sources.lines.channels: there is no channel \"mian\"; there is \"main\""],
    );
    mistakes(
        "[channels.a]\n[channels.b]",
        &[
            "agent.toml:1: sources.web.channels: is missing, and there are several channels: \"a\", \"b\"",
            "agent.toml:4: sinks.s3.channel: is missing, and there are several channels: \"a\", \"b\"",
        ],
    );
    mistakes(
        "[channels.a]\nsegment = \"1GiB\"\ncapacity = \"1GiB\"",
        &["agent.toml:9: channels.a.capacity: 1073741824 bytes are less than two segments of 1073741824"],
    );
    mistakes(
        "[channels.a]\nkind = \"memory\"\ntransactionCapacity = 5",
        &["agent.toml:9: channels.a.transactionCapacity: this key is called \"transaction_capacity\" here"],
    );
    mistakes(
        "[channels.a]\nkind = \"memory\"\ncapacity = 10\ntransaction_capacity = 11",
        &["agent.toml:10: channels.a.transaction_capacity: 11 is more than the capacity of 10"],
    );
    mistakes(
        "[log]\nlevel = \"chatty\"",
        &[
            "agent.toml:8: log.level: \"chatty\" is no log level, such as \"info\" or \"info,ingest_agent::sink=debug\"",
        ],
    );
    mistakes("prefix = \"${env:NOBODY}/\"", &["agent.toml:7: the environment variable NOBODY is not set"]);
    mistakes(
        "prefix = \"${env:NOBODY\"",
        &["agent.toml:7: \"${env:\" has no closing \"}\"; write \"$${env:\" for itself"],
    );
}

#[test]
fn each_channel_has_its_own_limits_of_idempotency_keys() {
    let channels =
        "[channels.a]\n[channels.b]\nkind = \"memory\"\n[channels.b.idempotency]\nkeys = 7\nage = \"5m\"\n";
    let base = BASE.replace("kind = \"http\"", "kind = \"http\"\nchannels = [\"a\", \"b\"]\nmax_key = 36");
    let config = parse(&format!("{base}channel = \"a\"\n{channels}")).unwrap();
    let keys: Vec<_> = config.channels.iter().map(|channel| channel.keys).collect();
    assert_eq!(keys, [Limits::default(), Limits { keys: 7, age: Duration::from_secs(300) }]);
    let SourceKind::Http(http) = &config.sources[0].kind else { panic!("it is HTTP") };
    assert_eq!(http.max_key_bytes, 36);
    mistakes(
        "[channels.main.idempotency]\nkeys = 0\nttl = \"1h\"",
        &[
            "agent.toml:8: channels.main.idempotency.keys: 0 is not between 1 and 100000000",
            "agent.toml:9: channels.main.idempotency.ttl: this key is called \"age\" here",
        ],
    );
    mistakes(
        "[sinks._keys]\nkind = \"null\"",
        &["agent.toml:7: sinks._keys: the channel's own reader has this name; choose another"],
    );
}

#[test]
fn all_mistakes_come_in_one_run_in_the_order_of_their_lines() {
    let error = parse(
        "config_version = 2\n\
         shutdown_timeout = \"soon\"\n\
         [sources.web]\n\
         kind = \"http\"\n\
         max_bdy = \"1MiB\"\n\
         [sinks.s3]\n\
         kind = \"s3\"\n\
         part = \"5GB\"\n\
         put_limit = true\n",
    )
    .unwrap_err();
    let expected = "\
        agent.toml:1: config_version: this agent reads version 1\n\
        agent.toml:2: shutdown_timeout: \"soon\" is not a duration, such as \"30s\" or \"5m\"\n\
        agent.toml:5: sources.web.max_bdy: unknown key; did you mean \"max_body\"?\n\
        agent.toml:6: sinks.s3.bucket is missing: The bucket\n\
        agent.toml:9: sinks.s3.put_limit: true is not a size, such as \"64MiB\"";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn what_is_no_toml_is_told_with_its_line_too() {
    let error = parse("[sources.web]\nkind = http\n\nlisten = \n").unwrap_err();
    let text = error.to_string();
    assert!(text.contains("agent.toml:2: ") && text.contains("agent.toml:4: "), "{text}");
}

#[test]
fn a_key_given_twice_is_a_mistake() {
    mistakes("bucket = \"c\"", &["agent.toml:7: duplicate key"]);
}

#[test]
fn an_empty_file_needs_a_source_and_a_sink() {
    let error = parse("").unwrap_err();
    let expected = "\
        agent.toml: sinks: there is none; at least one [sinks.NAME] is needed\n\
        agent.toml: sources: there is none; at least one [sources.NAME] is needed";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_environment_fills_in_values_and_can_be_escaped() {
    let text = format!(
        "{BASE}prefix = \"$${{env:SECRET}}/${{env:NOBODY:-none}}/\"\n[admin]\nlisten = \"127.0.0.1:${{env:PORT}}\"\n"
    );
    let config = parse(&text).unwrap();
    let SinkKind::S3(s3) = &config.sinks[0].kind else { panic!("it is S3") };
    assert_eq!(s3.prefix, "${env:SECRET}/none/");
    assert_eq!(config.admin.unwrap().port(), 8099);
}

#[test]
fn a_value_from_the_environment_cannot_change_the_structure() {
    let env = |_: &str| Some("a\"\nbucket = \"evil".to_owned());
    let text = format!("{BASE}prefix = \"${{env:PREFIX}}\"\n");
    let config = Config::parse("agent.toml", &text, &Flags::default(), &env).unwrap();
    let SinkKind::S3(s3) = &config.sinks[0].kind else { panic!("it is S3") };
    assert_eq!((s3.store.bucket.as_str(), s3.prefix.as_str()), ("bucket", "a\"\nbucket = \"evil"));
}

/// What is told about `added` at its line, which is the seventh.
#[track_caller]
fn told(added: &str, said: &str) {
    let error = parse(&format!("{BASE}{added}\n")).expect_err(added).to_string();
    assert!(error.contains(said), "{added}: {error}");
}

#[test]
fn what_would_fail_at_the_start_or_later_is_a_mistake_before_it() {
    told(
        "[sources.lines]\nkind = \"netcat\"\nlisten = \"0.0.0.0:8080\"",
        "agent.toml:1: sources.web.listen: 127.0.0.1:8080 is taken by sources.lines.listen (0.0.0.0:8080)",
    );
    told(
        "[admin]\nlisten = \"localhost:8080\"",
        "agent.toml:1: sources.web.listen: 127.0.0.1:8080 is taken by admin.listen",
    );
    told("prefix = \"/events\"", "agent.toml:7: sinks.s3.prefix: \"/events\" begins with a slash");
    told("control_prefix = \"//c\"", "in S3 do not: write \"c\"");
    told("ca_file = \"~/ca.pem\"", "agent.toml:7: sinks.s3.ca_file: \"~/ca.pem\" begins with \"~\"");
    told("roll = { size = \"0B\", age = \"0s\" }", "with every rule off no object would ever be sealed");
    for timeout in
        ["connect_timeout", "read_timeout", "operation_timeout", "complete_timeout", "retry_horizon"]
    {
        told(&format!("{timeout} = \"0s\""), &format!("agent.toml:7: sinks.s3.{timeout}: 0s is no time"));
    }
    told("[admin]\nflush_timeout = \"0s\"", "admin.flush_timeout: 0s is no time");
    told(
        "[sinks.s3.credentials]\naccess_key_id = \"AK\"\nsecret_access_key = \"x\"",
        "sinks.s3.credentials.access_key_id: is used with from = \"static\" alone",
    );
    told("[sinks.s3.credentials]\nrole_arn = \"arn\"", "is used with from = \"role\" alone");
    told("[sources.q]\nkind = \"rabbitmq\"", "agent.toml:8: sources.q.kind: there is no kind \"rabbitmq\"");
    told("[sources.q]\nkind = \"taildir\"", "pipe the lines to a source of kind netcat");
    told("[sinks.q]\nkind = \"hdfs\"", "objects are written by kind s3");
}

#[test]
fn a_bucket_is_a_name_and_neither_an_address_nor_an_arn() {
    let with = |bucket: &str, more: &str| {
        parse(&format!("{}{more}\n", BASE.replace("\"bucket\"", &format!("{bucket:?}"))))
    };
    for (bucket, said) in [
        ("s3://b/x", "agent.toml:6: sinks.s3.bucket: \"s3://b/x\" is an address"),
        ("arn:aws:s3:::b", "is an ARN"),
        ("My_Bucket", "is no bucket's name at AWS: it has lower-case letters"),
        ("", "is empty: name your bucket here"),
    ] {
        let error = with(bucket, "").expect_err(bucket).to_string();
        assert!(error.contains(said), "{bucket}: {error}");
    }
    let elsewhere = with("My_Bucket", "endpoint = \"http://127.0.0.1:9000\"").unwrap();
    assert_eq!(elsewhere.notes.len(), 1);
    assert!(elsewhere.notes[0].starts_with("sinks.s3.bucket: \"My_Bucket\""), "{:?}", elsewhere.notes);
    assert!(parse(BASE).unwrap().notes.is_empty());
}

#[test]
fn localhost_is_an_address() {
    let config = parse(&format!("{BASE}[admin]\nlisten = \"localhost:8099\"\n")).unwrap();
    assert_eq!(config.admin.unwrap().to_string(), "127.0.0.1:8099");
}

#[test]
fn a_flume_configuration_is_one_mistake() {
    let error = parse("a1.sources = r1\na1.channels = c1\na1.sources.r1.type = netcat\n").unwrap_err();
    assert_eq!(error.list.len(), 1);
    assert!(error.to_string().starts_with("agent.toml:1: this is a Flume configuration"), "{error}");
}

#[test]
fn an_outline_of_the_configuration_needs_no_bucket() {
    let outline = Config::outline(&Flags::default());
    for part in ["[sinks.s3]", "# bucket =", "[sources.http]", "[sources.netcat]", "max_body = \"4MiB\""] {
        assert!(outline.contains(part), "{part}: {outline}");
    }
}

#[test]
fn no_secret_is_shown_by_the_effective_configuration_or_a_mistake() {
    let secret = "[sinks.s3.credentials]\nfrom = \"static\"\naccess_key_id = \"AK\"\nsecret_access_key = \"${env:SECRET}\"\n";
    let config = parse(&format!("{BASE}{secret}")).unwrap();
    assert!(config.effective.contains("secret_access_key = \"<redacted>\""), "{}", config.effective);
    assert!(!config.effective.contains("hunter2") && !format!("{config:?}").contains("hunter2"));
    mistakes(
        "[sinks.s3.credentials]\nfrom = \"static\"\naccess_key_id = \"AK\"\nsecret_access_key = [\"hunter2\"]\n",
        &["agent.toml:10: sinks.s3.credentials.secret_access_key: this is not text in quotes"],
    );
}

#[test]
fn the_effective_configuration_is_one_that_means_the_same() {
    let config = parse(&format!("{BASE}partition = \"dt=%F\"\n").replace("%F", "%Y")).unwrap();
    let again = parse(&config.effective).unwrap();
    assert_eq!(again.effective, config.effective);
    let everything = |config: &Config| format!("{:?}", Config { effective: String::new(), ..config.clone() });
    assert_eq!(everything(&again), everything(&config));
}

#[test]
fn flags_alone_make_a_pipeline() {
    let pipeline = flags::PipelineFlags {
        bucket: Some("bucket".to_owned()),
        endpoint: Some("http://127.0.0.1:9000".to_owned()),
        path_style: true,
        ..flags::PipelineFlags::default()
    };
    let flags = Flags { dir: Some("/data".to_owned()), pipeline, ..Flags::default() };
    let config = Config::from_flags(&flags).unwrap();
    let names: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["http", "netcat"]);
    let ChannelKind::Durable { dir, .. } = &config.channels[0].kind else { panic!("it is durable") };
    assert_eq!(dir, &PathBuf::from("/data/channels/main"));
    let SinkKind::S3(s3) = &config.sinks[0].kind else { panic!("it is S3") };
    assert!(s3.store.path_style);
}

#[test]
fn a_mistake_in_a_flag_names_the_flag() {
    let pipeline = flags::PipelineFlags {
        bucket: Some("bucket".to_owned()),
        http: Some("8080".to_owned()),
        ..flags::PipelineFlags::default()
    };
    let flags = Flags { log_format: Some("xml".to_owned()), pipeline, ..Flags::default() };
    let expected = "\
        --http: sources.http.listen: \"8080\" names no address: write \"127.0.0.1:8080\" for this machine alone, \
        or \"0.0.0.0:8080\" for every address of it\n\
        --log-format: log.format: \"xml\" is none of \"text\", \"json\"";
    assert_eq!(Config::from_flags(&flags).unwrap_err().to_string(), expected);
}

#[test]
fn a_flag_wins_over_the_file() {
    let flags = Flags { admin: Some("127.0.0.1:7".to_owned()), ..Flags::default() };
    let text = format!("{BASE}[admin]\nlisten = \"127.0.0.1:8\"\n");
    let config = Config::parse("agent.toml", &text, &flags, &env).unwrap();
    assert_eq!(config.admin.unwrap().port(), 7);
}

#[test]
fn sizes_and_durations_are_whole_numbers_with_a_unit() {
    use value::{FromValue, Size};
    let size = |text: &str| Size::from_value(&toml::Value::String(text.to_owned())).map(u64::from);
    assert_eq!(size("64MiB"), Some(64 << 20));
    assert_eq!(size("1_000 kB"), Some(1_000_000));
    assert_eq!(size("0B"), Some(0));
    for wrong in ["64", "1.5GiB", "-1B", "MiB", "", "64mib", "99999999TiB"] {
        assert_eq!(size(wrong), None, "{wrong}");
    }
    assert_eq!(parse_duration("90s"), Some(Duration::from_secs(90)));
    assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
    assert_eq!(parse_duration("2h"), Some(Duration::from_secs(7200)));
    for wrong in ["90", "1.5h", "s", "", "1w"] {
        assert_eq!(parse_duration(wrong), None, "{wrong}");
    }
}
