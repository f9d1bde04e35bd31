//! What an entry has beyond its metadata: access control lists and extended attributes, read from the volume and sent
//! after the entry.

use doppel_contract::Line;
use doppel_volume::acl::{self, Rule, Which, Whom};
use doppel_volume::attributes::Object;
use doppel_volume::metadata::Kind;
use doppel_volume::xattr::AttributeNames;
use rustix::io::Errno;

use crate::error::Error;
use crate::list::{Extras, MAX_ENTRIES};
use crate::proto::acl::{Acl, AclTable, Named, Who};
use crate::proto::entry::Layout;
use crate::proto::xattr::{NewSet, XattrTable};

/// The names of an entry's extended attributes, where they were looked at before.
pub(crate) type SeenNames = Result<AttributeNames, Errno>;

/// Reads and sends extras; what was sent is known by its number.
pub(crate) struct ExtrasReader {
    layout: Layout,
    acls: [AclTable; 2],
    xattrs: XattrTable,
    names: AttributeNames,
    value: Vec<u8>,
    set: NewSet,
    of_this: [Acl; 2],
}

impl ExtrasReader {
    pub(crate) fn new(layout: Layout) -> Self {
        Self {
            layout,
            acls: [AclTable::default(), AclTable::default()],
            xattrs: XattrTable::default(),
            names: AttributeNames::default(),
            value: Vec::new(),
            set: NewSet::default(),
            of_this: [Acl::default(), Acl::default()],
        }
    }

    /// The sets that were sent, by which their long values are asked for.
    pub(crate) fn into_xattrs(self) -> XattrTable {
        self.xattrs
    }

