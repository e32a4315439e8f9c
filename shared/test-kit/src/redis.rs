//! A Redis of a test's own, on a free port of loopback, which can be stopped and started again.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The server and somebody who watches over it: when the test is gone, however it ended, its end of the pipe
/// is closed and the server is killed.
const WATCHED: &str = "redis-server \"$@\" >/dev/null 2>&1 & cat >/dev/null; kill -9 $!; wait";
/// How long a start may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs, or was stopped.
pub struct Redis {
    port: u16,
    server: Option<Child>,
}

impl Redis {
    /// Starts a server; `None`, which is said aloud, where none is installed.
    pub fn start() -> Option<Self> {
        let version = Command::new("redis-server").arg("--version").output();
        if !version.is_ok_and(|output| output.status.success()) {
            // Past the capture of a test's output: nobody must take this for a pass.
            let skipped = "\nSKIPPED: there is no redis-server (Debian: apt-get install redis-server)\n";
            std::io::stderr().write_all(skipped.as_bytes()).unwrap();
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut redis = Self { port, server: None };
        redis.start_again();
        Some(redis)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Starts a server that was stopped, on the same port; it remembers nothing.
    pub fn start_again(&mut self) {
        let port = self.port.to_string();
        let server = Command::new("sh")
            .args(["-c", WATCHED, "redis", "--bind", "127.0.0.1", "--port", &port, "--save", ""])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.server = Some(server.unwrap());
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "redis-server does not answer on port {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops the server as a crash does.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            drop(server.stdin.take());
            server.wait().unwrap();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
