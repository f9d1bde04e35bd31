//! `b2:` buckets.

use super::{Hidden, LocationError, Settings, path};

/// A bucket of Backblaze B2. It is reached by the S3 interface that the account names: restic's manual advises that over B2's
/// own, and it compares checksums of what it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct B2 {
    /// Where the account is asked for.
    pub authority: String,
    /// The bucket.
    pub bucket: String,
    /// The path within it, without slashes at its ends.
    pub prefix: String,
    /// The application key's id.
    pub id: String,
    /// The application key.
    pub key: Hidden,
}

const FORM: &str = "b2:BUCKET:PATH";

impl B2 {
    pub(super) fn parse(place: &str, settings: &Settings) -> Result<Self, LocationError> {
        let (bucket, prefix) = place.split_once(':').unwrap_or((place, ""));
        let bucket = path::bucket(bucket, FORM)?;
        let Some((id, key)) = settings.pair("B2_ACCOUNT_ID", "B2_ACCOUNT_KEY")? else {
            return Err(LocationError::new("B2_ACCOUNT_ID", "is missing; write the application key's id"));
        };
        let authority = "https://api.backblazeb2.com".to_owned();
        Ok(Self { authority, bucket, prefix: path::prefix(prefix)?, id, key })
    }
}
