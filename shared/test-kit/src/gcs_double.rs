//! A double of Google Cloud Storage: no emulator answers what `object_store` asks (XML API uploads, lists and
//! preconditions), and the real one is not on this machine.
//!
//! It holds objects in memory and knows what the product uses of the XML API, by Google's documents: a bearer token that
//! the service account signed itself (AIP-4111), `x-goog-if-generation-match`, multipart uploads, ranges, pages of a list.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};

use actix_web::http::Method;
use actix_web::http::header::{CONTENT_RANGE, ETAG, LAST_MODIFIED, RANGE};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use tokio::task::JoinSet;

/// The only bucket.
pub const BUCKET: &str = "pictures";
const ACCOUNT: &str = "annomesh@project.iam.gserviceaccount.com";
/// A part that is not the last must have so many bytes.
const PART_MIN: usize = 5 * 1024 * 1024;
/// Objects on one page of a list; Google's are of 1,000.
const PAGE: usize = 2;
/// The first day of the year; nobody asks for more.
const MODIFIED: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

/// A running double; gone when it is dropped.
pub struct GcsDouble {
    /// Where it answers, `STORAGE_GCS_ENDPOINT`.
    pub endpoint: String,
    /// The service account's key, `GOOGLE_APPLICATION_CREDENTIALS`.
    pub credentials: PathBuf,
    inside: Arc<Inside>,
    _running: JoinSet<()>,
}

struct Inside {
    key: DecodingKey,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    /// The last generation, or upload, that was made.
    last: u64,
}

#[derive(Clone)]
struct Object {
    bytes: web::Bytes,
    generation: u64,
}

struct Upload {
    name: String,
    parts: BTreeMap<u32, web::Bytes>,
}

impl GcsDouble {
    /// Starts one whose service account has a new key, kept in `folder`.
    pub async fn start(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let (private, public) = key_pair(folder);
        let credentials = credentials(folder, "account.json", &private);
        let inside =
            Arc::new(Inside { key: DecodingKey::from_rsa_pem(&public).unwrap(), state: Mutex::default() });
        let data = web::Data::from(inside.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .app_data(web::PayloadConfig::new(64 * 1024 * 1024))
                .route("/{bucket}", web::to(answer))
                .route("/{bucket}/{name:.*}", web::to(answer))
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
        let endpoint = format!("http://{}", server.addrs()[0]);
        let mut running = JoinSet::new();
        let server = server.run();
        running.spawn(async move { server.await.unwrap() });
        Self { endpoint, credentials, inside, _running: running }
    }

    /// Credentials of the same name with another key.
    pub fn forged(&self) -> PathBuf {
        let folder = self.credentials.parent().unwrap();
        let (private, _) = key_pair(folder);
        credentials(folder, "forged.json", &private)
    }

    /// The names of all objects, in order.
    pub fn objects(&self) -> Vec<String> {
        self.inside.state().objects.keys().cloned().collect()
    }

    /// How many uploads were begun in parts and are not over.
    pub fn open_uploads(&self) -> usize {
        self.inside.state().uploads.len()
    }
}

/// A new RSA key: private and public, in PEM.
fn key_pair(folder: &Path) -> (String, Vec<u8>) {
    let file = folder.join("key.pem");
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    openssl(&["genpkey", "-algorithm", "RSA", "-out"]);
    let public = openssl(&["pkey", "-pubout", "-in"]);
    (std::fs::read_to_string(&file).unwrap(), public)
}

fn credentials(folder: &Path, name: &str, private_key: &str) -> PathBuf {
    let file = folder.join(name);
    let content = serde_json::json!({
        "type": "service_account", "client_email": ACCOUNT, "private_key_id": "1", "private_key": private_key,
    });
    std::fs::write(&file, content.to_string()).unwrap();
    file
}

impl Inside {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Whether the request has a token that the account signed.
    fn lets_in(&self, request: &HttpRequest) -> bool {
        #[derive(Deserialize)]
        struct Claims {
            scope: String,
        }
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_issuer(&[ACCOUNT]);
        let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
        let claims = header
            .and_then(|value| value.strip_prefix("Bearer "))
            .and_then(|token| jsonwebtoken::decode::<Claims>(token, &self.key, &validation).ok());
        claims.is_some_and(|token| token.claims.scope == "https://www.googleapis.com/auth/cloud-platform")
    }
}

#[derive(Deserialize)]
struct Place {
    bucket: String,
    /// Empty when the bucket itself is meant.
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Query {
    uploads: Option<String>,
    upload_id: Option<String>,
    part_number: Option<u32>,
    #[serde(default)]
    prefix: String,
    #[serde(rename = "continuation-token", default)]
    after: String,
}

fn error(status: u16, code: &str) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status).unwrap();
    HttpResponse::build(status)
        .content_type("application/xml")
        .body(format!("<?xml version='1.0'?><Error><Code>{code}</Code></Error>"))
}

fn xml(body: String) -> HttpResponse {
    HttpResponse::Ok().content_type("application/xml").body(body)
}

