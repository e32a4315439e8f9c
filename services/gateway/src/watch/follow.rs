//! Reads what the services are doing, as long as somebody looks.

use std::sync::Arc;
use std::time::Duration;

use bus::Peer;
use event_store::log::LogFilter;
use futures::future::join_all;
use service_kit::Node;
use service_kit::status::Status;
use tokio::time::Instant;

use super::{Look, Watch, publishers};

/// Events of each log that a new viewer sees at once.
const HISTORY: i64 = 40;
/// Events that are read at once.
const PAGE: i64 = 100;
/// How long a look waits for something new.
const WAIT: Duration = Duration::from_secs(1);
/// The pause between two looks at a service: short, so that an event's way is timed well, and growing while
/// there is something new at each look, because a busy service changes all the time.
const PAUSES: (Duration, Duration) = (Duration::from_millis(8), Duration::from_millis(250));
/// How long it goes on when the last viewer has gone: most come back at once, with the page they reload.
const LINGER: Duration = Duration::from_secs(5);

/// Runs as long as the gateway.
pub async fn run(node: Node) {
    let watch = node.shared::<Watch>();
    loop {
        let mut viewers = watch.viewers.subscribe();
        if viewers.wait_for(|count| *count > 0).await.is_err() {
            return;
        }
        watch.forget();
        tokio::select! {
            () = follow_all(&node, &watch) => {}
            () = nobody(&watch) => {}
        }
    }
}

/// Completes when nobody has looked for a while.
async fn nobody(watch: &Watch) {
    let mut viewers = watch.viewers.subscribe();
    loop {
        if viewers.wait_for(|count| *count == 0).await.is_err() {
            return;
        }
        let back = tokio::time::timeout(LINGER, viewers.wait_for(|count| *count > 0)).await;
        if back.is_err() {
            return;
        }
    }
}

async fn follow_all(node: &Node, watch: &Arc<Watch>) {
    let peers = publishers().filter_map(|service| Some((service, node.peer(service).ok()?)));
    join_all(peers.map(async |(service, peer)| {
        tokio::join!(follow_state(node, watch, service, peer), follow_log(node, watch, service, peer));
    }))
    .await;
}

/// Looks at a service again whenever something has happened there, and every second.
async fn follow_state(node: &Node, watch: &Watch, service: &'static str, peer: &Peer) {
    let (mut seen, mut pause) = (None, PAUSES.0);
    loop {
        let began = Instant::now();
        let look = look(peer, seen).await;
        let idle = began.elapsed() > PAUSES.1;
        pause = if idle { PAUSES.0 } else { (pause * 5 / 4).min(PAUSES.1) };
        seen = look.status().map(|status| status.changes);
        let away = look.status().is_none();
        watch.note(service, look, node.clock.now());
        tokio::time::sleep(if away { WAIT } else { pause }).await;
    }
}

/// Looks at a service; with the count of changes that was seen last it waits for the next one.
async fn look(peer: &Peer, seen: Option<u64>) -> Look {
    let mut request = peer.get("/internal/status").timeout(WAIT + Duration::from_secs(2));
    if let Some(seen) = seen {
        request = request.query(&[("seen", seen), ("wait_ms", WAIT.as_millis() as u64)]);
    }
    match peer.json::<Status>(request).await {
        Ok(status) => Look::Here(Box::new(status)),
        Err(error) => Look::Away(error.to_string()),
    }
}

/// Looks once at every service.
pub async fn look_once(node: &Node, watch: &Watch) {
    let peers = publishers().filter_map(|service| Some((service, node.peer(service).ok()?)));
    let looks = join_all(peers.map(async |(service, peer)| (service, look(peer, None).await))).await;
    for (service, look) in looks {
        watch.note(service, look, node.clock.now());
    }
}

/// Reads a log from a little before its end on.
async fn follow_log(node: &Node, watch: &Watch, service: &str, peer: &Peer) {
    let mut place = None;
    loop {
        let (after, wait, timed) = match place {
            Some(after) => (after, Duration::from_secs(20), true),
            None => match peer.log(i64::MAX / 2, 1, Duration::ZERO, &LogFilter::default()).await {
                Ok(page) => ((page.head - HISTORY).max(0), Duration::ZERO, false),
                Err(_) => {
                    tokio::time::sleep(WAIT).await;
                    continue;
                }
            },
        };
        match peer.log(after, PAGE, wait, &LogFilter::default()).await {
            Ok(page) => {
                place = Some(page.next.max(after));
                if !page.events.is_empty() {
                    watch.pass(page.events, timed, node.clock.now());
                }
            }
            Err(error) => {
                tracing::debug!(service, error = event_store::chain(&error), "cannot watch a log");
                tokio::time::sleep(WAIT).await;
            }
        }
    }
}
