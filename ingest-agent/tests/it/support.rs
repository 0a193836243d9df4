//! What the tests share: small clients, configurations in a temporary folder, waiting for an event with a deadline.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ingest_agent::Config;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Longer than anything here takes; a test that needs it has failed.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A configuration whose data is in `dir`, with a netcat source `lines`, an admin address, and `rest`.
pub(crate) fn config(dir: &std::path::Path, rest: &str) -> Config {
    let text = format!(
        "data_dir = \"{}\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[sources.lines]\nkind = \"netcat\"\nlisten = \"127.0.0.1:0\"\n{rest}",
        dir.display()
    );
    Config::parse("test.toml", &text, &ingest_agent::config::Flags::default(), &|_| None)
        .expect("it is right")
}

/// Sends `count` lines and waits until each is answered `OK`.
pub(crate) async fn send_lines(address: SocketAddr, name: &str, count: usize) {
    let stream = TcpStream::connect(address).await.expect("the source listens");
    let (read, mut write) = stream.into_split();
    let lines = (0..count).map(|index| format!("{name} {index}\n")).collect::<Vec<_>>().concat();
    let sending = tokio::spawn(async move {
        write.write_all(lines.as_bytes()).await.expect("the source reads");
        write
    });
    let mut answers = BufReader::new(read).lines();
    for index in 0..count {
        let answer = answers.next_line().await.expect("the source answers");
        assert_eq!(answer.as_deref(), Some("OK"), "line {index}");
    }
    drop(sending.await.expect("the lines are sent"));
}

/// One request on a connection of its own: status and body.
pub(crate) async fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("the address listens");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("the request is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it is answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    assert!(!chunked, "the bodies of the admin address have a length");
    (status, body.to_owned())
}

/// The value of one metric of a scrape, where `labels` stand in the order in which they are written.
pub(crate) fn metric(scrape: &str, name: &str, labels: &str) -> u64 {
    let wanted = format!("{name}{{{labels}}} ");
    let line = scrape.lines().find_map(|line| line.strip_prefix(&wanted));
    line.unwrap_or_else(|| panic!("no {wanted} in {scrape}")).parse().expect("a number")
}

/// Asks until there is an answer.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {LONG:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
