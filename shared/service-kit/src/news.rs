//! What another service may know better. A refusal that rests on another service's streams stands only after
//! their news were waited for: the caller may have been promoted, and a project made, a moment ago.
//!
//! Whoever refuses says which stream the refusal rests on ([`Refusal::unless`]), inside its transaction. The
//! waiting is done outside, when nothing is held any more, and then the whole work is done once more.

use contracts::TenantId;
use event_store::Tx;

use crate::{Caller, Kit, Refusal};

/// A stream of another service.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    source: &'static str,
    kind: &'static str,
    key: Key,
}

#[derive(Clone, Debug, PartialEq)]
enum Key {
    Id(i64),
    Name(String),
}

impl News {
    /// Of a stream by its id.
    pub fn of(source: &'static str, kind: &'static str, id: i64) -> Self {
        Self { source, kind, key: Key::Id(id) }
    }

    /// Of a stream by a natural key, such as an organization's slug.
    pub fn named(source: &'static str, kind: &'static str, name: impl Into<String>) -> Self {
        Self { source, kind, key: Key::Name(name.into()) }
    }

    /// Of a user's place in an organization.
    pub fn of_membership(organization_id: i64, user_id: i64) -> Self {
        Self::named("identity", "membership", format!("{organization_id}/{user_id}"))
    }
}

impl Refusal {
    /// The same refusal, given only if the news of a stream do not change it. For refusals in
    /// [`Kit::write`] and [`Kit::read_late`].
    pub fn unless(self, news: News) -> Self {
        Self { news: Some(Box::new(news)), ..self }
    }
}

impl Kit {
    /// Reads in the caller's tenant, and once more after the news that a refusal would rest on.
    ///
    /// # Errors
    /// What `work` says, and 503 when the news cannot be had.
    pub async fn read_late<T>(
        &self,
        caller: &Caller,
        work: impl AsyncFn(&mut Tx) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.after_news(caller.tenant(), async || self.read(caller, &work).await).await
    }

    /// Does `work`, and again as often as it is refused for want of news that have come meanwhile.
    pub(crate) async fn after_news<T>(
        &self,
        tenant: TenantId,
        work: impl AsyncFn() -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut heard: Vec<News> = vec![];
        loop {
            let refusal = match work().await {
                Err(refusal) => refusal,
                done => return done,
            };
            let Some(news) = refusal.news.as_deref().filter(|news| !heard.contains(news)).cloned() else {
                return Err(refusal);
            };
            let known = match &news.key {
                Key::Id(id) => self.await_stream(tenant, news.source, news.kind, *id).await?,
                Key::Name(name) => self.await_named(tenant, news.source, news.kind, name).await?.is_some(),
            };
            if !known {
                return Err(refusal);
            }
            heard.push(news);
        }
    }
}
