//! Reading a tree. Fields that are not known are passed by, as restic does; a tree with a name that is no name, with a name
//! twice or out of order is none: nothing of it may be restored.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use doppel_volume::metadata::Moment;
use doppel_volume::names::Name;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::format::Malformed;
use crate::format::id::Id;
use crate::format::name::unquote;
use crate::format::time::parse_moment;
use crate::format::tree::{KINDS, Node, SPECIAL_BITS, Xattr, split_device};

/// The entries of a tree blob.
pub(crate) fn decode(json: &[u8]) -> Result<Vec<Node>, Malformed> {
    #[derive(Deserialize)]
    struct Tree {
        nodes: Nodes,
    }
    let Tree { nodes: Nodes(nodes) } = serde_json::from_slice(json)?;
    Ok(nodes)
}

/// A single entry.
pub(crate) fn decode_node(json: &[u8]) -> Result<Node, Malformed> {
    serde_json::from_slice::<Raw<'_>>(json)?.check()
}

struct Nodes(Vec<Node>);

impl<'de> Deserialize<'de> for Nodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Nodes;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of nodes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Nodes, A::Error> {
                let mut nodes: Vec<Node> = Vec::new();
                while let Some(raw) = list.next_element::<Raw<'de>>()? {
                    let node = raw.check().map_err(A::Error::custom)?;
                    if nodes.last().is_some_and(|last| last.name >= node.name) {
                        return Err(A::Error::custom("names that are not in order, or one twice"));
                    }
                    nodes.push(node);
                }
                Ok(Nodes(nodes))
            }
            fn visit_unit<E: Error>(self) -> Result<Nodes, E> {
                Ok(Nodes(Vec::new()))
            }
        }
        deserializer.deserialize_any(InOrder)
    }
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(default)]
    mode: u32,
    #[serde(borrow)]
    mtime: Cow<'a, str>,
    #[serde(borrow)]
    atime: Cow<'a, str>,
    #[serde(borrow)]
    ctime: Cow<'a, str>,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(default)]
    user: String,
    #[serde(default)]
    group: String,
    #[serde(default)]
    inode: u64,
    #[serde(default)]
    device_id: u64,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    links: u64,
    #[serde(default)]
    linktarget: String,
    linktarget_raw: Option<String>,
    extended_attributes: Option<Vec<RawXattr>>,
    #[serde(default)]
    device: u64,
    content: Option<Vec<Id>>,
    subtree: Option<Id>,
}

#[derive(Deserialize)]
struct RawXattr {
    name: String,
    value: Option<String>,
}

impl Raw<'_> {
    fn check(self) -> Result<Node, Malformed> {
        let name = unquote(&self.name)?;
        Name::new(&name).map_err(|bad| Malformed::new(bad.to_string()))?;
        let kind = KINDS.iter().find(|(_, kind, _)| *kind == self.kind).map(|(kind, ..)| *kind);
        let target = match self.linktarget_raw {
            Some(raw) => from_base64(&raw)?,
            None => self.linktarget.into_bytes(),
        };
        let xattrs = self.extended_attributes.unwrap_or_default().into_iter().map(|xattr| {
            let value = xattr.value.as_deref().map_or(Ok(Vec::new()), from_base64)?;
            Ok(Xattr { name: xattr.name.into_bytes(), value })
        });
        let special = SPECIAL_BITS.iter().filter(|(_, go)| self.mode & go != 0).fold(0, |bits, (unix, _)| bits | unix);
        let modified = moment(&self.mtime)?;
        Ok(Node {
            name,
            kind,
            permissions: special | (self.mode & 0o777),
            modified,
            accessed: if self.atime == self.mtime { modified } else { moment(&self.atime)? },
            changed: moment(&self.ctime)?,
            uid: self.uid,
            gid: self.gid,
            user: self.user,
            group: self.group,
            inode: self.inode,
            device_id: self.device_id,
            size: self.size,
            links: self.links,
            target,
            xattrs: xattrs.collect::<Result<_, Malformed>>()?,
            device: split_device(self.device),
            content: self.content.unwrap_or_default(),
            subtree: self.subtree,
        })
    }
}

fn moment(text: &str) -> Result<Moment, Malformed> {
    parse_moment(text).ok_or_else(|| Malformed::new(format!("a time that is not RFC 3339: {text}")))
}

fn from_base64(text: &str) -> Result<Vec<u8>, Malformed> {
    STANDARD.decode(text).map_err(|error| Malformed::new(format!("not base64: {error}")))
}
