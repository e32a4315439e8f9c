//! Settings, read once from the environment. Every one is documented in [`SETTINGS`], which the README's
//! table is compared with.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use url::Url;

use crate::start::SERVICES;

pub mod storage;
pub mod supervisor;

/// A setting's name, default and meaning.
pub struct Setting {
    pub name: &'static str,
    pub default: &'static str,
    pub meaning: &'static str,
}

macro_rules! settings {
    ($($name:literal, $default:literal, $meaning:literal;)*) => {
        /// Every variable that is read, in the order of the README's table.
        pub const SETTINGS: &[Setting] =
            &[$(Setting { name: $name, default: $default, meaning: $meaning }),*];
    };
}

settings! {
    "HTTP_ADDRESS", "127.0.0.1:8080", "Front door: address and port.";
    "MESH_ADDRESS", "127.0.0.1:8081", "Second port, for the mesh: never reachable from outside.";
    "PUBLIC_URL", "http://localhost:<port>", "How people reach the front door; used in links that are sent out.";
    "ANNOMESH_DATA", "./.annomesh", "Folder of the pictures (unless `STORAGE_TYPE` says otherwise), unfinished uploads, and in local mode the private PostgreSQL cluster and the generated secrets.";
    "ADMIN_USERNAME", "admin", "Name of the first admin, who is created when there is none.";
    "ADMIN_EMAIL", "admin@localhost", "E-mail address of the first admin.";
    "ADMIN_PASSWORD", "generated in local mode", "Password of the first admin; at least 8 characters.";
    "CLEARML__secure__credentials__supervisor__user_key", "generated in local mode", "Key of the deployment's operator, for ClearML's API and every other.";
    "CLEARML__secure__credentials__supervisor__user_secret", "generated in local mode", "Its secret; at least 16 characters.";
    "DATABASE_URL", "a private cluster in local mode", "A role on PostgreSQL 15 or newer that may create databases and roles.";
    "KAFKA_BROKERS", "none", "Comma-separated brokers; without them consumers read the producers' logs.";
    "KAFKA_TOPIC_PREFIX", "none", "Before the name of every topic and group, so that several meshes may share a cluster.";
    "KAFKA_SECURITY_PROTOCOL", "plaintext", "`plaintext`, `sasl_plaintext`, `sasl_ssl` or `ssl`; all but the first need the feature `kafka-tls`.";
    "KAFKA_SASL_MECHANISM", "none", "Such as `SCRAM-SHA-512`.";
    "KAFKA_SASL_USERNAME", "none", "User name at the brokers.";
    "KAFKA_SASL_PASSWORD", "none", "Password at the brokers.";
    "REDIS_URL", "none", "Shares caches among replicas, sealed; without it each process has its own. May be wiped or stopped at any time.";
    "MESH_PEERS", "this process", "Where other services' mesh ports are: `identity=http://host:port,projects=…`.";
    "MESH_SECRET", "generated in local mode", "At least 32 characters; services prove to one another that they know it, and it seals the secrets in the databases.";
    "WEBHOOKS_ALLOWED_TARGETS", "loopback in local mode on a loopback address, else none", "Comma-separated CIDRs and host names that webhooks may reach although they are not public.";
    "STORAGE_TYPE", "a folder in `ANNOMESH_DATA`", "Where pictures are kept: `s3`, `gcs`, `azure`, or unset.";
    "STORAGE_FREE_MIB_MIN", "512", "Uploads are refused while less than this many MiB are free on the disk.";
    "STORAGE_AWS_BUCKET_NAME", "none", "The bucket.";
    "STORAGE_AWS_REGION_NAME", "us-east-1", "The bucket's region.";
    "STORAGE_AWS_ACCESS_KEY_ID", "the process's own role", "Access key.";
    "STORAGE_AWS_SECRET_ACCESS_KEY", "the process's own role", "Its secret.";
    "STORAGE_AWS_ENDPOINT_URL", "Amazon", "Another server that speaks S3.";
    "STORAGE_AWS_FOLDER", "none", "Before the name of every object.";
    "STORAGE_GCS_BUCKET_NAME", "none", "The bucket.";
    "STORAGE_GCS_PROJECT_ID", "none", "The bucket's project; accepted, Google's own names suffice.";
    "STORAGE_GCS_ENDPOINT", "Google", "Another server that speaks Google's protocol.";
    "STORAGE_GCS_FOLDER", "none", "Before the name of every object.";
    "GOOGLE_APPLICATION_CREDENTIALS", "the process's own identity", "File with a service account's key.";
    "STORAGE_AZURE_ACCOUNT_NAME", "none", "The storage account.";
    "STORAGE_AZURE_ACCOUNT_KEY", "the process's own identity", "Its key.";
    "STORAGE_AZURE_CONTAINER_NAME", "none", "The container.";
    "STORAGE_AZURE_ENDPOINT_URL", "Microsoft", "Another server that speaks Azure's protocol.";
    "STORAGE_AZURE_FOLDER", "none", "Before the name of every object.";
    "LOG_FORMAT", "text", "`text` or `json`.";
    "RUST_LOG", "info, in local mode warn", "Log filter, such as `info,bus=debug`.";
    "OTEL_EXPORTER_OTLP_ENDPOINT", "none", "Where traces are sent (OTLP over HTTP), such as `http://localhost:4318`. OpenTelemetry's own variables count too.";
}

