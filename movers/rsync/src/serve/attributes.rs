//! Giving entries the attributes that the list says.

use doppel_contract::Line;
use doppel_volume::attributes::{Object, Powers, Wanted};
use doppel_volume::metadata::{Kind, Metadata};
use rustix::io::Errno;

use crate::list::{Entry, FileList};
use crate::proto::arguments::Keep;
use crate::serve::shared::Shared;

/// Gives entries their attributes, and remarks on those that cannot be given.
#[derive(Debug)]
pub(super) struct Attributes<'s> {
    pub(super) list: &'s FileList,
    pub(super) keep: Keep,
    pub(super) powers: &'s Powers,
    pub(super) shared: &'s Shared,
}

impl Attributes<'_> {
    /// What the list says of the entry, as far as it is kept. `old` is what was there under its name.
    pub(super) fn wanted(&self, entry: &Entry, old: Option<&Metadata>) -> Wanted {
        let owner = self.list.owner(entry);
        let permissions = match (self.keep.permissions, old) {
            (true, _) => Some(entry.permissions()),
            (false, Some(old)) if old.kind == entry.kind() => Some(old.permissions),
            // What a careful user's umask would leave.
            (false, _) => Some(entry.permissions() & 0o755),
        };
        Wanted {
            permissions,
            uid: self.keep.owner.then_some(owner.uid),
            gid: self.keep.group.then_some(owner.gid),
            modified: self.keep.times.then_some(entry.modified()),
        }
    }

    /// Gives them to `object`, which has `have`.
    pub(super) fn apply(
        &self,
        entry: &Entry,
        object: Object<'_>,
        have: &Metadata,
        wanted: &Wanted,
    ) -> Result<(), Errno> {
        let lost = object.apply(have, wanted, self.powers)?;
        if !lost.nothing() {
            let mut path = Vec::new();
            self.list.path(entry, &mut path);
            self.shared.remark(Line::from_bytes(&path), Line::new(lost.words()));
        }
        Ok(())
    }

    /// Whether a file is as the list says, so that its content need not be looked at.
    pub(super) fn is_unchanged(entry: &Entry, have: &Metadata) -> bool {
        have.kind == Kind::File && have.size == entry.size && have.modified == entry.modified()
    }
}
