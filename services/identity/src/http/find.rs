//! Natural keys, by which peers ask for a stream that they have not heard of yet.

use event_store::{StoreError, Tx};
use futures::future::BoxFuture;
use service_kit::directory;

use crate::projections::{accounts, memberships, tenants};

/// A user by name.
pub fn user<'a>(tx: &'a mut Tx, name: &'a str) -> BoxFuture<'a, Result<Option<i64>, StoreError>> {
    Box::pin(async move { Ok(accounts::find_by_username(tx, name).await?.map(|account| account.id)) })
}

/// The tenant itself, by its id or name.
pub fn tenant<'a>(tx: &'a mut Tx, name: &'a str) -> BoxFuture<'a, Result<Option<i64>, StoreError>> {
    Box::pin(async move {
        let own = tenants::own(tx).await?;
        Ok(own.filter(|own| own.name == name || name.parse() == Ok(own.tenant())).map(|own| own.id))
    })
}

/// An organization by slug.
pub fn organization<'a>(tx: &'a mut Tx, slug: &'a str) -> BoxFuture<'a, Result<Option<i64>, StoreError>> {
    Box::pin(async move {
        Ok(directory::organization_by_slug(tx, slug).await?.map(|organization| organization.id))
    })
}

/// A membership by `<organization's id>/<user's id>`.
pub fn membership<'a>(tx: &'a mut Tx, name: &'a str) -> BoxFuture<'a, Result<Option<i64>, StoreError>> {
    Box::pin(async move {
        let ids =
            name.split_once('/').and_then(|(one, other)| Some((one.parse().ok()?, other.parse().ok()?)));
        match ids {
            Some((organization_id, user_id)) => memberships::find_of(tx, organization_id, user_id).await,
            None => Ok(None),
        }
    })
}
