use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(60);

/// What a whole request is answered.
const HERE: &str = "here\n";

/// Far more than the buffers of both sides hold.
const LARGE: usize = 16 << 20;

const LIMITS: HeadLimits = HeadLimits { bytes: 8192, headers: 100, timeout: LONG, idle_timeout: LONG };

struct Served {
    address: std::net::SocketAddr,
    refused: Arc<Mutex<Vec<Refusal>>>,
    serving: JoinHandle<()>,
}

impl Served {
    async fn new(limits: HeadLimits) -> Self {
        let refused = Arc::<Mutex<Vec<Refusal>>>::default();
        let noted = Arc::clone(&refused);
        let refuse: Refuse = Arc::new(move |refusal| {
            noted.lock().unwrap().push(refusal.clone());
            let text = format!("{{\"error\":\"{refusal}\"}}");
            let answer = Response::builder().status(refusal.status());
            answer.header("content-type", "application/json").body(text.into()).unwrap()
        });
        let http = Http::new(limits, 64 << 10, None, refuse);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(crate::listen::serve_each(
            listener,
            10,
            CancellationToken::new(),
            move |stream, _| {
                let http = http.clone();
                async move {
                    let answer = async |request: Request<Incoming>| {
                        use http_body_util::BodyExt as _;
                        if request.uri().path() == "/large" {
                            let text = "x".repeat(LARGE) + HERE;
                            return Response::new(Full::new(Bytes::from(text)));
                        }
                        let read =
                            request.into_body().collect().await.map_or(0, |body| body.to_bytes().len());
                        Response::new(Full::new(Bytes::from(format!("{read} {HERE}"))))
                    };
                    let _ = http.serve(stream, &CancellationToken::new(), answer).await;
                }
            },
        ));
        Self { address, refused, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What is answered to these bytes until the connection ends. The client's side stays open.
    async fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        read_to_end(&mut stream).await
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Reads until the answer that ends so.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = String::new();
    while !answer.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        answer.push(byte[0].into());
    }
    answer
}

/// Asserts that the answer is whole, JSON, and the last one.
fn is_refusal(answer: &str, status: u16, reason: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    let head = head.to_ascii_lowercase();
    for header in
        ["content-type: application/json", "connection: close", &format!("content-length: {}", body.len())]
    {
        assert!(head.contains(header), "{header}: {answer}");
    }
    assert!(head.contains("date: ") && body.contains(reason), "{answer}");
}

#[tokio::test]
async fn a_head_beyond_a_limit_is_431_with_the_limit_as_is_one_with_too_many_lines() {
    let served = Served::new(LIMITS).await;
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(9_000));
    is_refusal(&served.say(long.as_bytes()).await, 431, "larger than the limit of 8192 bytes");
    // One that goes on for ever is refused before it ends, and hears so although it still sends.
    let endless = format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}", "x".repeat(1 << 20));
    is_refusal(&served.say(endless.as_bytes()).await, 431, "larger than the limit of 8192 bytes");
    let many = |lines: usize| {
        format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}\r\n", "a: b\r\n".repeat(lines - 2))
    };
    is_refusal(&served.say(many(101).as_bytes()).await, 431, "more than 100 header lines");
    assert!(served.say(many(100).as_bytes()).await.ends_with(HERE));
    let served = Served::new(HeadLimits { headers: 150, ..LIMITS }).await;
    assert!(served.say(many(150).as_bytes()).await.ends_with(HERE), "the limit is the configured one");
    is_refusal(&served.say(many(151).as_bytes()).await, 431, "more than 150 header lines");
}

#[tokio::test]
async fn what_is_no_http_is_400_and_a_target_that_is_too_long_is_414_both_with_a_reason() {
    let served = Served::new(LIMITS).await;
    for head in [
        "NONSENSE\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
        "GET  /\r\n\r\n",
        "\x16\x03\x01\r\n\r\n",
    ] {
        is_refusal(&served.say(head.as_bytes()).await, 400, "this is no HTTP request");
    }
    let served = Served::new(HeadLimits { bytes: 1 << 20, ..LIMITS }).await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(66_000));
    is_refusal(&served.say(long.as_bytes()).await, 414, "too long");
}

#[tokio::test]
async fn a_head_that_takes_too_long_is_408_also_after_an_answer_and_drip_by_drip() {
    let served = Served::new(HeadLimits { timeout: SHORT, ..LIMITS }).await;
    for head in ["G", "GET / HT", "GET / HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        is_refusal(&served.say(head.as_bytes()).await, 408, "did not arrive within 0.06 seconds");
    }
    let mut stream = served.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    read_until(&mut stream, HERE).await;
    stream.write_all(b"GET /again").await.unwrap();
    is_refusal(&read_to_end(&mut stream).await, 408, "did not arrive");
    // A byte now and then does not buy more time.
    let (mut read, mut write) = served.connect().await.into_split();
    let dripping = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    });
    let mut answer = String::new();
    // Its further bytes may end the connection by a reset.
    let _ = read.read_to_string(&mut answer).await;
    is_refusal(&answer, 408, "did not arrive");
    dripping.abort();
}

