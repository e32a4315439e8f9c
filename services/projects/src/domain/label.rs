//! Labels and their attributes: parts of a project, or of a task without one, with ids of their own.

use contracts::projects::{Attribute, Label};

use event_store::{DomainError, Refused};

/// The types of CVAT 2.80 that a label may have; skeletons need sublabels, which are not built yet.
pub const LABEL_TYPES: &[&str] =
    &["any", "cuboid", "ellipse", "mask", "points", "polygon", "polyline", "rectangle", "tag", "interval"];

/// The kinds of input that an attribute may have.
pub const INPUT_TYPES: &[&str] = &["checkbox", "radio", "number", "text", "select"];

/// Colours that are told apart easily; a label that names none takes the first that its siblings leave free.
const PALETTE: &[&str] = &[
    "#fa3253", "#33ddff", "#ff6a4d", "#2a7dd1", "#3df53d", "#fafa37", "#b83df5", "#ff007c", "#83e070",
    "#24b353", "#b25050", "#aaf0d1", "#cc3366", "#6080c0", "#ffcc33", "#733380", "#8c78f0", "#5986b3",
];

/// Why labels are refused.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum LabelError {
    #[error("Label names must be unique: {0:?} is there twice.")]
    DuplicateLabel(String),
    #[error("Attribute names of a label must be unique: {0:?} is there twice.")]
    DuplicateAttribute(String),
    #[error("There is no label with the id {0} here.")]
    NoSuchLabel(i64),
}

impl DomainError for LabelError {
    fn code(&self) -> &'static str {
        match self {
            Self::DuplicateLabel(_) => "duplicate_label",
            Self::DuplicateAttribute(_) => "duplicate_attribute",
            Self::NoSuchLabel(_) => "no_such_label",
        }
    }

    fn kind(&self) -> Refused {
        Refused::Invalid
    }

    fn field(&self) -> Option<&'static str> {
        Some("labels")
    }
}

/// One entry of a labels patch: with an id it changes or deletes, without it adds.
#[derive(Clone, Debug)]
pub enum LabelPatch {
    Add(Label),
    Change { id: i64, name: Option<String>, color: Option<String>, attributes: Option<Vec<Attribute>> },
    Delete { id: i64 },
}

/// Applies a patch to labels.
///
/// # Errors
/// For ids that are not there, names that collide, and attributes that contradict themselves.
pub fn patch(labels: &[Label], patches: Vec<LabelPatch>) -> Result<Vec<Label>, LabelError> {
    let mut labels = labels.to_vec();
    for patch in patches {
        match patch {
            LabelPatch::Add(label) => labels.push(label),
            LabelPatch::Delete { id } => {
                let before = labels.len();
                labels.retain(|label| label.id != id);
                if labels.len() == before {
                    return Err(LabelError::NoSuchLabel(id));
                }
            }
            LabelPatch::Change { id, name, color, attributes } => {
                let label =
                    labels.iter_mut().find(|label| label.id == id).ok_or(LabelError::NoSuchLabel(id))?;
                label.name = name.unwrap_or_else(|| label.name.clone());
                label.color = color.unwrap_or_else(|| label.color.clone());
                label.attributes = attributes.unwrap_or_else(|| label.attributes.clone());
            }
        }
    }
    check(&mut labels)?;
    Ok(labels)
}

/// Checks a whole set of labels and gives a colour to those without one.
///
/// # Errors
/// As [`patch`].
pub fn check(labels: &mut [Label]) -> Result<(), LabelError> {
    for index in 0..labels.len() {
        let name = &labels[index].name;
        if labels[..index].iter().any(|other| other.name == *name) {
            return Err(LabelError::DuplicateLabel(name.clone()));
        }
        if labels[index].color.is_empty() {
            let taken = |color: &&&str| labels.iter().any(|label| label.color == **color);
            let free = PALETTE.iter().find(|color| !taken(color)).unwrap_or(&PALETTE[index % PALETTE.len()]);
            labels[index].color = (*free).to_owned();
        }
        let attributes = &labels[index].attributes;
        for (at, attribute) in attributes.iter().enumerate() {
            if attributes[..at].iter().any(|other| other.name == attribute.name) {
                return Err(LabelError::DuplicateAttribute(attribute.name.clone()));
            }
        }
    }
    Ok(())
}
