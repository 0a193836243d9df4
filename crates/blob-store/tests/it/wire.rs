//! What the S3 store says and hears, against a server that answers by script.

mod script;

use std::io::ErrorKind as IoKind;
use std::time::Duration;

use blob_store::{
    BlobStore, Body, ConnectError, Credentials, ErrorKind, Operation, Part, PutOptions, S3Options, S3Store,
    StoreError, UploadId,
};
use bytes::Bytes;
use futures_util::StreamExt;
use script::{Answer, Script};

/// What a put sends: several slices, so that nothing on the way can take it for bytes in memory.
const SENT: &str = "first,second,third";

async fn store(endpoint: &str) -> S3Store {
    S3Store::connect(options(endpoint)).await.unwrap()
}

fn options(endpoint: &str) -> S3Options {
    S3Options {
        endpoint: Some(endpoint.to_owned()),
        path_style: true,
        region: Some("eu-central-1".into()),
        credentials: Credentials::Static {
            access_key_id: "key".into(),
            secret_access_key: "secret".into(),
            session_token: None,
        },
        ..S3Options::new("bucket")
    }
}

fn put_options() -> PutOptions {
    PutOptions {
        content_type: "text/plain".into(),
        content_encoding: Some("gzip".into()),
        metadata: vec![("sluicegate-cut".into(), "1".into())],
        crc32c: crc32c::crc32c(SENT.as_bytes()),
        conditional: true,
        composite: false,
    }
}

async fn put(store: &S3Store) -> Result<(), StoreError> {
    let body = Body::from_slices(SENT.split_inclusive(',').map(Bytes::from).collect());
    store.put_if_absent("dir/key", body, &put_options()).await.map(drop)
}

async fn complete(store: &S3Store) -> Result<(), StoreError> {
    let parts = [Part { number: 1, etag: "tag".into(), crc32c: 1 }];
    store.complete_upload("key", &UploadId("id".into()), &parts, &put_options()).await.map(drop)
}

/// Makes one call of each operation that the table below names.
async fn call(operation: Operation, store: &S3Store) -> Result<(), StoreError> {
    match operation {
        Operation::Check => store.check().await,
        Operation::Put => put(store).await,
        Operation::CreateUpload => store.create_upload("key", &put_options()).await.map(drop),
        Operation::UploadPart => {
            let body = Body::from(Bytes::from_static(b"x"));
            let crc = crc32c::crc32c(b"x");
            store.upload_part("key", &UploadId("id".into()), 1, body, crc).await.map(drop)
        }
        Operation::CompleteUpload => complete(store).await,
        Operation::AbortUpload => store.abort_upload("key", &UploadId("id".into())).await,
        Operation::ListUploads => store.list_uploads("prefix").await.map(drop),
        Operation::Head => store.head("key", None).await.map(drop),
        Operation::Get => store.get("key", None, None).await.map(drop),
        Operation::List => store.list("prefix", None, 10).await.map(drop),
        Operation::Discard => store.discard("key").await,
    }
}

#[tokio::test]
async fn storage_class_and_tags_go_with_a_put_and_with_the_beginning_of_an_upload() {
    let created = r#"<?xml version="1.0"?><InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>"#;
    let script = Script::start([Answer::stored(), Answer::status(200, created)]).await;
    let tags = vec![("team".into(), "data & more".into()), ("a=b".into(), String::new())];
    let options =
        S3Options { storage_class: Some("INTELLIGENT_TIERING".into()), tags, ..options(&script.url) };
    let store = S3Store::connect(options).await.unwrap();
    put(&store).await.unwrap();
    call(Operation::CreateUpload, &store).await.unwrap();
    for request in script.requests().await {
        assert_eq!(request.header("x-amz-storage-class"), Some("INTELLIGENT_TIERING"), "{}", request.line);
        assert_eq!(
            request.header("x-amz-tagging"),
            Some("team=data%20%26%20more&a%3Db="),
            "{}",
            request.line
        );
    }
}

