//! Answers to what other services publish: each event becomes a message for every webhook that asked for it,
//! in the transaction that takes the event in.

use bus::Consumer;
use contracts::identity::{
    MembershipCreated, MembershipDeleted, MembershipUpdated, OrganizationCreated, OrganizationDeleted,
    OrganizationUpdated,
};
use contracts::projects::{
    JobCreated, JobDeleted, JobUpdated, ProjectCreated, ProjectDeleted, ProjectUpdated, TaskCreated,
    TaskDeleted, TaskUpdated,
};

mod body;
mod job;
mod membership;
mod organization;
mod project;
mod task;
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
        .on::<TaskCreated>(|unit, envelope, event| {
            Box::pin(async move { tell(unit, envelope, Action::Create, &event.task, None).await })
        })
        .on::<TaskUpdated>(|unit, envelope, event| {
            Box::pin(async move {
                tell(unit, envelope, Action::Update, &event.task, Some(&event.before_update)).await
            })
        })
        .on::<TaskDeleted>(|unit, envelope, event| {
            Box::pin(async move { tell(unit, envelope, Action::Delete, &event.task, None).await })
        })
        .on::<JobCreated>(|unit, envelope, event| {
            Box::pin(async move { tell(unit, envelope, Action::Create, &event.job, None).await })
        })
        .on::<JobUpdated>(|unit, envelope, event| {
            Box::pin(async move {
                tell(unit, envelope, Action::Update, &event.job, Some(&event.before_update)).await
            })
        })
        .on::<JobDeleted>(|unit, envelope, event| {
            Box::pin(async move { tell(unit, envelope, Action::Delete, &event.job, None).await })
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
