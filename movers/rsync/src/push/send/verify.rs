//! Comparing what the peer stored with what is here: it tells its checksums, and the source reads its files once more.

use std::io::{Read, Write};

use crate::error::Error;
use crate::proto::frame::IoErrors;
use crate::proto::input::{Input, Malformed};
use crate::proto::request::{Flags, Item};
use crate::push::content::{Consistent, Content};
use crate::push::send::Sender;
use crate::verify;

impl<R: Read, W: Write, C: Content> Sender<R, W, C> {
    /// The peer tells the checksum of what it has: compares, if that was agreed on.
    pub(super) fn verify(&mut self, index: u32) -> Result<(), Error> {
        let mut item = Item::default();
        item.read(&mut self.reader)?;
        if !self.agreed.verifies
            || item.flags != Flags::CHECKSUM
            || index >= self.content.len()
            || !self.content.has_content(index)
        {
            return Err(Malformed::unexpected("a request after the last try").into());
        }
        let theirs = self.reader.take(self.agreed.checksum.len() as usize)?.to_vec();
        if !self.asked.insert(index) {
            return Err(Malformed::unexpected("a second checksum of the same content").into());
        }
        self.content.reached(index);
        let differs = match self.content.open(index) {
            Ok(_) => {
                let Self { content, writer, .. } = self;
                let ours = verify::sum(writer, self.agreed.checksum, |space| content.read(space))?;
                let read = ours.as_ref().map(|_| ()).map_err(|errno| *errno);
                let consistent = self.content.close(index, read);
                ours.is_ok_and(|ours| ours != theirs || consistent != Consistent::Yes)
            }
            // Why there is nothing to compare with was noted.
            Err(_) => false,
        };
        if differs {
            self.content.differs(index);
        }
        self.tell(IoErrors::default())
    }

    /// The peer has told all checksums that it will tell. What it could not store or read it has said, and that the run is
    /// not complete is known then.
    pub(super) fn expect_all_verified(&mut self) {
        if self.reader.messages().problems.is_empty() {
            self.content.expect_verified(&self.asked);
        }
    }
}