#[tokio::test]
async fn a_put_is_one_unsigned_conditional_request_with_our_checksum_and_no_other() {
    let script = Script::start([Answer::stored()]).await;
    put(&store(&script.url).await).await.unwrap();
    let request = script.requests().await.remove(0);
    assert_eq!(request.line, "PUT /bucket/dir/key?x-id=PutObject HTTP/1.1");
    assert_eq!(request.body, SENT.as_bytes());
    for (name, value) in [
        ("if-none-match", "*"),
        ("x-amz-checksum-crc32c", "kvZFPA=="),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
        ("content-length", "18"),
        ("content-type", "text/plain"),
        ("content-encoding", "gzip"),
        ("x-amz-meta-sluicegate-cut", "1"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    for name in [
        "x-amz-storage-class",
        "x-amz-tagging",
        "content-md5",
        "transfer-encoding",
        "x-amz-trailer",
        "x-amz-sdk-checksum-algorithm",
        "expect",
    ] {
        assert_eq!(request.header(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_signed_payload_is_covered_by_its_sha256() {
    let script = Script::start([Answer::stored()]).await;
    let options = S3Options { payload_signing: true, ..options(&script.url) };
    put(&S3Store::connect(options).await.unwrap()).await.unwrap();
    let request = script.requests().await.remove(0);
    let sent = request.header("x-amz-content-sha256").unwrap();
    assert!(sent.len() == 64 && sent.bytes().all(|digit| digit.is_ascii_hexdigit()), "{sent}");
    assert_eq!(request.body, SENT.as_bytes());
}

#[tokio::test]
async fn a_multipart_upload_asks_for_a_checksum_of_the_whole_object() {
    let created = "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>";
    let completed = "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>";
    let script = Script::start([Answer::status(200, created), Answer::status(200, completed)]).await;
    let store = store(&script.url).await;
    assert_eq!(store.create_upload("key", &put_options()).await.unwrap(), UploadId("id".into()));
    complete(&store).await.unwrap();
    let requests = script.requests().await;
    assert_eq!(requests[0].header("x-amz-checksum-algorithm"), Some("CRC32C"));
    assert_eq!(requests[0].header("if-none-match"), None);
    assert_eq!(requests[1].header("x-amz-checksum-crc32c"), Some("kvZFPA=="));
    assert_eq!(requests[1].header("if-none-match"), Some("*"));
    for request in requests {
        assert_eq!(request.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
    }
}

#[tokio::test]
async fn every_answer_has_its_kind() {
    use ErrorKind as Kind;
    use Operation as Op;
    let table = [
        (Op::Put, 412, "PreconditionFailed", Kind::PreconditionFailed),
        (Op::CompleteUpload, 412, "PreconditionFailed", Kind::PreconditionFailed),
        (Op::Put, 409, "ConditionalRequestConflict", Kind::ConditionalConflict),
        (Op::CompleteUpload, 409, "ConditionalRequestConflict", Kind::ConditionalConflict),
        (Op::CompleteUpload, 404, "NoSuchUpload", Kind::NoSuchUpload),
        (Op::CompleteUpload, 400, "InvalidPart", Kind::NoSuchUpload),
        (Op::CompleteUpload, 200, "InternalError", Kind::ErrorIn200),
        (Op::Put, 404, "NoSuchBucket", Kind::NoSuchBucket),
        (Op::Put, 301, "PermanentRedirect", Kind::NoSuchBucket),
        (Op::Put, 400, "AuthorizationHeaderMalformed", Kind::NoSuchBucket),
        (Op::Put, 403, "AccessDenied", Kind::AccessDenied),
        (Op::Put, 403, "", Kind::AccessDenied),
        (Op::Put, 400, "KMS.DisabledException", Kind::AccessDenied),
        (Op::Put, 400, "ExpiredToken", Kind::CredentialsExpired),
        (Op::Put, 403, "InvalidAccessKeyId", Kind::Credentials),
        (Op::Put, 403, "SignatureDoesNotMatch", Kind::Credentials),
        (Op::Put, 403, "RequestTimeTooSkewed", Kind::Credentials),
        (Op::Put, 503, "SlowDown", Kind::Throttled),
        (Op::Put, 429, "", Kind::Throttled),
        (Op::Put, 500, "InternalError", Kind::Server),
        (Op::Put, 502, "", Kind::Server),
        (Op::Put, 503, "ServiceUnavailable", Kind::Server),
        (Op::Put, 400, "RequestTimeout", Kind::Timeout),
        (Op::Put, 400, "IncompleteBody", Kind::Connection),
        (Op::Put, 400, "BadDigest", Kind::ChecksumMismatch),
        (Op::UploadPart, 404, "NoSuchUpload", Kind::NoSuchUpload),
        (Op::Put, 501, "NotImplemented", Kind::Unsupported),
        (Op::ListUploads, 405, "MethodNotAllowed", Kind::Unsupported),
        // A server that says "not modified" of a key that is taken.
        (Op::Put, 304, "", Kind::PreconditionFailed),
        (Op::CompleteUpload, 304, "", Kind::PreconditionFailed),
        (Op::Put, 400, "EntityTooLarge", Kind::NeverValid),
        (Op::Put, 400, "MetadataTooLarge", Kind::NeverValid),
        (Op::CompleteUpload, 400, "EntityTooSmall", Kind::NeverValid),
        // What may be a setting that all objects share is not given up for one.
        (Op::Put, 400, "InvalidArgument", Kind::Rejected),
        (Op::CreateUpload, 400, "InvalidStorageClass", Kind::Rejected),
        (Op::UploadPart, 400, "InvalidArgument", Kind::Rejected),
        // No write is given up for a code that nobody knows.
        (Op::Put, 400, "SomethingNew", Kind::Unsupported),
        (Op::CreateUpload, 400, "SomethingNew", Kind::Unsupported),
        (Op::UploadPart, 400, "SomethingNew", Kind::Unsupported),
        (Op::CompleteUpload, 400, "SomethingNew", Kind::Unsupported),
        // Without a code of S3's a refusal is somebody else's.
        (Op::Put, 400, "", Kind::NotS3),
        (Op::Put, 404, "", Kind::NotS3),
        (Op::Put, 413, "", Kind::NotS3),
        (Op::Put, 501, "", Kind::NotS3),
        (Op::Get, 404, "", Kind::NotS3),
        (Op::Get, 418, "", Kind::NotS3),
        (Op::Put, 302, "", Kind::NotS3),
        (Op::AbortUpload, 404, "", Kind::NotS3),
        (Op::List, 404, "", Kind::NotS3),
        (Op::List, 400, "SomethingNew", Kind::NeverValid),
        (Op::Get, 416, "InvalidRange", Kind::NeverValid),
        (Op::Get, 404, "NoSuchKey", Kind::NoSuchKey),
        (Op::Get, 404, "NoSuchBucket", Kind::NoSuchBucket),
        (Op::Get, 405, "MethodNotAllowed", Kind::NoSuchKey),
        (Op::AbortUpload, 404, "NoSuchUpload", Kind::NoSuchUpload),
        (Op::List, 404, "NoSuchBucket", Kind::NoSuchBucket),
        (Op::List, 400, "InvalidBucketName", Kind::NoSuchBucket),
        (Op::Discard, 403, "AccessDenied", Kind::AccessDenied),
        // The answer to a head has no body, hence no code.
        (Op::Head, 404, "", Kind::NoSuchKey),
        (Op::Head, 403, "", Kind::AccessDenied),
        (Op::Head, 400, "", Kind::Rejected),
        (Op::Head, 405, "", Kind::NotS3),
        (Op::Check, 400, "", Kind::Rejected),
        (Op::Check, 404, "", Kind::NoSuchBucket),
        (Op::Check, 301, "", Kind::NotS3),
    ];
    let answers = table.iter().map(|(_, status, code, _)| match *code {
        "" => Answer::status(*status, ""),
        code => Answer::status(*status, &format!("<Error><Code>{code}</Code><Message>why</Message></Error>")),
    });
    let script = Script::start(answers).await;
    let store = store(&script.url).await;
    for (operation, status, code, kind) in table {
        let error = call(operation, &store).await.unwrap_err();
        assert_eq!(error.kind, kind, "{operation:?} {status} {code}: {error}");
        assert_eq!((error.operation, error.status), (operation, Some(status)), "{error}");
        // The SDK makes up a code for some answers without a body.
        assert!(code.is_empty() || error.code.as_deref() == Some(code), "{error}");
    }
    // One call is one request: nothing was retried.
    assert_eq!(script.requests().await.len(), table.len());
}

#[tokio::test]
async fn what_only_s3_says_in_a_header_is_its_word() {
    let head = |status: u16, header: &str| {
        Answer::Raw(format!(
            "HTTP/1.1 {status} Status\r\n{header}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        ))
    };
    let script = Script::start([
        head(301, "x-amz-bucket-region: eu-west-1"),
        head(405, "x-amz-delete-marker: true"),
        head(200, "etag: \"e\"\r\ncontent-type: text/html\r\nx-amz-meta-a: 1"),
        head(200, "etag: \"e\"\r\ncontent-type: text/html"),
    ])
    .await;
    let store = store(&script.url).await;
    let elsewhere = store.check().await.unwrap_err();
    assert_eq!(elsewhere.kind, ErrorKind::NoSuchBucket);
    assert!(elsewhere.to_string().contains("the bucket is in the region eu-west-1"), "{elsewhere}");
    assert_eq!(store.head("key", None).await.unwrap_err().kind, ErrorKind::NoSuchKey);
    assert!(store.head("key", None).await.is_ok(), "an object may be a page");
    assert_eq!(store.head("key", None).await.unwrap_err().kind, ErrorKind::NotS3);
}

#[tokio::test]
async fn whoever_answers_in_place_of_the_store_is_named_as_far_as_the_answer_does() {
    let page = "HTTP/1.1 200 OK\r\nserver: gateway/2\r\ncontent-type: text/html\r\ncontent-length: 4\r\nconnection: close\r\n\r\n<p/>";
    let script = Script::start([Answer::Raw(page.into())]).await;
    let error = put(&store(&script.url).await).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotS3);
    let text = error.to_string();
    assert!(text.contains("it has a body of 4 bytes (from gateway/2, of type text/html)"), "{text}");
}

#[tokio::test]
async fn bytes_that_are_not_those_of_their_checksum_never_arrive_whole() {
    let script = Script::start([Answer::stored(), Answer::stored()]).await;
    let store = store(&script.url).await;
    let body = || Body::from_slices(SENT.split_inclusive(',').map(Bytes::from).collect());
    let wrong = PutOptions { crc32c: 1, ..put_options() };
    let put = store.put_if_absent("key", body(), &wrong).await.unwrap_err();
    let part = store.upload_part("key", &UploadId("id".into()), 1, body(), 1).await.unwrap_err();
    for error in [put, part] {
        assert_eq!(error.kind, ErrorKind::Body, "{error}");
    }
    assert_eq!(script.requests().await.len(), 0, "no request was whole");
}

#[tokio::test]
async fn an_error_names_operation_key_status_code_and_request() {
    let body = "<Error><Code>AccessDenied</Code><Message>not you</Message></Error>";
    let head = format!("HTTP/1.1 403 No\r\nx-amz-request-id: R1\r\ncontent-length: {}\r\n\r\n", body.len());
    let script = Script::start([Answer::Raw(head + body)]).await;
    let error = put(&store(&script.url).await).await.unwrap_err();
    assert_eq!(error.to_string(), "putting object dir/key: not you [request R1] (403 AccessDenied)");
}

#[tokio::test]
async fn a_completion_without_a_result_is_an_error_that_may_have_stored() {
    let spaces_then_error = format!("{}<Error><Code>SlowDown</Code></Error>", " ".repeat(1000));
    let cut_short = "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n<CompleteMultipartUploadResult>";
    let script = Script::start([
        Answer::status(200, ""),
        Answer::status(200, &spaces_then_error),
        Answer::status(200, "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>"),
        Answer::Raw(cut_short.into()),
    ])
    .await;
    let store = store(&script.url).await;
    for kind in [ErrorKind::NotS3, ErrorKind::ErrorIn200, ErrorKind::ErrorIn200, ErrorKind::ErrorIn200] {
        let error = complete(&store).await.unwrap_err();
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.may_be_stored());
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_or_cut_is_a_connection_error() {
    let script = Script::start([Answer::Cut]).await;
    let cut = put(&store(&script.url).await).await.unwrap_err();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let refused = put(&store(&closed).await).await.unwrap_err();
    for error in [cut, refused] {
        assert_eq!((error.kind, error.status), (ErrorKind::Connection, None), "{error}");
        assert!(error.may_be_stored() && error.retry_can_help());
    }
}

#[tokio::test]
async fn silence_is_a_time_out() {
    let script = Script::start([Answer::Silence, Answer::Silence]).await;
    let silence = S3Options { read_timeout: Duration::from_millis(50), ..options(&script.url) };
    let never = S3Options { operation_timeout: Duration::from_millis(50), ..options(&script.url) };
    for options in [silence, never] {
        let error = put(&S3Store::connect(options).await.unwrap()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
        assert!(error.may_be_stored());
    }
}

#[tokio::test]
async fn a_download_that_stops_is_an_error_and_never_a_short_object() {
    let half = "HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 10\r\n\r\nhello";
    let script = Script::start([Answer::Raw(half.into()), Answer::RawThenSilence(half.into())]).await;
    let options = S3Options { read_timeout: Duration::from_millis(100), ..options(&script.url) };
    let store = S3Store::connect(options).await.unwrap();
    for kind in [None, Some(IoKind::TimedOut)] {
        let object = store.get("key", None, None).await.unwrap();
        assert_eq!(object.info.length, Some(10));
        let slices: Vec<_> = object.body.collect().await;
        let error = slices.into_iter().next_back().unwrap().unwrap_err();
        assert!(kind.is_none_or(|kind| error.kind() == kind), "{error}");
    }
}

#[tokio::test]
async fn the_end_of_a_body_tells_its_length_where_the_answer_does_not() {
    let chunked = "HTTP/1.1 200 OK\r\netag: \"e\"\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let whole = format!("{chunked}0\r\n\r\n");
    let until_closed = "HTTP/1.1 200 OK\r\netag: \"e\"\r\nconnection: close\r\n\r\nhello";
    let script = Script::start([whole, chunked.into(), until_closed.into()].map(Answer::Raw)).await;
    let store = store(&script.url).await;
    for expected in [Some("hello"), None, Some("hello")] {
        let object = store.get("key", None, None).await.unwrap();
        assert_eq!(object.info.length, None);
        let slices: Vec<_> = object.body.collect().await;
        let whole: Option<Vec<Bytes>> = slices.into_iter().map(Result::ok).collect();
        assert_eq!(whole.map(|slices| slices.concat()).as_deref(), expected.map(str::as_bytes));
    }
    let bare =
        Script::start([Answer::Raw("HTTP/1.1 200 OK\r\netag: \"e\"\r\nconnection: close\r\n\r\n".into())])
            .await;
    assert_eq!(crate::wire::store(&bare.url).await.head("key", None).await.unwrap().length, None);
}

#[tokio::test]
async fn headers_of_an_answer_that_are_no_text_are_passed_over_whatever_they_are_about() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\netag: \"e\"\r\nx-amz-meta-author: M\xfcller\r\n\
        x-amz-meta-team: red\r\ncontent-disposition: attachment; filename=M\xfcller.txt\r\n\
        content-language: fran\xe7ais\r\nx-amz-version-id: \r\n\r\nhello";
    let without_body = answer.strip_suffix(b"hello").unwrap();
    let script = Script::start([Answer::Bytes(answer.to_vec()), Answer::Bytes(without_body.to_vec())]).await;
    let store = store(&script.url).await;
    let got = store.get("key", None, None).await.unwrap();
    let slices: Vec<_> = got.body.map(Result::unwrap).collect().await;
    assert_eq!(slices.concat(), b"hello");
    for info in [got.info, store.head("key", None).await.unwrap()] {
        assert_eq!((info.length, info.etag.as_deref()), (Some(5), Some("e")));
        assert_eq!(info.metadata, [("team".to_owned(), "red".to_owned())].into());
        assert_eq!(info.version_id, None, "an empty version is no version");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_says_what_of_it() {
    let odd = "HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 0\r\nlast-modified: yesterday\r\nconnection: close\r\n\r\n";
    let script = Script::start([Answer::Raw(odd.into()), Answer::Raw(odd.into())]).await;
    let store = store(&script.url).await;
    for operation in [Operation::Get, Operation::Head] {
        let error = call(operation, &store).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::ErrorIn200, "{error}");
        let text = error.to_string();
        assert!(text.contains("the answer cannot be read") && text.contains("`Last-Modified`"), "{text}");
    }
}

#[tokio::test]
async fn credentials_that_cannot_be_had_are_told_from_a_broken_connection() {
    let script = Script::start([]).await;
    let nobody = Credentials::Profile("sluicegate-test-no-such-profile".into());
    let options = S3Options { credentials: nobody, ..options(&script.url) };
    let error = put(&S3Store::connect(options).await.unwrap()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Credentials, "{error}");
}

#[tokio::test]
async fn what_cannot_be_connected_says_why() {
    let url = S3Store::connect(options("127.0.0.1:9000")).await.unwrap_err();
    assert!(matches!(url, ConnectError::Endpoint(_)), "{url}");
    for path in ["/does/not/exist.pem", "/dev/null"] {
        let options = S3Options { ca_file: Some(path.into()), ..options("https://localhost:1") };
        let error = S3Store::connect(options).await.unwrap_err();
        assert_eq!(error.to_string(), format!("reading certificate authorities from {path}"));
    }
}

#[test]
fn secrets_are_not_shown() {
    let secret = Credentials::Static {
        access_key_id: "key".into(),
        secret_access_key: "hidden-1".into(),
        session_token: Some("hidden-2".into()),
    };
    let shown = format!("{:?}", S3Options { credentials: secret, ..S3Options::new("b") });
    assert!(shown.contains("key") && !shown.contains("hidden"), "{shown}");
}
