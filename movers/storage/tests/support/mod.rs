//! What the tests of stores share: peers, a proxy with faults, and what every store must do.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test program uses its part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail their test"
)]

pub mod peers;
#[path = "../../../transport/tests/support/port.rs"]
mod port;
pub mod proxy;
pub mod sshd;
pub mod swift;

use std::time::{Duration, Instant};

use bytes::Bytes;
use doppel_storage::location::{Location, Proxies, Settings};
use doppel_storage::{Error, Kind, Manners, Object, Storage};

pub use self::port::free_port;

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn settings(pairs: &[(&str, &str)]) -> Settings {
    Settings::new(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())))
}

pub fn location(repository: &str, pairs: &[(&str, &str)]) -> Location {
    Location::parse(repository, &settings(pairs)).unwrap()
}

pub fn open(repository: &str, pairs: &[(&str, &str)]) -> Box<dyn Storage> {
    doppel_storage::open(location(repository, pairs), None, Manners::default()).unwrap()
}

/// A store behind what these keys say, which is given up on after two seconds.
pub fn open_through(repository: &str, pairs: &[(&str, &str)]) -> Box<dyn Storage> {
    let proxies = Proxies::parse(&settings(pairs)).unwrap();
    let manners = Manners { first_patience: Duration::from_secs(2), proxies, ..Manners::default() };
    doppel_storage::open(location(repository, &[]), None, manners).unwrap()
}

/// A store that is given up on after this long.
pub fn open_for(repository: &str, pairs: &[(&str, &str)], patience: Duration) -> Box<dyn Storage> {
    let manners = Manners { first_patience: patience, patience, ..Manners::default() };
    doppel_storage::open(location(repository, pairs), None, manners).unwrap()
}

#[track_caller]
pub fn check_error<T: std::fmt::Debug>(result: Result<T, Error>, kind: Kind, parts: &[&str]) {
    let error = result.unwrap_err();
    let text = error.to_string();
    assert!(error.kind == kind && parts.iter().all(|part| text.contains(part)), "{:?}: {text}", error.kind);
    assert!(!text.contains("hush"), "a secret in {text}");
}

pub fn listed(store: &dyn Storage, folder: &str) -> Vec<Object> {
    let mut objects = store.list(folder).unwrap();
    objects.sort_by(|a, b| a.name.cmp(&b.name));
    objects
}

/// Bytes that no two offsets have alike.
pub fn content(length: usize) -> Bytes {
    let byte = |at: usize| at.wrapping_mul(2_654_435_761).to_be_bytes()[4];
    (0..length).map(byte).collect::<Vec<_>>().into()
}

/// What every store does. It has to be empty.
pub fn does_what_stores_do(store: &dyn Storage) {
    check_error(store.read("config"), Kind::NotFound, &["reading config"]);
    check_error(store.read_range("data/ab/abcd", 0, 1), Kind::NotFound, &["reading data/ab/abcd"]);
    assert_eq!(listed(store, "data"), []);
    assert_eq!(listed(store, ""), []);
    store.remove("locks/1234").unwrap();

    let pack = content(5 << 20);
    store.write("config", Bytes::from_static(b"{}")).unwrap();
    store.write("data/ab/abcd", pack.clone()).unwrap();
    store.write("data/cd/cdef", content(10)).unwrap();
    store.write("keys/1234", content(1)).unwrap();
    store.write("keys/1234", content(1)).unwrap();

    assert_eq!(store.read("config").unwrap(), "{}");
    assert_eq!(store.read("data/ab/abcd").unwrap(), pack);
    let size = pack.len();
    for (offset, length) in [(0, 1), (0, size), (1, 0), (4321, 100_000), (size - 1, 1), (size - 5, 5)] {
        let part = store.read_range("data/ab/abcd", offset as u64, length).unwrap();
        assert_eq!(part, pack[offset..offset + length], "{length} bytes from {offset}");
    }
    for (offset, length) in [(size - 1, 2), (size, 1), (size + 100, 1), (0, size + 1)] {
        let read = store.read_range("data/ab/abcd", offset as u64, length);
        check_error(read, Kind::Truncated, &["data/ab/abcd", "has 5242880 bytes"]);
    }

    let object = |name: &str, size| Object { name: name.to_owned(), size };
    let (first, second) = (object("data/ab/abcd", 5 << 20), object("data/cd/cdef", 10));
    assert_eq!(listed(store, "data"), [first.clone(), second.clone()]);
    assert_eq!(listed(store, "data/cd"), std::slice::from_ref(&second));
    assert_eq!(listed(store, "dat"), []);
    assert_eq!(listed(store, ""), [object("config", 2), first, second, object("keys/1234", 1)]);

    store.remove("data/ab/abcd").unwrap();
    check_error(store.read("data/ab/abcd"), Kind::NotFound, &["reading data/ab/abcd"]);
    store.remove("data/ab/abcd").unwrap();
    assert_eq!(listed(store, "data").len(), 1);
}

/// More objects than any service lists at a time.
pub fn lists_more_than_a_page(store: &dyn Storage) {
    let names: Vec<_> = (0..1100).map(|number| format!("snapshots/{number:04}")).collect();
    std::thread::scope(|scope| {
        for part in names.chunks(names.len() / 5) {
            scope.spawn(move || part.iter().for_each(|name| store.write(name, content(3)).unwrap()));
        }
    });
    let listed: Vec<_> = listed(store, "snapshots").into_iter().map(|object| object.name).collect();
    assert_eq!(listed, names);
}

#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
