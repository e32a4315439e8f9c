//! Labels in requests: what may be written of them, and what that asks of a project or a task.

use contracts::projects::{Attribute, Label};
use event_store::Unit;
use serde::Deserialize;
use service_kit::Refusal;
use service_kit::body::FieldErrors;
use utoipa::ToSchema;

use crate::domain::label::{INPUT_TYPES, LABEL_TYPES, LabelPatch};

/// A label in a request: without `id` it is added, with one it is changed, or deleted by `deleted`.
#[derive(Clone, Default, Deserialize, ToSchema)]
pub struct LabelWrite {
    pub id: Option<i64>,
    pub name: Option<String>,
    /// `#rrggbb`; one is chosen when it is absent.
    pub color: Option<String>,
    /// One of CVAT's label types; skeletons are not available yet.
    #[serde(rename = "type")]
    pub label_type: Option<String>,
    pub attributes: Option<Vec<AttributeWrite>>,
    #[serde(default)]
    pub deleted: bool,
}

/// An attribute in a request.
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
}

/// Labels that one project or task may have.
const LABELS_MAX: usize = 1_000;

/// Checks labels of a request as far as that needs nothing else.
pub fn check(labels: &[LabelWrite]) -> Result<(), Refusal> {
    let mut errors = FieldErrors::default();
    errors.check(labels.len() <= LABELS_MAX, "labels", format!("At most {LABELS_MAX} labels are allowed."));
    for label in labels {
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

/// Labels of a new project or task, with ids.
pub async fn new_labels(unit: &mut Unit, labels: &[LabelWrite]) -> Result<Vec<Label>, Refusal> {
    let mut made = Vec::with_capacity(labels.len());
    let ids = unit.new_ids_of("label", labels.len()).await?;
    for (id, label) in ids.into_iter().zip(labels) {
        made.push(new_label(unit, id, label).await?);
    }
    Ok(made)
}

async fn new_label(unit: &mut Unit, id: i64, label: &LabelWrite) -> Result<Label, Refusal> {
    Ok(Label {
        id,
        name: label.name.as_deref().unwrap_or_default().trim().to_owned(),
        color: label.color.clone().unwrap_or_default(),
        label_type: label.label_type.clone().unwrap_or_else(|| "any".to_owned()),
        attributes: attributes(unit, label.attributes.as_deref().unwrap_or_default()).await?,
    })
}

async fn attributes(unit: &mut Unit, attributes: &[AttributeWrite]) -> Result<Vec<Attribute>, Refusal> {
    let mut ids = unit.new_ids_of("attribute", attributes.len()).await?.into_iter();
    Ok(attributes
        .iter()
        .map(|attribute| Attribute {
            id: attribute.id.or_else(|| ids.next()).unwrap_or_default(),
            name: attribute.name.trim().to_owned(),
            mutable: attribute.mutable,
            input_type: attribute.input_type.clone(),
            default_value: attribute.default_value.clone(),
            values: attribute.values.clone(),
        })
        .collect())
}

/// What a request's labels ask of a project or a task.
pub async fn patches(unit: &mut Unit, labels: &[LabelWrite]) -> Result<Vec<LabelPatch>, Refusal> {
    let mut patches = Vec::with_capacity(labels.len());
    for label in labels {
        patches.push(match label.id {
            Some(id) if label.deleted => LabelPatch::Delete { id },
            Some(id) => LabelPatch::Change {
                id,
                name: label.name.as_ref().map(|name| name.trim().to_owned()),
                color: label.color.clone().filter(|color| !color.is_empty()),
                attributes: match &label.attributes {
                    Some(changed) => Some(attributes(unit, changed).await?),
                    None => None,
                },
            },
            None => {
                let id = unit.new_ids_of("label", 1).await?[0];
                LabelPatch::Add(new_label(unit, id, label).await?)
            }
        });
    }
    Ok(patches)
}
