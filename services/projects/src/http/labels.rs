//! `/api/labels`: the labels of projects. They change through their project's aggregate.

use actix_web::{HttpRequest, HttpResponse, delete, get, patch, web};
use contracts::projects::{Attribute, Label};
use event_store::Unit;
use policy::Resource;
use serde::{Deserialize, Serialize};
use service_kit::auth::url_of;
use service_kit::body::FieldErrors;
use service_kit::list::{ListQuery, Page, Place};
use service_kit::{Answer, Caller, Kit, Refusal, Reply, Selection, Write};
use utoipa::ToSchema;

use super::projects::{authorised, locked};
use crate::domain::label::{AttributePatch, INPUT_TYPES, LABEL_TYPES, LabelPatch};
use crate::domain::project::{Project, ProjectCommand, UpdateProject};
use crate::projections::labels::{self, ProjectLabel};

/// A label in a request: without `id` it is added, with one it is changed, or deleted by `deleted`.
#[derive(Clone, Default, Deserialize, ToSchema)]
pub struct LabelWrite {
    id: Option<i64>,
    name: Option<String>,
    /// `#rrggbb`; one is chosen when it is absent.
    color: Option<String>,
    /// One of CVAT's label types; skeletons are not available yet.
    #[serde(rename = "type")]
    label_type: Option<String>,
    /// Attributes that are not named stay as they are.
    attributes: Option<Vec<AttributeWrite>>,
    /// Only in a change of a project.
    #[serde(default)]
    deleted: bool,
    /// Empty: skeletons are not available yet.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    sublabels: Vec<serde_json::Value>,
    /// Empty: skeletons are not available yet.
    #[serde(default)]
    svg: String,
}

/// An attribute in a request: one with an id is changed, or deleted by `deleted`. One without an id is added,
/// unless the label has one of its name, which is changed then.
#[derive(Clone, Deserialize, ToSchema)]
pub struct AttributeWrite {
    id: Option<i64>,
    name: String,
    mutable: bool,
    input_type: String,
    #[serde(default)]
    default_value: String,
    #[serde(default)]
    values: Vec<String>,
    #[serde(default)]
    deleted: bool,
}

/// `Label` of CVAT 2.80.
#[derive(Serialize, ToSchema)]
pub struct LabelRead {
    id: i64,
    name: String,
    color: String,
    attributes: Vec<AttributeRead>,
    #[serde(rename = "type")]
    label_type: String,
    #[schema(no_recursion)]
    sublabels: Vec<LabelRead>,
    project_id: Option<i64>,
    task_id: Option<i64>,
    parent_id: Option<i64>,
    has_parent: bool,
}

/// `Attribute` of CVAT 2.80.
#[derive(Serialize, ToSchema)]
pub struct AttributeRead {
    id: i64,
    name: String,
    mutable: bool,
    input_type: String,
    default_value: String,
    values: Vec<String>,
}

impl From<ProjectLabel> for LabelRead {
    fn from(ProjectLabel { project_id, label }: ProjectLabel) -> Self {
        let Label { id, name, color, label_type, attributes } = label;
        let attributes = attributes
            .into_iter()
            .map(|Attribute { id, name, mutable, input_type, default_value, values }| AttributeRead {
                id,
                name,
                mutable,
                input_type,
                default_value,
                values,
            })
            .collect();
        Self {
            id,
            name,
            color,
            attributes,
            label_type,
            sublabels: vec![],
            project_id: Some(project_id),
            task_id: None,
            parent_id: None,
            has_parent: false,
        }
    }
}

/// Checks labels of a request that changes some, as far as that needs no project.
pub fn check(labels: &[LabelWrite]) -> Result<(), Refusal> {
    let mut errors = FieldErrors::default();
    for label in labels {
        check_one(&mut errors, label);
    }
    errors.finish()
}

/// Checks labels of something that has none yet.
pub fn check_new(labels: &[LabelWrite]) -> Result<(), Refusal> {
    let mut errors = FieldErrors::default();
    for label in labels {
        let is_new = label.id.is_none() && !label.deleted;
        errors.check(is_new, "labels", "There are no labels yet: a new one has no id and is not deleted.");
        check_one(&mut errors, label);
    }
    errors.finish()
}

