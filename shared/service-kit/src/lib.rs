//! The chassis of every service: what a service is, how it runs, and how it speaks to callers and peers.
//!
//! Read in this order: [`service`] (what a service declares), [`start`] (what is made of it), [`kit`] (what
//! its handlers hold), [`auth`] (who calls), [`refusal`] (how it says no), [`list`] (how it lists).

pub mod api_calls;
pub mod auth;
pub mod body;
pub mod clearml;
pub mod config;
pub mod cvat;
pub mod directory;
mod documented;
mod door;
pub mod entitlements;
pub mod faces;
pub mod http_client;
pub mod kit;
pub mod list;
pub mod mesh;
pub mod mesh_token;
pub mod metrics;
pub mod news;
pub mod organization;
pub mod refusal;
pub mod routes;
pub mod run;
pub mod sealing;
mod server;
pub mod service;
pub mod start;
pub mod status;
pub mod tasks;
pub mod telemetry;
pub mod visibility;
pub mod write;

pub use auth::Caller;
pub use config::Config;
pub use kit::{Kit, Node};
pub use organization::Selection;
pub use refusal::Refusal;
pub use run::run;
pub use service::Service;
pub use write::{Reply, Write};

/// What a handler returns.
pub type Answer = Result<actix_web::HttpResponse, Refusal>;
