//! What becomes of symbolic links at a stock daemon.
//!
//! VolSync's destination disguises links while it receives them and restores them in the end; before version 0.16 it did
//! not, and rsync's daemon then rewrites every target so that it cannot lead out of the module. Nothing that a client sends
//! gets around that. So a source looks at one link that such a daemon would have changed: it comes back as it was sent from
//! a daemon that disguises, for that takes the disguise off again, and changed from the other.

use std::io::{Read, Write};

use doppel_contract::{LeftOut, Line};
use doppel_volume::metadata::Kind;

use crate::error::Error;
use crate::list::receive::{IdNames, Limits, Received};
use crate::proto::arguments::Arguments;
use crate::proto::keep::Keep;
use crate::push::scan::layout;
use crate::push::{Connection, DATA};
use crate::session::client;
use crate::stream::reader::Reader;
use crate::stream::writer::Writer;

/// The links of a tree that would be changed by a daemon that rewrites targets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fragile {
    /// All of them.
    pub links: LeftOut,
    /// One of them, to look at.
    pub probe: Option<Probe>,
}

/// A link, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Its path.
    pub path: Vec<u8>,
    /// Its target, as it was sent.
    pub target: Vec<u8>,
}

impl Fragile {
    /// A link of the tree.
    pub(crate) fn add(&mut self, path: &[u8], target: &[u8]) {
        let depth = path.iter().filter(|&&byte| byte == b'/').count();
        if stays(target, depth) {
            return;
        }
        if self.links.first.len() == LeftOut::LISTED {
            self.links.count += 1;
        } else {
            let why = "this destination changes where links lead that point out of the volume, or there by a detour, as \
                       VolSync before 0.16 does";
            self.links.add(Line::from_bytes(path), Line::new(format!("link to {}: {why}", Line::from_bytes(target))));
            self.probe.get_or_insert_with(|| Probe { path: path.to_vec(), target: target.to_vec() });
        }
    }
}

/// Whether a daemon that rewrites targets leaves this one as it is, of a link beneath so many directories: it must not lead
/// further up than they do, or anywhere by a detour. (Observed of rsync 3.2.7 and 3.5.0.)
fn stays(target: &[u8], depth: usize) -> bool {
    if target == b"." {
        return true;
    }
    let steps = target.strip_suffix(b"/").unwrap_or(target);
    let mut up = 0;
    let mut down = steps.split(|&byte| byte == b'/').skip_while(|step| {
        let is_up = *step == b".." && up < depth;
        up += usize::from(is_up);
        is_up
    });
    down.all(|step| !matches!(step, b"" | b"." | b".."))
}

/// Looks at a link in the module `data`: where it leads, if there is such a link.
///
/// # Errors
/// When the session failed, or the daemon could not look itself: there is nothing at the path, or it cannot be read.
pub fn look<R: Read, W: Write>(connection: Connection<R, W>, path: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let mut reader = Reader::new(connection.reader);
    let mut writer = Writer::new(connection.writer);
    let daemon = client::enter(&mut reader, &mut writer, DATA)?;
    let keep = Keep { links: true, ..Keep::default() };
    let path_there = [DATA.as_bytes(), b"/", path].concat();
    let arguments = Arguments { sender: true, keep, path: path_there, ..Arguments::default() };
    client::negotiate(&mut reader, &mut writer, &daemon, &arguments)?;
    // No rules.
    writer.put(&0_i32.to_le_bytes())?;
    writer.flush()?;
    let ids = IdNames { follow: false, root_is_named: false };
    let received = Received::read(&mut reader, layout(&keep, daemon.protocol), ids, LIST)?;
    // Nothing of it is wanted: all phases end at once, and so does the session.
    writer.put(&[0; 5])?;
    writer.flush()?;
    reader.drain(FAREWELL);
    let report = reader.messages();
    if report.problems.count > 0 {
        // As rsync ends when it could not read something.
        return Err(Error::PeerFailed { code: 23, text: report.first_problem() });
    }
    // A path that a daemon takes for a pattern may bring others along.
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let mut links = received.list.entries().map(|(_, entry)| entry).filter(|entry| entry.kind() == Kind::Symlink);
    let link = links.find(|entry| received.list.name(entry).bytes() == name);
    Ok(link.map(|entry| received.list.target(&entry).to_vec()))
}

/// One entry is asked for. A path that a daemon takes for a pattern brings along what else matches in its directory, seldom
/// more than this; 512 bytes are room enough for each.
const LIST: Limits = Limits { entries: 1 << 16, memory: 32 << 20 };

/// What a daemon says after a list of one is not longer: ends of phases, statistics, perhaps a message.
const FAREWELL: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plainest_targets_stay_as_they_are() {
        for (target, depth) in [
            ("a", 0),
            ("a/b", 0),
            ("a/", 0),
            (".", 0),
            ("...", 0),
            ("..a/a..", 0),
            ("..", 1),
            ("../", 1),
            ("../x", 1),
            ("../../x/y/", 2),
        ] {
            assert!(stays(target.as_bytes(), depth), "{target}");
        }
        for (target, depth) in [
            ("/", 9),
            ("/a", 9),
            ("//a", 9),
            ("..", 0),
            ("../x", 0),
            ("../../x", 1),
            ("a/../b", 9),
            ("../a/..", 9),
            ("./a", 9),
            ("a/.", 9),
            ("./", 9),
            ("a//b", 9),
            ("a//", 9),
        ] {
            assert!(!stays(target.as_bytes(), depth), "{target}");
        }
    }
}
