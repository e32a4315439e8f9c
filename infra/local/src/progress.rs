//! Something to look at while one waits.

use std::fmt::Write as _;
use std::future::Future;
use std::io::{IsTerminal, Write};
use std::pin::pin;
use std::time::{Duration, Instant};

/// What takes less needs no words.
const PATIENCE: Duration = Duration::from_secs(1);

/// Waits for `work`. From the second second on it says on standard error what is being waited for, and since when.
pub async fn shown<T>(what: &str, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let mut work = pin!(work);
    if let Ok(done) = tokio::time::timeout(PATIENCE, &mut work).await {
        return done;
    }
    let terminal = std::io::stderr().is_terminal();
    // A log file gets a line now and then; a terminal has one that moves.
    let mut tick = tokio::time::interval(Duration::from_millis(if terminal { 100 } else { 10_000 }));
    for turn in 0.. {
        tokio::select! {
            done = &mut work => {
                if terminal {
                    say("\r\x1b[2K");
                }
                return done;
            }
            _ = tick.tick() => say(&line(what, began.elapsed(), turn, terminal)),
        }
    }
    work.await
}

fn line(what: &str, waited: Duration, turn: usize, terminal: bool) -> String {
    const FRAMES: [char; 8] = ['⣾', '⣽', '⣻', '⢿', '⡿', '⣟', '⣯', '⣷'];
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = match terminal {
        true => write!(line, "\r\x1b[2K{} {what} … {} s", FRAMES[turn % FRAMES.len()], waited.as_secs()),
        false => writeln!(line, "{what} … {} s", waited.as_secs()),
    };
    line
}

fn say(text: &str) {
    let mut err = std::io::stderr().lock();
    // Nobody to tell that nobody can be told.
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}
