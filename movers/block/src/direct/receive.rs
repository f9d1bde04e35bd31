//! The destination: one thread says what the device holds, another one stores what has to change. What is stored lies
//! always behind what was read, so no block is read after it was written.

use std::io::{self, Read, Write};
use std::thread;

use doppel_contract::{Line, Phase, Tally};
use doppel_volume::monitor::Monitor;

use crate::connection::{Outcome, complete};
use crate::device::{Device, is_zero};
use crate::direct::pace::{Over, Pace};
use crate::direct::scan::Scan;
use crate::direct::send::digest;
use crate::direct::{exchange, read_byte, read_count, read_failure, tell_failure, write_counts, write_failure};
use crate::error::Error;
use crate::proto::Malformed;
use crate::proto::direct::{BLOCK, Blocks, Change, Held, Hello, KEY};
use crate::receive::{Destination, settle_the_rest};

pub(crate) fn receive<R: Read, W: Write + Send>(
    mut reader: R,
    mut writer: W,
    destination: &Destination,
    monitor: &dyn Monitor,
) -> Result<Outcome, Error> {
    let ours = Hello { size: destination.size(), empty_source: destination.empty_source(), key: [0; KEY] };
    let Hello { size, empty_source: _, key } = exchange(&mut reader, &mut writer, &ours)?;
    let device = destination.claim_for(size);
    let device = device.inspect_err(|error| tell_failure(&mut writer, Held::Failed.encode(), error))?;
    let before = device.bytes_read();
    monitor.phase(Phase::Transferring);
    monitor.found(1, size);
    monitor.all_found();
    let tally = store(&mut reader, &mut writer, &Session { device: &device, size, key, monitor })?;
    let mut outcome = Outcome { tally, ..Outcome::default() };
    monitor.phase(Phase::Flushing);
    let settled = settle_the_rest(&device, size, &mut outcome).and_then(|()| Ok(device.sync()?));
    settled.inspect_err(|error| tell_failure(&mut writer, Held::Failed.encode(), error))?;
    writer.write_all(&[Held::Durable.encode()])?;
    writer.flush()?;
    monitor.done(1, 0);
    outcome.tally = complete(outcome.tally, size, device.bytes_read() - before);
    Ok(outcome)
}

struct Session<'s> {
    device: &'s Device,
    size: u64,
    key: [u8; KEY],
    monitor: &'s dyn Monitor,
}

fn store(reader: &mut impl Read, writer: &mut (impl Write + Send), session: &Session<'_>) -> Result<Tally, Error> {
    let pace = Pace::default();
    thread::scope(|scope| {
        let teller = scope.spawn(|| {
            let told = tell(writer, session, &pace);
            if let Err(error) = &told {
                tell_failure(writer, Held::Failed.encode(), error);
            }
            told
        });
        let stored = Changes::new(session, &pace).store(reader);
        match &stored {
            Err(error @ Error::Device(_)) => {
                pace.end(Over::Failed(Line::new(error.to_string())));
                let _ = io::copy(&mut reader.by_ref().take(LISTEN), &mut io::sink());
            }
            Ok(_) | Err(_) => pace.end(Over::Ended),
        }
        let told = teller.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (stored, told) {
            // A device that cannot be read is why the source hung up.
            (_, Err(error @ Error::Device(_))) | (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            (Ok(tally), Ok(())) => Ok(tally),
        }
    })
}

/// A source that is answering does not listen: what it may have to say before it hears of our failure is let in, and thrown
/// away. That is a window of blocks, and what was told since the window was last looked at.
const LISTEN: u64 = 2 * Pace::WINDOW * BLOCK;

/// Says what the device holds, until all is said or need not be said any more.
fn tell(writer: &mut impl Write, session: &Session<'_>, pace: &Pace) -> Result<(), Error> {
    /// Blocks whose digests are sent together, 8 MiB of the device.
    const FLUSH: u64 = (8 << 20) / BLOCK;
    let mut scan = Scan::new(session.device, session.size);
    let (mut zeros, mut unsent) = (0, 0);
    loop {
        let hole = scan.hole()?;
        let passed = if scan.at_end() { 0 } else { hole.max(1) };
        // Before the source can have heard of it.
        pace.tell(passed);
        unsent += passed;
        if hole > 0 {
            scan.pass(hole)?;
            zeros += hole;
        } else if passed > 0 {
            let block = scan.block()?;
            if is_zero(block) {
                zeros += 1;
            } else {
                write_counts(writer, Held::Zeros.encode(), std::mem::take(&mut zeros))?;
                writer.write_all(&[Held::Digest.encode()])?;
                writer.write_all(&digest(&session.key, block))?;
            }
        }
        if unsent >= FLUSH || scan.at_end() {
            write_counts(writer, Held::Zeros.encode(), std::mem::take(&mut zeros))?;
            writer.flush()?;
            unsent = 0;
            let over = if scan.at_end() { Some(pace.wait_for_end()) } else { pace.wait() };
            match over {
                Some(Over::Failed(why)) => return write_failure(writer, Held::Failed.encode(), &why),
                Some(Over::Ended) => return Ok(()),
                None => {}
            }
        }
    }
}

/// The source's stream of answers.
struct Changes<'c> {
    session: &'c Session<'c>,
    pace: &'c Pace,
    blocks: Blocks,
    tally: Tally,
    run: Run,
}

