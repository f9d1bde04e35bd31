//! Stores for tests: one in memory, and one that does to another what stores do to their users.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::{Error, Kind, Object, Storage};

/// Objects in memory.
#[derive(Debug, Default)]
pub struct Memory(Mutex<BTreeMap<String, Bytes>>);

impl Memory {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Bytes>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Storage for Memory {
    fn read(&self, name: &str) -> Result<Bytes, Error> {
        let content = self.with(|objects| objects.get(name).cloned());
        content.ok_or_else(|| Error::new(Kind::NotFound, format!("reading {name}"), "there is none"))
    }

    fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Bytes, Error> {
        let content = self.read(name)?;
        crate::error::check_range(name, content.len() as u64, offset, length)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(content.slice(start..start + length))
    }

    fn write(&self, name: &str, content: Bytes) -> Result<(), Error> {
        self.with(|objects| objects.insert(name.to_owned(), content));
        Ok(())
    }

    fn list(&self, folder: &str) -> Result<Vec<Object>, Error> {
        let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        Ok(self.with(|objects| {
            let listed = objects.iter().filter(|(name, _)| name.starts_with(&below));
            listed.map(|(name, content)| Object { name: name.clone(), size: content.len() as u64 }).collect()
        }))
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        self.with(|objects| objects.remove(name));
        Ok(())
    }
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing was done.
    Fails(Kind),
    /// It is done, and fails: the answer was lost.
    LostAnswer,
    /// What is read ends early. A part of an object is an error then, a whole one is short and looks whole.
    Truncated,
    /// What is read has a bit of its middle turned over.
    Wrong,
    /// A listing misses its last object.
    Misses,
}

/// One kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the methods of the trait")]
pub enum Call {
    Read,
    ReadRange,
    Write,
    List,
    Remove,
}

/// A store to which faults happen. Calls are counted from 1; a call that a fault cannot happen to, a listing that is to be
/// truncated for example, is as without it.
#[derive(Debug)]
pub struct Double<S> {
    inner: S,
    fault: Fault,
    when: RangeInclusive<u64>,
    calls: Mutex<Vec<(Call, String)>>,
}

impl<S: Storage> Double<S> {
    /// A store that does only as another one does, and keeps a list of its calls.
    pub fn new(inner: S) -> Self {
        // There is no call 0.
        Self::failing(inner, Fault::LostAnswer, 0..=0)
    }

    /// A store with a fault in these of its calls: `3..=3` is one, `3..=u64::MAX` is a store that never comes back.
    pub fn failing(inner: S, fault: Fault, when: RangeInclusive<u64>) -> Self {
        Self { inner, fault, when, calls: Mutex::default() }
    }

    /// The calls so far, with the names that they were about.
    pub fn calls(&self) -> Vec<(Call, String)> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The store behind.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// The fault that happens to this call, if one does.
    fn count(&self, call: Call, name: &str) -> Option<Fault> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push((call, name.to_owned()));
        self.when.contains(&(calls.len() as u64)).then_some(self.fault)
    }

    fn call<T>(&self, call: Call, name: &str, work: impl FnOnce(&S) -> Result<T, Error>) -> Result<Told<T>, Error> {
        let error = |kind| Error::new(kind, format!("{call:?} {name}"), "a fault of the test");
        match self.count(call, name) {
            Some(Fault::Fails(kind)) => Err(error(kind)),
            Some(Fault::LostAnswer) => work(&self.inner).and_then(|_| Err(error(Kind::Unreachable))),
            fault => Ok(Told { value: work(&self.inner)?, fault }),
        }
    }
}

/// An answer, and how it is to be changed.
struct Told<T> {
    value: T,
    fault: Option<Fault>,
}

impl Told<Bytes> {
    fn content(self) -> Bytes {
        let middle = self.value.len() / 2;
        match self.fault {
            Some(Fault::Truncated) => self.value.slice(..middle),
            Some(Fault::Wrong) => {
                let mut content = self.value.to_vec();
                if let Some(byte) = content.get_mut(middle) {
                    *byte ^= 1;
                }
                content.into()
            }
            _ => self.value,
        }
    }
}

impl<S: Storage> Storage for Double<S> {
    fn read(&self, name: &str) -> Result<Bytes, Error> {
        self.call(Call::Read, name, |inner| inner.read(name)).map(Told::content)
    }

    fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Bytes, Error> {
        let content = self.call(Call::ReadRange, name, |inner| inner.read_range(name, offset, length))?.content();
        // What a store must not do even if it is faulty: return fewer bytes than were asked for.
        if content.len() == length {
            return Ok(content);
        }
        Err(Error::new(Kind::Truncated, format!("reading {name}"), "a fault of the test"))
    }

    fn write(&self, name: &str, content: Bytes) -> Result<(), Error> {
        self.call(Call::Write, name, |inner| inner.write(name, content)).map(drop)
    }

    fn list(&self, folder: &str) -> Result<Vec<Object>, Error> {
        let Told { mut value, fault } = self.call(Call::List, folder, |inner| inner.list(folder))?;
        if fault == Some(Fault::Misses) {
            value.pop();
        }
        Ok(value)
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        self.call(Call::Remove, name, |inner| inner.remove(name)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(fault: Fault, when: RangeInclusive<u64>) -> Double<Memory> {
        let memory = Memory::default();
        memory.write("data/a", Bytes::from_static(b"12345678")).unwrap();
        memory.write("data/b", Bytes::from_static(b"b")).unwrap();
        Double::failing(memory, fault, when)
    }

    #[test]
    fn faults_happen_to_the_calls_that_were_named() {
        let double = double(Fault::Fails(Kind::Unreachable), 2..=3);
        let outcomes: Vec<_> = (0..4).map(|_| double.read("data/a").map_err(|error| error.kind)).collect();
        let good = || Ok(Bytes::from_static(b"12345678"));
        assert_eq!(outcomes, [good(), Err(Kind::Unreachable), Err(Kind::Unreachable), good()]);
        assert_eq!(double.calls(), vec![(Call::Read, "data/a".to_owned()); 4]);
    }

    #[test]
    fn each_fault_does_what_its_name_says() {
        let lost = double(Fault::LostAnswer, 1..=1);
        assert_eq!(lost.remove("data/a").unwrap_err().kind, Kind::Unreachable);
        assert_eq!(lost.read("data/a").unwrap_err().kind, Kind::NotFound);
        let truncated = double(Fault::Truncated, 1..=2);
        assert_eq!(truncated.read("data/a").unwrap(), "1234");
        assert_eq!(truncated.read_range("data/a", 0, 4).unwrap_err().kind, Kind::Truncated);
        let wrong = double(Fault::Wrong, 1..=u64::MAX);
        assert_eq!(wrong.read("data/a").unwrap(), "12344678");
        assert_eq!(wrong.list("data").unwrap().len(), 2);
        assert_eq!(double(Fault::Misses, 1..=1).list("data").unwrap(), [Object { name: "data/a".to_owned(), size: 8 }]);
        assert_eq!(Double::new(Memory::default()).into_inner().list("").unwrap(), []);
    }
}