async fn answer(
    request: HttpRequest,
    place: web::Path<Place>,
    query: web::Query<Query>,
    body: web::Bytes,
    inside: web::Data<Inside>,
) -> HttpResponse {
    if !inside.lets_in(&request) {
        return error(401, "AuthenticationRequired");
    }
    if place.bucket != BUCKET {
        return error(404, "NoSuchBucket");
    }
    let name = place.into_inner().name;
    let query = query.into_inner();
    let mut state = inside.state();
    match (request.method(), &query.upload_id) {
        (&Method::GET, _) if name.is_empty() => state.list(&query),
        (&Method::GET | &Method::HEAD, _) => state.read(&request, &name),
        (&Method::POST, None) if query.uploads.is_some() => state.begin(name),
        (&Method::POST, Some(upload)) => state.complete(upload),
        (&Method::PUT, Some(upload)) => state.add(upload, query.part_number.unwrap_or_default(), body),
        (&Method::DELETE, Some(upload)) => match state.uploads.remove(upload) {
            Some(_) => HttpResponse::NoContent().finish(),
            None => error(404, "NoSuchUpload"),
        },
        (&Method::PUT, None) => state.write(&request, name, body),
        (&Method::DELETE, None) => match state.objects.remove(&name) {
            Some(_) => HttpResponse::NoContent().finish(),
            None => error(404, "NoSuchKey"),
        },
        _ => error(400, "InvalidArgument"),
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn keep(&mut self, name: String, bytes: web::Bytes) -> u64 {
        let generation = self.next();
        self.objects.insert(name, Object { bytes, generation });
        generation
    }

    fn write(&mut self, request: &HttpRequest, name: String, bytes: web::Bytes) -> HttpResponse {
        let must_be_new =
            request.headers().get("x-goog-if-generation-match").is_some_and(|value| value == "0");
        if must_be_new && self.objects.contains_key(&name) {
            return error(412, "PreconditionFailed");
        }
        let generation = self.keep(name, bytes);
        HttpResponse::Ok()
            .insert_header((ETAG, format!("\"{generation}\"")))
            .insert_header(("x-goog-generation", generation.to_string()))
            .finish()
    }

    fn read(&self, request: &HttpRequest, name: &str) -> HttpResponse {
        let Some(Object { bytes, generation }) = self.objects.get(name) else {
            return error(404, "NoSuchKey");
        };
        let mut response = HttpResponse::Ok();
        response
            .insert_header((ETAG, format!("\"{generation}\"")))
            .insert_header((LAST_MODIFIED, MODIFIED))
            .insert_header(("x-goog-generation", generation.to_string()));
        let range = request.headers().get(RANGE).and_then(|value| value.to_str().ok());
        let Some((from, to)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
            return response.body(bytes.clone());
        };
        let from: usize = from.parse().unwrap();
        let end = to.parse::<usize>().map_or(bytes.len(), |last| bytes.len().min(last + 1));
        if from >= end {
            return error(416, "InvalidRange");
        }
        response.status(actix_web::http::StatusCode::PARTIAL_CONTENT);
        response.insert_header((CONTENT_RANGE, format!("bytes {from}-{}/{}", end - 1, bytes.len())));
        response.body(bytes.slice(from..end))
    }

    fn list(&self, query: &Query) -> HttpResponse {
        let all = self.objects.iter().filter(|(name, _)| name.starts_with(&query.prefix));
        let mut rest = all.filter(|(name, _)| **name > query.after);
        let mut contents = String::new();
        let mut last = None;
        for (name, object) in rest.by_ref().take(PAGE) {
            contents += &format!(
                "<Contents><Key>{name}</Key><Size>{}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                 <ETag>\"{}\"</ETag></Contents>",
                object.bytes.len(),
                object.generation
            );
            last = Some(name);
        }
        let more = last.filter(|_| rest.next().is_some());
        let token = more.map(|name| format!("<NextContinuationToken>{name}</NextContinuationToken>"));
        xml(format!("<ListBucketResult>{contents}{}</ListBucketResult>", token.unwrap_or_default()))
    }

    fn begin(&mut self, name: String) -> HttpResponse {
        let id = self.next().to_string();
        self.uploads.insert(id.clone(), Upload { name, parts: BTreeMap::new() });
        xml(format!(
            "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        ))
    }

    fn add(&mut self, upload: &str, number: u32, bytes: web::Bytes) -> HttpResponse {
        let Some(upload) = self.uploads.get_mut(upload) else { return error(404, "NoSuchUpload") };
        upload.parts.insert(number, bytes);
        HttpResponse::Ok().insert_header((ETAG, format!("\"part-{number}\""))).finish()
    }

    fn complete(&mut self, id: &str) -> HttpResponse {
        let Some(upload) = self.uploads.remove(id) else { return error(404, "NoSuchUpload") };
        let parts: Vec<_> = upload.parts.into_values().collect();
        if parts.iter().rev().skip(1).any(|part| part.len() < PART_MIN) {
            return error(400, "EntityTooSmall");
        }
        let generation = self.keep(upload.name, parts.concat().into());
        HttpResponse::Ok()
            .content_type("application/xml")
            .insert_header(("x-goog-generation", generation.to_string()))
            .body(format!(
                "<CompleteMultipartUploadResult><ETag>\"{generation}\"</ETag></CompleteMultipartUploadResult>"
            ))
    }
}
