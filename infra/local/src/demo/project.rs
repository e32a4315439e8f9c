//! The first story: the life of a project.

use reqwest::Method;
use serde_json::json;

use super::story::{Fact, Story};
use super::{chapter, id};

/// Creates a project, changes it and deletes it.
pub async fn play(story: &mut Story) -> anyhow::Result<()> {
    chapter("The first story: a project");
    let body = json!({ "name": "roads", "labels": [{ "name": "car" }, { "name": "bicycle" }] });
    let change =
        story.change("create a project with two labels", Method::POST, "/api/projects", Some(body)).await?;
    let project = id(&change.answer)?;
    let subject = format!("project/{project}");
    let fact = Fact::once("projects.project_created.v1", subject.clone());
    story.arrived(&change, Some(("create:project", project)), fact).await?;

    let path = format!("/api/projects/{project}");
    let body = json!({ "name": "roads of Annecy", "labels": [{ "name": "pedestrian" }] });
    let change = story.change("rename it and add a label", Method::PATCH, &path, Some(body)).await?;
    let fact = Fact::once("projects.project_updated.v1", subject.clone());
    story.arrived(&change, Some(("update:project", project)), fact).await?;

    let change = story.change("delete it", Method::DELETE, &path, None).await?;
    let fact = Fact::once("projects.project_deleted.v1", subject);
    story.arrived(&change, Some(("delete:project", project)), fact).await
}
