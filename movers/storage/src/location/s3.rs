//! `s3:` buckets.

use url::Url;

use super::{Hidden, LocationError, Settings, path};

/// A bucket of S3, or of what speaks its protocol. It is addressed by path, which every such service understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// Scheme, host and port.
    pub endpoint: Url,
    /// The bucket.
    pub bucket: String,
    /// The path within it, without slashes at its ends.
    pub prefix: String,
    /// What signatures name; restic's default is `us-east-1`.
    pub region: Option<String>,
    /// Who asks.
    pub credentials: S3Credentials,
    /// Whom to become first.
    pub role: Option<AssumedRole>,
}

/// Who asks for objects of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum S3Credentials {
    /// A key.
    Key {
        /// Its id.
        id: String,
        /// What proves it.
        secret: Hidden,
        /// That it is a temporary one.
        token: Option<Hidden>,
    },
    /// What the pod, its service account or the machine was given.
    Ambient {
        /// Which profile of the AWS configuration files.
        profile: Option<String>,
    },
}

/// A role that is assumed by the credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssumedRole {
    /// Its name at Amazon.
    pub arn: String,
    /// How the session is called in logs.
    pub session: Option<String>,
    /// What the role's owner wants to be told.
    pub external_id: Option<String>,
}

const FORM: &str = "s3:https://HOST[:PORT]/BUCKET[/PATH]";

impl S3 {
    pub(super) fn parse(place: &str, settings: &Settings) -> Result<Self, LocationError> {
        // A URL's parser would resolve it, and the bucket would be another one than what is written.
        path::prefix(place)?;
        let url = if place.starts_with("http://") || place.starts_with("https://") {
            place.to_owned()
        } else {
            format!("https://{}", place.trim_start_matches("//"))
        };
        let url = Url::parse(&url).map_err(|error| LocationError::repository(format!("{error}; write {FORM}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            let what = "has a key in its address; write it to AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
            return Err(LocationError::repository(what));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(LocationError::repository(format!("has a ? or # in it; write {FORM}")));
        }
        let path = url.path().trim_start_matches('/');
        let path = percent_encoding::percent_decode_str(path).decode_utf8();
        let path = path.map_err(|_| LocationError::repository("is not UTF-8 text"))?;
        let (bucket, prefix) = path.split_once('/').unwrap_or((&path, ""));
        let mut endpoint = url.clone();
        endpoint.set_path("");
        Ok(Self {
            endpoint,
            bucket: path::bucket(bucket, FORM)?,
            prefix: path::prefix(prefix)?,
            region: settings.text("AWS_DEFAULT_REGION")?,
            credentials: S3Credentials::parse(settings)?,
            role: AssumedRole::parse(settings)?,
        })
    }
}

impl S3Credentials {
    fn parse(settings: &Settings) -> Result<Self, LocationError> {
        let token = settings.hidden("AWS_SESSION_TOKEN")?;
        match settings.pair("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")? {
            Some((id, secret)) => Ok(Self::Key { id, secret, token }),
            None if token.is_some() => {
                Err(LocationError::new("AWS_ACCESS_KEY_ID", "is missing; AWS_SESSION_TOKEN needs it"))
            }
            None => Ok(Self::Ambient { profile: settings.text("AWS_PROFILE")? }),
        }
    }
}

impl AssumedRole {
    fn parse(settings: &Settings) -> Result<Option<Self>, LocationError> {
        let Some(arn) = settings.text("RESTIC_AWS_ASSUME_ROLE_ARN")? else { return Ok(None) };
        let cannot = "cannot be honoured by this version; remove it, and let the role's own policy say what it may";
        settings.refuse("RESTIC_AWS_ASSUME_ROLE_POLICY", cannot)?;
        let cannot = "cannot be honoured by this version; remove it, the region's own endpoint is asked";
        settings.refuse("RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT", cannot)?;
        settings.refuse("RESTIC_AWS_ASSUME_ROLE_REGION", cannot)?;
        Ok(Some(Self {
            arn,
            session: settings.text("RESTIC_AWS_ASSUME_ROLE_SESSION_NAME")?,
            external_id: settings.text("RESTIC_AWS_ASSUME_ROLE_EXTERNAL_ID")?,
        }))
    }
}
