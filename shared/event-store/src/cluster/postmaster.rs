//! One running server: recognising it, talking to it, ending it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// The superuser of every cluster.
pub(super) const SUPERUSER: &str = "annomesh";

/// The port; for a socket it is only a part of the file's name.
pub(super) const PORT: u16 = 5432;

/// How long a fast shutdown may take before it is made an immediate one.
const FAST_LIMIT: Duration = Duration::from_secs(5);

/// How long an immediate shutdown may take: the server kills its own stragglers after five seconds.
const IMMEDIATE_LIMIT: Duration = Duration::from_secs(7);

const POLL: Duration = Duration::from_millis(5);

/// A server process, started by us or found running.
#[derive(Debug)]
pub(super) struct Postmaster {
    pid: u32,
    /// Present if this process started it and must therefore reap it.
    child: Option<Child>,
    data: PathBuf,
    socket: PathBuf,
}

/// The ways to end a server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shutdown {
    /// Closes all connections, rolls back, writes everything out.
    Fast,
    /// Drops everything at once; the next start recovers from the log.
    Immediate,
}

/// What a server answers to somebody who connects.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Ready,
    /// It is starting, recovering or shutting down.
    NotNow,
    /// Nobody listens, or nothing came back in time.
    Silence,
    /// Something is wrong that waiting does not cure.
    Refused(String),
}

impl Postmaster {
    /// Wraps a server that was just started on `data`, listening in the folder `socket`.
    pub(super) fn started(child: Child, data: &Path, socket: &Path) -> Self {
        Self { pid: child.id(), child: Some(child), data: data.to_owned(), socket: socket.to_owned() }
    }

    /// Finds the server that runs on `data`, if one does: its pid file says who it was, and the command line of
    /// the process with that id says whether it still is (ids are given anew, often soon in a container).
    pub(super) fn running_on(data: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        // Lines: pid, data folder, start time, port, socket folder (empty until it listens).
        let socket = PathBuf::from(lines.nth(3).unwrap_or_default());
        is_server_on(pid, data).then(|| Self { pid, child: None, data: data.to_owned(), socket })
    }

    /// Takes the process id from the server's own file: a wrapper script that starts the server as its child
    /// would not pass signals on.
    pub(super) fn learn_pid(&mut self) {
        if let Some(found) = Self::running_on(&self.data) {
            self.pid = found.pid;
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// The folder of the socket it listens on.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Says whether the process still exists.
    pub(super) fn is_alive(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => is_server_on(self.pid, &self.data),
        }
    }

    /// Connects, logs in and leaves.
    pub(super) fn ask(&self) -> Answer {
        log_in(&self.socket).unwrap_or(Answer::Silence)
    }

    /// Sends the signal for `shutdown` and returns at once.
    pub(super) fn begin_shutdown(&mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        let signal = match shutdown {
            Shutdown::Fast => "INT",
            Shutdown::Immediate => "QUIT",
        };
        // The shell's built-in: sending a signal from here would take an unsafe call.
        let status = Command::new("/bin/sh")
            .args(["-c", "kill -s \"$1\" \"$2\"", "sh", signal, &self.pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("cannot run /bin/sh")?;
        if !status.success() && self.is_alive() {
            bail!("cannot send SIG{signal} to PostgreSQL (process {})", self.pid);
        }
        Ok(())
    }

    /// Ends the server and waits until it is gone: five seconds for a fast shutdown, then an immediate one.
    pub(super) fn stop(&mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        if let Shutdown::Fast = shutdown {
            self.begin_shutdown(Shutdown::Fast)?;
            if self.is_gone_within(FAST_LIMIT) {
                return Ok(());
            }
            tracing::warn!(
                "PostgreSQL (process {}) did not stop in {FAST_LIMIT:?}: stopping it at once",
                self.pid
            );
        }
        self.begin_shutdown(Shutdown::Immediate)?;
        if !self.is_gone_within(IMMEDIATE_LIMIT) {
            bail!("PostgreSQL (process {}) did not stop", self.pid);
        }
        Ok(())
    }

    fn is_gone_within(&mut self, limit: Duration) -> bool {
        let began = Instant::now();
        while self.is_alive() {
            if began.elapsed() >= limit {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }
}

/// Says whether process `pid` is a server that we started on the folder `data`.
fn is_server_on(pid: u32, data: &Path) -> bool {
    let mut line = match std::fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(line) => line,
        Err(_) if Path::new("/proc/self").exists() => return false,
        // macOS has no /proc.
        Err(_) => match Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output() {
            Ok(ps) => ps.stdout,
            Err(_) => return false,
        },
    };
    // Zero bytes end the arguments in /proc.
    line.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    let wanted = [b"postgres -D ", data.as_os_str().as_encoded_bytes(), b" "].concat();
    line.windows(wanted.len()).any(|window| window == wanted)
}

/// Speaks just enough of the protocol to learn whether the server takes connections: start-up message, then
/// whatever comes until "ready for query" or an error.
fn log_in(socket: &Path) -> std::io::Result<Answer> {
    let mut stream = UnixStream::connect(socket.join(format!(".s.PGSQL.{PORT}")))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    let body = format!("user\0{SUPERUSER}\0database\0postgres\0\0");
    let length = u32::try_from(body.len() + 8).map_err(std::io::Error::other)?;
    let mut message = length.to_be_bytes().to_vec();
    message.extend_from_slice(&0x0003_0000_u32.to_be_bytes());
    message.extend_from_slice(body.as_bytes());
    stream.write_all(&message)?;
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let [tag, length @ ..] = head;
        let length = u64::from(u32::from_be_bytes(length)).saturating_sub(4).min(65_536);
        let mut body = Vec::new();
        Read::by_ref(&mut stream).take(length).read_to_end(&mut body)?;
        match tag {
            b'Z' => {
                // Terminate, lest the server notes a lost connection in its log.
                stream.write_all(&[b'X', 0, 0, 0, 4])?;
                return Ok(Answer::Ready);
            }
            b'E' => return Ok(answer_of_error(&body)),
            // Authentication other than "ok" would wait for us for ever.
            b'R' if body != [0; 4] => return Ok(Answer::Refused("it asks for a password".to_owned())),
            _ => {}
        }
    }
}

/// Judges an error message: fields of one letter and a text, each ended by a zero byte.
fn answer_of_error(body: &[u8]) -> Answer {
    let field = |letter: u8| {
        body.split(|byte| *byte == 0)
            .find_map(|field| field.strip_prefix(&[letter]))
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .unwrap_or_default()
    };
    match field(b'C').as_str() {
        // cannot_connect_now
        "57P03" => Answer::NotNow,
        // too_many_connections: it serves, only not us.
        "53300" => Answer::Ready,
        code => Answer::Refused(format!("{} ({code})", field(b'M'))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_judged_by_its_code() {
        assert_eq!(
            answer_of_error(b"SFATAL\0C57P03\0Mthe database system is starting up\0\0"),
            Answer::NotNow
        );
        assert_eq!(answer_of_error(b"SFATAL\0C53300\0Msorry, too many clients already\0\0"), Answer::Ready);
        let refused = Answer::Refused("role \"annomesh\" does not exist (28000)".to_owned());
        assert_eq!(answer_of_error(b"SFATAL\0C28000\0Mrole \"annomesh\" does not exist\0\0"), refused);
    }

    #[test]
    fn another_process_is_not_taken_for_a_server() {
        assert!(!is_server_on(std::process::id(), Path::new("/nowhere/data")));
    }
}
