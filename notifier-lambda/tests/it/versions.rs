//! This notifier and a server of another version.

use std::time::{Duration, SystemTime};

use contract::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Headers, verify};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::lambda::{Lambda, Outcome};
use crate::program::function;
use crate::{SECRET, fixture};

/// As it went over the wire.
struct Request(String);

impl Request {
    /// Takes one request as a server does that knows of no member but `bucket` and `key`, and answers 202.
    async fn taken_by_an_old_server(listener: &TcpListener) -> Self {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        loop {
            connection.read_buf(&mut bytes).await.unwrap();
            let request = Self(String::from_utf8(bytes.clone()).unwrap());
            if request.0.contains("\r\n\r\n")
                && request.header("content-length") == request.body().len().to_string()
            {
                connection.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                return request;
            }
        }
    }

    fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").unwrap().1
    }

    fn header(&self, name: &str) -> &str {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap()
    }

    /// All but what differs from one request to the next, or from one release to the next.
    fn lasting(&self) -> String {
        let passing = [HEADER_TIMESTAMP, HEADER_SIGNATURE, "host", "user-agent"];
        let lines = self.0.split_inclusive("\r\n");
        lines.filter(|line| !passing.iter().any(|name| line.starts_with(&format!("{name}:")))).collect()
    }
}

#[tokio::test]
async fn what_the_program_sends_is_as_recorded_and_enough_for_a_server_that_knows_bucket_and_key_alone() {
    let cases = [
        (
            fixture!("multipart_versioned"),
            "full",
            include_str!("../../../crates/contract/tests/fixtures/requests/v1.http"),
        ),
        (
            fixture!("put"),
            "minimal",
            include_str!("../../../crates/contract/tests/fixtures/requests/v1-minimal.http"),
        ),
    ];
    for (event, body, recorded) in cases {
        let lambda = Lambda::start(Duration::from_secs(30)).await;
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/notices", server.local_addr().unwrap());
        let _function = function(&lambda, &url, &[("SLUICEGATE_NOTICE_BODY", body)]);
        let (outcome, request) =
            tokio::join!(lambda.invoke(&event), Request::taken_by_an_old_server(&server));
        let Outcome::Response(summary) = outcome else { panic!("{outcome:?}") };
        assert_eq!(summary["relayed"], 1);

        assert_eq!(request.lasting(), Request(recorded.to_owned()).lasting());
        let headers = Headers {
            id: Some(request.header(HEADER_ID)),
            timestamp: Some(request.header(HEADER_TIMESTAMP)),
            signature: Some(request.header(HEADER_SIGNATURE)),
        };
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let secrets = [SECRET.parse().unwrap()];
        verify(&secrets, headers, request.body().as_bytes(), now, Duration::from_secs(60)).unwrap();
        let notice: Value = serde_json::from_str(request.body()).unwrap();
        let object = &event["Records"][0]["s3"];
        assert_eq!(notice["bucket"], object["bucket"]["name"]);
        assert_eq!(
            notice["key"],
            json!(s3_event::decode_key(object["object"]["key"].as_str().unwrap()).unwrap())
        );
    }
}
