//! Labels in requests: what may be written of them, and what that asks of a project or a task.

use contracts::projects::{Attribute, Label};
use event_store::Unit;
use serde::Deserialize;
use service_kit::Refusal;
use service_kit::body::FieldErrors;
use utoipa::ToSchema;

use crate::domain::label::{AttributePatch, INPUT_TYPES, LABEL_TYPES, LabelPatch};

/// A label in a request: without `id` it is added, with one it is changed, or deleted by `deleted`.
#[derive(Clone, Default, Deserialize, ToSchema)]
pub struct LabelWrite {
    pub id: Option<i64>,
    name: Option<String>,
    /// `#rrggbb`; one is chosen when it is absent.
    color: Option<String>,
    /// One of CVAT's label types; skeletons are not available yet.
    #[serde(rename = "type")]
    label_type: Option<String>,
    /// Attributes that are not named stay as they are.
    attributes: Option<Vec<AttributeWrite>>,
    /// Only in a change of a project or a task.
    #[serde(default)]
    pub deleted: bool,
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

/// Checks labels of a request that changes some, as far as that needs nothing else.
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