fn check_one(errors: &mut FieldErrors, label: &LabelWrite) {
    match &label.name {
        Some(name) => {
            errors.text("labels", name, 64);
        }
        None => {
            errors.check(label.id.is_some(), "labels", "A new label needs a name.");
        }
    }
    errors.check(!label.deleted || label.id.is_some(), "labels", "Only a label with an id can be deleted.");
    let is_plain = label.sublabels.is_empty() && label.svg.is_empty();
    errors.check(is_plain, "labels", "Skeletons, with sublabels and an svg, are not available yet.");
    if let Some(color) = label.color.as_deref().filter(|color| !color.is_empty()) {
        let is_color =
            color.len() == 7 && color.starts_with('#') && color[1..].chars().all(|c| c.is_ascii_hexdigit());
        errors.check(is_color, "labels", format!("{color:?} is not a colour like #2080c0."));
    }
    if let Some(label_type) = &label.label_type {
        errors.check(
            LABEL_TYPES.contains(&label_type.as_str()),
            "labels",
            format!("\"{label_type}\" is not a valid choice."),
        );
    }
    for attribute in label.attributes.iter().flatten() {
        let unknown = "Attributes of a new label are new: they have no ids and are not deleted.";
        let is_new = attribute.id.is_none() && !attribute.deleted;
        errors.check(label.id.is_some() || is_new, "labels", unknown);
        let has_id = attribute.id.is_some();
        errors.check(!attribute.deleted || has_id, "labels", "Only an attribute with an id can be deleted.");
        errors.text("labels", &attribute.name, 64);
        errors.max("labels", &attribute.default_value, 128);
        errors.check(
            INPUT_TYPES.contains(&attribute.input_type.as_str()),
            "labels",
            format!("\"{}\" is not a valid choice.", attribute.input_type),
        );
        for value in &attribute.values {
            errors.max("labels", value, 4096);
        }
    }
}

/// Labels of a new project, with ids.
pub async fn new_labels(unit: &mut Unit, labels: &[LabelWrite]) -> Result<Vec<Label>, Refusal> {
    let mut made = Vec::with_capacity(labels.len());
    let ids = unit.new_ids_of("label", labels.len()).await?;
    for (id, label) in ids.into_iter().zip(labels) {
        made.push(new_label(unit, id, label).await?);
    }
    Ok(made)
}

async fn new_label(unit: &mut Unit, id: i64, label: &LabelWrite) -> Result<Label, Refusal> {
    let attributes = label.attributes.as_deref().unwrap_or_default();
    let ids = unit.new_ids_of("attribute", attributes.len()).await?;
    Ok(Label {
        id,
        name: label.name.as_deref().unwrap_or_default().trim().to_owned(),
        color: label.color.clone().unwrap_or_default(),
        label_type: label.label_type.clone().unwrap_or_else(|| "any".to_owned()),
        attributes: ids.into_iter().zip(attributes).map(|(id, attribute)| attribute.with(id)).collect(),
    })
}

impl AttributeWrite {
    fn with(&self, id: i64) -> Attribute {
        Attribute {
            id,
            name: self.name.trim().to_owned(),
            mutable: self.mutable,
            input_type: self.input_type.clone(),
            default_value: self.default_value.clone(),
            values: self.values.clone(),
        }
    }
}

async fn attribute_patches(
    unit: &mut Unit,
    attributes: &[AttributeWrite],
) -> Result<Vec<AttributePatch>, Refusal> {
    let mut patches = Vec::with_capacity(attributes.len());
    for attribute in attributes {
        patches.push(match attribute.id {
            Some(id) if attribute.deleted => AttributePatch::Delete { id },
            Some(id) => AttributePatch::Change(attribute.with(id)),
            None => AttributePatch::Add(attribute.with(unit.new_ids_of("attribute", 1).await?[0])),
        });
    }
    Ok(patches)
}

/// What a request's labels ask of a project.
pub async fn patches(unit: &mut Unit, labels: &[LabelWrite]) -> Result<Vec<LabelPatch>, Refusal> {
    let mut patches = Vec::with_capacity(labels.len());
    for label in labels {
        patches.push(match label.id {
            Some(id) if label.deleted => LabelPatch::Delete { id },
            Some(id) => LabelPatch::Change {
                id,
                name: label.name.as_ref().map(|name| name.trim().to_owned()),
                color: label.color.clone().filter(|color| !color.is_empty()),
                label_type: label.label_type.clone(),
                attributes: attribute_patches(unit, label.attributes.as_deref().unwrap_or_default()).await?,
            },
            None => {
                let id = unit.new_ids_of("label", 1).await?[0];
                LabelPatch::Add(new_label(unit, id, label).await?)
            }
        });
    }
    Ok(patches)
}

