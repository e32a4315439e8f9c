//! Servers that a run of the tests may name: switches of the run, not settings of the product.
#![expect(clippy::disallowed_methods, reason = "the one place that reads what a run of the tests names")]

use std::path::PathBuf;

/// Kafka's brokers, when `TEST_KAFKA_BROKERS` names some.
pub fn brokers() -> Option<String> {
    std::env::var("TEST_KAFKA_BROKERS").ok()
}

/// A part of a bucket on a real S3 server that nobody else uses.
pub struct Bucket {
    /// The product's variables, `STORAGE_…`.
    pub variables: Vec<(String, String)>,
    /// Where the objects are on the server's disk.
    pub objects: PathBuf,
}

impl Bucket {
    /// The value of a variable.
    pub fn variable(&self, name: &str) -> &str {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("{name} is not set"))
    }
}

/// The server of `infra/s3`, when `TEST_S3` names its folder; the product's own variables say where it is.
pub fn bucket() -> Option<Bucket> {
    let data = PathBuf::from(std::env::var("TEST_S3").ok()?);
    let names = ["TYPE", "AWS_ENDPOINT_URL", "AWS_BUCKET_NAME", "AWS_REGION_NAME"];
    let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    let variables = names
        .into_iter()
        .chain(keys)
        .map(|name| format!("STORAGE_{name}"))
        .map(|name| (name.clone(), std::env::var(&name).unwrap_or_else(|_| panic!("{name} is not set"))))
        .collect();
    let mut bucket = Bucket { variables, objects: PathBuf::new() };
    let whole = data.join(bucket.variable("STORAGE_AWS_BUCKET_NAME"));
    assert!(whole.is_dir(), "{} is not the folder of the bucket", whole.display());
    let folder = short_folder();
    bucket.objects = whole.join(&folder);
    bucket.variables.push(("STORAGE_AWS_FOLDER".to_owned(), folder));
    Some(bucket)
}

/// A new folder in the bucket; short, because the server cannot take long names in parts.
pub fn short_folder() -> String {
    event_store::new_id().simple().to_string().split_off(24)
}
