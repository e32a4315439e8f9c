//! How many live streams a tenant may hold open in one process: each costs queries whenever anything happens,
//! and one tenant's must not crowd out another's requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::http::StatusCode;
use contracts::TenantId;
use service_kit::Refusal;

/// Live streams of one tenant at most.
pub const PER_TENANT: usize = 64;

/// The open streams of one process, by tenant.
#[derive(Default)]
pub struct Places {
    taken: Mutex<HashMap<TenantId, usize>>,
}

/// One open stream's place, until dropped.
pub struct Place {
    places: Arc<Places>,
    tenant: TenantId,
}

impl Places {
    /// Takes a place.
    ///
    /// # Errors
    /// 429 when the tenant has all of its own.
    pub fn take(self: &Arc<Self>, tenant: TenantId) -> Result<Place, Refusal> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(tenant).or_default();
        if *count >= PER_TENANT {
            let detail =
                format!("{PER_TENANT} live streams are open already; close one or read pages instead.");
            let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", detail);
            refusal.retry_after = Some(5);
            return Err(refusal);
        }
        *count += 1;
        Ok(Place { places: self.clone(), tenant })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.tenant);
            }
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
        let mut held: Vec<Place> = (0..PER_TENANT).map(|_| places.take(tenant).unwrap()).collect();
        assert_eq!(places.take(tenant).err().unwrap().status, StatusCode::TOO_MANY_REQUESTS);
        assert!(places.take(other).is_ok());
        held.pop();
        assert!(places.take(tenant).is_ok());
        drop(held);
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
