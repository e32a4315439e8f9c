//! Foreign events that change what is granted and what is taken. Never replayed: places that were reserved and freed
//! are no longer in anybody's log.

use bus::Consumer;

mod storage;
mod tenant;
mod user;

/// The consumer.
pub fn consumer() -> Consumer {
    Consumer::new("reactions", 1)
        .on(tenant::created)
        .on(tenant::updated)
        .on(user::registered)
        .on(user::updated)
        .on(user::deleted)
        .on(storage::changed)
}
