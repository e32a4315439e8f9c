//! Files in a form: each is looked at while it arrives, and all of them are kept or none is.

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use bytes::Bytes;
use futures::TryStreamExt;
use serde_json::{Map, Value, json};
use service_kit::Refusal;

use super::names;
use super::send::Sending;
use crate::keeping::Kept;
use crate::reserve::{Place, reserve_storage};
use crate::spool::{Spool, SpoolError, Spooled};
use crate::uploads::{self, Arrived, FILES_MAX};

/// Files and bytes in memory that are kept together.
const BATCH_FILES: usize = 256;
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// The longest value of a field that is no file, in bytes.
const FIELD_MAX: usize = 64 * 1024;
/// The most parts that are no files: each file may be named in the order wanted.
const FIELDS_MAX: usize = 200_000;
/// The most bytes of all of them, names and values.
const FIELDS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The fields of a form that are not files.
#[derive(Default)]
struct Fields {
    fields: Map<String, Value>,
    /// How many came, also as parts of lists, and their bytes.
    count: usize,
    bytes: usize,
}

impl Fields {
    /// Adds a field, which is always text in a form.
    fn add(&mut self, name: &str, text: String) -> Result<(), Refusal> {
        self.count += 1;
        self.bytes += name.len() + text.len();
        if self.count > FIELDS_MAX || self.bytes > FIELDS_BYTES_MAX {
            let detail = "The form has too many fields, or too much in them.";
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail));
        }
        add_field(&mut self.fields, name, text);
        Ok(())
    }
}

/// Keeps the files of a form and returns its other fields.
///
/// # Errors
/// 400 that names the file which is no picture, or whose name is taken or not allowed; then none is kept.
pub async fn receive(
    sending: &Sending,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<Map<String, Value>, Refusal> {
    let announced = request.headers().get("content-length");
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    sending.media.storage.check_room(announced.unwrap_or(0))?;
    let tenant = sending.caller.tenant();
    let place = match announced {
        Some(bytes) => reserve_storage(&sending.kit, tenant, bytes).await?,
        None => unannounced(sending).await?,
    };
    let mut incoming = Incoming {
        sending,
        kept: Kept::new(tenant),
        names: vec![],
        batch: vec![],
        bytes: 0,
        fields: Fields::default(),
    };
    // A form may take as long as it likes, as long as something arrives.
    let wanted = incoming.kept.wanted();
    let read = incoming.read(Multipart::new(request.headers(), payload));
    let outcome = match wanted.during(&sending.kit, read).await {
        Ok(()) => incoming.note(place).await,
        Err(refusal) => Err((refusal, place)),
    };
    match outcome {
        Ok(()) => Ok(incoming.fields.fields),
        Err((refusal, place)) => {
            incoming.kept.give_up(&sending.kit).await;
            place.release_after(&sending.kit, &refusal).await;
            Err(refusal)
        }
    }
}

/// A body of unknown length cannot be measured against a hard cap before it is read.
async fn unannounced(sending: &Sending) -> Result<Place, Refusal> {
    let tenant = sending.caller.tenant();
    let known = sending.kit.entitlement(tenant, "storage_bytes").await?;
    match known.is_some_and(|known| known.hard && known.limit.is_some()) {
        true => Err(Refusal::new(
            StatusCode::LENGTH_REQUIRED,
            "length_required",
            "Send a Content-Length: there is a limit on what may be stored.",
        )),
        false => reserve_storage(&sending.kit, tenant, 0).await,
    }
}

struct Incoming<'a> {
    sending: &'a Sending,
    kept: Kept,
    /// Of the files that are kept or in the batch, in order.
    names: Vec<String>,
    batch: Vec<Spooled>,
    /// Of all files.
    bytes: u64,
    fields: Fields,
}

impl Incoming<'_> {
    async fn read(&mut self, mut form: Multipart) -> Result<(), Refusal> {
        let mut seen = std::collections::HashSet::new();
        while let Some(field) = form.try_next().await.map_err(malformed)? {
            let disposition = field.content_disposition();
            let name = field.name().unwrap_or_default().to_owned();
            let file = disposition.and_then(|disposition| {
                let plain = disposition.get_filename().map(str::to_owned);
                let extended = disposition
                    .get_filename_ext()
                    .map(|name| String::from_utf8_lossy(&name.value).into_owned());
                extended.or(plain)
            });
            match file {
                Some(file) => {
                    let file = names::last_part(&file)?;
                    if !seen.insert(file.clone()) {
                        let text = format!("{file}: two files have this name.");
                        return Err(Refusal::field("client_files", text));
                    }
                    self.file(file, field).await?;
                }
                None => self.field(&name, field).await?,
            }
        }
        self.keep().await
    }

    async fn file(&mut self, name: String, mut field: Field) -> Result<(), Refusal> {
        if i64::try_from(self.names.len()).is_ok_and(|count| count >= FILES_MAX) {
            return Err(too_many());
        }
        let mut spool = Spool::new(&self.sending.media.storage);
        let spooled = async {
            while let Some(piece) = field.try_next().await.map_err(Wrong::Form)? {
                spool.push(piece).await?;
            }
            Ok::<_, Wrong>(spool.finish().await?)
        };
        let spooled = spooled.await.map_err(|wrong| wrong.refusal(&name))?;
        self.bytes += spooled.blob.size;
        self.names.push(name);
        self.batch.push(spooled);
        let in_memory: usize = self.batch.iter().map(Spooled::memory).sum();
        if self.batch.len() >= BATCH_FILES || in_memory >= BATCH_BYTES {
            self.keep().await?;
        }
        Ok(())
    }

    /// Stores the files of the batch.
    async fn keep(&mut self) -> Result<(), Refusal> {
        let batch = std::mem::take(&mut self.batch);
        // What is in files has its room; of an unannounced body nobody else asks.
        let bytes: usize = batch.iter().map(Spooled::memory).sum();
        self.sending.media.storage.check_room(bytes as u64)?;
        self.kept.add(&self.sending.kit, &self.sending.media, &batch).await?;
        Ok(())
    }

    async fn field(&mut self, name: &str, mut field: Field) -> Result<(), Refusal> {
        let value = field.bytes(FIELD_MAX).await;
        let value: Bytes =
            value.map_err(|_| Refusal::field(name, "This field is too long."))?.map_err(malformed)?;
        let text = String::from_utf8(value.to_vec())
            .map_err(|_| Refusal::field(name, "This field is not text in UTF-8."))?;
        self.fields.add(name, text)
    }

    /// Notes the files in one transaction, which from then on use their bytes.
    async fn note(&mut self, place: Place) -> Result<(), (Refusal, Place)> {
        if self.names.is_empty() {
            place.release(&self.sending.kit).await;
            return Ok(());
        }
        let tenant = self.sending.caller.tenant();
        // What the old place was for is lost with it; what failed to be had needs none.
        let place = match place.refreshed(&self.sending.kit, tenant, self.bytes).await {
            Ok(place) => place,
            Err(refusal) => return Err((refusal, Place::none())),
        };
        let ids = match self.kept.settle(&self.sending.media).await {
            Ok(ids) => ids,
            Err(error) => return Err((error.into(), place)),
        };
        let files: Vec<Arrived> = self
            .names
            .iter()
            .zip(ids)
            .map(|(name, blob_id)| Arrived { name: name.clone(), blob_id: *blob_id })
            .collect();
        match note(self.sending, (&self.kept, &files), &place).await {
            Ok(()) => Ok(()),
            Err(refusal) => Err((refusal, place)),
        }
    }
}

