//! The source: compares each digest with its own block, and sends what has to change.

use std::io::{Read, Write};

use doppel_contract::{EmptySource, Phase, Tally};
use doppel_volume::monitor::Monitor;

use crate::connection::{Outcome, complete};
use crate::device::{Device, is_zero};
use crate::direct::scan::Scan;
use crate::direct::{exchange, read_byte, read_count, read_failure, tell_failure, write_counts};
use crate::error::Error;
use crate::proto::Malformed;
use crate::proto::direct::{BLOCK, Change, DIGEST, Digest, Held, Hello, KEY};
use crate::send::SendOptions;

pub(crate) fn send<R: Read, W: Write>(
    mut reader: R,
    mut writer: W,
    device: &Device,
    options: &SendOptions,
    monitor: &dyn Monitor,
) -> Result<Outcome, Error> {
    monitor.phase(Phase::Connecting);
    let SendOptions { empty_source, key } = *options;
    let size = device.size();
    let theirs = exchange(&mut reader, &mut writer, &Hello { size, empty_source, key })?;
    if theirs.size < size {
        return Err(Error::TooSmall { source_size: size, destination: theirs.size });
    }
    let before = device.bytes_read();
    monitor.phase(Phase::Transferring);
    monitor.found(1, size);
    monitor.all_found();
    let mut scan = Scan::new(device, size);
    let mut answers = Answers::new(&mut writer, monitor);
    let done = guard(&mut scan, &mut answers, empty_source, &theirs)
        .and_then(|guard| compare(&mut reader, &mut answers, scan, &Means { key, guard }))
        .and_then(|()| answers.end())
        .and_then(|()| until_durable(&mut reader, monitor));
    let tally = answers.tally;
    if let Err(error) = done {
        tell_failure(&mut writer, Change::Failed.encode(), &error);
        return Err(error);
    }
    monitor.done(1, 0);
    let tally = complete(tally, size, device.bytes_read() - before);
    Ok(Outcome { tally, ..Outcome::default() })
}

/// With what blocks are compared, and whether anything may change.
struct Means {
    key: [u8; KEY],
    guard: Guard,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// There is data here, or both ends said that there need not be any.
    Open,
    /// There is none: a destination that has some stays as it is.
    NothingMayChange,
}

fn guard<W: Write>(
    scan: &mut Scan<'_>,
    answers: &mut Answers<'_, W>,
    empty_source: EmptySource,
    destination: &Hello,
) -> Result<Guard, Error> {
    if empty_source == EmptySource::Accept && destination.empty_source == EmptySource::Accept {
        return Ok(Guard::Open);
    }
    if scan.at_end() && destination.size > 0 {
        return Err(Error::EmptySource);
    }
    let data = scan.look_for_data(|| answers.sign_of_life())?;
    Ok(if data { Guard::Open } else { Guard::NothingMayChange })
}

fn compare<W: Write>(
    reader: &mut impl Read,
    answers: &mut Answers<'_, W>,
    mut scan: Scan<'_>,
    means: &Means,
) -> Result<(), Error> {
    while !scan.at_end() {
        match Held::decode(read_byte(reader)?)? {
            Held::Zeros => zeros(read_count(reader)?, answers, &mut scan)?,
            Held::Digest if means.guard == Guard::NothingMayChange => return Err(Error::EmptySource),
            Held::Digest => {
                let mut theirs = [0; DIGEST];
                reader.read_exact(&mut theirs)?;
                differing(theirs, answers, &mut scan, &means.key)?;
            }
            Held::Failed => return Err(read_failure(reader)?),
            Held::Durable => return Err(Malformed::TooShort.into()),
        }
    }
    Ok(())
}

/// So many of the destination's blocks are zeros already.
fn zeros<W: Write>(mut count: u64, answers: &mut Answers<'_, W>, scan: &mut Scan<'_>) -> Result<(), Error> {
    if count == 0 {
        return Err(Malformed::Unexpected { what: "count", value: 0 }.into());
    }
    while count > 0 {
        if scan.at_end() {
            return Err(Malformed::TooFar.into());
        }
        let hole = scan.hole()?.min(count);
        if hole > 0 {
            let bytes = scan.bytes(hole);
            scan.pass(hole)?;
            answers.same(hole, bytes)?;
            count -= hole;
            continue;
        }
        let block = scan.block()?;
        if is_zero(block) {
            answers.same(1, block.len() as u64)?;
        } else {
            answers.data(block)?;
        }
        count -= 1;
    }
    Ok(())
}

