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

/// Labels that one project or task may have.
pub const LABELS_MAX: usize = 1_000;

/// Attributes that one label may have: each annotation with the label carries a value of each.
pub const ATTRIBUTES_MAX: usize = 100;

/// What the labels of a project or a task may take as JSON, in bytes: each of its events carries them all, and has
/// to have room for the rest.
pub const LABELS_BYTES_MAX: usize = contracts::EVENT_BYTES_MAX - 32 * 1024;

/// Why labels are refused.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum LabelError {
    #[error("Label names must be unique: {0:?} is there twice.")]
    DuplicateLabel(String),
    #[error("Attribute names of a label must be unique: {0:?} is there twice.")]
    DuplicateAttribute(String),
    #[error("There is no label with the id {0} here.")]
    NoSuchLabel(i64),
    #[error("The label has no attribute with the id {0}.")]
    NoSuchAttribute(i64),
    #[error("There may be at most {LABELS_MAX} labels.")]
    TooManyLabels,
    #[error("A label may have at most {ATTRIBUTES_MAX} attributes.")]
    TooManyAttributes,
    #[error("Labels may take at most {LABELS_BYTES_MAX} bytes; these take {0}.")]
    LabelsTooLarge(usize),
}

impl DomainError for LabelError {
    fn code(&self) -> &'static str {
        match self {
            Self::DuplicateLabel(_) => "duplicate_label",
            Self::DuplicateAttribute(_) => "duplicate_attribute",
            Self::NoSuchLabel(_) => "no_such_label",
            Self::NoSuchAttribute(_) => "no_such_attribute",
            Self::TooManyLabels => "too_many_labels",
            Self::TooManyAttributes => "too_many_attributes",
            Self::LabelsTooLarge(_) => "labels_too_large",
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
    Change {
        id: i64,
        name: Option<String>,
        color: Option<String>,
        label_type: Option<String>,
        /// Attributes that are not named stay as they are.
        attributes: Vec<AttributePatch>,
    },
    Delete {
        id: i64,
    },
}

/// What becomes of one attribute of a label.
#[derive(Clone, Debug)]
pub enum AttributePatch {
    /// A new one; if the label has one of this name, it is that one, which keeps its id. CVAT's clients rely on it.
    Add(Attribute),
    /// The one with this id.
    Change(Attribute),
    Delete {
        id: i64,
    },
}

/// Applies a patch to labels.
///
/// # Errors
/// For ids that are not there, names that collide, attributes that contradict themselves, and too many labels.
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
            LabelPatch::Change { id, name, color, label_type, attributes } => {
                let label =
                    labels.iter_mut().find(|label| label.id == id).ok_or(LabelError::NoSuchLabel(id))?;
                label.name = name.unwrap_or_else(|| label.name.clone());
                label.color = color.unwrap_or_else(|| label.color.clone());
                label.label_type = label_type.unwrap_or_else(|| label.label_type.clone());
                patch_attributes(&mut label.attributes, attributes)?;
            }
        }
    }
    check(&mut labels)?;
    Ok(labels)
}

fn patch_attributes(attributes: &mut Vec<Attribute>, patches: Vec<AttributePatch>) -> Result<(), LabelError> {
    for patch in patches {
        let known = |id: i64| attributes.iter().position(|attribute| attribute.id == id);
        match patch {
            AttributePatch::Add(new) => {
                match attributes.iter_mut().find(|attribute| attribute.name == new.name) {
                    Some(attribute) => *attribute = Attribute { id: attribute.id, ..new },
                    None => attributes.push(new),
                }
            }
            AttributePatch::Change(changed) => {
                let index = known(changed.id).ok_or(LabelError::NoSuchAttribute(changed.id))?;
                attributes[index] = changed;
            }
            AttributePatch::Delete { id } => {
                let index = known(id).ok_or(LabelError::NoSuchAttribute(id))?;
                attributes.remove(index);
            }
        }
    }
    Ok(())
}

/// Checks a whole set of labels and gives a colour to those without one.
///
/// # Errors
/// As [`patch`].
pub fn check(labels: &mut [Label]) -> Result<(), LabelError> {
    if labels.len() > LABELS_MAX {
        return Err(LabelError::TooManyLabels);
    }
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
        if attributes.len() > ATTRIBUTES_MAX {
            return Err(LabelError::TooManyAttributes);
        }
        for (at, attribute) in attributes.iter().enumerate() {
            if attributes[..at].iter().any(|other| other.name == attribute.name) {
                return Err(LabelError::DuplicateAttribute(attribute.name.clone()));
            }
        }
    }
    let bytes = serde_json::to_vec(labels).map_or(usize::MAX, |json| json.len());
    if bytes > LABELS_BYTES_MAX {
        return Err(LabelError::LabelsTooLarge(bytes));
    }
    Ok(())
}
