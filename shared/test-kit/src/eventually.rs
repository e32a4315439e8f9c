//! Waiting for a level, never for an edge and never for a fixed time.

use std::time::{Duration, Instant};

/// Asks again and again until `question` answers, at most `within`; panics with `what` otherwise.
pub async fn eventually<T>(what: &str, within: Duration, question: impl AsyncFn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = question().await {
            return answer;
        }
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
