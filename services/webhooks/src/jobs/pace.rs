//! Who may have how many attempts at the same time, so that a receiver that is slow or dead delays its own
//! deliveries and nobody else's.
//!
//! A message whose webhook has no place left is put off until its turn, which is worked out from how long
//! that webhook's attempts usually take: it is asked again about once, however many wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::TenantId;

/// Places of a webhook of which nothing is known yet.
const NEW: usize = 16;
/// Places of a webhook that answers at once, and of one that never answers.
const MOST: usize = 32;
const LEAST: usize = 4;
/// A webhook that usually takes longer than this loses places in proportion.
const BRISK: Duration = Duration::from_millis(100);
/// Places of all webhooks of one tenant.
const OF_TENANT: usize = 48;
/// The weight of the newest attempt in what is usual.
const NEWEST: f64 = 0.2;
/// The shortest time that a message is put off for.
const SHORTEST: Duration = Duration::from_millis(50);
/// The longest: then it is asked again, because the estimate may be wrong.
const LONGEST: Duration = Duration::from_secs(60);
/// Webhooks that are remembered while they have nothing to do.
const REMEMBERED: usize = 10_000;

/// The webhooks that have attempts under way, or had.
#[derive(Clone, Default)]
pub struct Paces(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    webhooks: HashMap<i64, Lane>,
    tenants: HashMap<TenantId, usize>,
}

#[derive(Default)]
struct Lane {
    running: usize,
    /// How long an attempt usually takes; none before the first.
    usual: Option<Duration>,
    /// The turn that was given out last.
    last_turn: Option<DateTime<Utc>>,
}

/// A place; given back when it is dropped.
pub struct Place {
    paces: Paces,
    tenant: TenantId,
    webhook_id: i64,
}

impl Paces {
    /// Takes a place, or says when it will be this message's turn.
    pub fn enter(
        &self,
        tenant: TenantId,
        webhook_id: i64,
        now: DateTime<Utc>,
    ) -> Result<Place, DateTime<Utc>> {
        let mut state = self.state();
        if state.webhooks.len() > REMEMBERED {
            state.webhooks.retain(|_, lane| lane.running > 0);
        }
        let tenant_is_full = state.tenants.get(&tenant).is_some_and(|running| *running >= OF_TENANT);
        let lane = state.webhooks.entry(webhook_id).or_default();
        if tenant_is_full || lane.running >= lane.places() {
            return Err(lane.turn(now));
        }
        lane.running += 1;
        *state.tenants.entry(tenant).or_default() += 1;
        Ok(Place { paces: self.clone(), tenant, webhook_id })
    }

    /// A panic elsewhere leaves counts that are still good.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    fn places(&self) -> usize {
        match self.usual {
            None => NEW,
            Some(usual) if usual <= BRISK => MOST,
            Some(usual) => {
                let share = BRISK.as_secs_f64() / usual.as_secs_f64();
                ((MOST as f64 * share) as usize).clamp(LEAST, MOST)
            }
        }
    }

    /// The next turn: one place's worth of time after the last one.
    fn turn(&mut self, now: DateTime<Utc>) -> DateTime<Utc> {
        let (shortest, longest) = (now + delta(SHORTEST), now + delta(LONGEST));
        let step = delta(self.usual.unwrap_or(BRISK) / u32::try_from(self.places()).unwrap_or(1));
        let turn = self.last_turn.map_or(shortest, |last| last + step).clamp(shortest, longest);
        self.last_turn = Some(turn);
        turn
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

impl Place {
    /// Notes how long the attempt took.
    pub fn took(&self, took: Duration) {
        if let Some(lane) = self.paces.state().webhooks.get_mut(&self.webhook_id) {
            lane.usual = Some(match lane.usual {
                None => took,
                Some(usual) => usual.mul_f64(1.0 - NEWEST) + took.mul_f64(NEWEST),
            });
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.paces.state();
        if let Some(lane) = state.webhooks.get_mut(&self.webhook_id) {
            lane.running -= 1;
        }
        if let Some(running) = state.tenants.get_mut(&self.tenant) {
            *running -= 1;
            if *running == 0 {
                state.tenants.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const TENANT: TenantId = TenantId(Uuid::nil());

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_767_225_600, 0).unwrap()
    }

    /// Takes places until there are none.
    fn fill(paces: &Paces, webhook_id: i64) -> Vec<Place> {
        std::iter::from_fn(|| paces.enter(TENANT, webhook_id, now()).ok()).collect()
    }

    #[test]
    fn a_slow_webhook_loses_places_and_gets_them_back() {
        let paces = Paces::default();
        assert_eq!(fill(&paces, 1).len(), NEW);
        for (took, places) in [(10, MOST), (10_000, LEAST), (10_000, LEAST)] {
            fill(&paces, 1)[0].took(Duration::from_millis(took));
            assert_eq!(fill(&paces, 1).len(), places, "after {took} ms");
        }
        for _ in 0..40 {
            fill(&paces, 1)[0].took(Duration::from_millis(5));
        }
        assert_eq!(fill(&paces, 1).len(), MOST);
    }

    #[test]
    fn turns_are_as_far_apart_as_attempts_take() {
        let paces = Paces::default();
        paces.enter(TENANT, 1, now()).ok().unwrap().took(Duration::from_secs(10));
        let _all: Vec<_> = (0..LEAST).map(|_| paces.enter(TENANT, 1, now()).ok().unwrap()).collect();
        let turns: Vec<_> = (0..3).map(|_| paces.enter(TENANT, 1, now()).err().unwrap()).collect();
        assert_eq!(turns[0], now() + delta(SHORTEST));
        assert_eq!(turns[1] - turns[0], TimeDelta::milliseconds(2_500));
        assert_eq!(turns[2] - turns[1], TimeDelta::milliseconds(2_500));
        for _ in 0..100 {
            assert!(paces.enter(TENANT, 1, now()).err().unwrap() <= now() + delta(LONGEST));
        }
    }

    #[test]
    fn one_webhook_does_not_take_anothers_places() {
        let paces = Paces::default();
        let first = fill(&paces, 1);
        assert_eq!(fill(&paces, 2).len(), NEW);
        drop(first);
        assert_eq!(fill(&paces, 1).len(), NEW);
    }

    #[test]
    fn a_tenant_cannot_take_every_place() {
        let paces = Paces::default();
        let places: Vec<_> = (0..100).flat_map(|webhook| fill(&paces, webhook)).collect();
        assert_eq!(places.len(), OF_TENANT);
        let other = TenantId(Uuid::from_u128(1));
        assert!(paces.enter(other, 1_000, now()).is_ok());
        drop(places);
        assert_eq!(fill(&paces, 5).len(), NEW);
    }
}
