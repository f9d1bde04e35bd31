//! A Doppel source and a Doppel destination.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicU64, Ordering};

use doppel_contract::{EmptySource, Fault, Phase, Retry, Verification};
use doppel_rsync::error::Error;
use doppel_rsync::outcome::Peer;
use doppel_rsync::push::{Connection, PushOptions, push};
use doppel_rsync::serve::{Modules, serve};
use doppel_volume::monitor::{Monitor, Silent};
use doppel_volume::tree::Tree;
use proptest::prelude::*;
use support::faulty::Every;
use support::{assert_same, describe, noise, pair, set_time, sync, sync_with, tree_of_everything, two, write};

#[test]
fn a_tree_of_everything_becomes_the_same_tree() {
    let (source, destination) = two();
    tree_of_everything(source.path());
    let (pushed, served) = sync(source.path(), destination.path());
    assert_same(source.path(), destination.path());
    assert!(pushed.left_out.is_empty() && served.left_out.is_empty(), "{pushed:?} {served:?}");
    assert!(pushed.remarks.is_empty() && served.remarks.is_empty(), "{pushed:?} {served:?}");
    assert_eq!((pushed.peer, served.peer), (Peer::Doppel, Peer::Doppel));
    assert_eq!(pushed.tally.entries, describe(source.path()).len() as u64);
    assert_eq!(pushed.tally.entries, served.tally.entries);
    assert_eq!(pushed.tally.literal_bytes, served.tally.literal_bytes);
    assert_eq!(
        (pushed.tally.wire_sent, pushed.tally.wire_received),
        (served.tally.wire_received, served.tally.wire_sent)
    );
}

#[test]
fn a_second_run_without_changes_sends_no_content() {
    let (source, destination) = two();
    tree_of_everything(source.path());
    sync(source.path(), destination.path());
    let (pushed, _) = sync(source.path(), destination.path());
    assert_same(source.path(), destination.path());
    assert_eq!((pushed.tally.files_sent, pushed.tally.literal_bytes), (0, 0));
}

#[test]
fn a_small_change_in_a_large_file_costs_little() {
    let (source, destination) = two();
    let mut content = noise(4_000_000, 1);
    write(&source.path().join("f"), &content);
    sync(source.path(), destination.path());
    content.splice(1_000_000..1_000_010, *b"changed");
    content.truncate(3_999_000);
    write(&source.path().join("f"), &content);
    let (pushed, served) = sync(source.path(), destination.path());
    assert_same(source.path(), destination.path());
    assert!(pushed.tally.literal_bytes < 10_000, "{:?}", pushed.tally);
    assert_eq!(pushed.tally.matched_bytes, served.tally.matched_bytes);
    assert_eq!(pushed.tally.literal_bytes + pushed.tally.matched_bytes, 3_999_000);
}

#[test]
fn what_the_source_does_not_have_is_deleted_but_not_lost_and_found() {
    let (source, destination) = two();
    write(&source.path().join("kept/f"), "x");
    write(&destination.path().join("kept/extra"), "x");
    write(&destination.path().join("tree/a/b/c"), "x");
    write(&destination.path().join("lost+found/entry"), "x");
    write(&destination.path().join("kept/lost+found/entry"), "x");
    symlink("/etc", destination.path().join("link")).unwrap();
    let (pushed, served) = sync(source.path(), destination.path());
    assert_same(source.path(), destination.path());
    assert!(destination.path().join("lost+found/entry").exists());
    assert!(!destination.path().join("kept/lost+found").exists());
    // tree, a, b, c; extra; lost+found and its entry; link.
    assert_eq!((pushed.tally.deleted, served.tally.deleted), (8, 8));
}

#[test]
fn entries_that_change_their_kind_do_so_at_the_destination() {
    let (source, destination) = two();
    let make = |order: usize| {
        for (number, name) in ["a", "b", "c", "d"].iter().enumerate() {
            let path = source.path().join(name);
            let _ = std::fs::remove_dir_all(&path);
            let _ = std::fs::remove_file(&path);
            match (number + order) % 4 {
                0 => write(&path, "file"),
                1 => write(&path.join("in/it"), "x"),
                2 => symlink("target", &path).unwrap(),
                _ => support::make_fifo(&path),
            }
        }
    };
    for order in 0..8 {
        make(order);
        let (pushed, _) = sync(source.path(), destination.path());
        assert!(pushed.left_out.is_empty(), "{pushed:?}");
        assert_same(source.path(), destination.path());
    }
}