/// Variables that begin like this are ours: one that is not in [`SETTINGS`] stops the start.
const OUR_PREFIXES: &[&str] =
    &["ANNOMESH_", "ADMIN_", "MESH_", "KAFKA_", "WEBHOOKS_", "STORAGE_", "HTTP_ADDRESS", "PUBLIC_URL"];

/// The first admin.
#[derive(Clone)]
pub struct Admin {
    pub username: String,
    pub email: String,
    pub password: String,
}

/// Everything that a process is told from outside.
#[derive(Clone)]
pub struct Config {
    /// Everything in one process, with secrets and a database of its own; laxer where that is safe.
    pub local: bool,
    pub http_address: SocketAddr,
    pub mesh_address: SocketAddr,
    /// No slash at the end.
    pub public_url: String,
    pub data: PathBuf,
    pub admin: Option<Admin>,
    /// The operator's key and secret.
    pub supervisor: Option<supervisor::Supervisor>,
    pub database_url: Option<String>,
    pub kafka: Option<bus::kafka::Settings>,
    pub redis_url: Option<String>,
    pub mesh_peers: BTreeMap<String, String>,
    /// Empty only in local mode before the launcher has generated one.
    pub mesh_secret: String,
    pub webhooks_allowed_targets: Vec<String>,
    pub storage: storage::Storage,
    pub log_json: bool,
    pub log_filter: String,
    pub otlp_endpoint: Option<String>,
}

impl Config {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Names the variable that is unknown, missing or wrong.
    pub fn from_env(local: bool) -> anyhow::Result<Self> {
        Self::from_vars(local, environment())
    }

    /// Reads settings from name and value pairs.
    ///
    /// # Errors
    /// Names the variable that is unknown, missing or wrong.
    pub fn from_vars(local: bool, vars: impl IntoIterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let mut vars: BTreeMap<String, String> = vars.into_iter().collect();
        refuse_unknown(vars.keys())?;
        vars.retain(|_, value| !value.is_empty());
        let text = |name: &str| vars.get(name).cloned();
        let address = |name: &str, default: &str| -> anyhow::Result<SocketAddr> {
            let value = text(name).unwrap_or_else(|| default.to_owned());
            value.parse().with_context(|| format!("{name}: `{value}` is not an address like 127.0.0.1:8080"))
        };
        let http_address = address("HTTP_ADDRESS", "127.0.0.1:8080")?;
        let mesh_secret = text("MESH_SECRET").unwrap_or_default();
        if (!local || !mesh_secret.is_empty()) && mesh_secret.len() < 32 {
            bail!("MESH_SECRET must have at least 32 characters; make one with: openssl rand -hex 32");
        }
        let admin = match text("ADMIN_PASSWORD") {
            Some(password) if password.len() < 8 => bail!("ADMIN_PASSWORD must have at least 8 characters"),
            Some(password) => Some(Admin {
                username: text("ADMIN_USERNAME").unwrap_or_else(|| "admin".to_owned()),
                email: match text("ADMIN_EMAIL") {
                    Some(email) if !email.contains('@') => {
                        bail!("ADMIN_EMAIL: `{email}` is no e-mail address")
                    }
                    email => email.unwrap_or_else(|| "admin@localhost".to_owned()),
                },
                password,
            }),
            None => None,
        };
        Ok(Self {
            local,
            public_url: match text("PUBLIC_URL") {
                Some(url) => web_url("PUBLIC_URL", &url)?,
                None => format!("http://localhost:{}", http_address.port()),
            },
            http_address,
            mesh_address: address("MESH_ADDRESS", "127.0.0.1:8081")?,
            data: text("ANNOMESH_DATA").unwrap_or_else(|| "./.annomesh".to_owned()).into(),
            admin,
            supervisor: supervisor::Supervisor::from_vars(&vars)?,
            database_url: text("DATABASE_URL"),
            kafka: kafka(&vars)?,
            redis_url: text("REDIS_URL"),
            mesh_peers: peers(&text("MESH_PEERS").unwrap_or_default())?,
            mesh_secret,
            webhooks_allowed_targets: text("WEBHOOKS_ALLOWED_TARGETS")
                .unwrap_or_else(|| {
                    // Only while nobody else can reach the front door: else strangers could reach this host's own.
                    let alone = local && http_address.ip().is_loopback();
                    if alone { "127.0.0.0/8,::1/128,localhost".to_owned() } else { String::new() }
                })
                .split(',')
                .map(|target| target.trim().to_owned())
                .filter(|target| !target.is_empty())
                .collect(),
            storage: storage::Storage::from_vars(&vars)?,
            log_json: match text("LOG_FORMAT").as_deref() {
                None | Some("text") => false,
                Some("json") => true,
                Some(other) => bail!("LOG_FORMAT: `{other}` is neither `text` nor `json`"),
            },
            log_filter: text("RUST_LOG").unwrap_or_else(|| if local { "warn" } else { "info" }.to_owned()),
            otlp_endpoint: text("OTEL_EXPORTER_OTLP_ENDPOINT"),
        })
    }

