//! A Doppel source, and rsync as the daemon, configured as VolSync's destination is.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use doppel_contract::{EmptySource, Verification};
use doppel_rsync::error::Error;
use doppel_rsync::links::{Probe, look};
use doppel_rsync::outcome::Peer;
use doppel_rsync::push::{Connection, PushOptions, Pushed, push};
use doppel_rsync::upload::{COMPLETE, CONTROL, SYMLINKS, upload};
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;
use support::programs::Rsync;
use support::stock::Daemon;
use support::{assert_same_but, noise, tree_of_everything, two, write};

with_both_versions! {
    a_tree_of_everything_becomes_the_same_tree
    changes_in_large_files_are_sent_as_such
    links_that_the_daemon_disguises_are_listed_for_it
    links_that_a_daemon_changes_are_known_and_one_look_tells_whether_it_does
    a_link_that_cannot_be_listed_is_reported
    an_empty_source_does_not_empty_a_destination
    a_daemon_that_refuses_is_named_as_the_reason
    a_peer_of_protocol_30_is_understood
    a_stock_daemon_cannot_be_verified_and_gets_nothing
}

/// Without a disguise the daemon changes targets that lead out of its module.
const LEADING_OUT: &[&str] = &["dir/absolute", "dir/dangling"];

fn push_to(daemon: &Daemon, source: &std::path::Path, empty_source: EmptySource) -> Result<Pushed, Error> {
    let tree = Tree::open(source).unwrap();
    push(daemon.connect(), &tree, &PushOptions { empty_source, verification: Verification::None }, &Silent)
}

fn push_well(daemon: &Daemon, source: &std::path::Path) -> Pushed {
    let pushed = push_to(daemon, source, EmptySource::Refuse).unwrap();
    assert!(pushed.outcome.left_out.is_empty(), "{:?}", pushed.outcome.left_out);
    assert_eq!(pushed.outcome.peer, Peer::Rsync);
    pushed
}

fn a_tree_of_everything_becomes_the_same_tree(rsync: Rsync) {
    let (source, destination) = two();
    tree_of_everything(source.path());
    write(&destination.path().join("extra/tree/file"), "x");
    write(&destination.path().join("lost+found/entry"), "x");
    let daemon = Daemon::start(rsync, destination.path(), false, "");
    let pushed = push_well(&daemon, source.path());
    assert_same_but(source.path(), destination.path(), LEADING_OUT);
    assert!(destination.path().join("lost+found/entry").exists());
    assert_eq!(pushed.outcome.tally.deleted, 3);
    let again = push_well(&daemon, source.path());
    assert_eq!((again.outcome.tally.files_sent, again.outcome.tally.deleted), (0, 0));
    assert_same_but(source.path(), destination.path(), LEADING_OUT);
}

fn changes_in_large_files_are_sent_as_such(rsync: Rsync) {
    let (source, destination) = two();
    tree_of_everything(source.path());
    let daemon = Daemon::start(rsync, destination.path(), false, "");
    push_well(&daemon, source.path());
    let mut content = std::fs::read(source.path().join("large")).unwrap();
    content.splice(300_000..300_005, noise(4000, 77));
    content.drain(700_000..700_500);
    write(&source.path().join("large"), content);
    let pushed = push_well(&daemon, source.path());
    assert_same_but(source.path(), destination.path(), LEADING_OUT);
    assert!(pushed.outcome.tally.literal_bytes < 10_000, "{:?}", pushed.outcome.tally);
}

fn links_that_the_daemon_disguises_are_listed_for_it(rsync: Rsync) {
    let (source, destination) = two();
    tree_of_everything(source.path());
    let daemon = Daemon::start(rsync, destination.path(), true, "");
    let pushed = push_well(&daemon, source.path());
    let target = std::fs::read_link(destination.path().join("link")).unwrap();
    assert_eq!(target.to_str(), Some("/rsyncd-munged/hello.txt"));
    assert_eq!(pushed.symlinks, b"link\ndir/absolute\ndir/dangling\n");
    upload(daemon.connect(), CONTROL, SYMLINKS, &pushed.symlinks).unwrap();
    upload(daemon.connect(), CONTROL, COMPLETE, b"complete\n").unwrap();
    assert_eq!(std::fs::read(daemon.control(SYMLINKS)).unwrap(), pushed.symlinks);
    assert_eq!(std::fs::read(daemon.control(COMPLETE)).unwrap(), b"complete\n");
    // Again, with another content of the same length.
    upload(daemon.connect(), CONTROL, COMPLETE, b"COMPLETE\n").unwrap();
    assert_eq!(std::fs::read(daemon.control(COMPLETE)).unwrap(), b"COMPLETE\n");
}

