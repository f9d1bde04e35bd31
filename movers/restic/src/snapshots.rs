//! The snapshots of a repository, and which of them is meant.

use doppel_contract::Line;
use jiff::Timestamp;

use crate::error::Error;
use crate::format::Malformed;
use crate::format::compress::{Codec, Compression};
use crate::format::id::Id;
use crate::format::snapshot::Snapshot;
use crate::repository::{Folder, Repository};
use doppel_storage::Kind;

/// A snapshot with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its ID.
    pub id: Id,
    /// What is in its file.
    pub snapshot: Snapshot,
}

/// Whose snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only of this host, if one is given.
    pub host: Option<String>,
    /// Only those that hold all of these paths.
    pub paths: Vec<String>,
}

/// Which snapshot is restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one whose ID begins with this.
    Id(String),
    /// The newest one, or the newest that is not later than a time; or one before it.
    Newest {
        /// Not later than this. Seconds are compared, as VolSync does.
        as_of: Option<Timestamp>,
        /// So many are passed by, from the newest on.
        previous: usize,
    },
}

/// All snapshots, oldest first.
///
/// # Errors
/// The store's, and [`Error::Damaged`] with the name of a snapshot that cannot be read.
pub fn snapshots(repository: &Repository) -> Result<Vec<Stored>, Error> {
    let mut codec = Codec::new(Compression::Auto)?;
    let mut all = Vec::new();
    for (id, _) in repository.list(Folder::Snapshots)? {
        let json = match repository.load(Folder::Snapshots, &id, &mut codec) {
            // It was removed since the listing.
            Err(Error::Storage(error)) if error.kind == Kind::NotFound => continue,
            json => json?,
        };
        let snapshot = serde_json::from_slice(&json).map_err(Malformed::from);
        all.push(Stored { id, snapshot: snapshot.map_err(Error::in_file(&Folder::Snapshots.file(&id)))? });
    }
    all.sort_by_key(|stored| (stored.snapshot.time.at(), stored.id));
    Ok(all)
}

impl Filter {
    /// Whether the snapshot is one of these.
    #[must_use]
    pub fn matches(&self, snapshot: &Snapshot) -> bool {
        let host = self.host.as_ref().is_none_or(|host| *host == snapshot.hostname);
        host && self.paths.iter().all(|path| snapshot.paths.contains(path))
    }
}

/// Those with these IDs, or `latest` of the filter's; without IDs, all that the filter lets through.
///
/// # Errors
/// [`Error::NoSnapshot`] with the first ID that none has.
pub fn select(all: Vec<Stored>, ids: &[String], filter: &Filter) -> Result<Vec<Stored>, Error> {
    if ids.is_empty() {
        return Ok(all.into_iter().filter(|stored| filter.matches(&stored.snapshot)).collect());
    }
    let mut chosen: Vec<Stored> = Vec::new();
    for id in ids {
        let which = Which::parse(id);
        let stored = which.choose(&all, filter).ok_or_else(|| which.missing())?;
        if !chosen.contains(stored) {
            chosen.push(stored.clone());
        }
    }
    Ok(chosen)
}

impl Which {
    /// `latest`, or how an ID begins.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "latest" => Self::Newest { as_of: None, previous: 0 },
            id => Self::Id(id.to_owned()),
        }
    }

    pub(crate) fn missing(&self) -> Error {
        Error::NoSnapshot(match self {
            Self::Id(id) => Line::new(format!("none, or more than one, has an ID that begins with {id}")),
            Self::Newest { .. } => Line::new("none matches"),
        })
    }

    /// The snapshot that is meant, of all in the order of [`snapshots`].
    #[must_use]
    pub fn choose<'s>(&self, all: &'s [Stored], filter: &Filter) -> Option<&'s Stored> {
        match self {
            Self::Id(prefix) => {
                let mut found = all.iter().filter(|stored| stored.id.to_string().starts_with(prefix.as_str()));
                let first = found.next()?;
                // Two that begin so are as good as none: nobody knows which is meant.
                (!prefix.is_empty() && found.next().is_none()).then_some(first)
            }
            Self::Newest { as_of, previous } => {
                let in_time = |stored: &&Stored| {
                    let seconds = stored.snapshot.time.at().as_second();
                    as_of.is_none_or(|as_of| seconds <= as_of.as_second())
                };
                all.iter().rev().filter(|stored| filter.matches(&stored.snapshot)).filter(in_time).nth(*previous)
            }
        }
    }
}
