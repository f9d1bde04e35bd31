//! diskrsync's tree of hashes over a device: read once, by several threads, each leaf into its place.
//! (diskrsync 1.3.0, `tree.calc`: BLAKE2b-512 without a key; a node's hash is the one of its children's, one after another)
//!
//! It takes 64 bytes a leaf: at most 60 MiB, whatever the size of the device ([`Geometry::leaves`]).

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use blake2::{Blake2b512, Digest};
use doppel_volume::monitor::Monitor;

use crate::device::{Device, DeviceError, Holes, is_zero};
use crate::proto::geometry::Geometry;
use crate::proto::walk::Node;

/// BLAKE2b-512.
pub(crate) type Hash = [u8; 64];

/// The hashes of all nodes.
pub(crate) struct Tree {
    /// By level, the root's first.
    levels: Vec<Vec<Hash>>,
    /// There is nothing but zeros.
    pub(crate) zeros: bool,
}

impl Tree {
    /// Reads the first bytes of the device, as many as the tree covers.
    pub(crate) fn over(device: &Device, geometry: Geometry, monitor: &dyn Monitor) -> Result<Self, DeviceError> {
        let mut leaves = vec![[0; 64]; usize::try_from(geometry.leaves()).unwrap_or_default()];
        let data = AtomicBool::new(false);
        {
            let work = Work {
                device,
                geometry,
                monitor,
                data: &data,
                rest: Mutex::new(leaves.chunks_mut(PORTION).enumerate()),
                failed: AtomicBool::new(false),
            };
            work.share()?;
        }
        let mut levels = vec![leaves];
        let order = usize::try_from(geometry.order()).unwrap_or(1);
        for _ in 1..geometry.levels() {
            let children = levels.last().map(Vec::as_slice).unwrap_or_default();
            levels.push(children.chunks(order).map(|children| hash(children.as_flattened())).collect());
        }
        levels.reverse();
        Ok(Self { levels, zeros: !data.into_inner() })
    }

    /// A node's hash. There are no others than those of its geometry.
    pub(crate) fn hash(&self, node: Node) -> Hash {
        let level = self.levels.get(node.level as usize).map(Vec::as_slice).unwrap_or_default();
        let index = usize::try_from(node.index).unwrap_or(usize::MAX);
        level.get(index).copied().unwrap_or([0; 64])
    }
}

/// Leaves that a thread takes at a time, some 8 MiB: the disk sees long reads, and no thread waits long for the last one.
const PORTION: usize = 64;

/// Threads that read and hash. BLAKE2b keeps up with 1 GB/s each; more would take the workload's processors.
const MOST_THREADS: usize = 4;

struct Work<'w, I> {
    device: &'w Device,
    geometry: Geometry,
    monitor: &'w dyn Monitor,
    data: &'w AtomicBool,
    rest: Mutex<I>,
    failed: AtomicBool,
}

impl<'l, I: Iterator<Item = (usize, &'l mut [Hash])> + Send> Work<'_, I> {
    fn share(&self) -> Result<(), DeviceError> {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MOST_THREADS);
        thread::scope(|scope| {
            let workers: Vec<_> = (1..threads).map(|_| scope.spawn(|| self.work())).collect();
            let mine = self.work();
            workers.into_iter().fold(mine, |all, worker| match worker.join() {
                Ok(result) => all.and(result),
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    fn work(&self) -> Result<(), DeviceError> {
        let mut buffer = Vec::new();
        let mut holes = Holes::new(self.device);
        // Leaves have two lengths, or few.
        let mut hashes_of_zeros = HashMap::new();
        while let Some((portion, leaves)) = self.next() {
            for (index, slot) in leaves.iter_mut().enumerate() {
                let range = self.geometry.leaf((portion * PORTION + index) as u64);
                let length = range.end - range.start;
                buffer.resize(usize::try_from(length).unwrap_or_default(), 0);
                let hole = holes.hole_at(range.start).and_then(|hole| {
                    if hole < length {
                        self.device.read(range.start, &mut buffer)?;
                    }
                    Ok(hole >= length)
                });
                let hole = hole.inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?;
                *slot = if hole {
                    *hashes_of_zeros.entry(length).or_insert_with(|| {
                        buffer.fill(0);
                        hash(&buffer)
                    })
                } else {
                    if !self.data.load(Ordering::Relaxed) && !is_zero(&buffer) {
                        self.data.store(true, Ordering::Relaxed);
                    }
                    hash(&buffer)
                };
                self.monitor.done(0, length);
            }
        }
        Ok(())
    }

    fn next(&self) -> Option<(usize, &'l mut [Hash])> {
        if self.failed.load(Ordering::Relaxed) {
            return None;
        }
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}

fn hash(bytes: &[u8]) -> Hash {
    Blake2b512::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_possible_truncation, reason = "sizes of tests are small")]

    use super::*;
    use doppel_volume::monitor::Silent;
    use std::os::unix::fs::FileExt;

    fn tree(file: &tempfile::NamedTempFile) -> (Tree, Geometry, Device) {
        let device = Device::open_source(file.path()).unwrap();
        let geometry = Geometry::of(device.size());
        (Tree::over(&device, geometry, &Silent).unwrap(), geometry, device)
    }

    #[test]
    fn a_node_is_the_hash_of_its_children_and_a_leaf_of_its_bytes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> = (0..300_001_u32).map(|at| (at % 251) as u8).collect();
        file.as_file().write_all_at(&content, 0).unwrap();
        let (tree, geometry, _) = tree(&file);
        assert_eq!((geometry.levels(), geometry.order(), tree.zeros), (2, 2, false));
        let leaves = [hash(&content[..150_000]), hash(&content[150_000..])];
        assert_eq!(tree.hash(Node { level: 1, index: 0 }), leaves[0]);
        assert_eq!(tree.hash(Node { level: 1, index: 1 }), leaves[1]);
        assert_eq!(tree.hash(Node { level: 0, index: 0 }), hash(leaves.as_flattened()));
    }

    #[test]
    fn a_hole_has_the_hash_of_the_zeros_that_are_not_read() {
        const SIZE: u64 = 40 << 20;
        let (holes, zeros) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        holes.as_file().set_len(SIZE).unwrap();
        zeros.as_file().write_all_at(&vec![0; SIZE as usize], 0).unwrap();
        let (a, _, read) = tree(&holes);
        let (b, _, _) = tree(&zeros);
        assert_eq!(a.levels, b.levels);
        assert!(a.zeros && b.zeros && read.bytes_read() == 0);
        zeros.as_file().write_all_at(&[1], SIZE - 1).unwrap();
        assert!(!tree(&zeros).0.zeros);
    }
}
