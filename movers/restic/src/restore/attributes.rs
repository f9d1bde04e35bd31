//! Giving an entry the attributes that its node has.

use doppel_volume::attributes::{Lost, Object, Wanted};
use doppel_volume::metadata::{Kind, Metadata};
use doppel_volume::xattr::{AttributeNames, Namespace};
use rustix::io::Errno;

use crate::format::tree::Node;
use crate::restore::Job;

/// Access control lists, in the order in which they are given.
const LISTS: [&[u8]; 2] = [b"system.posix_acl_access", b"system.posix_acl_default"];

impl Job<'_> {
    /// Gives `object`, which has `have` and will be at `path`, its attributes; remarks on those that it cannot have.
    pub(super) fn give(&self, object: Object<'_>, have: &Metadata, node: &Node, path: &[u8]) -> Result<(), Errno> {
        let wanted = Wanted {
            permissions: Some(node.permissions),
            uid: Some(node.uid),
            gid: Some(node.gid),
            modified: Some(node.modified),
        };
        let mut lost = Lost::default();
        let chowned = object.apply_owner(have, &wanted, &self.powers, &mut lost)?;
        let mut names = AttributeNames::default();
        object.attribute_names(&mut names)?;
        let opened = self.give_xattrs(object, have, node, &names, &mut lost)?;
        let permissions = if opened { have.permissions | 0o600 } else { have.permissions };
        object.apply_rest(&Metadata { permissions, ..*have }, &wanted, chowned, &mut lost)?;
        if have.kind != Kind::Symlink {
            give_lists(object, node, &names, &mut lost)?;
        }
        if !lost.nothing() {
            self.remark(path, lost.words());
        }
        Ok(())
    }

    /// Whether the entry's permissions had to be widened for it.
    fn give_xattrs(
        &self,
        object: Object<'_>,
        have: &Metadata,
        node: &Node,
        names: &AttributeNames,
        lost: &mut Lost,
    ) -> Result<bool, Errno> {
        let may = |namespace| namespace == Namespace::User || self.privileged;
        let is_wanted = |name: &[u8]| node.xattrs.iter().any(|xattr| xattr.name == name);
        let mut value = Vec::new();
        let mut missing = Vec::new();
        for xattr in &node.xattrs {
            match Namespace::of(&xattr.name) {
                Some(namespace) if may(namespace) => {
                    let is_there = names.iter().any(|name| name == xattr.name);
                    if !is_there || !object.attribute(&xattr.name, &mut value)? || value != xattr.value {
                        missing.push(xattr);
                    }
                }
                Some(_) => lost.extended = true,
                None => {}
            }
        }
        let foreign: Vec<&[u8]> = names
            .kept()
            .filter(|(name, namespace)| may(*namespace) && !is_wanted(name))
            .map(|(name, _)| name)
            .collect();
        let opened = (!missing.is_empty() || !foreign.is_empty()) && object.make_writable(have)?;
        for name in foreign {
            object.remove_attribute(name)?;
        }
        for xattr in missing {
            match object.set_attribute(&xattr.name, &xattr.value) {
                Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOSPC | Errno::TOOBIG) => {
                    lost.extended = true;
                }
                result => result?,
            }
        }
        Ok(opened)
    }
}

fn give_lists(object: Object<'_>, node: &Node, names: &AttributeNames, lost: &mut Lost) -> Result<(), Errno> {
    let mut value = Vec::new();
    for name in LISTS {
        let wanted = node.xattrs.iter().find(|xattr| xattr.name == name);
        let has = names.iter().any(|other| other == name) && object.attribute(name, &mut value)?;
        let given = match wanted {
            Some(wanted) if has && value == wanted.value => Ok(()),
            Some(wanted) => object.set_attribute(name, &wanted.value),
            None if has => object.remove_attribute(name),
            None => Ok(()),
        };
        match given {
            Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::INVAL) => lost.acl = true,
            result => result?,
        }
    }
    Ok(())
}
