//! Where an engine reports how far it is. A progress bar, a log and silence are three implementations.

pub use doppel_contract::Phase;

/// Told of progress. Called often, from several threads, so it must be cheap: count, and print elsewhere.
pub trait Monitor: Sync {
    /// Another phase began.
    fn phase(&self, phase: Phase);
    /// This many more entries and bytes of content were found in the source's tree.
    fn found(&self, entries: u64, bytes: u64);
    /// The whole tree is known: what was found until now is the total.
    fn all_found(&self);
    /// This many more entries and bytes of content are done, whether they were moved or found unchanged. Bytes of a large
    /// file are told while it is moved.
    fn done(&self, entries: u64, bytes: u64);
}

/// Tells of the bytes of one file as they are moved, and of no more than it has.
pub struct OneFile<'m> {
    monitor: &'m dyn Monitor,
    left: u64,
}

impl<'m> OneFile<'m> {
    /// A file of `size` bytes.
    pub fn new(monitor: &'m dyn Monitor, size: u64) -> Self {
        Self { monitor, left: size }
    }

    /// So many bytes of it were moved.
    pub fn moved(&mut self, bytes: u64) {
        let count = bytes.min(self.left);
        self.left -= count;
        self.monitor.done(0, count);
    }

    /// It is done, with the bytes that were not moved.
    pub fn end(self) {
        self.monitor.done(1, self.left);
    }
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn phase(&self, _: Phase) {}
    fn found(&self, _: u64, _: u64) {}
    fn all_found(&self) {}
    fn done(&self, _: u64, _: u64) {}
}
