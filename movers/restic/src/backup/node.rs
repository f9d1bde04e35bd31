//! An entry of the volume as a node of a tree, and whether it is what it was.

use doppel_volume::attributes::Object;
use doppel_volume::metadata::{DeviceNumber, Kind, Metadata};
use doppel_volume::xattr::AttributeNames;
use rustix::io::Errno;

use crate::format::tree::{Node, Xattr};

/// The node of an entry, without what depends on its kind. Names of owners are left out: they are those of the volume's
/// owners only where this program runs by chance, and numbers are what is restored.
pub(super) fn node(name: &[u8], metadata: &Metadata, xattrs: Vec<Xattr>) -> Node {
    let kind = metadata.kind;
    let links = match kind {
        Kind::File | Kind::Symlink | Kind::CharacterDevice | Kind::BlockDevice => metadata.links,
        Kind::Directory | Kind::Fifo | Kind::Socket => 0,
    };
    Node {
        name: name.to_vec(),
        kind: Some(kind),
        permissions: metadata.permissions,
        modified: metadata.modified,
        // A time that changes by looking would make every backup a new one; restic does the same.
        accessed: metadata.modified,
        changed: metadata.changed,
        uid: metadata.uid,
        gid: metadata.gid,
        user: String::new(),
        group: String::new(),
        inode: metadata.identity.inode,
        // Only hard links are told by it, and each mount of a volume's copy has another.
        device_id: if links > 1 { metadata.identity.device } else { 0 },
        size: if kind == Kind::File { metadata.size } else { 0 },
        links,
        target: Vec::new(),
        xattrs,
        device: if kind.is_device() { metadata.device_number } else { DeviceNumber::default() },
        content: Vec::new(),
        subtree: None,
    }
}

/// Whether a file is the one that a snapshot has, so that its content need not be read.
pub(super) fn is_unchanged(metadata: &Metadata, before: &Node) -> bool {
    before.kind == Some(Kind::File)
        && before.size == metadata.size
        && before.modified == metadata.modified
        && before.changed == metadata.changed
        && before.inode == metadata.identity.inode
}

/// Reads extended attributes, access control lists among them.
#[derive(Default)]
pub(super) struct XattrReader {
    names: AttributeNames,
    value: Vec<u8>,
}

impl XattrReader {
    /// All of an entry's attributes that there are when they are read; their names may have been seen before.
    pub(super) fn read(
        &mut self,
        object: Object<'_>,
        seen: Option<&Result<AttributeNames, Errno>>,
    ) -> Result<Vec<Xattr>, Errno> {
        let names = match seen {
            Some(seen) => seen.as_ref().map_err(|errno| *errno)?,
            None => {
                object.attribute_names(&mut self.names)?;
                &self.names
            }
        };
        let mut xattrs = Vec::new();
        for name in names.iter() {
            if object.attribute(name, &mut self.value)? {
                xattrs.push(Xattr { name: name.to_vec(), value: self.value.clone() });
            }
        }
        Ok(xattrs)
    }
}
