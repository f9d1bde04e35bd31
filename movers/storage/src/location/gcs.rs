//! `gs:` buckets.

use std::path::PathBuf;

use super::{Hidden, LocationError, Settings, path};

/// A bucket of Google Cloud Storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gcs {
    /// Scheme and host, where it is not Google's own.
    pub endpoint: Option<String>,
    /// The bucket.
    pub bucket: String,
    /// The path within it, without slashes at its ends.
    pub prefix: String,
    /// Who asks.
    pub credentials: GcsCredentials,
}

/// Who asks for objects of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GcsCredentials {
    /// The content of a service account's key file.
    Content(Hidden),
    /// The path of one.
    File(PathBuf),
    /// An access token, valid for an hour or so.
    Token(Hidden),
    /// What the pod, its service account or the machine was given.
    Ambient,
}

const FORM: &str = "gs:BUCKET:/PATH";
const CREDENTIALS: &str = "GOOGLE_APPLICATION_CREDENTIALS";

impl Gcs {
    pub(super) fn parse(place: &str, settings: &Settings) -> Result<Self, LocationError> {
        let Some((bucket, prefix)) = place.split_once(':') else {
            return Err(LocationError::repository(format!("has no colon after its bucket; write {FORM}")));
        };
        // Only who makes buckets needs the project; a Secret made for restic has it.
        settings.get("GOOGLE_PROJECT_ID")?;
        let credentials = match (settings.hidden("GOOGLE_ACCESS_TOKEN")?, settings.hidden(CREDENTIALS)?) {
            (Some(token), _) => GcsCredentials::Token(token),
            // In a Secret it is the file's content, in the environment its path.
            (None, Some(content)) if content.expose().trim_start().starts_with('{') => {
                serde_json::from_str::<serde_json::Map<_, _>>(content.expose())
                    .map_err(|_| LocationError::new(CREDENTIALS, "is not JSON; copy the whole key file"))?;
                GcsCredentials::Content(content)
            }
            (None, Some(path)) => GcsCredentials::File(path.expose().into()),
            (None, None) => GcsCredentials::Ambient,
        };
        Ok(Self { endpoint: None, bucket: path::bucket(bucket, FORM)?, prefix: path::prefix(prefix)?, credentials })
    }
}
