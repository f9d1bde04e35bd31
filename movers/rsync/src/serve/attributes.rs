//! Giving entries the attributes that the list says.

use doppel_contract::Line;
use doppel_volume::acl::{Rule, Which, Whom, encode};
use doppel_volume::attributes::{Object, Powers, Wanted};
use doppel_volume::metadata::{Kind, Metadata};
use rustix::io::Errno;

use crate::list::{Entry, FileList};
use crate::proto::acl::{Acl, AclTable, Who};
use crate::proto::arguments::Keep;
use crate::serve::shared::Shared;

/// Gives entries their attributes, and remarks on those that cannot be given.
#[derive(Debug)]
pub(super) struct Attributes<'s> {
    pub(super) list: &'s FileList,
    pub(super) acls: &'s [AclTable; 2],
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
            self.remark(entry, Line::new(lost.words()));
        }
        if self.keep.acls && !self.apply_acls(entry, object)? {
            self.remark(entry, Line::new("could not keep the access control list"));
        }
        Ok(())
    }

    /// Gives the entry its access control lists, after its permissions, of which they are an extension.
    fn apply_acls(&self, entry: &Entry, object: Object<'_>) -> Result<bool, Errno> {
        let mut kept = true;
        for ((number, table), which) in
            self.list.owner(entry).acls.iter().zip(self.acls).zip([Which::Access, Which::Default])
        {
            let Some(acl) = number.and_then(|number| table.get(number)) else { continue };
            let bytes = (!acl.is_empty()).then(|| encode(rules(acl, entry.permissions())));
            kept &= object.set_acl(which, bytes.as_deref())?;
        }
        Ok(kept)
    }

    fn remark(&self, entry: &Entry, why: Line) {
        let mut path = Vec::new();
        self.list.path(entry, &mut path);
        self.shared.remark(Line::from_bytes(&path), why);
    }

    /// Whether a file is as the list says, so that its content need not be looked at.
    pub(super) fn is_unchanged(entry: &Entry, have: &Metadata) -> bool {
        have.kind == Kind::File && have.size == entry.size && have.modified == entry.modified()
    }
}

/// The rules of a list: what the wire leaves out is in the permissions.
fn rules(acl: &Acl, permissions: u32) -> Vec<Rule> {
    let bits = |shift: u32| u8::try_from(permissions >> shift & 7).unwrap_or_default();
    let mut rules = vec![
        Rule { whom: Whom::Owner, may: acl.user.unwrap_or(bits(6)) },
        Rule { whom: Whom::OwningGroup, may: acl.group.unwrap_or(bits(3)) },
        Rule { whom: Whom::Other, may: acl.other.unwrap_or(bits(0)) },
    ];
    for named in &acl.named {
        let whom = match named.who {
            Who::User => Whom::User(named.id),
            Who::Group => Whom::Group(named.id),
        };
        rules.push(Rule { whom, may: named.may });
    }
    if !acl.named.is_empty() || acl.mask.is_some() {
        rules.push(Rule { whom: Whom::Mask, may: acl.mask.unwrap_or(bits(3)) });
    }
    rules
}