/// Blocks side by side that are written together.
#[derive(Default)]
struct Run {
    offset: u64,
    bytes: Vec<u8>,
}

impl Run {
    const MOST: usize = 1 << 20;
}

impl<'c> Changes<'c> {
    fn new(session: &'c Session<'c>, pace: &'c Pace) -> Self {
        Self { session, pace, blocks: Blocks::of(session.size), tally: Tally::default(), run: Run::default() }
    }

    /// Whole blocks that came before a connection broke are stored too: the next run need not send them again.
    fn store(mut self, reader: &mut impl Read) -> Result<Tally, Error> {
        let ended = self.store_until_end(reader);
        self.flush()?;
        ended.map(|()| self.tally)
    }

    fn store_until_end(&mut self, reader: &mut impl Read) -> Result<(), Error> {
        loop {
            match Change::decode(read_byte(reader)?)? {
                Change::Same => {
                    let count = read_count(reader)?;
                    let bytes = self.advance(count)?;
                    self.tally.matched_bytes += bytes;
                    self.session.monitor.done(0, bytes);
                }
                Change::Zeros => {
                    let count = read_count(reader)?;
                    let offset = self.blocks.offset();
                    let bytes = self.advance(count)?;
                    self.flush()?;
                    self.session.device.zero(offset..offset + bytes)?;
                    self.tally.zeroed_bytes += bytes;
                    self.session.monitor.done(0, bytes);
                }
                Change::Data => self.data(reader)?,
                Change::End if !self.blocks.at_end() => return Err(Malformed::TooShort.into()),
                Change::End => return Ok(()),
                Change::Failed => return Err(read_failure(reader)?),
            }
        }
    }

    fn data(&mut self, reader: &mut impl Read) -> Result<(), Error> {
        let offset = self.blocks.offset();
        let bytes = self.advance(1)?;
        let end = self.run.offset + self.run.bytes.len() as u64;
        if end != offset || self.run.bytes.len() >= Run::MOST {
            self.flush()?;
            self.run.offset = offset;
        }
        let before = self.run.bytes.len();
        // At most a block.
        self.run.bytes.resize(before + usize::try_from(bytes).unwrap_or_default(), 0);
        let read = reader.read_exact(self.run.bytes.get_mut(before..).unwrap_or_default());
        read.inspect_err(|_| self.run.bytes.truncate(before))?;
        self.tally.literal_bytes += bytes;
        self.session.monitor.done(0, bytes);
        Ok(())
    }

    /// Goes on by so many blocks, of which the source must have been told.
    fn advance(&mut self, blocks: u64) -> Result<u64, Malformed> {
        let bytes = self.blocks.bytes(blocks);
        self.blocks.pass(blocks)?;
        if self.pace.answer(self.blocks.done()) { Ok(bytes) } else { Err(Malformed::TooFar) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let written = self.session.device.write(self.run.offset, &self.run.bytes);
        self.run.bytes.clear();
        Ok(written?)
    }
}
