//! Stores every contract event of the mesh, once.

use bus::Consumer;
use service_kit::Kit;

use crate::event;

/// Whose events are stored: every service that publishes any.
const PUBLISHERS: &[&str] = &["identity", "projects", "media", "billing", "webhooks"];

/// The consumer. It feeds no table that could be rebuilt: arrival numbers are cursors in readers' hands, and
/// a rebuild would give the same events other numbers.
pub fn consumer() -> Consumer {
    Consumer::new("events", 1).on_all_of(PUBLISHERS, |unit, envelope| {
        Box::pin(async move { Ok(event::store(unit.tx(), envelope).await?) })
    })
}

/// Wakes the sequencer after each batch; only appended events of the service's own would do so by themselves.
pub async fn wake_sequencer(kit: Kit) {
    let wake = kit.store.wake().clone();
    let mut taken = wake.follow_taken();
    while taken.changed().await.is_ok() {
        wake.appended();
    }
}

#[cfg(test)]
mod tests {
    use super::PUBLISHERS;

    #[test]
    fn every_publisher_of_the_catalog_is_read() {
        for event in contracts::catalog() {
            assert!(PUBLISHERS.contains(&event.service), "nobody stores the events of {}", event.service);
        }
    }
}
