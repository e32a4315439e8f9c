//! The aggregates of a service, as it registered them: what projections and `publish.rs` are, and where the
//! store finds them.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use contracts::TenantId;
use futures::future::BoxFuture;

use crate::aggregate::Aggregate;
use crate::db::Tx;
use crate::error::StoreError;
use crate::outgoing::Outgoing;
use crate::store::Store;

/// One private event with the state around it: what projections and `publish.rs` see.
pub struct Change<'a, A: Aggregate> {
    pub tenant: TenantId,
    pub id: i64,
    /// Private version of the stream after this event.
    pub version: i64,
    pub before: &'a A,
    pub event: &'a A::Event,
    pub after: &'a A,
    pub at: DateTime<Utc>,
    pub actor: Option<i64>,
}

/// What a projection's `apply` returns.
pub type Applied<'a> = BoxFuture<'a, Result<(), StoreError>>;
/// A projection's `apply`: writes its own tables inside the append transaction.
pub type Apply<A> = for<'a> fn(&'a mut Tx, &'a Change<'a, A>) -> Applied<'a>;

/// A read model that is fed by its own service's events.
pub struct Projection<A: Aggregate> {
    /// What it shows, plural.
    pub name: &'static str,
    /// The tables that `apply` owns, all of them.
    pub tables: &'static [&'static str],
    pub apply: Apply<A>,
}

/// An aggregate as its service registered it.
pub struct Registration<A: Aggregate> {
    /// Which contract events a private event becomes: none, one or several.
    pub publish: fn(&Change<'_, A>) -> Vec<Outgoing>,
    pub projections: Vec<Projection<A>>,
}

/// Rebuilds one projection of a store.
pub(crate) type Rebuild = Box<dyn Fn(Store) -> BoxFuture<'static, Result<u64, StoreError>> + Send + Sync>;

/// The aggregates of one service, by type.
#[derive(Default)]
pub struct Registry {
    by_type: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    pub(crate) rebuilds: Vec<(&'static str, Rebuild)>,
}

impl Registry {
    /// Adds an aggregate.
    pub fn register<A: Aggregate>(&mut self, registration: Registration<A>) {
        for Projection { name, tables, apply } in &registration.projections {
            let (tables, apply) = (*tables, *apply);
            self.rebuilds.push((
                name,
                Box::new(move |store| {
                    Box::pin(async move { crate::projection::rebuild::<A>(&store, tables, apply).await })
                }),
            ));
        }
        self.by_type.insert(TypeId::of::<A>(), Arc::new(registration));
    }

    pub(crate) fn get<A: Aggregate>(&self) -> Arc<Registration<A>> {
        match self.by_type.get(&TypeId::of::<A>()).cloned().map(Arc::downcast) {
            Some(Ok(registration)) => registration,
            _ => unreachable!("the aggregate {} is not registered with its service", A::KIND),
        }
    }
}