async fn note(sending: &Sending, (kept, files): (&Kept, &[Arrived]), place: &Place) -> Result<(), Refusal> {
    let task_id = sending.task.id;
    let now = sending.kit.clock.now();
    sending
        .kit
        .store
        .transact(&sending.caller.context(), async |unit| {
            sending.touch(unit).await?;
            let added = match uploads::add(unit.tx(), task_id, files, now).await? {
                Ok(added) => added,
                Err(name) => {
                    let text = format!("{name}: another file with this name was sent.");
                    return Err(Refusal::field("client_files", text));
                }
            };
            if uploads::count(unit.tx(), task_id).await?.0 > FILES_MAX {
                return Err(too_many());
            }
            let added: std::collections::HashSet<String> = added.into_iter().collect();
            let ids = files.iter().filter(|file| added.contains(&file.name)).map(|file| file.blob_id);
            let bytes = kept.hold(unit.tx(), ids).await?;
            let reservation_id = place.take(unit.tx()).await?;
            uploads::change_storage(unit, bytes, reservation_id).await?;
            Ok(())
        })
        .await
}

fn too_many() -> Refusal {
    Refusal::field("client_files", format!("A task may have at most {FILES_MAX} files."))
}

/// What can be wrong with a file while it arrives.
enum Wrong {
    Form(MultipartError),
    Spool(SpoolError),
}

impl From<SpoolError> for Wrong {
    fn from(error: SpoolError) -> Self {
        Self::Spool(error)
    }
}

impl Wrong {
    fn refusal(self, name: &str) -> Refusal {
        match self {
            Self::Form(error) => malformed(error),
            Self::Spool(SpoolError::Fault(fault)) => {
                Refusal::field("client_files", format!("{name}: {fault}."))
            }
            Self::Spool(SpoolError::Storage(error)) => error.into(),
        }
    }
}

fn malformed(error: MultipartError) -> Refusal {
    Refusal::bad_request(format!("Multipart form parse error - {error}"))
}

/// Fields that are numbers, as JSON has them.
const NUMBERS: &[&str] = &["image_quality", "chunk_size", "start_frame", "stop_frame", "cloud_storage_id"];

/// Adds a field of a form; `name[n]` is one of a list.
fn add_field(fields: &mut Map<String, Value>, name: &str, text: String) {
    if let Some((list, _)) = name.split_once('[') {
        let list = fields.entry(list).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(Value::String(text));
        }
        return;
    }
    let value = match text.parse::<i64>() {
        Ok(number) if NUMBERS.contains(&name) => Value::from(number),
        _ if text.is_empty() => return,
        _ => Value::String(text),
    };
    fields.insert(name.to_owned(), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_what_json_would_have_been() {
        let mut fields = Fields::default();
        for (name, text) in [
            ("image_quality", "70"),
            ("sorting_method", "natural"),
            ("upload_file_order[0]", "b.jpg"),
            ("upload_file_order[1]", "a.jpg"),
            ("chunk_size", ""),
        ] {
            fields.add(name, text.to_owned()).unwrap();
        }
        let wanted = json!({
            "image_quality": 70, "sorting_method": "natural", "upload_file_order": ["b.jpg", "a.jpg"]
        });
        assert_eq!(Value::Object(fields.fields), wanted);
    }

    #[test]
    fn a_list_may_be_as_long_as_a_task_and_no_longer() {
        let mut fields = Fields::default();
        for number in 0..FIELDS_MAX {
            fields.add(&format!("upload_file_order[{number}]"), format!("{number}.jpg")).unwrap();
        }
        assert!(fields.add("upload_file_order[0]", "more.jpg".to_owned()).is_err());
        let mut fields = Fields::default();
        let kept = (0..FIELDS_MAX).take_while(|_| fields.add("x[0]", "x".repeat(FIELD_MAX)).is_ok()).count();
        assert_eq!(kept, FIELDS_BYTES_MAX / (FIELD_MAX + "x[0]".len()));
    }
}
