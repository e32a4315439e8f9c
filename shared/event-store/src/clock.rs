//! The one place that reads the clock and makes ids.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

/// Tells the time: the system's, or one that a test moves.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Microseconds to add to the system's time.
    offset_us: Arc<AtomicI64>,
}

impl Clock {
    /// The system's time.
    pub fn system() -> Self {
        Self::default()
    }

    /// The time now, cut to microseconds, which is what PostgreSQL keeps.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> DateTime<Utc> {
        let now = Utc::now() + TimeDelta::microseconds(self.offset_us.load(Ordering::Relaxed));
        DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
    }

    /// Moves this clock and all its clones; for tests.
    pub fn advance(&self, by: TimeDelta) {
        self.offset_us.fetch_add(by.num_microseconds().unwrap_or(0), Ordering::Relaxed);
    }
}

/// A new event or request id: version 7, so that it sorts roughly by time. Never used as an order.
#[expect(clippy::disallowed_methods, reason = "this is where ids are made")]
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}
