//! Everything was sent: what the client wants of it is checked, and the import begins.

use actix_web::http::StatusCode;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use service_kit::body::{self, FieldErrors};
use service_kit::write::Reply;
use service_kit::{Answer, Refusal};
use utoipa::ToSchema;

use super::send::{RqId, Sending};
use crate::domain::options::{CHUNK_FRAMES_MAX, Options, Sorting};
use crate::domain::task_data::{Action, Stage, TaskData};
use crate::jobs::prepare;
use crate::uploads::{self, FILES_MAX};

/// The largest number of anything that CVAT counts.
const NUMBER_MAX: i64 = i32::MAX as i64;

/// How to use what was sent (CVAT's DataRequest). What is not in here has no effect on pictures.
// The body may be large: of what is refused nothing is kept.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct DataRequest {
    /// JPEG quality of compressed frames, 1 to 100.
    pub image_quality: i64,
    pub chunk_size: Option<i64>,
    /// `lexicographical`, `natural`, `predefined` or `random`.
    pub sorting_method: Option<Sorting>,
    pub start_frame: Option<i64>,
    /// Included; 0 means the last there is.
    pub stop_frame: Option<i64>,
    /// `step=N`
    pub frame_filter: Option<String>,
    /// With `predefined` sorting: names in the order wanted; empty for the order of arrival.
    #[serde(default, deserialize_with = "names")]
    #[schema(value_type = Option<Vec<String>>)]
    pub upload_file_order: Vec<String>,
    /// Not supported yet.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    server_files: Vec<IgnoredAny>,
    /// Not supported yet.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    remote_files: Vec<IgnoredAny>,
    /// Not supported yet.
    cloud_storage_id: Option<i64>,
    /// Not supported yet.
    #[serde(default)]
    #[schema(value_type = Vec<Vec<String>>)]
    job_file_mapping: Option<Vec<IgnoredAny>>,
    /// Not supported yet.
    #[schema(value_type = Object)]
    validation_params: Option<IgnoredAny>,
}

/// Reads names, of which there are no more than there may be files.
fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Names;

    impl<'de> Visitor<'de> for Names {
        type Value = Vec<String>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a sequence")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(vec![])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut names = vec![];
            while let Some(name) = items.next_element()? {
                if i64::try_from(names.len()).is_ok_and(|count| count >= FILES_MAX) {
                    let text = format!("ensure this list has no more than {FILES_MAX} names");
                    return Err(serde::de::Error::custom(text));
                }
                names.push(name);
            }
            Ok(names)
        }
    }

    deserializer.deserialize_any(Names)
}

impl utoipa::PartialSchema for Sorting {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        let values = ["lexicographical", "natural", "predefined", "random"];
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .enum_values(Some(values))
            .into()
    }
}

impl ToSchema for Sorting {}

impl DataRequest {
    /// What the fields of a form say.
    ///
    /// # Errors
    /// 400 as for a body in JSON.
    pub fn of(fields: Map<String, Value>) -> Result<Self, Refusal> {
        // Through the kit's own parser, for its texts.
        body::read(Value::Object(fields).to_string().as_bytes())
    }