    /// A service's mesh URL, its name included.
    pub fn peer_url(&self, service: &str) -> String {
        let own = || format!("http://{}", self.mesh_address);
        let base = self.mesh_peers.get(service).cloned().unwrap_or_else(own);
        format!("{}/{service}", base.trim_end_matches('/'))
    }
}

/// What the process is told; an empty value says nothing.
#[expect(clippy::disallowed_methods, reason = "this is where settings are read")]
pub fn environment() -> BTreeMap<String, String> {
    // `vars` would panic over a variable of somebody else's that is no UTF-8.
    let text = |value: OsString| value.to_string_lossy().into_owned();
    std::env::vars_os()
        .map(|(name, value)| (text(name), text(value)))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

fn refuse_unknown<'a>(names: impl Iterator<Item = &'a String>) -> anyhow::Result<()> {
    // Kubernetes injects these for every service of a namespace, also for one that is called `kafka`.
    let injected = |name: &str| {
        name.contains("_SERVICE_HOST")
            || name.contains("_SERVICE_PORT")
            || name.ends_with("_PORT")
            || name.contains("_PORT_")
    };
    for name in names {
        let ours =
            OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && name != "ANNOMESH_FAIL_POINT";
        if ours && !injected(name) && !SETTINGS.iter().any(|setting| setting.name == name) {
            bail!("{name} is not a setting of Annomesh; see the table in README.md");
        }
    }
    Ok(())
}

fn kafka(vars: &BTreeMap<String, String>) -> anyhow::Result<Option<bus::kafka::Settings>> {
    let text = |name: &str| vars.get(name).cloned();
    let Some(brokers) = text("KAFKA_BROKERS") else {
        for name in vars.keys().filter(|name| name.starts_with("KAFKA_S")) {
            if SETTINGS.iter().any(|setting| setting.name == name) {
                bail!("{name} is set but KAFKA_BROKERS is not");
            }
        }
        return Ok(None);
    };
    kafka_security(vars)?;
    let security = bus::kafka::Security {
        protocol: text("KAFKA_SECURITY_PROTOCOL"),
        mechanism: text("KAFKA_SASL_MECHANISM"),
        username: text("KAFKA_SASL_USERNAME"),
        password: text("KAFKA_SASL_PASSWORD"),
    };
    let prefix = text("KAFKA_TOPIC_PREFIX").unwrap_or_default();
    let settings = bus::kafka::Settings { brokers, security, prefix };
    settings.check()?;
    Ok(Some(settings))
}

