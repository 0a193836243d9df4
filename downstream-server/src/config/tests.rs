use super::*;

fn start(args: &[&str], variables: &[(&str, &str)]) -> Result<Start, ConfigError> {
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Start::from_args(std::iter::once(&"downstream-server").chain(args), variable)
}

fn run(args: &[&str], variables: &[(&str, &str)]) -> Config {
    match start(args, variables) {
        Ok(Start::Run(config)) => *config,
        other => panic!("{other:?}"),
    }
}

fn file(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("server.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

#[test]
fn a_bucket_alone_is_enough_and_all_else_is_safe_by_default() {
    let config = run(&["--notices-buckets", "logs"], &[]);
    assert!(config.listen.ip().is_loopback());
    assert_eq!(config.read_from, ReadFrom::Loopback);
    assert_eq!(config.notices.clock_tolerance, Duration::from_mins(5));
    assert_eq!(config.handler, HandlerConfig::Log);
}

#[test]
fn a_flag_wins_over_the_environment_and_the_environment_over_the_file() {
    let (_dir, path) = file(
        "dir = \"/file\"\nshutdown_timeout = \"1s\"\nmax_streams = 3\n[notices]\nbuckets = [\"one\", \"two\"]\n[s3]\npath_style = true\n",
    );
    let config = run(
        &["--config", &path, "--dir", "/flag"],
        &[("SLUICEGATE_SERVER_DIR", "/variable"), ("SLUICEGATE_SERVER_SHUTDOWN_TIMEOUT", "2s")],
    );
    assert_eq!(config.dir, PathBuf::from("/flag"));
    assert_eq!(config.shutdown_timeout, Duration::from_secs(2));
    assert_eq!(config.max_streams, 3);
    assert_eq!(config.notices.buckets, ["one", "two"]);
    assert!(config.s3.path_style);
}

#[test]
fn every_mistake_is_reported_at_once_with_where_it_was_written() {
    let (_dir, path) = file(
        "listne = \"127.0.0.1:1\"\n[fetch]\nconcurrency = 0\nread_timeout = \"soon\"\n[s3]\nendpoint = \"localhost:9000\"\n",
    );
    let error = start(
        &["--config", &path, "--handler-kind", "ndjson", "--retry-attempts", "none"],
        &[("SLUICEGATE_SERVER_LISTEN", "here")],
    )
    .unwrap_err();
    let expected = [
        format!("{path}:1: there is no setting `listne`; did you mean `listen`?"),
        "SLUICEGATE_SERVER_LISTEN: listen: \"here\" is not an address and port, such as \"127.0.0.1:8080\" or \"[::]:8080\""
            .to_owned(),
        "notices.buckets: name the buckets whose notices are taken: `buckets = [\"my-events\"]` below \
         [notices] in the file, or --notices-buckets my-events"
            .to_owned(),
        format!("{path}:6: s3.endpoint: `localhost:9000` does not begin with http:// or https://"),
        format!("{path}:3: fetch.concurrency: `0` is not a number between 1 and 256"),
        format!("{path}:4: fetch.read_timeout: `soon` is not a duration such as 250ms, 30s, 5m or 2h"),
        "--retry-attempts: retry.attempts: `none` is not a number between 1 and 1000000".to_owned(),
        "handler.path: the ndjson handler needs the file it appends to".to_owned(),
    ];
    assert_eq!(error.0, expected);
}

#[test]
fn unsigned_notices_on_an_open_address_are_a_mistake() {
    let args = ["--notices-buckets", "logs", "--listen", "0.0.0.0:8090"];
    let error = start(&args, &[]).unwrap_err().to_string();
    assert!(error.contains("unsigned notices are taken on loopback only"), "{error}");
    let config = run(
        &args,
        &[("SLUICEGATE_SERVER_NOTICES_SECRETS", "a secret of some length, another secret of some length")],
    );
    assert_eq!(config.notices.secrets.len(), 2);
}

#[test]
fn secrets_are_read_from_a_file_and_never_printed() {
    let (_dir, path) = file("\u{feff}a secret of some length\n\nwhsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
    let args = ["--notices-buckets", "logs", "--notices-secret-file", &path];
    let variables = [("SLUICEGATE_SERVER_NOTICES_SECRETS", "another secret of some length")];
    let config = run(&args, &variables);
    assert_eq!(config.notices.secrets.len(), 3);
    let Ok(Start::Print(printed)) = start(&[&args[..], &["--print-config"]].concat(), &variables) else {
        panic!("nothing was printed");
    };
    assert!(
        printed.contains("notices.secrets = \"(secret)\" # SLUICEGATE_SERVER_NOTICES_SECRETS"),
        "{printed}"
    );
    assert!(!printed.contains("another secret") && !format!("{config:?}").contains("some length"));
}

#[test]
fn a_url_is_printed_without_the_password_that_it_may_hold() {
    let url = "https://user:hunter2@consumer.example/in";
    let args =
        ["--notices-buckets", "logs", "--handler-kind", "http", "--handler-url", url, "--s3-endpoint", url];
    assert!(matches!(run(&args, &[]).handler, HandlerConfig::Http(http) if http.url == url));
    let Ok(Start::Print(printed)) = start(&[&args[..], &["--print-config"]].concat(), &[]) else {
        panic!("nothing was printed");
    };
    assert_eq!(printed.matches("\"https://***@consumer.example/in\"").count(), 2, "{printed}");
    assert!(!printed.contains("hunter2"), "{printed}");
    for flag in ["--handler-url", "--s3-endpoint", "--pull-queue-url"] {
        let wrong = ["--notices-buckets", "logs", "--handler-kind", "http", flag, "ftp://user:hunter2@host/"];
        let error = start(&wrong, &[]).unwrap_err().to_string();
        assert!(error.contains("ftp://***@host/") && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_a_mistake_with_its_line() {
    let (_dir, path) = file("listen = \"127.0.0.1:1\"\n[notices\n");
    let error = start(&["--config", &path], &[]).unwrap_err();
    assert!(error.0[0].starts_with(&format!("{path}:2: ")), "{error}");
}

#[test]
fn help_names_every_flag_and_an_unknown_flag_is_refused() {
    let Ok(Start::Print(help)) = start(&["--help"], &[]) else { panic!("no help") };
    for key in KEYS {
        assert_eq!(help.contains(&format!("--{} ", key.flag())), !key.secret, "{}", key.name);
    }
    let error = start(&["--notices-bucket", "logs"], &[]).unwrap_err().to_string();
    assert!(error.contains("--notices-buckets"), "{error}");
}

#[test]
fn a_command_is_a_list_in_a_file_and_json_on_a_command_line_and_never_a_shell_line() {
    let argv = |config: Config| match config.handler {
        HandlerConfig::Command(command) => command.argv,
        other => panic!("{other:?}"),
    };
    let base = ["--notices-buckets", "logs", "--handler-kind", "command"];
    let (_dir, path) = file("[handler]\ncommand = [\"load\", \"a, b\", \"\"]\n");
    assert_eq!(argv(run(&[&base[..], &["--config", &path]].concat(), &[])), ["load", "a, b", ""]);
    let flag = |text: &str| start(&[&base[..], &["--handler-command", text]].concat(), &[]);
    for (text, expected) in [("load a; b", &["load a; b"][..]), (r#"["load", "a b"]"#, &["load", "a b"])] {
        let Ok(Start::Run(config)) = flag(text) else { panic!("{text} was refused") };
        assert_eq!(argv(*config), expected);
    }
    for text in ["", "[]", "[1]", "[\"load\""] {
        let error = flag(text).unwrap_err();
        assert!(error.0.iter().all(|mistake| mistake.starts_with("handler.command: ")), "{error}");
    }
}

#[test]
fn a_setting_of_another_kind_of_handler_is_a_mistake() {
    let flags = ["--notices-buckets", "logs", "--handler-feed", "batch", "--handler-path", "out"];
    let error = start(&flags, &[]).unwrap_err();
    assert_eq!(
        error.0,
        [
            "handler.path: only handlers of kind ndjson and lines have it; set handler.kind, which is log",
            "handler.feed: only handlers of kind command and http have it; set handler.kind, which is log",
        ]
    );
}

#[test]
fn a_mistake_in_who_is_let_in_names_the_setting_and_never_shows_a_token() {
    let base = ["--notices-buckets", "logs"];
    let (_dir, path) = file("ops:hunter2hunter2hunter2\nci:hunter2\n");
    let flags =
        ["--token-file", &path, "--tls-key", "key.pem", "--read-from", "anyone", "--client-timeout", "0s"];
    let variables = [("SLUICEGATE_SERVER_TOKENS", "hunter2-without-a-name")];
    let error = start(&[&base[..], &flags, &["--max-head-bytes", "1KiB"]].concat(), &variables).unwrap_err();
    for said in [
        "read_from: reading from elsewhere needs a token now",
        "tokens: a token is written NAME:TOKEN",
        "tokens: the token of ci has 7 characters",
        "tls: certificate and key need each other",
        "client_timeout: it must be longer than nothing",
        "max_head_bytes: `1KiB` is not between 4KiB and 1MiB",
    ] {
        assert!(error.0.iter().any(|mistake| mistake.contains(said)), "{said}: {error}");
    }
    assert!(!error.to_string().contains("hunter2"), "{error}");
    let tls = ["--tls-certificate", "none.pem", "--tls-key", "none.pem"];
    let error = start(&[&base[..], &tls].concat(), &[]).unwrap_err();
    assert_eq!(error.0.len(), 1);
    assert!(error.0[0].starts_with("tls: reading none.pem: "), "{error}");
    let config =
        run(&base, &[("SLUICEGATE_SERVER_TOKENS", "ops:a-token-of-some-length,ci:another-token-of-it")]);
    assert_eq!(config.tokens.holder("another-token-of-it"), Some("ci"));
}

#[test]
fn a_health_check_needs_the_address_alone() {
    // An image's check does not know the arguments with which the server was started.
    let variables = [("SLUICEGATE_SERVER_LISTEN", "0.0.0.0:8090")];
    let Ok(Start::AskHealth { address, certificate }) = start(&["--health"], &variables) else {
        panic!("it asks")
    };
    assert_eq!((address, certificate), ("0.0.0.0:8090".parse().unwrap(), None));
    assert!(start(&["--health"], &[("SLUICEGATE_SERVER_LISTEN", "nowhere")]).is_err());
}

#[test]
fn what_people_write_in_the_place_of_a_bucket_an_address_or_a_path_is_told_with_the_way_out() {
    for (args, said) in [
        (&["--notices-buckets", "s3://logs/x"][..], "write the bucket's name alone, \"logs\""),
        (&["--notices-buckets", "My_Bucket"], "is no bucket's name at AWS"),
        (
            &["--notices-buckets", "logs", "--listen", "8090"],
            "write \"127.0.0.1:8090\" for this machine alone",
        ),
        (
            &["--notices-buckets", "logs", "--dir", "~/server"],
            "begins with \"~\", which only a shell replaces",
        ),
    ] {
        let error = start(args, &[]).unwrap_err().to_string();
        assert!(error.contains(said), "{args:?}: {error}");
    }
    let elsewhere = ["--notices-buckets", "My_Bucket", "--s3-endpoint", "http://127.0.0.1:9000"];
    assert_eq!(run(&elsewhere, &[]).notices.buckets, ["My_Bucket"]);
    assert_eq!(run(&["--notices-buckets", "logs", "--listen", "localhost:8090"], &[]).listen.port(), 8090);
}