    /// Checks it, as far as that needs no files.
    fn options(&self) -> Result<Options, Refusal> {
        let mut errors = FieldErrors::default();
        let whole = |value: Option<i64>| value.is_none_or(|value| (0..=NUMBER_MAX).contains(&value));
        let range = "Ensure this value is between 0 and 2147483647.";
        errors
            .check(
                (1..=100).contains(&self.image_quality),
                "image_quality",
                "Ensure this value is between 1 and 100.",
            )
            .check(
                self.chunk_size.is_none_or(|size| (0..=CHUNK_FRAMES_MAX).contains(&size)),
                "chunk_size",
                format!("Ensure this value is between 0 and {CHUNK_FRAMES_MAX}."),
            )
            .check(whole(self.start_frame), "start_frame", range)
            .check(whole(self.stop_frame), "stop_frame", range);
        let step = self.step();
        errors.check(step.is_some(), "frame_filter", "The only supported syntax is: 'step=N', N at least 1.");
        let sorting = self.sorting_method.unwrap_or_default();
        errors.check(
            !self.upload_file_order.iter().any(|name| name.contains('\0')),
            "upload_file_order",
            "Null characters are not allowed.",
        );
        errors.check(
            self.upload_file_order.is_empty() || sorting == Sorting::Predefined,
            "upload_file_order",
            "Only valid with the \"predefined\" sorting method.",
        );
        let later = |name: &str| format!("Data by {name} is not supported yet; send the files themselves.");
        for (name, absent) in [
            ("server_files", self.server_files.is_empty()),
            ("remote_files", self.remote_files.is_empty()),
            ("cloud_storage_id", self.cloud_storage_id.is_none()),
            ("job_file_mapping", self.job_file_mapping.as_ref().is_none_or(Vec::is_empty)),
            ("validation_params", self.validation_params.is_none()),
        ] {
            errors.check(absent, name, later(name));
        }
        errors.finish()?;
        Ok(Options {
            image_quality: self.image_quality,
            chunk_size: self.chunk_size.filter(|size| *size > 0),
            sorting,
            start_frame: self.start_frame.unwrap_or(0),
            stop_frame: self.stop_frame.filter(|stop| *stop > 0),
            step: step.unwrap_or(1),
        })
    }

    fn step(&self) -> Option<i64> {
        let filter = self.frame_filter.as_deref().map(str::trim).unwrap_or_default();
        if filter.is_empty() {
            return Some(1);
        }
        let (name, value) = filter.split_once('=')?;
        let step = value.trim().parse().ok()?;
        (name.trim() == "step" && (1..=NUMBER_MAX).contains(&step)).then_some(step)
    }
}

/// Begins the import. Who only says that everything was sent, and says it `again` because our answer was lost, gets
/// that answer, also when the import is over by then.
///
/// # Errors
/// 400 for a request that makes no sense, or for files that did not arrive.
pub async fn finish(sending: &Sending, data: DataRequest, again: bool) -> Answer {
    let options = data.options()?;
    let order = data.upload_file_order;
    let request_id = format!("media.task-data.{}.{}", sending.task.id, event_store::new_id());
    let reply: Reply = sending
        .kit
        .store
        .transact(&sending.caller.context(), async |unit| {
            let task_id = sending.task.id;
            let state = unit.load::<TaskData>(task_id).await?.unwrap_or_default();
            let over = matches!(state.stage, Stage::Prepared | Stage::Failed);
            if let Some(rq_id) = state.request_id.filter(|_| state.stage == Stage::Submitted || over && again)
            {
                return Reply::with(StatusCode::ACCEPTED, &RqId { rq_id });
            }
            if state.stage == Stage::Receiving {
                check_files(unit.tx(), task_id).await?;
                if let Some(missing) = uploads::reorder(unit.tx(), task_id, &order).await? {
                    let text = format!("{missing}: no file with this name was sent.");
                    return Err(Refusal::field("upload_file_order", text));
                }
            }
            let submit = Action::Submit { request_id: request_id.clone(), options: options.clone() };
            unit.execute::<TaskData>(task_id, sending.command(submit)).await?;
            let now = unit.store().clock().now();
            unit.enqueue(prepare::JOB, task_id, now).await?;
            Reply::with(StatusCode::ACCEPTED, &RqId { rq_id: request_id.clone() })
        })
        .await?;
    Ok(reply.response())
}

async fn check_files(tx: &mut event_store::Tx, task_id: i64) -> Result<(), Refusal> {
    if uploads::count(tx, task_id).await?.0 == 0 {
        return Err(Refusal::field("client_files", "No data was sent for this task."));
    }
    let unfinished =
        uploads::in_pieces(tx, task_id).await?.into_iter().find(|file| file.received < file.length);
    match unfinished {
        Some(file) => {
            let text = format!("{}: only {} of {} bytes were sent.", file.name, file.received, file.length);
            Err(Refusal::field("client_files", text))
        }
        None => Ok(()),
    }
}
