//! A server that answers one request a connection, by script, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(super) enum Answer {
    /// These bytes, and the connection closed.
    Raw(String),
    /// The same, of what is no text.
    Bytes(Vec<u8>),
    /// These bytes, and the connection left open.
    RawThenSilence(String),
    /// The request read, and the connection closed.
    Cut,
    /// The request read, and nothing.
    Silence,
}

pub(super) struct Request {
    pub(super) line: String,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

pub(super) struct Script {
    pub(super) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    server: JoinHandle<()>,
}

impl Answer {
    /// S3's answer to a put and to a part.
    pub(super) fn stored() -> Self {
        Self::Raw("HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into())
    }

    pub(super) fn status(status: u16, body: &str) -> Self {
        let length = body.len();
        Self::Raw(format!(
            "HTTP/1.1 {status} Status\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    }
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    async fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).ok()?;
        let mut lines = head.lines();
        let line = lines.next()?.to_owned();
        let pair = |line: &str| {
            line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        };
        let mut request = Self { line, headers: lines.filter_map(pair).collect(), body: Vec::new() };
        let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
        request.body = vec![0; length];
        stream.read_exact(&mut request.body).await.ok()?;
        Some(request)
    }
}

impl Script {
    pub(super) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers: Vec<_> = answers.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::default();
        let server = tokio::spawn(serve(listener, answers, Arc::clone(&requests)));
        Self { url, requests, server }
    }

    /// What was asked, once every answer of the script is given.
    pub(super) async fn requests(self) -> Vec<Request> {
        self.server.await.unwrap();
        std::mem::take(&mut *self.requests.lock().unwrap())
    }
}

async fn serve(listener: TcpListener, answers: Vec<Answer>, requests: Arc<Mutex<Vec<Request>>>) {
    let mut open = Vec::new();
    for answer in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        let Some(request) = Request::read(&mut stream).await else { continue };
        requests.lock().unwrap().push(request);
        match answer {
            Answer::Raw(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Answer::Bytes(bytes) => stream.write_all(&bytes).await.unwrap(),
            Answer::RawThenSilence(text) => {
                stream.write_all(text.as_bytes()).await.unwrap();
                open.push(stream);
            }
            Answer::Cut => {}
            Answer::Silence => open.push(stream),
        }
    }
    // An open connection is silent as long as somebody holds it; a script with none ends here.
    if !open.is_empty() {
        std::future::pending::<()>().await;
    }
}