#[test]
fn attributes_alone_are_brought_in_line_without_content() {
    let (source, destination) = two();
    tree_of_everything(source.path());
    sync(source.path(), destination.path());
    for name in ["large", "text", "dir", "empty-dir", "fifo"] {
        std::fs::set_permissions(destination.path().join(name), std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    for name in ["link", "dir", "dir/sub", ""] {
        set_time(&destination.path().join(name), 1, 1);
    }
    let (pushed, _) = sync(source.path(), destination.path());
    assert_same(source.path(), destination.path());
    assert_eq!(pushed.tally.files_sent, 0);
}

#[test]
fn a_hard_link_that_was_broken_is_a_hard_link_again() {
    let (source, destination) = two();
    tree_of_everything(source.path());
    sync(source.path(), destination.path());
    let path = destination.path().join("dir/hard");
    std::fs::remove_file(&path).unwrap();
    write(&path, "other");
    sync(source.path(), destination.path());
    assert_same(source.path(), destination.path());
}

#[test]
fn an_empty_source_does_not_empty_a_destination() {
    let (source, destination) = two();
    write(&destination.path().join("precious"), "x");
    write(&destination.path().join("more"), "x");
    std::fs::create_dir(source.path().join("lost+found")).unwrap();
    let (pushed, served) = sync_with(source.path(), destination.path(), (EmptySource::Refuse, EmptySource::Refuse));
    let (pushed, served) = (pushed.unwrap_err(), served.unwrap_err());
    assert!(destination.path().join("precious").exists());
    for error in [&pushed, &served] {
        assert!(matches!(error, Error::EmptySource { .. }), "{error}");
        assert_eq!((error.fault(), error.retry()), (Fault::User, Retry::AfterChange));
    }
    assert!(served.to_string().contains("2 entries"), "{served}");
    assert!(served.to_string().contains("nothing was deleted"), "{served}");
}

#[test]
fn either_end_alone_refuses_an_empty_source() {
    for (at_source, at_destination) in
        [(EmptySource::Accept, EmptySource::Refuse), (EmptySource::Refuse, EmptySource::Accept)]
    {
        let (source, destination) = two();
        write(&destination.path().join("precious"), "x");
        let (pushed, served) = sync_with(source.path(), destination.path(), (at_source, at_destination));
        assert!(destination.path().join("precious").exists());
        assert!(pushed.is_err() || !pushed.unwrap().outcome.left_out.is_empty());
        assert!(
            served.is_err()
                || matches!(served.unwrap(), doppel_rsync::serve::Served::Data(o) if !o.left_out.is_empty())
        );
    }
}

#[test]
fn an_empty_source_is_sent_where_that_is_wanted_or_does_no_harm() {
    let (source, destination) = two();
    write(&destination.path().join("old"), "x");
    let (pushed, served) = sync_with(source.path(), destination.path(), (EmptySource::Accept, EmptySource::Accept));
    assert!(pushed.unwrap().outcome.left_out.is_empty());
    served.unwrap();
    assert!(!destination.path().join("old").exists());
    // Now both are empty.
    let (pushed, served) = sync(source.path(), destination.path());
    assert!(pushed.left_out.is_empty() && served.left_out.is_empty());
}

#[test]
fn a_tree_of_everything_is_verified_when_it_is_new_and_when_nothing_changed() {
    let (source, destination) = two();
    tree_of_everything(source.path());
    let options = PushOptions { empty_source: EmptySource::Refuse, verification: Verification::Checksums };
    for _ in 0..2 {
        let (client, server) = pair();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let tree = Tree::open(destination.path()).unwrap();
                serve(server, &Modules::new(&tree, EmptySource::Refuse), &Silent).unwrap();
            });
            let pushed = push(client, &Tree::open(source.path()).unwrap(), &options, &Silent).unwrap();
            assert!(pushed.outcome.left_out.is_empty(), "{:?}", pushed.outcome);
        });
        assert_same(source.path(), destination.path());
    }
}

#[test]
fn progress_grows_while_a_large_file_is_moved_and_ends_at_its_total() {
    /// Bytes that were told while files were moved, and all that was told.
    #[derive(Default)]
    struct Steps {
        early: AtomicU64,
        all: [AtomicU64; 2],
    }
    impl Monitor for Steps {
        fn phase(&self, _: Phase) {}
        fn found(&self, _: u64, _: u64) {}
        fn all_found(&self) {}
        fn done(&self, entries: u64, bytes: u64) {
            if entries == 0 {
                self.early.fetch_add(bytes, Ordering::Relaxed);
            }
            for (sum, more) in self.all.iter().zip([entries, bytes]) {
                sum.fetch_add(more, Ordering::Relaxed);
            }
        }
    }
    let (source, destination) = two();
    write(&source.path().join("large"), noise(3_000_000, 1));
    write(&source.path().join("small"), "content");
    let options = PushOptions { empty_source: EmptySource::Refuse, verification: Verification::None };
    // Whole, and then with its beginning changed.
    for (size, moved) in [(3_000_000, 3_000_007), (3_000_007, 3_000_007)] {
        if size > 3_000_000 {
            write(&source.path().join("large"), [&b"changed"[..], &noise(3_000_000, 1)].concat());
        }
        let (client, server) = pair();
        let (sent, received) = (Steps::default(), Steps::default());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let tree = Tree::open(destination.path()).unwrap();
                serve(server, &Modules::new(&tree, EmptySource::Refuse), &received).unwrap();
            });
            push(client, &Tree::open(source.path()).unwrap(), &options, &sent).unwrap();
        });
        for (who, steps) in [("source", sent), ("destination", received)] {
            assert_eq!(steps.all.map(AtomicU64::into_inner), [3, size + 7], "{who}");
            assert_eq!(steps.early.into_inner(), moved, "{who}");
        }
    }
}

