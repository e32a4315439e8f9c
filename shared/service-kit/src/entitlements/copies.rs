//! What this process has read of the table `entitlement`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use contracts::TenantId;
use contracts::billing::Entitlement;

/// How many tenants are kept in memory; with more of them it begins anew.
const TENANTS_MAX: usize = 20_000;

/// What one tenant may use, by key.
pub type Known = Arc<HashMap<String, Entitlement>>;

/// Copies of tenants' rows, each with the table's age when it was read.
#[derive(Default)]
pub struct Copies {
    /// Rises with every change of the table.
    age: AtomicU64,
    tenants: RwLock<HashMap<TenantId, (u64, Known)>>,
}

impl Copies {
    /// The table's age now.
    pub fn age(&self) -> u64 {
        self.age.load(Ordering::Acquire)
    }

    /// The table has changed, or may have.
    pub fn make_void(&self) {
        self.age.fetch_add(1, Ordering::AcqRel);
    }

    /// A tenant's copy, unless the table has changed since.
    pub fn fresh(&self, tenant: TenantId) -> Option<Known> {
        let age = self.age();
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        tenants.get(&tenant).filter(|(read_at, _)| *read_at == age).map(|(_, known)| known.clone())
    }

    /// Keeps what was read when the table had this age.
    pub fn keep(&self, tenant: TenantId, read_at: u64, known: Known) {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= TENANTS_MAX {
            tenants.clear();
        }
        tenants.insert(tenant, (read_at, known));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_was_read_before_a_change_is_void() {
        let (copies, tenant) = (Copies::default(), TenantId(event_store::new_id()));
        let read_at = copies.age();
        copies.keep(tenant, read_at, Known::default());
        assert!(copies.fresh(tenant).is_some());
        copies.make_void();
        assert!(copies.fresh(tenant).is_none());
        copies.keep(tenant, read_at, Known::default());
        assert!(copies.fresh(tenant).is_none(), "what was read before the change came late");
    }

    #[test]
    fn asking_costs_next_to_nothing() {
        let copies = Copies::default();
        for _ in 0..1_000 {
            copies.keep(TenantId(event_store::new_id()), 0, Known::default());
        }
        let tenant = TenantId(event_store::new_id());
        copies.keep(tenant, 0, Known::default());
        let mut took: Vec<_> = (0..10_000)
            .map(|_| {
                let began = std::time::Instant::now();
                assert!(copies.fresh(tenant).is_some());
                began.elapsed()
            })
            .collect();
        took.sort_unstable();
        assert!(took[9_900].as_micros() < 50, "{:?}", took[9_900]);
    }
}
