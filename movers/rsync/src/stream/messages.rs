//! What the peer says beside the data.

use doppel_contract::{LeftOut, Line};

use crate::error::Error;
use crate::outcome::Peer;
use crate::proto::frame::{IoErrors, Tag};
use crate::proto::input::Malformed;

/// Keeps what matters of the messages.
#[derive(Debug, Default)]
pub(crate) struct PeerReport {
    /// What the peer could not do.
    pub(crate) problems: LeftOut,
    /// What it could not keep although no data is missing.
    pub(crate) remarks: LeftOut,
    /// How many warnings it gave.
    pub(crate) warnings: u64,
    /// Why its list or transfer is not whole.
    pub(crate) errors: IoErrors,
    /// How many entries it deleted.
    pub(crate) deleted: u64,
    /// Entries that were asked for and will not come; not more than `most_withheld`.
    pub(crate) withheld: Vec<u32>,
    pub(crate) most_withheld: u32,
    pub(crate) peer: Peer,
}

impl PeerReport {
    /// The first thing that the peer complained of.
    pub(crate) fn first_problem(&self) -> Line {
        match self.problems.first.first() {
            Some(problem) => problem.why.clone(),
            None => Line::new("it did not say why"),
        }
    }

    /// A message came.
    pub(crate) fn message(&mut self, tag: Tag, payload: &[u8]) -> Result<(), Error> {
        match tag {
            Tag::ErrorTransfer | Tag::Error => {
                let (path, why) = problem_of(self.peer, payload);
                let list = if self.peer == Peer::Rsync && is_about_extras(payload) {
                    &mut self.remarks
                } else {
                    &mut self.problems
                };
                list.add(path, why);
            }
            Tag::Info => {
                if let Some(name) = skipped(payload).filter(|_| self.peer == Peer::Rsync) {
                    let why = "the destination cannot make a device node without privilege";
                    self.remarks.add(Line::from_bytes(name), Line::new(why));
                }
            }
            Tag::IoError => self.errors = self.errors.and(IoErrors(number(payload)?.cast_unsigned())),
            // The peer has heard that we give up, and waits for us to close.
            Tag::ErrorExit if payload.is_empty() => return Err(Error::Closed),
            Tag::ErrorExit => match number(payload)? {
                0 => {}
                code => return Err(Error::PeerFailed { code, text: self.first_problem() }),
            },
            Tag::Warning => self.warnings += 1,
            Tag::Deleted => self.deleted += 1,
            Tag::NoSend => self.withhold(number(payload)?.cast_unsigned())?,
            Tag::Data | Tag::Log | Tag::IoTimeout | Tag::Noop | Tag::Success => {}
        }
        Ok(())
    }

    fn withhold(&mut self, index: u32) -> Result<(), Malformed> {
        if self.withheld.len() >= self.most_withheld as usize {
            return Err(Malformed::OutOfRange { what: "an index", value: index.into() });
        }
        self.withheld.push(index);
        Ok(())
    }
}

/// Whether an error of rsync's is about access control lists or extended attributes: its receiver is not privileged, or
/// its file system has none. All else about the entry was done. (Observed with rsync 3.2.7 and 3.5.0.)
fn is_about_extras(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 3] = [b"] rsync_xal_set: ", b"] rsync_xal_clear: ", b"] set_acl: "];
    WORDS.iter().any(|words| text.windows(words.len()).any(|window| window == *words))
}

/// The name of an entry that rsync's receiver passed by because it cannot make one of its kind.
fn skipped(text: &[u8]) -> Option<&[u8]> {
    text.trim_ascii().strip_prefix(b"skipping non-regular file \"")?.strip_suffix(b"\"")
}

/// The number that a message carries.
pub(crate) fn number(payload: &[u8]) -> Result<i32, Malformed> {
    let bytes = payload.first_chunk::<4>().filter(|_| payload.len() == 4);
    bytes.map(|bytes| i32::from_le_bytes(*bytes)).ok_or(Malformed::Truncated)
}

/// What is left out, and why, of the text of an error. A Doppel says it in a form that can be taken apart.
pub(crate) fn problem_of(peer: Peer, payload: &[u8]) -> (Line, Line) {
    let text = payload.trim_ascii();
    let between = b": ";
    let split = match peer {
        Peer::Doppel => text.windows(between.len()).position(|window| window == between),
        Peer::Rsync => None,
    };
    match split {
        Some(at) => (
            Line::from_bytes(text.get(..at).unwrap_or_default()),
            Line::from_bytes(text.get(at + between.len()..).unwrap_or_default()),
        ),
        None => (Line::new("said by the peer"), Line::from_bytes(text)),
    }
}

/// The text of an error as [`problem_of`] takes it apart.
pub(crate) fn text_of(path: &Line, why: &Line) -> String {
    format!("{path}: {why}\n")
}
