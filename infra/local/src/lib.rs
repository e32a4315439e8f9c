//! The launcher: the whole mesh in one process, one service alone, the demo, and what an operator asks a
//! running mesh.
//!
//! Read in this order: [`cli`] (what can be said), [`up`] (the whole mesh), [`folder`] and [`secrets`] (what is
//! kept between starts), [`postgres`] (where the database comes from), [`demo`], [`operator`].

pub mod cli;
pub mod demo;
pub mod folder;
pub mod only;
pub mod operator;
pub mod postgres;
pub mod progress;
pub mod reset;
pub mod secrets;
pub mod settings;
pub mod up;

use service_kit::Service;

/// The services of the mesh.
pub fn services() -> Vec<Service> {
    vec![
        identity::service(),
        projects::service(),
        media::service(),
        billing::service(),
        webhooks::service(),
        analytics::service(),
        gateway::service(),
    ]
}