/// VolSync before 0.16 does not disguise links. The daemon judges whether we know what it changes.
fn links_that_a_daemon_changes_are_known_and_one_look_tells_whether_it_does(rsync: Rsync) {
    let (source, destination) = two();
    let targets = "a ./a a/./b a//b .. ../x ../../x ../../../x a/../b a/../../b /abs //abs a/ . ./ ../d/../x ../ ../../ / /.. \
                   a/.. x/y/../.. ./../x .//x ... ..a a.. ../.. /a/./b/../c ../d2/./x ../d2//x x/. x/./ ./.. ../x/ ../.../y";
    for directory in ["", "d", "d/e"] {
        std::fs::create_dir_all(source.path().join(directory)).unwrap();
        for (number, target) in targets.split_whitespace().enumerate() {
            std::os::unix::fs::symlink(target, source.path().join(directory).join(format!("{number}"))).unwrap();
        }
    }
    // Names that a daemon takes for patterns.
    for name in ["a*", "a[1]", "b\\c", "c*\\d?", "-e", "new\nline", " "] {
        std::os::unix::fs::symlink("/out", source.path().join("d").join(name)).unwrap();
    }
    for munge in [false, true] {
        let daemon = Daemon::start(rsync, destination.path(), munge, "");
        let pushed = push_to(&daemon, source.path(), EmptySource::Refuse).unwrap();
        let read = |root: &Path, path: &Path| std::fs::read_link(root.join(path)).unwrap().into_os_string().into_vec();
        let mut changed = 0;
        for path in links_of(source.path()) {
            let (sent, stored) = (read(source.path(), &path), read(destination.path(), &path));
            let seen = look(daemon.connect(), path.as_os_str().as_bytes()).unwrap();
            if munge {
                assert_eq!(seen, Some(sent), "{}", path.display());
            } else {
                changed += u64::from(sent != stored);
                assert_eq!(seen, Some(stored), "{}", path.display());
            }
        }
        if !munge {
            assert_eq!(pushed.fragile.links.count, changed);
        }
        assert_eq!(look(daemon.connect(), b"d").unwrap(), None);
        assert!(look(daemon.connect(), b"nowhere").is_err());
        let Some(Probe { path, target }) = pushed.fragile.probe else { panic!("nothing to look at") };
        assert_eq!(look(daemon.connect(), &path).unwrap() == Some(target), munge);
    }
}

fn links_of(root: &Path) -> Vec<PathBuf> {
    let mut links = Vec::new();
    for directory in ["", "d", "d/e"] {
        for entry in std::fs::read_dir(root.join(directory)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_symlink() {
                links.push(Path::new(directory).join(entry.file_name()));
            }
        }
    }
    links
}

fn a_link_that_cannot_be_listed_is_reported(rsync: Rsync) {
    let (source, destination) = two();
    std::os::unix::fs::symlink("target", source.path().join("new\nline")).unwrap();
    let daemon = Daemon::start(rsync, destination.path(), true, "");
    let pushed = push_to(&daemon, source.path(), EmptySource::Refuse).unwrap();
    assert!(pushed.symlinks.is_empty());
    assert_eq!(pushed.outcome.left_out.count, 1);
    assert_eq!(pushed.outcome.left_out.first[0].path.as_str(), r"new\x0aline");
}

