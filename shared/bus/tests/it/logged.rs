//! What the code under test has to say.

use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// Warnings and errors, line by line.
static LOGGED: Mutex<Vec<String>> = Mutex::new(vec![]);

/// Keeps warnings and errors, and shows the log as far as `RUST_LOG` asks for it.
pub fn show_log() {
    struct Keep;
    impl std::io::Write for Keep {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            LOGGED.lock().unwrap().push(String::from_utf8_lossy(line).into_owned());
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    static SHOWN: Once = Once::new();
    SHOWN.call_once(|| {
        let shown = fmt::layer().with_writer(std::io::stderr).with_filter(EnvFilter::from_default_env());
        let kept = fmt::layer().with_writer(|| Keep).with_ansi(false).with_filter(LevelFilter::WARN);
        tracing_subscriber::registry().with(shown).with(kept).init();
    });
}

/// The lines of the log that contain all of `words`.
pub fn logged(words: &[&str]) -> Vec<String> {
    let lines = LOGGED.lock().unwrap();
    lines.iter().filter(|line| words.iter().all(|word| line.contains(word))).cloned().collect()
}

/// Waits until some line of the log contains all of `words`.
pub async fn until_logged(words: &[&str], limit: Duration) {
    let began = Instant::now();
    while logged(words).is_empty() {
        assert!(began.elapsed() < limit, "nothing was said of {words:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
