//! HTTP/1.1 in as few lines as it takes: clients in a closed loop, and receivers that note when the first
//! byte arrived. Anything larger would measure itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::sync::mpsc;

/// How long anybody waits for the other side.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is read at once of an answer that nobody keeps.
const BUFFER: usize = 256 * 1024;

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

    /// Sends a body of any kind with more headers, and insists on success.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        (content_type, body): (&str, &[u8]),
    ) -> anyhow::Result<Value> {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = self.head(method, path, &headers, (content_type, body.len()));
        self.stream.write_all(head.as_bytes())?;
        self.stream.write_all(body)?;
        let answer = read(&mut self.stream)?.context("the server hung up")?;
        let text = String::from_utf8_lossy(&answer.body);
        ensure!(is_success(&answer), "{method} {path}: {} {text}", first_line(&answer));
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// A GET over and over; returns how often it succeeded until then.
    pub fn repeat(&mut self, path: &str, until: Instant) -> anyhow::Result<u64> {
        let request = self.request("GET", path, "");
        let mut buffer = vec![0; BUFFER];
        let mut count = 0;
        while Instant::now() < until {
            self.drain(request.as_bytes(), &mut buffer).with_context(|| format!("GET {path}"))?;
            count += 1;
        }
        Ok(count)
    }

    /// The same request over and over; returns how many milliseconds each one took.
    pub fn time_each(&mut self, request: &str, until: Instant) -> anyhow::Result<Vec<f64>> {
        let mut buffer = vec![0; BUFFER];
        let mut took = vec![];
        loop {
            let began = Instant::now();
            if began >= until {
                return Ok(took);
            }
            self.drain(request.as_bytes(), &mut buffer)?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }

    /// Sends a request and reads the answer without keeping it, so that the client costs as little as it can;
    /// returns the length of the body.
    ///
    /// # Errors
    /// When it is not one of the 200s, or does not say how long it is.
    pub fn drain(&mut self, request: &[u8], buffer: &mut [u8]) -> anyhow::Result<usize> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        let end = loop {
            let count = self.stream.read(&mut buffer[filled..])?;
            ensure!(count > 0, "the server hung up, or its headers are too long");
            filled += count;
            if let Some(end) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
        };
        let head = std::str::from_utf8(&buffer[..end])?;
        ensure!(head.starts_with("HTTP/1.1 2"), "{head}");
        let (name, value) = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .with_context(|| format!("a body of unknown length: {head}"))?;
        let length = value.trim().parse::<usize>().with_context(|| format!("{name}: {value}"))?;
        let mut left = (end + 4 + length).saturating_sub(filled);
        while left > 0 {
            let most = left.min(buffer.len());
            let count = self.stream.read(&mut buffer[..most])?;
            ensure!(count > 0, "the server hung up in the middle of a body");
            left -= count;
        }
        Ok(length)
    }

    /// A whole request with a body in JSON.
    pub fn request(&self, method: &str, path: &str, body: &str) -> String {
        self.head(method, path, "", ("application/json", body.len())) + body
    }

    fn head(&self, method: &str, path: &str, headers: &str, (kind, length): (&str, usize)) -> String {
        let token = self.token.as_ref().map(|token| format!("authorization: Token {token}\r\n"));
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{}{headers}content-type: {kind}\r\ncontent-length: {length}\r\n\r\n",
            self.host,
            token.unwrap_or_default(),
        )
    }

    fn exchange(&mut self, request: &str) -> anyhow::Result<Message> {
        self.stream.write_all(request.as_bytes())?;
        read(&mut self.stream)?.context("the server hung up")
    }
}

/// GETs a second of clients that each send the next one when the last was answered.
pub fn rate(
    clients: usize,
    (address, token): (SocketAddr, Option<&str>),
    path: &str,
    time: Duration,
) -> anyhow::Result<f64> {
    let began = Instant::now();
    let client = || {
        let connection = Connection::open(address)?;
        let mut connection = match token {
            Some(token) => connection.with_token(token),
            None => connection,
        };
        connection.repeat(path, began + time)
    };
    let count = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        let counts = clients
            .into_iter()
            .map(|client| client.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a client panicked"))));
        counts.sum::<anyhow::Result<u64>>()
    })?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
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
