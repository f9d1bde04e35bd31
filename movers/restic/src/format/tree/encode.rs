//! The JSON of a tree, byte for byte as restic writes it.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use doppel_volume::metadata::{DeviceNumber, Kind};

use crate::format::json::write_string;
use crate::format::name::quote;
use crate::format::time::moment_text;
use crate::format::tree::{Node, join_device, kind_and_mode};

/// The tree blob of these entries, which are in the order of their names.
pub(crate) fn encode<'n>(nodes: impl IntoIterator<Item = &'n Node>) -> String {
    let mut text = TreeText::default();
    nodes.into_iter().for_each(|node| text.add(node));
    text.end()
}

/// A tree blob that is written piece by piece.
pub(crate) struct TreeText {
    piece: String,
    has_nodes: bool,
}

impl Default for TreeText {
    fn default() -> Self {
        Self { piece: BEGIN.to_owned(), has_nodes: false }
    }
}

/// How a tree begins.
pub(crate) const BEGIN: &str = "{\"nodes\":[";

impl TreeText {
    /// Adds an entry, which is the next one by its name.
    pub(crate) fn add(&mut self, node: &Node) {
        if self.has_nodes {
            self.piece.push(',');
        }
        self.has_nodes = true;
        write_node(&mut self.piece, node);
    }

    /// What was added since the last piece.
    pub(crate) fn take_piece(&mut self) -> String {
        std::mem::take(&mut self.piece)
    }

    /// The last piece.
    pub(crate) fn end(mut self) -> String {
        self.piece.push_str("]}\n");
        self.piece
    }
}

/// Go's `omitempty` leaves out zeros and empty strings. Writing to a string does not fail.
fn write_node(out: &mut String, node: &Node) {
    let (kind, mode) = kind_and_mode(node);
    out.push_str("{\"name\":");
    write_string(out, quote(&node.name).as_bytes());
    let _ = write!(out, ",\"type\":\"{kind}\"");
    write_number(out, "mode", mode.into());
    let modified = moment_text(node.modified);
    let accessed = if node.accessed == node.modified { None } else { Some(moment_text(node.accessed)) };
    let accessed = accessed.as_ref().unwrap_or(&modified);
    let changed = moment_text(node.changed);
    let _ = write!(out, ",\"mtime\":\"{modified}\",\"atime\":\"{accessed}\",\"ctime\":\"{changed}\"");
    let _ = write!(out, ",\"uid\":{},\"gid\":{}", node.uid, node.gid);
    for (field, text) in [("user", &node.user), ("group", &node.group)] {
        if !text.is_empty() {
            let _ = write!(out, ",\"{field}\":");
            write_string(out, text.as_bytes());
        }
    }
    write_number(out, "inode", node.inode);
    write_number(out, "device_id", node.device_id);
    write_number(out, "size", node.size);
    write_number(out, "links", node.links);
    if !node.target.is_empty() {
        out.push_str(",\"linktarget\":");
        write_string(out, &node.target);
        if std::str::from_utf8(&node.target).is_err() {
            out.push_str(",\"linktarget_raw\":\"");
            STANDARD.encode_string(&node.target, out);
            out.push('"');
        }
    }
    write_xattrs(out, node);
    if node.device != DeviceNumber::default() {
        write_number(out, "device", join_device(node.device));
    }
    write_content(out, node);
    if let Some(subtree) = node.subtree {
        out.push_str(",\"subtree\":\"");
        subtree.write_hex(out);
        out.push('"');
    }
    out.push('}');
}

fn write_xattrs(out: &mut String, node: &Node) {
    for (index, xattr) in node.xattrs.iter().enumerate() {
        out.push_str(if index == 0 { ",\"extended_attributes\":[{\"name\":" } else { ",{\"name\":" });
        write_string(out, &xattr.name);
        out.push_str(",\"value\":\"");
        STANDARD.encode_string(&xattr.value, out);
        out.push_str("\"}");
    }
    if !node.xattrs.is_empty() {
        out.push(']');
    }
}

fn write_content(out: &mut String, node: &Node) {
    if node.kind != Some(Kind::File) {
        out.push_str(",\"content\":null");
        return;
    }
    out.push_str(",\"content\":[");
    for (index, id) in node.content.iter().enumerate() {
        out.push_str(if index == 0 { "\"" } else { ",\"" });
        id.write_hex(out);
        out.push('"');
    }
    out.push(']');
}

fn write_number(out: &mut String, field: &str, number: u64) {
    if number != 0 {
        let _ = write!(out, ",\"{field}\":{number}");
    }
}
