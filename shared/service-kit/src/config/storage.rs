//! Where pictures are kept: the variables of Label Studio's guide to persistent storage, by the same names.

use std::collections::BTreeMap;

use anyhow::bail;

/// Free space that a folder must keep, in MiB, unless a setting says otherwise.
const FREE_MIB: u64 = 512;

/// Where media keeps its bytes.
#[derive(Clone)]
pub struct Storage {
    pub place: Place,
    /// Uploads are refused while a disk that they would be written to has less than this left, in bytes.
    pub free_bytes_min: u64,
}

/// A folder of this machine, or a bucket.
#[derive(Clone)]
pub enum Place {
    /// Under `ANNOMESH_DATA`.
    Folder,
    S3(S3),
    Gcs(Gcs),
    Azure(Azure),
}

/// A bucket that speaks S3. Without keys the process's own role is used.
#[derive(Clone)]
pub struct S3 {
    pub bucket: String,
    pub region: Option<String>,
    pub keys: Option<(String, String)>,
    pub endpoint: Option<String>,
    pub folder: String,
}

/// A bucket of Google's. Without a key file the process's own identity is used.
#[derive(Clone)]
pub struct Gcs {
    pub bucket: String,
    pub credentials_file: Option<String>,
    pub endpoint: Option<String>,
    pub folder: String,
}

/// A container of Azure's. Without a key the process's own identity is used.
#[derive(Clone)]
pub struct Azure {
    pub account: String,
    pub key: Option<String>,
    pub container: String,
    pub endpoint: Option<String>,
    pub folder: String,
}

impl Storage {
    /// Reads the variables.
    ///
    /// # Errors
    /// Names the variable that is missing, wrong, or set for a kind of storage that is not chosen.
    pub(super) fn from_vars(vars: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let text = |name: &str| vars.get(name).map(|value| unquoted(value)).filter(|value| !value.is_empty());
        let needed = |name: &str| match text(name) {
            Some(value) => Ok(value.to_owned()),
            None => bail!("STORAGE_TYPE is set, but {name} is not"),
        };
        let own = |name: &str| text(name).map(str::to_owned);
        let url = |name: &str| match text(name).map(url::Url::parse) {
            None => Ok(None),
            Some(Ok(url)) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(own(name)),
            Some(_) => bail!("{name} must be a URL such as https://host:port"),
        };
        let folder = |name: &str| text(name).unwrap_or_default().trim_matches('/').to_owned();
        let (prefix, place) = match text("STORAGE_TYPE") {
            None | Some("volume") => ("", Place::Folder),
            Some("s3") => {
                let keys = match (own("STORAGE_AWS_ACCESS_KEY_ID"), own("STORAGE_AWS_SECRET_ACCESS_KEY")) {
                    (Some(id), Some(secret)) => Some((id, secret)),
                    (None, None) => None,
                    _ => bail!("STORAGE_AWS_ACCESS_KEY_ID and STORAGE_AWS_SECRET_ACCESS_KEY go together"),
                };
                let place = S3 {
                    bucket: needed("STORAGE_AWS_BUCKET_NAME")?,
                    region: own("STORAGE_AWS_REGION_NAME"),
                    keys,
                    endpoint: url("STORAGE_AWS_ENDPOINT_URL")?,
                    folder: folder("STORAGE_AWS_FOLDER"),
                };
                ("STORAGE_AWS_", Place::S3(place))
            }
            Some("gcs") => {
                let place = Gcs {
                    bucket: needed("STORAGE_GCS_BUCKET_NAME")?,
                    credentials_file: own("GOOGLE_APPLICATION_CREDENTIALS"),
                    endpoint: url("STORAGE_GCS_ENDPOINT")?,
                    folder: folder("STORAGE_GCS_FOLDER"),
                };
                ("STORAGE_GCS_", Place::Gcs(place))
            }
            Some("azure") => {
                let place = Azure {
                    account: needed("STORAGE_AZURE_ACCOUNT_NAME")?,
                    key: own("STORAGE_AZURE_ACCOUNT_KEY"),
                    container: needed("STORAGE_AZURE_CONTAINER_NAME")?,
                    endpoint: url("STORAGE_AZURE_ENDPOINT_URL")?,
                    folder: folder("STORAGE_AZURE_FOLDER"),
                };
                ("STORAGE_AZURE_", Place::Azure(place))
            }
            Some(other) => bail!("STORAGE_TYPE: `{other}` is none of s3, gcs, azure and volume"),
        };
        let misplaced = |name: &&String| {
            let of_another = ["STORAGE_AWS_", "STORAGE_GCS_", "STORAGE_AZURE_"]
                .iter()
                .any(|kind| *kind != prefix && name.starts_with(kind));
            of_another && text(name).is_some()
        };
        if let Some(name) = vars.keys().find(misplaced) {
            bail!("{name} is set, but STORAGE_TYPE does not choose that kind of storage");
        }
        let free_mib = match text("STORAGE_FREE_MIB_MIN").map(str::parse::<u64>) {
            None => FREE_MIB,
            Some(Ok(mib)) => mib,
            Some(Err(_)) => bail!("STORAGE_FREE_MIB_MIN must be a whole number"),
        };
        Ok(Self { place, free_bytes_min: free_mib.saturating_mul(1024 * 1024) })
    }
}

