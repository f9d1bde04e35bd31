//! Where a repository is: what is written in `RESTIC_REPOSITORY` and in the keys beside it, made into one valid value.
//!
//! Nothing here opens a file or a connection. The forms of repositories are those of restic's manual, "Preparing a new
//! repository"; the keys are the environment variables named there, which VolSync's users have as keys of a Secret.

mod azure;
mod b2;
mod gcs;
mod path;
mod proxies;
mod rclone;
mod rest;
mod s3;
mod settings;
pub(crate) mod sftp;
mod swift;

use std::fmt;
use std::path::PathBuf;

pub use azure::{Azure, AzureCredentials};
pub use b2::B2;
pub use gcs::{Gcs, GcsCredentials};
pub use proxies::Proxies;
pub use rest::Rest;
pub use s3::{AssumedRole, S3, S3Credentials};
pub use settings::{Settings, UNUSED_BY_STORES};
pub use sftp::{Sftp, Written};
pub use swift::{Swift, SwiftLogin};

/// The key that names the repository.
pub const REPOSITORY: &str = "RESTIC_REPOSITORY";

/// A repository's place, and all that is needed to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket of S3, or of what speaks its protocol.
    S3(S3),
    /// A container of Azure Blob Storage.
    Azure(Azure),
    /// A bucket of Backblaze B2.
    B2(B2),
    /// A bucket of Google Cloud Storage.
    Gcs(Gcs),
    /// A server of restic's own protocol.
    Rest(Rest),
    /// A folder on a server of SSH.
    Sftp(Sftp),
    /// A container of OpenStack's object storage.
    Swift(Swift),
}

/// A key whose value cannot be used. Its text names the key and what to write there, and holds no value of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {what}")]
pub struct LocationError {
    /// The key.
    pub key: String,
    what: String,
}

impl LocationError {
    fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into() }
    }

    /// What is wrong with the repository's string.
    fn repository(what: impl Into<String>) -> Self {
        Self::new(REPOSITORY, what)
    }
}

impl Location {
    /// Reads a repository's string, with the settings that belong to it.
    ///
    /// # Errors
    /// What cannot be used, and what to write instead.
    pub fn parse(repository: &str, settings: &Settings) -> Result<Self, LocationError> {
        // Secrets are made by `echo` too.
        let repository = repository.trim_end_matches(['\r', '\n']);
        if repository.is_empty() {
            return Err(LocationError::repository(
                "is empty; write where the repository is, as in s3:https://HOST/BUCKET",
            ));
        }
        if repository.chars().any(char::is_control) {
            return Err(LocationError::repository("has a control character in it; write one line of text"));
        }
        match repository.split_once(':') {
            Some(("local", path)) => folder(path),
            Some(("s3", place)) => S3::parse(place, settings).map(Self::S3),
            Some(("azure", place)) => Azure::parse(place, settings).map(Self::Azure),
            Some(("b2", place)) => B2::parse(place, settings).map(Self::B2),
            Some(("gs", place)) => Gcs::parse(place, settings).map(Self::Gcs),
            Some(("rest", place)) => Rest::parse(place, settings).map(Self::Rest),
            Some(("rclone", place)) => rclone::parse(place, settings),
            Some(("sftp", place)) => Sftp::parse(place, settings).map(Self::Sftp),
            Some(("swift", place)) => Swift::parse(place, settings).map(Self::Swift),
            // restic, too, takes everything else for a folder; a typing error in a scheme would become one.
            Some((scheme, _)) if !scheme.is_empty() && !scheme.contains('/') => {
                Err(LocationError::repository(format!(
                    "{scheme}: is no kind of store; these are: local, s3, azure, b2, gs, rest, sftp, swift, rclone. A folder with a colon in \
                 its name is written as local:PATH"
                )))
            }
            _ => folder(repository),
        }
    }
}

fn folder(path: &str) -> Result<Location, LocationError> {
    if path.is_empty() {
        return Err(LocationError::repository("has no path; write local:/PATH"));
    }
    Ok(Location::Folder(path.into()))
}

/// Text that must not be shown. It has no Display, and its Debug shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// The text, for the one who needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests;