fn an_empty_source_does_not_empty_a_destination(rsync: Rsync) {
    let (source, destination) = two();
    write(&destination.path().join("precious"), "x");
    let daemon = Daemon::start(rsync, destination.path(), false, "");
    let error = push_to(&daemon, source.path(), EmptySource::Refuse).unwrap_err();
    assert!(matches!(error, Error::EmptySource { .. }), "{error}");
    assert!(destination.path().join("precious").exists());
    push_to(&daemon, source.path(), EmptySource::Accept).unwrap();
    assert!(!destination.path().join("precious").exists());
    push_well(&daemon, source.path());
}

fn a_daemon_that_refuses_is_named_as_the_reason(rsync: Rsync) {
    let (source, destination) = two();
    write(&source.path().join("a"), "x");
    let refused = |extra: &str| {
        let daemon = Daemon::start(rsync, destination.path(), false, extra);
        push_to(&daemon, source.path(), EmptySource::Refuse).unwrap_err().to_string()
    };
    let text = refused("read only = true\n");
    assert!(text.contains("exit code") && text.contains("read only"), "{text}");
    let text = refused("refuse options = delete\n");
    assert!(text.contains("delete"), "{text}");
    let text = refused("hosts deny = *\n");
    assert!(text.contains("refused") && text.contains("access denied"), "{text}");
    let text = refused("auth users = somebody\nsecrets file = /nowhere\n");
    assert!(text.contains("password"), "{text}");
}

fn a_stock_daemon_cannot_be_verified_and_gets_nothing(rsync: Rsync) {
    let (source, destination) = two();
    write(&source.path().join("a"), "x");
    let daemon = Daemon::start(rsync, destination.path(), false, "");
    let options = PushOptions { empty_source: EmptySource::Refuse, verification: Verification::Checksums };
    let error = push(daemon.connect(), &Tree::open(source.path()).unwrap(), &options, &Silent).unwrap_err();
    assert!(matches!(error, Error::CannotVerify), "{error}");
    assert_eq!(std::fs::read_dir(destination.path()).unwrap().count(), 0);
}

/// rsync as a daemon speaks no less than its own protocol by itself; an older peer is made by changing what each side
/// says of its version.
fn a_peer_of_protocol_30_is_understood(rsync: Rsync) {
    let (source, destination) = two();
    tree_of_everything(source.path());
    whole_seconds(source.path());
    write(&destination.path().join("extra"), "x");
    write(&destination.path().join("large"), noise(900_000, 2).split_at(500_000).1);
    let daemon = Daemon::start(rsync, destination.path(), false, "");
    let tree = Tree::open(source.path()).unwrap();
    let older = || {
        let Connection { reader, writer } = daemon.connect();
        Connection { reader: Older { inner: reader, done: false }, writer: Older { inner: writer, done: false } }
    };
    let options = PushOptions { empty_source: EmptySource::Refuse, verification: Verification::None };
    let pushed = push(older(), &tree, &options, &Silent).unwrap().outcome;
    assert!(pushed.left_out.is_empty(), "{pushed:?}");
    assert_same_but(source.path(), destination.path(), LEADING_OUT);
    assert!(pushed.tally.matched_bytes > 0);
    assert_eq!(push(older(), &tree, &options, &Silent).unwrap().outcome.tally.files_sent, 0);
    upload(older(), CONTROL, COMPLETE, b"done").unwrap();
    assert_eq!(std::fs::read(daemon.control(COMPLETE)).unwrap(), b"done");
}

/// Protocol 30 has no nanoseconds.
fn whole_seconds(path: &std::path::Path) {
    if path.is_dir() && !path.is_symlink() {
        for entry in std::fs::read_dir(path).unwrap() {
            whole_seconds(&entry.unwrap().path());
        }
    }
    support::set_time(path, 1_600_000_000, 0);
}

/// Makes the version in the first bytes that pass 30.
struct Older<S> {
    inner: S,
    done: bool,
}

const VERSION: std::ops::Range<usize> = 9..11;

impl<S: Read> Read for Older<S> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if !std::mem::replace(&mut self.done, true) {
            buffer[VERSION].copy_from_slice(b"30");
        }
        Ok(count)
    }
}

impl<S: Write> Write for Older<S> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut bytes = bytes.to_vec();
        if !std::mem::replace(&mut self.done, true) {
            bytes[VERSION].copy_from_slice(b"30");
        }
        self.inner.write_all(&bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}
