//! Snapshots (design.rst, "Snapshots"; the fields and their order are those of restic's type `Snapshot`).

use serde::{Deserialize, Deserializer, Serialize};

use crate::format::id::Id;
use crate::format::time::Time;

/// A point in time of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When it was made.
    pub time: Time,
    /// The snapshot that it was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Id>,
    /// Its root.
    pub tree: Id,
    /// What was backed up.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub paths: Vec<String>,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Who made it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// The same as a number; left out if it is 0, as restic does.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: u32,
    /// That user's group.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: u32,
    /// Patterns of what was left out on purpose.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<String>,
    /// Words that a user gave it.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The snapshot that this one replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Id>,
    /// Which program wrote it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program_version: String,
    /// What was counted; not there if restic before 0.17 made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
}

/// What a backup counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// When it began.
    pub backup_start: Time,
    /// When it ended.
    pub backup_end: Time,
    /// The numbers.
    #[serde(flatten)]
    pub counts: Counts,
}

/// The numbers of a backup, under restic's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Files that the parent has not.
    pub files_new: u64,
    /// Files that differ from the parent's.
    pub files_changed: u64,
    /// Files that were not read.
    pub files_unmodified: u64,
    /// Directories that the parent has not.
    pub dirs_new: u64,
    /// Directories that differ from the parent's.
    pub dirs_changed: u64,
    /// Directories that do not.
    pub dirs_unmodified: u64,
    /// Data blobs that the repository had not.
    pub data_blobs: u64,
    /// Trees that it had not.
    pub tree_blobs: u64,
    /// Bytes of content of these.
    pub data_added: u64,
    /// Bytes that they take in the repository.
    pub data_added_packed: u64,
    /// All files.
    pub total_files_processed: u64,
    /// All bytes of content.
    pub total_bytes_processed: u64,
}

/// The tag of a snapshot in which something that should be there is not. Retention never counts it.
pub const INCOMPLETE: &str = "incomplete";

impl Snapshot {
    /// Whether everything that should be in it is.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.tags.iter().all(|tag| tag != INCOMPLETE)
    }
}

fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) {
        let snapshot: Snapshot = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&snapshot).unwrap(), json);
    }

    #[test]
    fn snapshots_of_every_age_are_written_as_they_were_read() {
        check(concat!(
            r#"{"time":"2015-01-02T18:10:50.895208559+01:00","tree":"2da81727b6585232894cfbb8f8bdab8d1eccd3d8f7c92bc934d62e62e618ffdf","#,
            r#""paths":["/tmp/testdata"],"hostname":"kasimir","username":"fd0","uid":1000,"gid":100,"tags":["NL"]}"#
        ));
        check(concat!(
            r#"{"time":"2026-01-02T18:10:50Z","parent":"251c2e5841355f743f9d4ffd3260bee765acee40a6229857e32b60446991b837","#,
            r#""tree":"2da81727b6585232894cfbb8f8bdab8d1eccd3d8f7c92bc934d62e62e618ffdf","paths":["/data"],"hostname":"volsync","#,
            r#""username":"root","excludes":["lost+found"],"program_version":"restic 0.18.1","summary":{"#,
            r#""backup_start":"2026-01-02T18:10:50Z","backup_end":"2026-01-02T18:10:51Z","files_new":1,"files_changed":0,"#,
            r#""files_unmodified":0,"dirs_new":1,"dirs_changed":0,"dirs_unmodified":0,"data_blobs":1,"tree_blobs":2,"#,
            r#""data_added":10,"data_added_packed":12,"total_files_processed":1,"total_bytes_processed":10}}"#
        ));
    }

    #[test]
    fn nulls_and_unknown_fields_are_borne() {
        let json = r#"{"time":"2026-01-02T18:10:50Z","tree":"2da81727b6585232894cfbb8f8bdab8d1eccd3d8f7c92bc934d62e62e618ffdf",
            "paths":null,"tags":null,"new":{"a":1}}"#;
        let snapshot: Snapshot = serde_json::from_str(json).unwrap();
        assert!(snapshot.paths.is_empty() && snapshot.is_complete());
    }
}
