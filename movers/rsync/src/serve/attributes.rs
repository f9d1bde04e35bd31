//! Giving entries the attributes that the list says.

use doppel_contract::Line;
use doppel_volume::attributes::{Lost, Object, Powers, Wanted};
use doppel_volume::metadata::{Kind, Metadata};
use rustix::io::Errno;

use crate::list::receive::Received;
use crate::list::{Entry, FileList};
use crate::proto::keep::Keep;
use crate::proto::xattr::Values;
use crate::serve::extras::{Extras, Lacking};
use crate::serve::shared::Shared;

/// Gives entries their attributes, and remarks on those that cannot be given.
#[derive(Debug)]
pub(super) struct Attributes<'s> {
    pub(super) list: &'s FileList,
    pub(super) received: &'s Received,
    pub(super) keep: Keep,
    /// Whether this process may give attributes of the system's programs.
    pub(super) privileged: bool,
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

    /// Gives them to `object`, which has `have`, and what it is to have beyond them; `values` are extended attributes that
    /// came for it. Returns which ones are lacking.
    pub(super) fn apply(
        &self,
        entry: &Entry,
        object: Object<'_>,
        have: &Metadata,
        wanted: &Wanted,
        values: &Values,
    ) -> Result<Lacking, Errno> {
        self.apply_known(entry, (Extras::read(self, object)?, have), wanted, values)
    }

    /// As [`Attributes::apply`], of an entry whose extras are known already.
    pub(super) fn apply_known(
        &self,
        entry: &Entry,
        known: (Extras<'_>, &Metadata),
        wanted: &Wanted,
        values: &Values,
    ) -> Result<Lacking, Errno> {
        let mut lost = Lost::default();
        let lacking = self.give(entry, known, wanted, values, &mut lost)?;
        self.remark(entry, lost);
        Ok(lacking)
    }

    /// As [`Attributes::apply`], when everything that will come has come.
    pub(super) fn apply_all(
        &self,
        entry: &Entry,
        object: Object<'_>,
        have: &Metadata,
        wanted: &Wanted,
        values: &Values,
    ) -> Result<(), Errno> {
        let mut lost = Lost::default();
        let lacking = self.give(entry, (Extras::read(self, object)?, have), wanted, values, &mut lost)?;
        lost.extended |= lacking != Lacking::default();
        self.remark(entry, lost);
        Ok(())
    }

    /// Gives extended attributes that came for an entry after all else.
    pub(super) fn give_late(
        &self,
        entry: &Entry,
        object: Object<'_>,
        have: &Metadata,
        values: &Values,
    ) -> Result<(), Errno> {
        let mut lost = Lost::default();
        let (lacking, opened_up) = Extras::read(self, object)?.give_xattrs(entry, have, values, &mut lost)?;
        if opened_up {
            let permissions = Some(have.permissions);
            let wanted = Wanted { permissions, uid: None, gid: None, modified: None };
            let opened = Metadata { permissions: have.permissions | 0o600, ..*have };
            object.apply(&opened, &wanted, self.powers)?;
        }
        // A directory is given everything once more in the end, and remarked on then.
        if entry.kind() != Kind::Directory {
            lost.extended |= lacking != Lacking::default();
            self.remark(entry, lost);
        }
        Ok(())
    }

    /// Which extended attributes of an entry must be asked for.
    pub(super) fn lacking(&self, entry: &Entry, object: Object<'_>) -> Result<Lacking, Errno> {
        if self.has_long(entry) { Extras::read(self, object)?.lacking(entry) } else { Ok(Lacking::default()) }
    }

    /// All extended attributes of an entry that must be asked for if it has none yet.
    pub(super) fn all_lacking(&self, entry: &Entry) -> Lacking {
        let set = self.list.owner(entry).extras.xattrs.filter(|_| self.keep.xattrs);
        Lacking(set.into_iter().flat_map(|set| self.received.xattrs.long(set)).collect())
    }

    fn has_long(&self, entry: &Entry) -> bool {
        let set = self.list.owner(entry).extras.xattrs.filter(|_| self.keep.xattrs);
        set.is_some_and(|set| self.received.xattrs.long(set).next().is_some())
    }

    fn give(
        &self,
        entry: &Entry,
        (extras, have): (Extras<'_>, &Metadata),
        wanted: &Wanted,
        values: &Values,
        lost: &mut Lost,
    ) -> Result<Lacking, Errno> {
        let object = extras.object();
        let chowned = object.apply_owner(have, wanted, self.powers, lost)?;
        let (lacking, opened_up) = extras.give_xattrs(entry, have, values, lost)?;
        let permissions = if opened_up { have.permissions | 0o600 } else { have.permissions };
        object.apply_rest(&Metadata { permissions, ..*have }, wanted, chowned, lost)?;
        extras.give_acls(entry, lost)?;
        Ok(lacking)
    }

    /// Remarks on what could not be given, if anything.
    fn remark(&self, entry: &Entry, lost: Lost) {
        if !lost.nothing() {
            self.shared.remark(self.list.line(entry), Line::new(lost.words()));
        }
    }

    /// Whether a file is as the list says, so that its content need not be looked at.
    pub(super) fn is_unchanged(entry: &Entry, have: &Metadata) -> bool {
        have.kind == Kind::File && have.size == entry.size && have.modified == entry.modified()
    }
}
