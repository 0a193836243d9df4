//! `--check-config --connect`: what would fail is told before anything runs, with its way out.

use blob_store::{Lie, LyingStore, Operation, Wrong};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_config_connect_tells_whether_the_store_can_be_used() {
    let dir = tempdir().unwrap();
    let (cloud, env) = store(dir.path()).await;
    let connect = |bucket, endpoint: &str| {
        let mut command = flags_alone(dir.path(), endpoint, bucket);
        command.envs(env.clone()).args(["--check-config", "--connect"]).output().expect("the program starts")
    };
    let output = connect("events", &cloud.s3_url());
    assert_exit(&output, exit::OK);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("  ConditionalPut: ok\n") && !text.contains("FAILED"), "{text}");
    let left = dir.path().join("cloud/events/_sluicegate");
    let left = std::fs::read_dir(left).map_or(0, Iterator::count);
    assert_eq!(left, 0, "what it put is removed again");
    assert_exit(&connect("no-such-bucket", &cloud.s3_url()), exit::CONFIG);
    assert_exit(&connect("events", "http://127.0.0.1:9"), exit::UNAVAILABLE);
    cloud.shutdown().await;
}

/// What a case changes of the environment.
type Env = fn(&mut Command);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_connect_calls_failed_has_its_cause_its_way_out_and_its_exit_code() {
    let dir = tempdir().unwrap();
    let (cloud, env) = store(dir.path()).await;
    let url = cloud.s3_url();
    // A gateway that answers for the store, and a store that calls every name invalid and says so in no head.
    let lying = |lies: Vec<(Operation, u16, &'static str)>| {
        let url = url.clone();
        async move {
            let lying = LyingStore::before(&url).await.unwrap();
            for (operation, status, body) in lies {
                let answer = Wrong::Instead(status, vec![("server", "gateway")], body);
                lying.tell(operation, "", Lie { name: "", heard: false, answer }, u64::MAX);
            }
            lying
        }
    };
    let error = |code: &str| {
        format!("<Error><Code>{code}</Code><Message>no</Message></Error>").leak() as &'static str
    };
    let page = lying(vec![(Operation::Check, 200, "<html>"), (Operation::List, 200, "<html>")]).await;
    let invalid =
        lying(vec![(Operation::Check, 400, ""), (Operation::List, 400, error("InvalidBucketName"))]).await;
    let skewed =
        lying(vec![(Operation::Check, 403, ""), (Operation::List, 403, error("RequestTimeTooSkewed"))]).await;
    let elsewhere = lying(vec![
        (Operation::Check, 400, ""),
        (Operation::List, 400, error("AuthorizationHeaderMalformed")),
    ])
    .await;
    let forbidden = lying(vec![(Operation::Put, 403, error("AccessDenied"))]).await;
    let checksums = lying(vec![(Operation::Put, 400, error("InvalidArgument"))]).await;
    let tls = url.replace("http://", "https://");

    let as_it_is: Env = |_| {};
    let wrong_secret: Env = |command| {
        command.env("AWS_SECRET_ACCESS_KEY", "wrong");
    };
    let nobody: Env = |command| {
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        command.env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
    };
    for (what, endpoint, env_of, code, words) in [
        (
            "a wrong secret",
            url.as_str(),
            wrong_secret,
            exit::PERMISSION,
            ["SignatureDoesNotMatch", "the secret is not that"],
        ),
        (
            "no credentials",
            &url,
            nobody,
            exit::PERMISSION,
            ["no credentials were found", "AWS_ACCESS_KEY_ID"],
        ),
        (
            "https to an http port",
            &tls,
            as_it_is,
            exit::UNAVAILABLE,
            ["Bucket: FAILED: checking bucket", "http:// in `endpoint`"],
        ),
        (
            "nothing there",
            "http://127.0.0.1:9",
            as_it_is,
            exit::UNAVAILABLE,
            ["refused", "nothing listens there"],
        ),
        ("a gateway's page", page.url(), as_it_is, exit::UNAVAILABLE, ["not S3's answer", "(from gateway)"]),
        (
            "an invalid name",
            invalid.url(),
            as_it_is,
            exit::CONFIG,
            ["InvalidBucketName", "3 to 63 characters"],
        ),
        (
            "a skewed clock",
            skewed.url(),
            as_it_is,
            exit::PERMISSION,
            ["RequestTimeTooSkewed", "synchronize it"],
        ),
        (
            "another region",
            elsewhere.url(),
            as_it_is,
            exit::CONFIG,
            ["AuthorizationHeaderMalformed", "mend `region`"],
        ),
        (
            "no permission",
            forbidden.url(),
            as_it_is,
            exit::PERMISSION,
            ["Put: FAILED", "allow s3:PutObject on arn:aws:s3:::events/*"],
        ),
        (
            "a header that is not taken",
            checksums.url(),
            as_it_is,
            exit::CONFIG,
            ["Put: FAILED", "InvalidArgument"],
        ),
    ] {
        let mut command = flags_alone(dir.path(), endpoint, "events");
        command.envs(env.clone());
        env_of(&mut command);
        let output = command.args(["--check-config", "--connect"]).output().expect("the program starts");
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        println!("{what}:\n{text}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(i32::from(code)), "{what}: {text}");
        for word in words {
            assert!(text.contains(word), "{what}: {word} is missing in:\n{text}");
        }
    }
    cloud.shutdown().await;
}
