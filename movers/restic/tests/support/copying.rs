//! Copies from one repository to another, by both programs.

use std::fs;

use doppel_restic::copy::{Copied, CopyOptions, copy};
use doppel_restic::error::Error;
use doppel_restic::format::compress::Compression;
use doppel_restic::repository::Repository;
use doppel_restic::snapshots::Filter;
use doppel_volume::monitor::Silent;

use super::{PASSWORD, Repo, holder};

pub fn copy_options() -> CopyOptions {
    CopyOptions {
        holder: holder(),
        ids: Vec::new(),
        filter: Filter::default(),
        compression: Compression::Auto,
        pack_size: 16 << 20,
    }
}

pub fn try_copy(from: &Repository, to: &Repository) -> Result<Copied, Error> {
    copy(from, to, &copy_options(), &Silent)
}

/// restic's copy; what it said.
pub fn restic_copy(from: &Repo, to: &Repo) -> String {
    let password = tempfile::NamedTempFile::new().unwrap();
    fs::write(password.path(), PASSWORD).unwrap();
    let (from, password) = (from.folder.path().to_str().unwrap(), password.path().to_str().unwrap());
    to.restic(&["--verbose", "copy", "--from-repo", from, "--from-password-file", password])
}
