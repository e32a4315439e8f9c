//! How many live streams a tenant and a user may hold open in one process: each costs queries whenever anything
//! happens. One tenant's must not crowd out another's requests, nor one user's those of their colleagues.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::http::StatusCode;
use contracts::TenantId;
use service_kit::Refusal;

/// Live streams of one tenant at most.
pub const PER_TENANT: usize = 64;
/// Live streams of one user at most: a few pages and scripts.
pub const PER_USER: usize = 8;

/// The open streams of one process, by tenant and user.
#[derive(Default)]
pub struct Places {
    taken: Mutex<HashMap<TenantId, HashMap<i64, usize>>>,
}

/// One open stream's place, until dropped.
pub struct Place {
    places: Arc<Places>,
    tenant: TenantId,
    user_id: i64,
}

impl Places {
    /// Takes a place.
    ///
    /// # Errors
    /// 429 when the user or the tenant has all of its own.
    pub fn take(self: &Arc<Self>, tenant: TenantId, user_id: i64) -> Result<Place, Refusal> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let users = taken.entry(tenant).or_default();
        let own = users.get(&user_id).copied().unwrap_or_default();
        if own >= PER_USER {
            return Err(full(&format!("{PER_USER} live streams of yours")));
        }
        if users.values().sum::<usize>() >= PER_TENANT {
            return Err(full(&format!("{PER_TENANT} live streams of your company")));
        }
        users.insert(user_id, own + 1);
        Ok(Place { places: self.clone(), tenant, user_id })
    }
}

fn full(what: &str) -> Refusal {
    let detail = format!("{what} are open already; close one or read pages instead.");
    let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", detail);
    refusal.retry_after = Some(5);
    refusal
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(users) = taken.get_mut(&self.tenant) else { return };
        if let Some(count) = users.get_mut(&self.user_id) {
            *count -= 1;
        }
        users.retain(|_, count| *count > 0);
        if users.is_empty() {
            taken.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_so_many_places_and_no_effect_on_another() {
        let places = Arc::new(Places::default());
        let other = TenantId::DEPLOYMENT;
        let tenant: TenantId = "00000000-0000-0000-0000-000000000001".parse().unwrap();
        let take = |number: usize| places.take(tenant, i64::try_from(number).unwrap());
        let mut held: Vec<Place> = (0..PER_TENANT).map(|number| take(number / PER_USER).unwrap()).collect();
        assert_eq!(take(1_000).err().unwrap().status, StatusCode::TOO_MANY_REQUESTS);
        assert!(places.take(other, 1_000).is_ok());
        held.pop();
        assert!(take(1_000).is_ok());
        drop(held);
        assert!(places.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn a_user_has_so_many_places_and_no_effect_on_a_colleague() {
        let places = Arc::new(Places::default());
        let tenant = TenantId::DEPLOYMENT;
        let mut held: Vec<Place> = (0..PER_USER).map(|_| places.take(tenant, 7).unwrap()).collect();
        assert_eq!(places.take(tenant, 7).err().unwrap().status, StatusCode::TOO_MANY_REQUESTS);
        assert!(places.take(tenant, 8).is_ok());
        held.pop();
        assert!(places.take(tenant, 7).is_ok());
    }
}