#[test]
fn while_one_source_is_received_others_are_refused_however_often_they_come() {
    let (source, destination) = two();
    write(&source.path().join("f"), noise(400_000, 1));
    let tree = Tree::open(destination.path()).unwrap();
    let modules = Modules::new(&tree, EmptySource::Refuse);
    let options = PushOptions { empty_source: EmptySource::Refuse, verification: Verification::None };
    let (first_client, first_server) = pair();
    std::thread::scope(|scope| {
        // The first source stops in the middle of a file for as long as the others take.
        let (inside, wait) = std::sync::mpsc::channel();
        let (go_on, waiting) = std::sync::mpsc::channel::<()>();
        let first = scope.spawn(|| serve(first_server, &modules, &Silent));
        let first_client = Connection {
            reader: first_client.reader,
            writer: Every::new(first_client.writer, 300_000, move || {
                let _ = inside.send(());
                let _ = waiting.recv();
            }),
        };
        let first_push = scope.spawn(|| push(first_client, &Tree::open(source.path()).unwrap(), &options, &Silent));
        wait.recv().unwrap();
        for _ in 0..3 {
            let (client, server) = pair();
            let other = scope.spawn(|| serve(server, &modules, &Silent));
            let refused = push(client, &Tree::open(source.path()).unwrap(), &options, &Silent).unwrap_err();
            assert!(refused.to_string().contains("another source is being received"), "{refused}");
            assert_eq!(refused.retry(), Retry::Later);
            assert!(matches!(other.join().unwrap(), Err(Error::Busy)));
        }
        drop(go_on);
        assert!(first_push.join().unwrap().unwrap().outcome.left_out.is_empty());
        first.join().unwrap().unwrap();
    });
    assert_same(source.path(), destination.path());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever was there before, and whatever is there now.
    #[test]
    fn any_tree_becomes_any_other(
        before in proptest::collection::vec(("[abc]{1,2}(/[abc]{1,2}){0,2}", 0_u8..6, any::<u8>()), 0..25),
        now in proptest::collection::vec(("[abc]{1,2}(/[abc]{1,2}){0,2}", 0_u8..6, any::<u8>()), 1..25),
    ) {
        let (source, destination) = two();
        make(destination.path(), &before);
        make(source.path(), &now);
        let (pushed, served) = sync(source.path(), destination.path());
        prop_assert!(pushed.left_out.is_empty() && served.left_out.is_empty());
        assert_same(source.path(), destination.path());
    }
}

fn make(root: &std::path::Path, entries: &[(String, u8, u8)]) {
    // Never nothing, which would be refused.
    write(&root.join("always"), "x");
    for (path, kind, number) in entries {
        let path = root.join(path);
        if path.symlink_metadata().is_ok() || std::fs::create_dir_all(path.parent().unwrap()).is_err() {
            continue;
        }
        match kind {
            0 => std::fs::create_dir(&path).unwrap(),
            1 => symlink(format!("to{}", number % 4), &path).unwrap(),
            2 => support::make_fifo(&path),
            3 => std::fs::hard_link(root.join("always"), &path).unwrap(),
            _ => write(&path, noise(usize::from(*number) * 40, u64::from(*number))),
        }
        if number % 2 == 0 {
            set_time(&path, i64::from(*number), 5);
        }
    }
}

/// More requests, and more content, than fit into a socket.
#[test]
fn two_full_directions_do_not_block_each_other() {
    let (source, destination) = two();
    for directory in 0..20 {
        for file in 0..600 {
            write(&source.path().join(format!("d{directory}/f{file}")), [b'x'; 700]);
        }
    }
    write(&source.path().join("e/large"), noise(3_000_000, 1));
    write(&destination.path().join("e/large"), noise(3_000_000, 2));
    let (pushed, _) = sync(source.path(), destination.path());
    assert_eq!(pushed.tally.files_sent, 12_001);
    assert_same(source.path(), destination.path());
}

#[test]
fn temporary_files_of_a_dead_run_are_removed_and_never_sent() {
    let (source, destination) = two();
    let temporary = ".doppel-tmp.0123456789abcdef";
    write(&source.path().join("d/f"), "x");
    write(&source.path().join("d").join(temporary), "x");
    write(&destination.path().join("d").join(temporary), "x");
    write(&destination.path().join(temporary), "x");
    sync(source.path(), destination.path());
    assert_eq!(describe(destination.path()).len(), 3, "{:?}", describe(destination.path()));
}
