//! `annomesh events`: the contract events of all services, as they are published.

use std::time::Duration;

use bus::Peer;
use bus::peer::PeerError;
use clap::Args;
use contracts::Envelope;
use event_store::log::{LogFilter, LogPage};
use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream::{self, select_all};

use super::Mesh;

/// How many of each service are shown when nobody says from where.
const RECENT: i64 = 20;
const PAGE: i64 = 500;
/// How long one long poll lasts.
const WAIT: Duration = Duration::from_secs(20);
/// How soon a service that did not answer is asked again.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Args)]
pub struct Follow {
    /// Go on with what is published from now on, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// Begin after this position of the log [default: the last 20 events]
    #[arg(long)]
    pub after: Option<i64>,
    /// Only this service's
    #[arg(long)]
    pub service: Option<String>,
    /// Whole events as CloudEvents, one line of JSON each
    #[arg(long)]
    pub json: bool,
}

/// Prints events.
///
/// # Errors
/// When a service does not answer at the beginning.
pub async fn events(options: Follow) -> anyhow::Result<()> {
    let mesh = Mesh::find()?;
    let peers: Vec<Peer> = match &options.service {
        Some(service) => vec![mesh.peer(service)?],
        None => Mesh::services().map(|service| mesh.peer(service)).collect::<anyhow::Result<_>>()?,
    };
    let mut logs = vec![];
    match options.after {
        Some(after) => {
            for peer in peers {
                let next = print_from(&mesh, &peer, after, options.json).await?;
                logs.push((peer, next));
            }
        }
        None => {
            let recent = try_join_all(peers.iter().map(recent)).await.map_err(|error| mesh.explain(error))?;
            let mut events: Vec<&Envelope> = recent.iter().flat_map(|page| &page.events).collect();
            events.sort_by_key(|event| event.time);
            for event in events {
                print(event, options.json)?;
            }
            logs.extend(peers.into_iter().zip(recent.iter().map(|page| page.next)));
        }
    }
    if options.follow {
        let mut live = select_all(logs.into_iter().map(|(peer, next)| live(peer, next)));
        while let Some(event) = live.next().await {
            print(&event, options.json)?;
        }
    }
    Ok(())
}

/// Prints what is in a log after a position, page by page; returns the position to go on from.
async fn print_from(mesh: &Mesh, peer: &Peer, mut after: i64, json: bool) -> anyhow::Result<i64> {
    loop {
        let page = peer.log(after, PAGE, Duration::ZERO, &LogFilter::default()).await;
        let page = page.map_err(|error| mesh.explain(error))?;
        for event in &page.events {
            print(event, json)?;
        }
        after = page.next.max(after);
        if after >= page.head {
            return Ok(after);
        }
    }
}

/// The newest events of a log.
async fn recent(peer: &Peer) -> Result<LogPage, PeerError> {
    let everything = LogFilter::default();
    let head = peer.log(0, 1, Duration::ZERO, &everything).await?.head;
    peer.log((head - RECENT).max(0), PAGE, Duration::ZERO, &everything).await
}

/// What comes from now on; a service that stops and starts again is waited for.
fn live(peer: Peer, after: i64) -> stream::BoxStream<'static, Envelope> {
    let pages = stream::unfold((peer, after, true), async |(peer, after, answers)| {
        match peer.log(after, PAGE, WAIT, &LogFilter::default()).await {
            Ok(page) => Some((page.events, (peer, page.next.max(after), true))),
            Err(error) => {
                if answers {
                    eprintln!("annomesh: {error}; trying again");
                }
                tokio::time::sleep(AGAIN).await;
                Some((vec![], (peer, after, false)))
            }
        }
    });
    pages.flat_map(stream::iter).boxed()
}

/// Prints one; fails when nobody reads any more.
fn print(event: &Envelope, json: bool) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let written = if json {
        writeln!(out, "{}", serde_json::to_string(event)?)
    } else {
        writeln!(out, "{}", line(event))
    };
    Ok(written?)
}

fn line(event: &Envelope) -> String {
    let actor = event.actorid.map(|user| format!("user {user}")).unwrap_or_default();
    let organization = event.organizationid.map(|id| format!("organization {id}")).unwrap_or_default();
    format!(
        "{}  {:>6}  {:<36}  {:<18}  v{:<3}  {actor:<8}  {organization}",
        event.time.format("%H:%M:%S%.3fZ"),
        event.position,
        event.event_type,
        event.subject,
        event.streamversion,
    )
    .trim_end()
    .to_owned()
}