/// `docker run --env-file` keeps the quotes that the guide writes around values.
fn unquoted(value: &str) -> &str {
    let value = value.trim();
    let inner = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(vars: &[(&str, &str)]) -> anyhow::Result<Storage> {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Storage::from_vars(&vars)
    }

    #[test]
    fn the_guides_own_lines_are_understood_with_their_quotes() {
        let storage = parse(&[
            ("STORAGE_TYPE", "s3"),
            ("STORAGE_AWS_ACCESS_KEY_ID", "\"key\""),
            ("STORAGE_AWS_SECRET_ACCESS_KEY", "\"secret\""),
            ("STORAGE_AWS_BUCKET_NAME", "\"pictures\""),
            ("STORAGE_AWS_REGION_NAME", "\"eu-west-1\""),
            ("STORAGE_AWS_FOLDER", "\"\""),
        ])
        .unwrap();
        let Place::S3(s3) = storage.place else { panic!("not S3") };
        assert_eq!((s3.bucket.as_str(), s3.region.as_deref()), ("pictures", Some("eu-west-1")));
        assert_eq!(s3.keys, Some(("key".to_owned(), "secret".to_owned())));
        assert_eq!(s3.folder, "");
    }

    #[test]
    fn contradictions_stop_the_start() {
        assert!(parse(&[("STORAGE_TYPE", "tape")]).is_err());
        assert!(parse(&[("STORAGE_TYPE", "s3")]).is_err());
        assert!(parse(&[("STORAGE_AWS_BUCKET_NAME", "b")]).is_err());
        let half =
            [("STORAGE_TYPE", "s3"), ("STORAGE_AWS_BUCKET_NAME", "b"), ("STORAGE_AWS_ACCESS_KEY_ID", "k")];
        assert!(parse(&half).is_err());
        assert!(matches!(parse(&[]).unwrap().place, Place::Folder));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let aws = [("STORAGE_TYPE", "s3"), ("STORAGE_AWS_BUCKET_NAME", "b")];
        let google = [("STORAGE_TYPE", "gcs"), ("STORAGE_GCS_BUCKET_NAME", "b")];
        let azure = [("STORAGE_TYPE", "azure"), ("STORAGE_AZURE_ACCOUNT_NAME", "a")];
        let endpoint = |kind: &[(&'static str, &'static str)], name, value| [kind, &[(name, value)]].concat();
        for (vars, named) in [
            (vec![("STORAGE_TYPE", "tape")], "STORAGE_TYPE"),
            (vec![("STORAGE_TYPE", "s3")], "STORAGE_AWS_BUCKET_NAME"),
            (vec![("STORAGE_TYPE", "gcs")], "STORAGE_GCS_BUCKET_NAME"),
            (vec![("STORAGE_TYPE", "azure")], "STORAGE_AZURE_ACCOUNT_NAME"),
            (azure.to_vec(), "STORAGE_AZURE_CONTAINER_NAME"),
            (endpoint(&aws, "STORAGE_AWS_SECRET_ACCESS_KEY", "s"), "STORAGE_AWS_ACCESS_KEY_ID"),
            (endpoint(&aws, "STORAGE_AWS_ENDPOINT_URL", "127.0.0.1:9000"), "STORAGE_AWS_ENDPOINT_URL"),
            (endpoint(&aws, "STORAGE_AWS_ENDPOINT_URL", "ftp://store"), "STORAGE_AWS_ENDPOINT_URL"),
            (endpoint(&google, "STORAGE_GCS_ENDPOINT", "store"), "STORAGE_GCS_ENDPOINT"),
            (endpoint(&aws, "STORAGE_GCS_FOLDER", "x"), "STORAGE_GCS_FOLDER"),
            (vec![("STORAGE_FREE_MIB_MIN", "little")], "STORAGE_FREE_MIB_MIN"),
        ] {
            let said = parse(&vars).err().unwrap().to_string();
            assert!(said.contains(named) && !said.contains('\n'), "{vars:?}: {said}");
        }
    }
}
