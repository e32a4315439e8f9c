//! Answers to what other services publish: each event becomes a message for every webhook that asked for it,
//! in the transaction that takes the event in.

use bus::Consumer;
use contracts::identity::{
    MembershipCreated, MembershipDeleted, MembershipUpdated, OrganizationCreated, OrganizationDeleted,
    OrganizationUpdated,
};
use contracts::projects::{ProjectCreated, ProjectDeleted, ProjectUpdated};

mod body;
mod membership;
mod organization;
mod project;
mod tell;

use tell::{Action, tell};

/// The consumer of all reactions.
pub fn consumer() -> Consumer {
    Consumer::new("reactions", 1)
        .on::<ProjectCreated>(|unit, envelope, event| {
            Box::pin(async move { tell(unit, envelope, Action::Create, &event.project, None).await })
        })
        .on::<ProjectUpdated>(|unit, envelope, event| {
            Box::pin(async move {
                tell(unit, envelope, Action::Update, &event.project, Some(&event.before_update)).await
            })
        })
        .on::<ProjectDeleted>(|unit, envelope, event| {
            Box::pin(async move { tell(unit, envelope, Action::Delete, &event.project, None).await })
        })
        .on::<OrganizationCreated>(|unit, envelope, event| {
            Box::pin(async move { tell(unit, envelope, Action::Create, &event.organization, None).await })
        })
        .on::<OrganizationUpdated>(|unit, envelope, event| {
            Box::pin(async move {
                tell(unit, envelope, Action::Update, &event.organization, Some(&event.before_update)).await
            })
        })
        .on::<OrganizationDeleted>(|unit, envelope, event| {
            Box::pin(async move { tell(unit, envelope, Action::Delete, &event.organization, None).await })
        })
        .on::<MembershipCreated>(|unit, envelope, event| {
            Box::pin(async move { tell(unit, envelope, Action::Create, &event.membership, None).await })
        })
        .on::<MembershipUpdated>(|unit, envelope, event| {
            Box::pin(async move {
                tell(unit, envelope, Action::Update, &event.membership, Some(&event.before_update)).await
            })
        })
        .on::<MembershipDeleted>(|unit, envelope, event| {
            Box::pin(async move { tell(unit, envelope, Action::Delete, &event.membership, None).await })
        })
}
