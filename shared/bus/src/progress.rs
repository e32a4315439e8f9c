//! How far consumers are, for those who watch.
//!
//! A log is one partition, and a consumer is where it last was. Of a topic a consumer has many partitions, each
//! at the position of its own last event; how far it is as a whole depends on whether one of them has more to
//! take. That only Kafka knows.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use diesel::QueryableByName;
use diesel::sql_types::{Array, Text};
use diesel_async::RunQueryDsl;
use event_store::inbox::Place;
use event_store::{Sql, Store, StoreError};
use futures::future::join_all;
use tokio::sync::Mutex;

use crate::consumer::Consumer;
use crate::kafka::Settings;
use crate::kafka::look::ends;
use crate::log_source;

/// How often Kafka is asked where a topic ends, and how long the answer may take.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How far a consumer is in one source.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The consumer's full name.
    pub consumer: String,
    /// The service whose events it reads.
    pub source: String,
    /// It has taken every event in up to this position, as far as they are published.
    pub position: i64,
}

/// Reads how far a service's consumers are in the sources that they have begun to read.
///
/// # Errors
/// When the database does not answer. Kafka's silence is no error.
pub async fn read(
    store: &Store,
    kafka: Option<&Settings>,
    consumers: &[Consumer],
) -> Result<Vec<Progress>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        consumer: String,
        #[diesel(embed)]
        place: Place,
    }
    let names: Vec<String> = consumers.iter().map(|consumer| consumer.full_name(store.service())).collect();
    let mut tx = store.database().kernel().await?;
    let rows: Vec<Row> = Sql::fixed(
        "SELECT consumer, topic, part, next_offset, position, event_id FROM inbox_offset WHERE consumer = ANY ($1)",
    )
    .bind::<Array<Text>>(names)
    .load(&mut *tx)
    .await?;
    tx.commit().await?;
    let mut begun = vec![];
    for consumer in consumers {
        let name = consumer.full_name(store.service());
        for source in consumer.sources() {
            let topic = kafka.map_or_else(|| log_source::topic(source), |settings| settings.topic(source));
            let places = rows.iter().filter(|row| row.consumer == name && row.place.topic == topic);
            let places: Vec<&Place> = places.map(|row| &row.place).collect();
            if !places.is_empty() {
                begun.push((name.clone(), (*source).to_owned(), topic, places));
            }
        }
    }
    let ends = match kafka {
        Some(settings) => known_ends(settings, begun.iter().map(|(_, _, topic, _)| topic)).await,
        // What a log has behind a place is seen by its head.
        None => begun.iter().map(|(_, _, topic, _)| (topic.clone(), vec![])).collect(),
    };
    let mut progress: Vec<Progress> = begun
        .into_iter()
        .map(|(consumer, source, topic, places)| {
            let position = position(&places, ends.get(&topic).map(Vec::as_slice));
            Progress { consumer, source, position }
        })
        .collect();
    progress.sort_by(|one, other| (&one.consumer, &one.source).cmp(&(&other.consumer, &other.source)));
    Ok(progress)
}

/// The position of the partition that is furthest if none has more to take, else of the one that is least far
/// among those that have. Without `ends` any of them may.
fn position(places: &[&Place], ends: Option<&[i64]>) -> i64 {
    let Some(ends) = ends else { return places.iter().map(|place| place.position).min().unwrap_or(0) };
    let place_of = |part: usize| places.iter().find(|place| place.part as usize == part);
    let behind = ends.iter().enumerate().filter_map(|(part, end)| {
        let (next_offset, position) =
            place_of(part).map_or((0, 0), |place| (place.next_offset, place.position));
        (next_offset < *end).then_some(position)
    });
    behind.min().or_else(|| places.iter().map(|place| place.position).max()).unwrap_or(0)
}

/// Where the partitions of topics end, as far as is known: what Kafka said last, if it is silent now.
async fn known_ends(settings: &Settings, topics: impl Iterator<Item = &String>) -> HashMap<String, Vec<i64>> {
    /// When a topic was last asked about, and the last answer.
    type Known = HashMap<(String, String), (Option<Instant>, Option<Vec<i64>>)>;
    static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);
    let topics: BTreeSet<&String> = topics.collect();
    let key = |topic: &String| (settings.brokers.clone(), topic.clone());
    // Whoever comes meanwhile waits for the answers instead of asking as well.
    let mut known = KNOWN.lock().await;
    let stale = topics.iter().filter(|topic| {
        let asked = known.get(&key(topic)).and_then(|(asked, _)| *asked);
        asked.is_none_or(|asked| asked.elapsed() >= ASK_AGAIN)
    });
    let answers = stale.map(|topic| async { (key(topic), ends(settings, topic, ASK_AGAIN).await) });
    for (key, answer) in join_all(answers).await {
        let (asked, last) = known.entry(key).or_default();
        *asked = Some(Instant::now());
        match answer {
            Ok(ends) => *last = Some(ends),
            Err(error) => {
                tracing::debug!(error = event_store::chain(&error), "where a topic ends is not known");
            }
        }
    }
    topics.into_iter().filter_map(|topic| Some((topic.clone(), known.get(&key(topic))?.1.clone()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(part: i32, next_offset: i64, position: i64) -> Place {
        Place { topic: "projects.events".into(), part, next_offset, position, event_id: None }
    }

    #[test]
    fn a_consumer_is_as_far_as_its_furthest_partition_only_when_none_has_more() {
        let (one, two) = (at(0, 5, 90), at(1, 7, 20));
        assert_eq!(position(&[&one, &two], Some(&[5, 7])), 90);
        assert_eq!(position(&[&one, &two], Some(&[5, 8])), 20);
        assert_eq!(position(&[&one, &two], Some(&[6, 8])), 20);
        assert_eq!(position(&[&one, &two], Some(&[6, 7])), 90);
    }

    #[test]
    fn a_partition_that_was_never_begun_holds_the_consumer_at_the_beginning() {
        assert_eq!(position(&[&at(0, 5, 90)], Some(&[5, 1])), 0);
        assert_eq!(position(&[&at(0, 5, 90)], Some(&[5, 0])), 90);
    }

    #[test]
    fn without_an_answer_only_the_least_advanced_partition_counts() {
        assert_eq!(position(&[&at(0, 5, 90), &at(1, 7, 20)], None), 20);
    }
}
