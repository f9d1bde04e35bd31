//! Telling the client what was stored, for it to compare: the destination reads its files once more.

use std::io::Write;
use std::os::fd::OwnedFd;

use doppel_contract::Line;
use doppel_volume::dirs::Dirs;
use doppel_volume::metadata::Kind;
use doppel_volume::tree::open_file;

use crate::error::Error;
use crate::proto::index::Index;
use crate::proto::request::{Flags, Item};
use crate::serve::generator::Generator;
use crate::serve::shared::State;
use crate::verify;

impl<W: Write> Generator<'_, W> {
    /// Tells the client the checksum of every file that is stored now, for it to compare.
    pub(super) fn verify(&mut self) -> Result<(), Error> {
        let (list, shared) = (&self.job.received.list, self.job.shared);
        let mut files = Dirs::new(self.job.tree);
        for (index, entry) in list.entries().filter(|(_, entry)| entry.is_active() && entry.kind() == Kind::File) {
            if shared.state(index) != State::Stored {
                continue;
            }
            let file = files.open(list.directory(entry.parent)).and_then(|dir| open_file(dir, list.name(&entry)));
            let read =
                |file: OwnedFd| verify::sum(self.writer, self.job.agreed.checksum, |space| verify::read(&file, space));
            match file.map_or_else(|errno| Ok(Err(errno)), read)? {
                Ok(sum) => {
                    self.put(|outgoing, out| {
                        outgoing.write(out, Index::Entry(index));
                        Item::new(Flags::CHECKSUM).write(out);
                        out.extend(sum);
                    })?;
                }
                Err(errno) => {
                    self.leave_out(index, &entry, Line::new(format!("verify: {}", std::io::Error::from(errno))));
                }
            }
        }
        Ok(())
    }
}