/// Refuses what the client library would only say over and over, or never.
fn kafka_security(vars: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let protocol = vars.get("KAFKA_SECURITY_PROTOCOL").map_or("plaintext", String::as_str).to_lowercase();
    let sasl = match protocol.as_str() {
        "plaintext" | "ssl" => false,
        "sasl_plaintext" | "sasl_ssl" => true,
        other => {
            bail!("KAFKA_SECURITY_PROTOCOL: `{other}` is none of plaintext, sasl_plaintext, sasl_ssl and ssl")
        }
    };
    for name in ["KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"] {
        match vars.contains_key(name) {
            false if sasl => bail!("{name} is not set, but KAFKA_SECURITY_PROTOCOL is {protocol}"),
            true if !sasl => bail!("{name} is set, but KAFKA_SECURITY_PROTOCOL is {protocol}"),
            _ => {}
        }
    }
    match vars.get("KAFKA_SASL_MECHANISM").map(String::as_str) {
        None | Some("PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512") => Ok(()),
        Some(other) => {
            bail!("KAFKA_SASL_MECHANISM: `{other}` is none of SCRAM-SHA-512, SCRAM-SHA-256 and PLAIN")
        }
    }
}

fn peers(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    text.split(',')
        .filter(|entry| !entry.trim().is_empty())
        .map(|entry| match entry.trim().split_once('=') {
            Some((name, _)) if !SERVICES.contains(&name) => {
                bail!("MESH_PEERS: there is no service `{name}`, only {}", SERVICES.join(", "))
            }
            Some((name, url)) => Ok((name.to_owned(), web_url("MESH_PEERS", url)?)),
            None => bail!("MESH_PEERS: `{entry}` is not like identity=http://host:port"),
        })
        .collect()
}

/// An address of http or https, without a slash at its end.
fn web_url(name: &str, text: &str) -> anyhow::Result<String> {
    let url = Url::parse(text).with_context(|| format!("{name}: `{text}` is not like http://host:port"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        bail!("{name}: `{text}` is not like http://host:port");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vars: &[(&str, &str)]) -> anyhow::Result<Config> {
        Config::from_vars(true, vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn a_wrong_setting_stops_the_start_and_is_named() {
        for (name, value) in [
            ("MESH_PEERS", "idenity=http://localhost:1"),
            ("MESH_PEERS", "identity=localhost:1"),
            ("PUBLIC_URL", "not-a-url"),
            ("PUBLIC_URL", "ftp://example.com"),
            ("ADMIN_EMAIL", "zzz"),
            ("HTTP_ADDRESS", "8080"),
            ("MESH_SECRET", "short"),
            ("MESH_SECRETS", "there is no such setting, only one that looks like it"),
        ] {
            let password = ("ADMIN_PASSWORD", "correct horse battery");
            let error = config(&[password, (name, value)]).err().unwrap_or_else(|| panic!("{name}={value}"));
            assert!(format!("{error:#}").contains(name), "{name}={value}: {error:#}");
        }
        config(&[("PUBLIC_URL", "https://example.com/"), ("MESH_PEERS", "identity=http://a:1")]).unwrap();
    }

    #[test]
    fn kafkas_security_is_complete_or_none() {
        let broker = ("KAFKA_BROKERS", "kafka:9092");
        let scram = [
            ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
            ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"),
            ("KAFKA_SASL_USERNAME", "annomesh"),
            ("KAFKA_SASL_PASSWORD", "hunter2hunter2"),
        ];
        let refused = |vars: &[(&str, &str)], name: &str| {
            let error = config(vars).err().unwrap_or_else(|| panic!("{vars:?} was taken"));
            let error = format!("{error:#}");
            assert!(error.contains(name) && !error.contains("hunter2"), "{error}");
        };
        for missing in 1..scram.len() {
            let mut vars = vec![broker];
            vars.extend(scram.iter().enumerate().filter(|(index, _)| *index != missing).map(|(_, var)| *var));
            refused(&vars, scram[missing].0);
        }
        refused(&[broker, scram[3]], "KAFKA_SASL_PASSWORD");
        refused(&[broker, ("KAFKA_SECURITY_PROTOCOL", "tls")], "KAFKA_SECURITY_PROTOCOL");
        refused(&[broker, scram[0], ("KAFKA_SASL_MECHANISM", "GSSAPI"), scram[2], scram[3]], "GSSAPI");
        let whole: Vec<_> = std::iter::once(broker).chain(scram).collect();
        match config(&whole) {
            Ok(config) => assert!(config.kafka.is_some()),
            Err(error) => assert!(format!("{error:#}").contains("kafka-tls"), "{error:#}"),
        }
    }

    #[test]
    fn webhooks_reach_this_host_only_while_nobody_else_reaches_us() {
        let targets = |address| config(&[("HTTP_ADDRESS", address)]).unwrap().webhooks_allowed_targets;
        assert!(targets("127.0.0.1:8080").contains(&"localhost".to_owned()));
        assert!(targets("0.0.0.0:8080").is_empty());
    }
}
