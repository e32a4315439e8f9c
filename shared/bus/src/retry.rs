//! Trying again: after growing pauses, and without saying the same thing over and over.

use std::time::Duration;

/// Growing pauses between attempts.
#[derive(Default)]
pub(crate) struct Backoff(u32);

impl Backoff {
    /// Waits 200 ms, then twice as long each time, at most 5 s.
    pub(crate) async fn pause(&mut self) {
        let pause = Duration::from_millis(200 << self.0.min(5)).min(Duration::from_secs(5));
        self.0 += 1;
        tokio::time::sleep(pause).await;
    }
}

/// What was said last. What is wrong may stay wrong for days, and is then worth one line.
#[derive(Default)]
pub(crate) struct Said(String);

impl Said {
    /// Whether `text` was not the last thing to be said; it is now.
    pub(crate) fn is_news(&mut self, text: &str) -> bool {
        let news = self.0 != text;
        text.clone_into(&mut self.0);
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_something_else_is_news() {
        let mut said = Said::default();
        let news = ["away", "away", "back", "away"].map(|text| said.is_news(text));
        assert_eq!(news, [true, false, true, true]);
    }
}