service_kit::list_params!(LabelList, labels::FIELDS, Place::Organization);

/// Lists the labels of the projects that the caller may see.
#[utoipa::path(params(LabelList), responses((status = 200, body = Page<LabelRead>)), tag = "labels")]
#[get("/api/labels")]
pub async fn list_labels(
    kit: web::Data<Kit>,
    caller: Caller,
    selection: Selection,
    request: HttpRequest,
) -> Answer {
    let query = ListQuery::from_query_string(request.query_string(), &labels::FIELDS)?;
    let scope = kit.scope(&caller, &selection).await?;
    let visible = policy::table(Resource::Projects).visible(&caller.subject(), &scope.list());
    let (found, window) =
        kit.read(&caller, async |tx| labels::list(tx, &caller, &visible, &query).await).await?;
    let results: Vec<LabelRead> = found.into_iter().map(LabelRead::from).collect();
    Ok(HttpResponse::Ok().json(Page::new(results, &window, &url_of(&request))))
}

/// Shows a label.
#[utoipa::path(responses((status = 200, body = LabelRead)), tag = "labels")]
#[get("/api/labels/{id}")]
pub async fn get_label(kit: web::Data<Kit>, caller: Caller, id: web::Path<i64>) -> Answer {
    let found = kit.read(&caller, async |tx| Ok(labels::find(tx, *id).await?)).await?;
    let label = found.ok_or_else(Refusal::not_found)?;
    authorised(&kit, &caller, label.project_id, &["view"]).await?;
    Ok(HttpResponse::Ok().json(LabelRead::from(label)))
}

/// Changes a label.
#[utoipa::path(request_body = LabelWrite, responses((status = 200, body = LabelRead)), tag = "labels")]
#[patch("/api/labels/{id}")]
pub async fn update_label(
    kit: web::Data<Kit>,
    caller: Caller,
    id: web::Path<i64>,
    request: Write<LabelWrite>,
) -> Answer {
    let body = &request.body;
    let mut errors = FieldErrors::default();
    errors.check(body.id.is_none_or(|named| named == *id), "id", "This is the id of another label.");
    errors.check(!body.deleted, "deleted", "A label is deleted by DELETE, or in a change of its project.");
    errors.finish()?;
    let wanted = LabelWrite { id: Some(*id), ..body.clone() };
    check(std::slice::from_ref(&wanted))?;
    kit.write(&caller, &request, async |unit| {
        let label = locked_label(unit, &caller, *id, "update:desc").await?;
        let patches = patches(unit, std::slice::from_ref(&wanted)).await?;
        change(unit, label.project_id, patches).await?;
        let label = labels::find(unit.tx(), *id).await?.ok_or_else(Refusal::not_found)?;
        Reply::ok(&LabelRead::from(label))
    })
    .await
}

/// Deletes a label.
#[utoipa::path(responses((status = 204)), tag = "labels")]
#[delete("/api/labels/{id}")]
pub async fn delete_label(kit: web::Data<Kit>, caller: Caller, id: web::Path<i64>, request: Write) -> Answer {
    kit.write(&caller, &request, async |unit| {
        let label = locked_label(unit, &caller, *id, "update:desc").await?;
        change(unit, label.project_id, vec![LabelPatch::Delete { id: *id }]).await?;
        Ok(Reply::no_content())
    })
    .await
}

/// A label with whose project the caller may do this; nobody changes the project until the end of the write.
async fn locked_label(
    unit: &mut Unit,
    caller: &Caller,
    id: i64,
    scope: &str,
) -> Result<ProjectLabel, Refusal> {
    let label = labels::find(unit.tx(), id).await?.ok_or_else(Refusal::not_found)?;
    locked(unit, caller, label.project_id, &[scope]).await?;
    // It may have gone while the project was waited for.
    labels::find(unit.tx(), id).await?.ok_or_else(Refusal::not_found)
}

async fn change(unit: &mut Unit, project_id: i64, labels: Vec<LabelPatch>) -> Result<(), Refusal> {
    let update = UpdateProject { labels, at: unit.store().clock().now(), ..Default::default() };
    unit.execute::<Project>(project_id, ProjectCommand::Update(Box::new(update))).await?;
    Ok(())
}
