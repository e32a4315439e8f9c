//! Annotations in the shapes that CVAT's clients send and get.

use serde::de::value::MapAccessDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// What a request says of a job's annotations, and how answers show them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct LabeledData {
    /// How often the job's annotations have changed; ignored in requests.
    #[serde(default, skip_deserializing)]
    pub version: i64,
    #[serde(default)]
    pub tags: Vec<Tag>,
    #[serde(default)]
    pub shapes: Vec<Shape>,
    #[serde(default)]
    pub tracks: Vec<Track>,
    /// Of sounds, which are not available: always empty.
    #[serde(default, deserialize_with = "whether_any")]
    #[schema(value_type = Vec<Object>)]
    pub intervals: Vec<serde_json::Value>,
}

/// A label of a whole frame: CVAT's `LabeledImage`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
#[schema(as = LabeledImage)]
pub struct Tag {
    /// Given by the server; in requests it says which one is meant to change or go.
    #[serde(default)]
    pub id: Option<i64>,
    pub frame: i64,
    pub label_id: i64,
    #[serde(default = "no_group")]
    pub group: Option<i64>,
    #[serde(default)]
    pub source: Source,
    #[serde(default)]
    pub attributes: Vec<AttributeValue>,
}

/// Something marked on one frame: CVAT's `LabeledShape`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
#[schema(as = LabeledShape)]
pub struct Shape {
    #[serde(default)]
    pub id: Option<i64>,
    #[serde(rename = "type")]
    pub shape_type: ShapeType,
    pub frame: i64,
    pub label_id: i64,
    #[serde(default = "no_group")]
    pub group: Option<i64>,
    #[serde(default)]
    pub source: Source,
    #[serde(default)]
    pub occluded: bool,
    #[serde(default)]
    pub outside: bool,
    #[serde(default)]
    pub z_order: i64,
    /// Degrees, 0 to 360.
    #[serde(default)]
    pub rotation: f64,
    /// Coordinates as the type wants them; of a mask, run lengths and then left, top, right and bottom.
    #[serde(default)]
    pub points: Vec<f64>,
    #[serde(default)]
    pub attributes: Vec<AttributeValue>,
    /// How sure its source is, 0 to 1.
    #[serde(default = "certain")]
    pub score: f64,
    /// Of skeletons, which are not available yet: always empty.
    #[serde(default, deserialize_with = "whether_any")]
    #[schema(value_type = Vec<Object>)]
    pub elements: Vec<serde_json::Value>,
}

/// Something followed over frames: CVAT's `LabeledTrack`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
#[schema(as = LabeledTrack)]
pub struct Track {
    #[serde(default)]
    pub id: Option<i64>,
    pub frame: i64,
    pub label_id: i64,
    #[serde(default = "no_group")]
    pub group: Option<i64>,
    #[serde(default)]
    pub source: Source,
    /// Its keyframes.
    pub shapes: Vec<TrackedShape>,
    /// Those that do not change from frame to frame.
    #[serde(default)]
    pub attributes: Vec<AttributeValue>,
    #[serde(default, deserialize_with = "whether_any")]
    #[schema(value_type = Vec<Object>)]
    pub elements: Vec<serde_json::Value>,
}

/// A keyframe of a track.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
pub struct TrackedShape {
    #[serde(default)]
    pub id: Option<i64>,
    #[serde(rename = "type")]
    pub shape_type: ShapeType,
    pub frame: i64,
    #[serde(default)]
    pub occluded: bool,
    /// Out of sight from this frame on.
    #[serde(default)]
    pub outside: bool,
    #[serde(default)]
    pub z_order: i64,
    #[serde(default)]
    pub rotation: f64,
    #[serde(default)]
    pub points: Vec<f64>,
    /// Those that may differ from frame to frame.
    #[serde(default)]
    pub attributes: Vec<AttributeValue>,
}

/// A value of one of the label's attributes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(remote = "Self")]
#[schema(as = AttributeVal)]
pub struct AttributeValue {
    /// Which attribute.
    pub spec_id: i64,
    /// Numbers are taken too, as their text.
    #[serde(deserialize_with = "text_or_number")]
    pub value: String,
}

/// What derived code reads from a JSON array too, field by field, is an object here and nothing else.
macro_rules! objects {
    ($($name:ident)*) => { $(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $name;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str("an object")
                    }

                    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<$name, A::Error> {
                        $name::deserialize(MapAccessDeserializer::new(map))
                    }
                }
                deserializer.deserialize_map(Visitor)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $name::serialize(self, serializer)
            }
        }
    )* };
}

objects! { LabeledData Tag Shape Track TrackedShape AttributeValue }

/// The forms that a shape may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ShapeType {
    Rectangle,
    Polygon,
    Polyline,
    Points,
    Ellipse,
    Cuboid,
    Mask,
    Skeleton,
}

/// Who or what made an annotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    Auto,
    SemiAuto,
    #[default]
    Manual,
    File,
    Consensus,
}

#[expect(clippy::unnecessary_wraps, reason = "a client may say null")]
fn no_group() -> Option<i64> {
    Some(0)
}

fn certain() -> f64 {
    1.0
}

/// Of what is not available: whether there is any, which is refused with its place. The rest is not kept, because
/// there may be very much of it.
fn whether_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<serde_json::Value>, D::Error> {
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Vec<serde_json::Value>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut any = None;
            while items.next_element::<IgnoredAny>()?.is_some() {
                any = Some(serde_json::Value::Null);
            }
            Ok(any.into_iter().collect())
        }
    }
    deserializer.deserialize_seq(Visitor)
}

fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "not a string")]
    enum Value {
        Text(String),
        Number(serde_json::Number),
    }
    Ok(match Value::deserialize(deserializer)? {
        Value::Text(text) => text,
        Value::Number(number) => number.to_string(),
    })
}

impl LabeledData {
    /// How many annotations there are, keyframes included.
    pub fn len(&self) -> usize {
        let keyframes: usize = self.tracks.iter().map(|track| track.shapes.len()).sum();
        self.tags.len() + self.shapes.len() + self.tracks.len() + keyframes
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives everything a new id from `ids`, which must yield [`LabeledData::len`] of them.
    pub fn number(&mut self, ids: impl IntoIterator<Item = i64>) {
        let mut ids = ids.into_iter();
        for tag in &mut self.tags {
            tag.id = ids.next();
        }
        for shape in &mut self.shapes {
            shape.id = ids.next();
        }
        for track in &mut self.tracks {
            track.id = ids.next();
            for shape in &mut track.shapes {
                shape.id = ids.next();
            }
        }
    }
}
