//! HTTP/1.1 in as few lines as it takes: clients in a closed loop, and receivers that note when the first
//! byte arrived. Anything larger would measure itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::sync::mpsc;

/// How long anybody waits for the other side.
const PATIENCE: Duration = Duration::from_secs(15);

/// A request or a response.
struct Message {
    /// When its first byte was read.
    at: Instant,
    /// The first line and the headers.
    head: String,
    body: Vec<u8>,
}

/// One connection, kept alive.
pub struct Connection {
    stream: TcpStream,
    host: String,
    token: Option<String>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self { stream: prepared(TcpStream::connect(address)?)?, host: address.to_string(), token: None })
    }

    /// Sends this token with every request.
    pub fn with_token(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }

    /// Asks, and insists on success.
    ///
    /// # Errors
    /// With the answer when it is not one of the 200s.
    pub fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let text = body.map(Value::to_string).unwrap_or_default();
        let answer = self.exchange(&self.request(method, path, &text))?;
        let body = String::from_utf8_lossy(&answer.body);
        ensure!(is_success(&answer), "{method} {path}: {} {body}", first_line(&answer));
        Ok(serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// The same request over and over; returns how often it succeeded until then.
    pub fn repeat(&mut self, path: &str, until: Instant) -> anyhow::Result<u64> {
        let request = self.request("GET", path, "");
        let mut count = 0;
        while Instant::now() < until {
            let answer = self.exchange(&request)?;
            ensure!(is_success(&answer), "GET {path}: {}", first_line(&answer));
            count += 1;
        }
        Ok(count)
    }

    fn request(&self, method: &str, path: &str, body: &str) -> String {
        let token = self.token.as_ref().map(|token| format!("authorization: Token {token}\r\n"));
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.host,
            token.unwrap_or_default(),
            body.len()
        )
    }

    fn exchange(&mut self, request: &str) -> anyhow::Result<Message> {
        self.stream.write_all(request.as_bytes())?;
        read(&mut self.stream)?.context("the server hung up")
    }
}

/// Takes requests on a free port of loopback, answers 200, and tells when each began to arrive.
pub fn receive() -> anyhow::Result<(SocketAddr, mpsc::UnboundedReceiver<Instant>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (arrived, arrivals) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let arrived = arrived.clone();
            std::thread::spawn(move || serve(stream, &arrived));
        }
    });
    Ok((address, arrivals))
}

fn serve(stream: TcpStream, arrived: &mpsc::UnboundedSender<Instant>) -> anyhow::Result<()> {
    let mut stream = prepared(stream)?;
    while let Some(request) = read(&mut stream)? {
        arrived.send(request.at)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
    }
    Ok(())
}

fn prepared(stream: TcpStream) -> std::io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads one message whose length is told; `None` when the other side has hung up.
fn read(stream: &mut TcpStream) -> anyhow::Result<Option<Message>> {
    let mut bytes = Vec::with_capacity(16 * 1024);
    let mut chunk = [0; 16 * 1024];
    let mut at = None;
    let mut head_end = None;
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            ensure!(bytes.is_empty(), "the other side hung up in the middle of a message");
            return Ok(None);
        }
        let at = *at.get_or_insert_with(Instant::now);
        bytes.extend_from_slice(&chunk[..count]);
        head_end = head_end.or_else(|| bytes.windows(4).position(|four| four == b"\r\n\r\n"));
        let Some(end) = head_end else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let Some(length) = length.or(head.contains(" 204 ").then_some(0)) else {
            bail!("a message of unknown length: {head}");
        };
        if bytes.len() >= end + 4 + length {
            return Ok(Some(Message { at, body: bytes.split_off(end + 4), head }));
        }
    }
}

fn first_line(message: &Message) -> &str {
    message.head.lines().next().unwrap_or_default()
}

fn is_success(message: &Message) -> bool {
    message.head.starts_with("http/1.1 2")
}
