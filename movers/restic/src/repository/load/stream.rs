//! Reading a tree entry by entry, while its text is read: a directory of a million files has 300 MB of it.

use std::io::{ErrorKind, Read};

use crate::format::Malformed;
use crate::format::tree::{BEGIN, Node, decode_node};

/// Reads a tree as restic writes it: nothing before its nodes, and nothing after them. [`crate::format::tree::decode`] reads all others.
pub(crate) struct NodeReader<R> {
    text: R,
    buffer: Vec<u8>,
    /// What of the buffer is not used yet.
    start: usize,
    /// The last name.
    last: Vec<u8>,
    ended: bool,
}

/// What is read at once. An entry is as long as it is: a file of 1 TiB has some 70 MB of it.
const PIECE: usize = 64 << 10;

impl<R: Read> NodeReader<R> {
    pub(crate) fn new(text: R) -> Result<Self, Malformed> {
        let mut reader = Self { text, buffer: Vec::new(), start: 0, last: Vec::new(), ended: false };
        while reader.buffer.len() < BEGIN.len() && reader.fill()? {}
        reader.start = BEGIN.len();
        if reader.buffer.starts_with(BEGIN.as_bytes()) {
            Ok(reader)
        } else {
            Err(Malformed::new("a tree that does not begin with its nodes"))
        }
    }

    /// The next entry; none after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Node>, Malformed> {
        if self.ended {
            return Ok(None);
        }
        let mut braces = Braces::default();
        let mut searched = 0;
        let len = loop {
            let unsearched = self.buffer.get(self.start + searched..).unwrap_or_default();
            if let Some(len) = braces.end(unsearched) {
                break searched + len;
            }
            searched += unsearched.len();
            if braces.depth == 0 && self.is_end()? {
                self.ended = true;
                return Ok(None);
            }
            if !self.fill()? {
                return Err(Malformed::new("a tree that ends within an entry"));
            }
        };
        let entry = self.buffer.get(self.start..self.start + len).unwrap_or_default();
        let is_first = self.last.is_empty();
        let json = if is_first { entry } else { entry.strip_prefix(b",").unwrap_or_default() };
        let node = decode_node(json)?;
        if !is_first && self.last >= node.name {
            return Err(Malformed::new("names that are not in order, or one twice"));
        }
        self.last.clone_from(&node.name);
        self.start += len;
        Ok(Some(node))
    }

    /// The text, after its last entry.
    pub(crate) fn into_text(self) -> R {
        self.text
    }

    /// Whether what follows is the end of the tree, and nothing is behind it.
    fn is_end(&mut self) -> Result<bool, Malformed> {
        while self.buffer.len() - self.start < b"]}\n".len() && self.fill()? {}
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        Ok((rest == b"]}\n" || rest == b"]}") && !self.fill()?)
    }

    /// Reads more; whether there is more.
    fn fill(&mut self) -> Result<bool, Malformed> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled + PIECE, 0);
        let count = loop {
            match self.text.read(self.buffer.get_mut(filled..).unwrap_or_default()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let count = count.map_err(|error| Malformed::new(error.to_string()))?;
        self.buffer.truncate(filled + count);
        Ok(count > 0)
    }
}

/// Finds the end of an object: its last brace, those within strings not counted.
#[derive(Default)]
struct Braces {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Braces {
    /// Bytes up to the end, if it is in these, which follow those before.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        for (index, byte) in bytes.iter().enumerate() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' if !self.in_string => self.depth += 1,
                b'}' if !self.in_string && self.depth == 1 => return Some(index + 1),
                b'}' if !self.in_string => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        None
    }
}
