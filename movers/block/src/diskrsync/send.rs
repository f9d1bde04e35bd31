//! The source: answers to each hash of the destination.

use std::io::{Read, Write};

use doppel_contract::{EmptySource, Phase, Tally};
use doppel_volume::monitor::Monitor;

use crate::connection::{Outcome, complete};
use crate::device::{Device, Holes, is_zero};
use crate::diskrsync::exchange;
use crate::error::Error;
use crate::proto::geometry::Geometry;
use crate::proto::walk::{Answer, Walk};
use crate::tree::{Hash, Tree};

pub(crate) fn send<R: Read, W: Write>(
    mut reader: R,
    mut writer: W,
    device: &Device,
    empty_source: EmptySource,
    monitor: &dyn Monitor,
) -> Result<Outcome, Error> {
    monitor.phase(Phase::Connecting);
    let size = device.size();
    let destination = exchange(&mut reader, &mut writer, size)?;
    if destination < size {
        return Err(Error::TooSmall { source_size: size, destination });
    }
    let before = device.bytes_read();
    if size == 0 && destination > 0 && empty_source == EmptySource::Refuse {
        return Err(Error::EmptySource);
    }
    let mut tally = Tally::default();
    if size > 0 {
        tally = compare(&mut reader, &mut writer, device, (empty_source, monitor))?;
    }
    monitor.done(1, 0);
    let tally = complete(tally, size, device.bytes_read() - before);
    Ok(Outcome { tally, ..Outcome::default() })
}

fn compare(
    reader: &mut impl Read,
    writer: &mut impl Write,
    device: &Device,
    (empty_source, monitor): (EmptySource, &dyn Monitor),
) -> Result<Tally, Error> {
    let size = device.size();
    monitor.phase(Phase::Walking);
    monitor.found(1, size);
    monitor.all_found();
    let geometry = Geometry::of(size);
    let tree = Tree::over(device, geometry, monitor)?;

    monitor.phase(Phase::Transferring);
    let mut tally = Tally::default();
    let mut walk = Walk::new(geometry);
    let mut holes = Holes::new(device);
    let mut leaf = Vec::new();
    while let Some(node) = walk.here() {
        let mut theirs: Hash = [0; 64];
        reader.read_exact(&mut theirs)?;
        let range = walk.range(node);
        let length = range.end - range.start;
        if theirs == tree.hash(node) {
            tally.matched_bytes += length;
            answer(writer, Answer::Equal, &[])?;
            walk.pass();
            continue;
        }
        if tree.zeros && empty_source == EmptySource::Refuse {
            return Err(Error::EmptySource);
        }
        if !walk.is_leaf(node) {
            answer(writer, Answer::Differs, &[])?;
            walk.descend();
            continue;
        }
        monitor.found(0, length);
        leaf.resize(usize::try_from(length).unwrap_or_default(), 0);
        let hole = holes.hole_at(range.start)? >= length;
        if !hole {
            device.read(range.start, &mut leaf)?;
        }
        if hole || is_zero(&leaf) {
            tally.zeroed_bytes += length;
            answer(writer, Answer::Zeros, &[])?;
        } else {
            tally.literal_bytes += length;
            answer(writer, Answer::Differs, &leaf)?;
        }
        monitor.done(0, length);
        walk.pass();
    }
    Ok(tally)
}

/// The destination waits for it: at once.
fn answer(writer: &mut impl Write, answer: Answer, data: &[u8]) -> Result<(), Error> {
    writer.write_all(&[answer.encode()])?;
    writer.write_all(data)?;
    Ok(writer.flush()?)
}