#[tokio::test]
async fn an_idle_connection_has_a_time_of_its_own_and_is_closed_without_a_word() {
    let limits = HeadLimits { timeout: SHORT / 4, idle_timeout: SHORT * 4, ..LIMITS };
    let served = Served::new(limits).await;
    let (mut new, mut kept) = (served.connect().await, served.connect().await);
    let began = Instant::now();
    kept.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    read_until(&mut kept, HERE).await;
    assert_eq!(read_to_end(&mut new).await, "");
    assert_eq!(read_to_end(&mut kept).await, "");
    assert!(began.elapsed() >= SHORT * 4, "longer than a head may take: {:?}", began.elapsed());
    assert_eq!(*served.refused.lock().unwrap(), []);
}

#[tokio::test]
async fn a_connection_is_idle_from_when_its_answer_was_taken_however_late_that_was() {
    let served = Served::new(HeadLimits { idle_timeout: SHORT * 3, ..LIMITS }).await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut taken = 0;
    let mut buffer = vec![0; 64 << 10];
    // It takes longer than a connection may be idle.
    let began = Instant::now();
    while taken < LARGE {
        taken += stream.read(&mut buffer).await.unwrap();
        if taken < LARGE / 2 {
            tokio::time::sleep(SHORT / 20).await;
        }
    }
    assert!(began.elapsed() > SHORT * 3);
    let rest = tokio::time::timeout(LONG / 2, read_to_end(&mut stream)).await.expect("it is closed");
    assert!(rest.len() < 64 << 10, "{}", rest.len());
}

#[tokio::test]
async fn a_long_body_has_neither_the_heads_time_nor_the_idle_one() {
    let served = Served::new(HeadLimits { timeout: SHORT, idle_timeout: SHORT, ..LIMITS }).await;
    let mut stream = served.connect().await;
    stream
        .write_all(b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\na")
        .await
        .unwrap();
    tokio::time::sleep(SHORT * 3).await;
    stream.write_all(b"b").await.unwrap();
    assert!(read_to_end(&mut stream).await.ends_with(&format!("2 {HERE}")));
}

#[tokio::test]
async fn what_a_head_says_of_hosts_and_transfer_codings_is_believed_only_where_it_is_plain() {
    let served = Served::new(LIMITS).await;
    let cases: [(&str, u16, &str); 13] = [
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n", 400, "more than one Host"),
        ("GET / HTTP/1.1\r\nhost: a\r\nHOST: a\r\n", 400, "more than one Host"),
        ("GET / HTTP/1.1\r\n", 400, "no Host header"),
        ("GET / HTTP/1.1\r\nhost: a b\r\n", 400, "holds no host"),
        ("GET / HTTP/1.1\r\nhost: user@a\r\n", 400, "holds no host"),
        ("GET http://a/ HTTP/1.1\r\nhost: a\r\n", 400, "names a host"),
        ("GET http://b/ HTTP/1.1\r\nhost: a\r\n", 400, "names a host"),
        ("CONNECT a:80 HTTP/1.1\r\nhost: a\r\n", 400, "names a host"),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n", 501, "gzip, chunked"),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
            501,
            "gzip, chunked",
        ),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n", 501, "chunked, chunked"),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity, chunked\r\n", 501, "identity, chunked"),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n", 400, "no HTTP request"),
    ];
    for (head, status, reason) in cases {
        // It ends although nobody asked for that.
        let request = format!("{head}\r\n0\r\n\r\n");
        is_refusal(&served.say(request.as_bytes()).await, status, reason);
    }
    for head in [
        "GET / HTTP/1.1\r\nhost: a\r\n",
        "GET / HTTP/1.1\r\nhost:\r\n",
        "GET / HTTP/1.1\r\nhost: [::1]:80\r\n",
        "GET / HTTP/1.0\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: a.example:8080\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: Chunked\r\n",
    ] {
        let answer = served.say(format!("{head}connection: close\r\n\r\n0\r\n\r\n").as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.0 200 "),
            "{head}: {answer}"
        );
    }
}

#[tokio::test]
async fn requests_that_come_at_once_are_answered_one_after_the_other_and_the_bad_one_last() {
    let served = Served::new(LIMITS).await;
    let good = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = served.say(format!("{good}{good}{good}NONSENSE\r\n\r\n").as_bytes()).await;
    assert_eq!(answer.matches(HERE).count(), 3, "{answer}");
    let last = &answer[answer.rfind("HTTP/1.1").unwrap()..];
    is_refusal(last, 400, "this is no HTTP request");
}
