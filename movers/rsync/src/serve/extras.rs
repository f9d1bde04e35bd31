//! What entries have beyond their metadata: access control lists and extended attributes. What is there already is left
//! alone, so that a run without changes changes nothing; what the source does not have goes.

use std::collections::HashSet;

use doppel_volume::acl::{Rule, Which, Whom, encode};
use doppel_volume::attributes::{Lost, Object};
use doppel_volume::metadata::Metadata;
use doppel_volume::xattr::{AttributeNames, Namespace};
use rustix::io::Errno;

use crate::list::Entry;
use crate::proto::acl::{Acl, Who};
use crate::proto::xattr::{Value, Values};
use crate::serve::attributes::Attributes;

/// The numbers of long extended attributes that an entry lacks, which only the client has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lacking(pub(super) Vec<u32>);

/// The extras that an entry of the volume has.
pub(super) struct Extras<'e> {
    attributes: &'e Attributes<'e>,
    object: Object<'e>,
    names: AttributeNames,
}

impl<'e> Extras<'e> {
    /// Looks at an entry; not closer than by the names of what it has.
    pub(super) fn read(attributes: &'e Attributes<'e>, object: Object<'e>) -> Result<Self, Errno> {
        let mut names = AttributeNames::default();
        if attributes.keep.acls || attributes.keep.xattrs {
            object.attribute_names(&mut names)?;
        }
        Ok(Self::known(attributes, object, names))
    }

    /// Those of an entry that was looked at before.
    pub(super) fn known(attributes: &'e Attributes<'e>, object: Object<'e>, names: AttributeNames) -> Self {
        Self { attributes, object, names }
    }

    /// Whose they are.
    pub(super) fn object(&self) -> Object<'e> {
        self.object
    }

    /// Which extended attributes must be asked for.
    pub(super) fn lacking(&self, entry: &Entry) -> Result<Lacking, Errno> {
        let mut lacking = Lacking::default();
        let Some(set) = self.set(entry) else { return Ok(lacking) };
        let mut old = Vec::new();
        for attribute in self.attributes.received.xattrs.get(set).filter(|attribute| attribute.value.is_long()) {
            if self.may_set(attribute.name) && !self.has(attribute.name, &attribute.value, &mut old)? {
                lacking.0.push(attribute.number);
            }
        }
        Ok(lacking)
    }

    /// Gives the entry, which has `have`, its extended attributes as far as they are known, and takes others from it. Which
    /// must be asked for, and whether the entry had to be opened up for that.
    pub(super) fn give_xattrs(
        &self,
        entry: &Entry,
        have: &Metadata,
        values: &Values,
        lost: &mut Lost,
    ) -> Result<(Lacking, bool), Errno> {
        let (mut lacking, mut opened_up) = (Lacking::default(), false);
        let Some(set) = self.set(entry) else { return Ok((lacking, false)) };
        let mut wanted = HashSet::new();
        let mut old = Vec::new();
        for attribute in self.attributes.received.xattrs.get(set) {
            wanted.insert(attribute.name);
            let value = match (values.get(attribute.number), attribute.value) {
                (Some(value), _) => Value::Whole(value),
                (None, value) => value,
            };
            if self.has(attribute.name, &value, &mut old)? {
                continue;
            }
            match value {
                _ if !self.may_set(attribute.name) => lost.extended = true,
                Value::Whole(value) => {
                    self.change(have, &mut opened_up, lost, |object| object.set_attribute(attribute.name, value))?;
                }
                Value::Long { .. } => lacking.0.push(attribute.number),
            }
        }
        for name in self.names.kept().map(|(name, _)| name).filter(|name| !wanted.contains(name)) {
            if self.may_set(name) {
                self.change(have, &mut opened_up, lost, |object| object.remove_attribute(name))?;
            }
        }
        Ok((lacking, opened_up))
    }

    /// Gives the entry its access control lists, after its permissions, of which they are an extension.
    pub(super) fn give_acls(&self, entry: &Entry, lost: &mut Lost) -> Result<(), Errno> {
        if !self.attributes.keep.acls {
            return Ok(());
        }
        let numbers = self.attributes.list.owner(entry).extras.acls;
        let tables = &self.attributes.received.acls;
        let mut old = Vec::new();
        for ((number, table), which) in numbers.iter().zip(tables).zip([Which::Access, Which::Default]) {
            let Some(acl) = number.and_then(|number| table.get(number)) else { continue };
            let has = self.names.has_acl(which) && self.object.acl(which, &mut old)?;
            let wanted = (!acl.is_empty()).then(|| encode(rules(acl, entry.permissions())));
            if wanted.as_deref() != has.then_some(&*old) {
                lost.acl |= !self.object.set_acl(which, wanted.as_deref())?;
            }
        }
        Ok(())
    }

    fn set(&self, entry: &Entry) -> Option<u32> {
        self.attributes.list.owner(entry).extras.xattrs.filter(|_| self.attributes.keep.xattrs)
    }

    /// Whether this process may be able to give or take an attribute of this name at all.
    fn may_set(&self, name: &[u8]) -> bool {
        match Namespace::of(name) {
            Some(Namespace::User) => true,
            Some(Namespace::Privileged) => self.attributes.privileged,
            None => false,
        }
    }

    /// Whether the entry has this attribute already. One that may not be read may be another.
    fn has(&self, name: &[u8], value: &Value<'_>, old: &mut Vec<u8>) -> Result<bool, Errno> {
        if !self.names.iter().any(|known| known == name) {
            return Ok(false);
        }
        match self.object.attribute(name, old) {
            Ok(has) => Ok(has && value.is(old)),
            Err(Errno::ACCESS | Errno::PERM) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Makes a change; an entry that forbids it to its owner, who is us, is opened up.
    fn change(
        &self,
        have: &Metadata,
        opened_up: &mut bool,
        lost: &mut Lost,
        change: impl Fn(Object<'_>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let mut result = change(self.object);
        if result == Err(Errno::ACCESS) && !*opened_up && self.object.make_writable(have)? {
            *opened_up = true;
            result = change(self.object);
        }
        match result {
            // The file system has none, or none of this kind; or the kernel does not like the value (`INVAL`).
            Err(Errno::ACCESS | Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL) => {
                lost.extended = true;
                Ok(())
            }
            result => result,
        }
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
