//! The destination: sends hashes, stores what differs.

use std::io::{Read, Write};
use std::ops::Range;

use doppel_contract::{EmptySource, Phase};
use doppel_volume::monitor::Monitor;

use crate::connection::{Outcome, complete};
use crate::device::{Device, DeviceError};
use crate::diskrsync::exchange;
use crate::error::Error;
use crate::proto::geometry::Geometry;
use crate::proto::walk::{Ahead, Answer, Walk};
use crate::receive::{Destination, settle_the_rest};
use crate::tree::Tree;

pub(crate) fn receive<R: Read, W: Write>(
    mut reader: R,
    mut writer: W,
    destination: &Destination,
    monitor: &dyn Monitor,
) -> Result<Outcome, Error> {
    let size = exchange(&mut reader, &mut writer, destination.size())?;
    let device = destination.claim_for(size)?;
    // Nobody can tell such a source from one that lost its volume.
    if size == 0 && device.size() > 0 && destination.empty_source() == EmptySource::Refuse {
        return Err(Error::EmptySource);
    }
    let before = device.bytes_read();
    let mut outcome = Outcome::default();
    if size > 0 {
        monitor.phase(Phase::Walking);
        monitor.found(1, size);
        monitor.all_found();
        let geometry = Geometry::of(size);
        let tree = Tree::over(&device, geometry, monitor)?;
        monitor.phase(Phase::Transferring);
        store(&mut reader, &mut writer, &Storage { device: &device, geometry, tree, monitor }, &mut outcome)?;
    }
    monitor.phase(Phase::Flushing);
    settle_the_rest(&device, size, &mut outcome)?;
    device.sync()?;
    monitor.done(1, 0);
    outcome.tally = complete(outcome.tally, size, device.bytes_read() - before);
    Ok(outcome)
}

struct Storage<'s> {
    device: &'s Device,
    geometry: Geometry,
    tree: Tree,
    monitor: &'s dyn Monitor,
}

/// The walk through the tree. Only lengths of the geometry are ever read: the source chooses none.
fn store(
    reader: &mut impl Read,
    writer: &mut impl Write,
    storage: &Storage<'_>,
    outcome: &mut Outcome,
) -> Result<(), Error> {
    let Storage { device, geometry, tree, monitor } = storage;
    let (mut walk, mut ahead) = (Walk::new(*geometry), Ahead::new(*geometry));
    let mut leaf = Vec::new();
    while let Some(node) = walk.here() {
        let mut asked = false;
        for node in ahead.by_ref() {
            writer.write_all(&tree.hash(node))?;
            asked = true;
        }
        if asked {
            writer.flush()?;
        }
        let is_leaf = walk.is_leaf(node);
        let range = walk.range(node);
        let length = range.end - range.start;
        let mut byte = [0];
        reader.read_exact(&mut byte)?;
        let [byte] = byte;
        match Answer::decode(byte, is_leaf)? {
            Answer::Equal => {
                outcome.tally.matched_bytes += length;
                walk.pass();
            }
            Answer::Differs if !is_leaf => walk.descend(),
            Answer::Differs => {
                outcome.tally.literal_bytes += length;
                leaf.resize(usize::try_from(length).unwrap_or_default(), 0);
                reader.read_exact(&mut leaf)?;
                changed(*monitor, range, |range| device.write(range.start, &leaf))?;
                walk.pass();
            }
            Answer::Zeros => {
                outcome.tally.zeroed_bytes += length;
                changed(*monitor, range, |range| device.zero(range))?;
                walk.pass();
            }
        }
        if !is_leaf {
            ahead.resume(&walk);
        }
    }
    Ok(())
}

fn changed(
    monitor: &dyn Monitor,
    range: Range<u64>,
    store: impl FnOnce(Range<u64>) -> Result<(), DeviceError>,
) -> Result<(), DeviceError> {
    let length = range.end - range.start;
    monitor.found(0, length);
    store(range)?;
    monitor.done(0, length);
    Ok(())
}
