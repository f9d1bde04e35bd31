//! Buckets and containers, through OpenDAL.
//!
//! OpenDAL signs requests and reads answers. It is always given whole names, never a root: it cuts roots off what a service lists
//! without looking.

mod b2;
mod creation;
mod failure;
mod operator;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::TryStreamExt;
use md5::{Digest, Md5};
use opendal::{ErrorKind, Operator};
use tokio::sync::OnceCell;

use crate::location::{Azure, B2, Gcs, S3};
use crate::remote::{Failed, Service};
use crate::web::Web;
use crate::{Kind, Object};
use failure::failed;

/// Where a bucket is.
pub(crate) enum Place {
    S3(S3),
    Azure(Azure),
    B2(B2),
    Gcs(Gcs),
}

/// A bucket, or a folder in one.
pub(crate) struct Bucket {
    place: Place,
    prefix: String,
    web: Web,
    operator: OnceCell<Operator>,
}

impl Bucket {
    pub(crate) fn new(place: Place, web: Web) -> Self {
        let prefix = match &place {
            Place::S3(S3 { prefix, .. }) | Place::Azure(Azure { prefix, .. }) => prefix,
            Place::B2(B2 { prefix, .. }) | Place::Gcs(Gcs { prefix, .. }) => prefix,
        };
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Self { place, prefix, web, operator: OnceCell::new() }
    }

    /// Made at the first use: a service may have to be asked where a bucket is.
    async fn operator(&self) -> Result<&Operator, Failed> {
        self.operator.get_or_try_init(|| operator::make(&self.place, &self.web)).await
    }

    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn put(&self, name: &str, content: &Bytes) -> Result<(), Failed> {
        let stored = self.operator().await?.write(&self.path(name), content.clone()).await.map_err(failed)?;
        // S3 compares for itself, with the Content-MD5 of the request.
        match stored.content_md5() {
            Some(sum) if sum != STANDARD.encode(Md5::digest(content)) => {
                Err(Failed::passing("the service has stored something else than was sent"))
            }
            _ => Ok(()),
        }
    }
}

impl Service for Bucket {
    async fn read(&self, name: &str) -> Result<Bytes, Failed> {
        let content = self.operator().await?.read(&self.path(name)).await.map_err(failed)?;
        Ok(content.to_bytes())
    }

    async fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Bytes, Failed> {
        let (operator, path) = (self.operator().await?, self.path(name));
        let end = offset.saturating_add(length as u64);
        let why = match operator.read_with(&path).range(offset..end).await {
            // Not copied: the transport hands over an answer in one piece.
            Ok(content) if content.len() == length => return Ok(content.to_bytes()),
            Ok(content) => format!("{} bytes came instead of {length}", content.len()),
            Err(error) => match (error.kind(), error.is_temporary()) {
                // What the service says, and what OpenDAL says of a part that is short.
                (ErrorKind::RangeNotSatisfied, _) | (ErrorKind::Unexpected, false) => error.message().to_owned(),
                _ => return Err(failed(error)),
            },
        };
        // Either the object ends before, or the answer did.
        let size = operator.stat(&path).await.map_err(failed)?.content_length();
        match crate::error::check_range(name, size, offset, length) {
            Ok(()) => Err(Failed::passing(why)),
            Err(truncated) => Err(Failed::lasting(Kind::Truncated, truncated.reason())),
        }
    }

    async fn write(&self, name: &str, content: Bytes) -> Result<(), Failed> {
        match (self.put(name, &content).await, &self.place) {
            // What is not there is the bucket: restic makes it for a new repository.
            (Err(failed), Place::S3(s3)) if failed.kind == Kind::NotFound => {
                creation::make_bucket(s3, &self.web).await?;
                self.put(name, &content).await
            }
            (written, _) => written,
        }
    }

    async fn list(&self, folder: &str, found: &mut Vec<Object>) -> Result<(), Failed> {
        let operator = self.operator().await?;
        let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let path = self.path(&folder);
        let mut listing = operator.lister_with(&path).recursive(true);
        // Services that can go on after a name list in the order of names.
        match found.last() {
            Some(last) if operator.info().capability().list_with_start_after => {
                listing = listing.start_after(&self.path(&last.name));
            }
            _ => found.clear(),
        }
        let mut entries = listing.await.map_err(failed)?;
        while let Some(entry) = entries.try_next().await.map_err(failed)? {
            let metadata = entry.metadata();
            // What is not below the folder was not asked for.
            if let Some(name) = entry.path().strip_prefix(&self.prefix).filter(|name| name.starts_with(&folder))
                && metadata.mode().is_file()
            {
                if found.len() >= crate::MOST_OBJECTS {
                    return Err(Failed::lasting(Kind::Other, crate::error::too_many()));
                }
                found.push(Object { name: name.to_owned(), size: metadata.content_length() });
            }
        }
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<(), Failed> {
        self.operator().await?.delete(&self.path(name)).await.map_err(failed)
    }
}