    /// Reads the extras of an entry with these permissions; those of one that vanished, or that is not to be looked at,
    /// are none. Then [`ExtrasReader::send`] them, those that could be read at least.
    ///
    /// # Errors
    /// What could not be read.
    pub(crate) fn read(
        &mut self,
        (object, seen): (Option<Object<'_>>, Option<SeenNames>),
        permissions: u32,
    ) -> Result<(), Line> {
        self.set.clear();
        self.of_this = [Acl::default(), Acl::default()];
        let Some(object) = object.filter(|_| self.layout.acls || self.layout.xattrs) else { return Ok(()) };
        let read = match seen {
            Some(seen) => seen.map(|names| self.names = names),
            None => object.attribute_names(&mut self.names),
        };
        match read {
            Ok(()) if self.names.is_empty() => return Ok(()),
            Ok(()) => {}
            Err(Errno::NOENT | Errno::NOTDIR | Errno::STALE) => return Ok(()),
            Err(errno) => return Err(failed("list the extended attributes", errno)),
        }
        let acls = if self.layout.acls { self.read_acls(object, permissions) } else { Ok(()) };
        let xattrs = if self.layout.xattrs { self.read_xattrs(object) } else { Ok(()) };
        acls.and(xattrs)
    }

    fn read_acls(&mut self, object: Object<'_>, permissions: u32) -> Result<(), Line> {
        for (which, acl) in [Which::Access, Which::Default].into_iter().zip(&mut self.of_this) {
            if !self.names.has_acl(which) {
                continue;
            }
            match object.acl(which, &mut self.value) {
                Ok(false) | Err(Errno::NOENT) => continue,
                Ok(true) => {}
                Err(errno) => return Err(failed("read the access control list", errno)),
            }
            let rules = acl::decode(&self.value);
            let rules = rules.ok_or_else(|| Line::new("its access control list is of an unknown form"))?;
            *acl = match which {
                Which::Access => beyond(whole(&rules), permissions),
                Which::Default => whole(&rules),
            };
        }
        Ok(())
    }

    fn read_xattrs(&mut self, object: Object<'_>) -> Result<(), Line> {
        let mut names: Vec<&[u8]> = self.names.kept().map(|(name, _)| name).collect();
        // So that files with the same attributes share a set in whatever order a file system has them.
        names.sort_unstable();
        for name in names {
            let what = || format!("read the extended attribute {}", Line::from_bytes(name));
            match object.attribute(name, &mut self.value) {
                Ok(true) => {}
                Ok(false) | Err(Errno::NOENT) => continue,
                Err(errno) => return Err(failed(&what(), errno)),
            }
            if !self.set.add(name, &self.value) {
                self.set.clear();
                return Err(Line::new("it has more extended attributes than can be sent"));
            }
        }
        Ok(())
    }

    /// Sends what was read, after its entry.
    ///
    /// # Errors
    /// What could not be sent.
    pub(crate) fn send(&mut self, out: &mut Vec<u8>, kind: Kind) -> Result<(Extras, Result<(), Line>), Error> {
        let too_large = || Error::TooLarge { limit: MAX_ENTRIES as u64 };
        let mut extras = Extras::default();
        let mut sent = Ok(());
        if self.layout.acls && kind != Kind::Symlink {
            let both = self.acls.iter_mut().zip(&self.of_this).zip(&mut extras.acls);
            for ((table, acl), number) in both.take(if kind == Kind::Directory { 2 } else { 1 }) {
                *number = table.write(out, acl);
                if number.is_none() {
                    sent = Err(Line::new("the volume has more different access control lists than can be sent"));
                    *number = Some(table.write(out, &Acl::default()).ok_or_else(too_large)?);
                }
            }
        }
        if self.layout.xattrs {
            extras.xattrs = self.xattrs.write(out, &self.set);
            if extras.xattrs.is_none() {
                sent = Err(Line::new("the volume has more different extended attributes than can be sent"));
                extras.xattrs = Some(self.xattrs.write(out, &NewSet::default()).ok_or_else(too_large)?);
            }
        }
        Ok((extras, sent))
    }

    /// Sends those of an earlier entry once more.
    pub(crate) fn send_again(&self, out: &mut Vec<u8>, extras: Extras) {
        let Extras { acls: [access, default], xattrs } = extras;
        for number in [access, default, xattrs].into_iter().flatten() {
            crate::proto::integer::write_bits(out, number + 1);
        }
    }
}

fn failed(what: &str, errno: Errno) -> Line {
    Line::new(format!("{what}: {}", std::io::Error::from(errno)))
}

/// A list in full.
fn whole(rules: &[Rule]) -> Acl {
    let mut acl = Acl::default();
    for Rule { whom, may } in rules {
        match whom {
            Whom::Owner => acl.user = Some(*may),
            Whom::OwningGroup => acl.group = Some(*may),
            Whom::Mask => acl.mask = Some(*may),
            Whom::Other => acl.other = Some(*may),
            Whom::User(id) => acl.named.push(Named { who: Who::User, id: *id, may: *may }),
            Whom::Group(id) => acl.named.push(Named { who: Who::Group, id: *id, may: *may }),
        }
    }
    acl
}

/// What a list says beyond the permissions, which follow the entry in its mode: of its group they are the mask's.
fn beyond(acl: Acl, permissions: u32) -> Acl {
    let Acl { user: _, group, mask, other: _, named } = acl;
    let of_group = u8::try_from(permissions >> 3 & 7).ok();
    if mask.is_none() {
        return Acl::default();
    }
    let mask = if named.is_empty() { mask } else { mask.filter(|_| mask != of_group) };
    Acl { user: None, group: group.filter(|_| group != of_group), mask, other: None, named }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_the_permissions_is_left_out() {
        let named = vec![Named { who: Who::User, id: 1234, may: 5 }];
        let full = |group, mask| Acl {
            user: Some(6),
            group: Some(group),
            mask: Some(mask),
            other: Some(0),
            named: named.clone(),
        };
        // As captured of rsync: `u::rw-,u:1234:r-x,g::r--,m::rwx,o::---` has the mode 0670.
        let sent = beyond(full(4, 7), 0o670);
        assert_eq!(sent, Acl { group: Some(4), named: named.clone(), ..Acl::default() });
        assert_eq!(beyond(full(7, 7), 0o670), Acl { named: named.clone(), ..Acl::default() });
        // It changed between looking at the mode and at the list.
        assert_eq!(beyond(full(4, 5), 0o670).mask, Some(5));
        let minimal = Acl { user: Some(6), group: Some(4), mask: None, other: Some(4), named: vec![] };
        assert_eq!(beyond(minimal, 0o644), Acl::default());
        let nobody_named = Acl { mask: Some(4), named: vec![], ..full(7, 4) };
        assert_eq!(beyond(nobody_named, 0o640), Acl { group: Some(7), mask: Some(4), ..Acl::default() });
    }
}
