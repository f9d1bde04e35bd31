//! Stores that fail, and that wait.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use bytes::Bytes;
use doppel_storage::folder::Folder;
use doppel_storage::{Error, Kind, Object, Part, Storage};

/// Changes so many objects, and then none any more: what a store sees of a program that is killed.
pub struct Dying {
    inner: Folder,
    changes_left: AtomicI64,
}

impl Dying {
    pub fn after(inner: Folder, changes: i64) -> Self {
        Self { inner, changes_left: AtomicI64::new(changes) }
    }

    fn change(&self, what: &str) -> Result<(), Error> {
        match self.changes_left.fetch_sub(1, Ordering::SeqCst) {
            left if left > 0 => Ok(()),
            _ => Err(Error::new(Kind::Unreachable, what, "the program was killed before this")),
        }
    }

    /// Whether it did all that it was asked for.
    pub fn survived(&self) -> bool {
        self.changes_left.load(Ordering::SeqCst) >= 0
    }
}

impl Storage for Dying {
    fn read(&self, name: &str) -> Result<Bytes, Error> {
        self.inner.read(name)
    }

    fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Bytes, Error> {
        self.inner.read_range(name, offset, length)
    }

    fn write(&self, name: &str, content: Bytes) -> Result<(), Error> {
        self.change(name)?;
        self.inner.write(name, content)
    }

    fn list(&self, folder: &str) -> Result<Vec<Object>, Error> {
        self.inner.list(folder)
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        self.change(name)?;
        self.inner.remove(name)
    }
}

/// Waits before it writes its first pack: says that it does, and goes on when it is told.
pub struct Waiting {
    inner: Folder,
    gate: Mutex<Option<(Sender<()>, Receiver<()>)>>,
}

impl Waiting {
    pub fn new(inner: Folder, waits: Sender<()>, go_on: Receiver<()>) -> Self {
        Self { inner, gate: Mutex::new(Some((waits, go_on))) }
    }
}

impl Storage for Waiting {
    fn read(&self, name: &str) -> Result<Bytes, Error> {
        self.inner.read(name)
    }

    fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Bytes, Error> {
        self.inner.read_range(name, offset, length)
    }

    fn write(&self, name: &str, content: Bytes) -> Result<(), Error> {
        if name.starts_with("data/")
            && let Some((waits, go_on)) = self.gate.lock().unwrap().take()
        {
            waits.send(()).unwrap();
            go_on.recv().unwrap();
        }
        self.inner.write(name, content)
    }

    fn list(&self, folder: &str) -> Result<Vec<Object>, Error> {
        self.inner.list(folder)
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        self.inner.remove(name)
    }
}

/// Answers of several parts all but the last, without a word of it.
pub struct Forgetful {
    inner: Folder,
    left_out: AtomicI64,
}

impl Forgetful {
    pub fn new(inner: Folder) -> Self {
        Self { inner, left_out: AtomicI64::new(0) }
    }

    /// Parts that it did not answer.
    pub fn left_out(&self) -> i64 {
        self.left_out.load(Ordering::SeqCst)
    }
}

impl Storage for Forgetful {
    fn read(&self, name: &str) -> Result<Bytes, Error> {
        self.inner.read(name)
    }

    fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Bytes, Error> {
        self.inner.read_range(name, offset, length)
    }

    fn read_ranges(&self, parts: &[Part]) -> Vec<Result<Bytes, Error>> {
        let mut answers = self.inner.read_ranges(parts);
        if answers.pop().is_some() {
            self.left_out.fetch_add(1, Ordering::SeqCst);
        }
        answers
    }

    fn write(&self, name: &str, content: Bytes) -> Result<(), Error> {
        self.inner.write(name, content)
    }

    fn list(&self, folder: &str) -> Result<Vec<Object>, Error> {
        self.inner.list(folder)
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        self.inner.remove(name)
    }
}

/// A store that does not answer.
pub struct Unreachable;

impl Unreachable {
    fn fail<T>(what: &str) -> Result<T, Error> {
        Err(Error::new(Kind::Unreachable, what, "no route to host"))
    }
}

impl Storage for Unreachable {
    fn read(&self, name: &str) -> Result<Bytes, Error> {
        Self::fail(name)
    }

    fn read_range(&self, name: &str, _: u64, _: usize) -> Result<Bytes, Error> {
        Self::fail(name)
    }

    fn write(&self, name: &str, _: Bytes) -> Result<(), Error> {
        Self::fail(name)
    }

    fn list(&self, folder: &str) -> Result<Vec<Object>, Error> {
        Self::fail(folder)
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        Self::fail(name)
    }
}