/// The destination's block has this digest, and is not zeros.
fn differing<W: Write>(
    theirs: Digest,
    answers: &mut Answers<'_, W>,
    scan: &mut Scan<'_>,
    key: &[u8; KEY],
) -> Result<(), Error> {
    if scan.hole()? > 0 {
        let bytes = scan.bytes(1);
        scan.pass(1)?;
        return answers.zeros(bytes);
    }
    let block = scan.block()?;
    if is_zero(block) {
        answers.zeros(block.len() as u64)
    } else if digest(key, block) == theirs {
        answers.same(1, block.len() as u64)
    } else {
        answers.data(block)
    }
}

/// Until the destination has written all of it to its disk.
fn until_durable(reader: &mut impl Read, monitor: &dyn Monitor) -> Result<(), Error> {
    monitor.phase(Phase::Flushing);
    match Held::decode(read_byte(reader)?)? {
        Held::Durable => Ok(()),
        Held::Failed => Err(read_failure(reader)?),
        Held::Zeros | Held::Digest => Err(Malformed::TooFar.into()),
    }
}

/// A block's digest.
pub(crate) fn digest(key: &[u8; KEY], block: &[u8]) -> Digest {
    let mut digest = [0; DIGEST];
    digest.copy_from_slice(blake3::keyed_hash(key, block).as_bytes().split_at(DIGEST).0);
    digest
}

/// The stream of answers. What is alike is counted and told together.
struct Answers<'a, W> {
    writer: &'a mut W,
    monitor: &'a dyn Monitor,
    tally: Tally,
    alike: Option<(Change, u64)>,
    /// Bytes of the device since the last flush.
    untold: u64,
}

impl<'a, W: Write> Answers<'a, W> {
    /// So many bytes of the device are answered for before the destination hears of it. Nobody waits for it; it shows both
    /// ends that the other one lives.
    const FLUSH: u64 = (64 << 20) / BLOCK * BLOCK;

    fn new(writer: &'a mut W, monitor: &'a dyn Monitor) -> Self {
        Self { writer, monitor, tally: Tally::default(), alike: None, untold: 0 }
    }

    fn same(&mut self, blocks: u64, bytes: u64) -> Result<(), Error> {
        self.tally.matched_bytes += bytes;
        self.count(Change::Same, blocks)?;
        self.told(bytes)
    }

    fn zeros(&mut self, bytes: u64) -> Result<(), Error> {
        self.tally.zeroed_bytes += bytes;
        self.count(Change::Zeros, 1)?;
        self.told(bytes)
    }

    fn data(&mut self, block: &[u8]) -> Result<(), Error> {
        self.tally.literal_bytes += block.len() as u64;
        self.settle()?;
        self.writer.write_all(&[Change::Data.encode()])?;
        self.writer.write_all(block)?;
        self.told(block.len() as u64)
    }

    fn count(&mut self, change: Change, blocks: u64) -> Result<(), Error> {
        match &mut self.alike {
            Some((before, count)) if *before == change => *count += blocks,
            _ => {
                self.settle()?;
                self.alike = Some((change, blocks));
            }
        }
        Ok(())
    }

    fn told(&mut self, bytes: u64) -> Result<(), Error> {
        self.monitor.done(0, bytes);
        self.untold += bytes;
        if self.untold >= Self::FLUSH {
            self.settle()?;
            self.writer.flush()?;
            self.untold = 0;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Error> {
        match self.alike.take() {
            Some((change, count)) => write_counts(self.writer, change.encode(), count),
            None => Ok(()),
        }
    }

    fn sign_of_life(&mut self) -> Result<(), Error> {
        self.writer.write_all(&[Change::Same.encode(), 0, 0, 0, 0])?;
        Ok(self.writer.flush()?)
    }

    fn end(&mut self) -> Result<(), Error> {
        self.settle()?;
        self.writer.write_all(&[Change::End.encode()])?;
        Ok(self.writer.flush()?)
    }
}
