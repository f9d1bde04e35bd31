//! Access control lists and extended attributes, Doppel to Doppel and with the rsync of this machine in both roles.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use doppel_contract::{EmptySource, Verification};
use doppel_rsync::error::Error;
use doppel_rsync::outcome::Outcome;
use doppel_rsync::proto::keep::{Extra, Keep};
use doppel_rsync::push::{PushOptions, push, push_keeping};
use doppel_rsync::serve::Served;
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;
use support::programs::Rsync;
use support::stock::{Daemon, rsync, with_doppel_daemon};
use support::{
    ACCESS, DEFAULT, acl, assert_same, assert_same_but, attributes_of_everything, noise, set_xattr, sync,
    tree_of_everything, two, write, xattr,
};

/// Without a disguise the daemon changes targets that lead out of its module.
const LEADING_OUT: &[&str] = &["dir/absolute", "dir/dangling"];
const OPTIONS: PushOptions = PushOptions { empty_source: EmptySource::Refuse, verification: Verification::None };

/// Changes attributes of all sorts at the source, and content of nothing.
fn change_attributes(root: &Path) {
    set_xattr(&root.join("hello.txt"), "user.33", [b'z'; 33]);
    set_xattr(&root.join("hello.txt"), "user.short", "other");
    rustix::fs::lremovexattr(root.join("hello.txt"), "user.empty").unwrap();
    set_xattr(&root.join("large"), "user.long", [b'L'; 2000]);
    set_xattr(&root.join("dir/sub"), "user.long", [b'D'; 501]);
    set_xattr(root, "user.of.the.root", [b'R'; 100]);
    set_xattr(&root.join("text"), "user.on.a.file.of.mode.0400", [b'M'; 64]);
    set_xattr(&root.join("sparse"), ACCESS, acl(4));
    rustix::fs::lremovexattr(root.join("dir-"), DEFAULT).unwrap();
    if rustix::process::geteuid().is_root() {
        set_xattr(&root.join("link"), "trusted.of.a.link", [b'n'; 40]);
        set_xattr(&root.join("fifo"), "trusted.long.of.a.pipe", [b'p'; 300]);
    }
}

/// Gives entries of a destination what its source does not have.
fn add_extraneous(root: &Path) {
    set_xattr(&root.join("hello.txt"), "user.extraneous", "x");
    set_xattr(&root.join("dir-"), "user.extraneous", "x");
    set_xattr(&root.join("dir/hard"), ACCESS, acl(7));
    set_xattr(&root.join("dir"), DEFAULT, acl(7));
}

fn changed(root: &Path) -> Vec<(String, i64, i64)> {
    support::describe(root)
        .into_keys()
        .filter(|name| name.is_ascii() && !name.contains('\\'))
        .map(|name| {
            let metadata = std::fs::symlink_metadata(root.join(&name)).unwrap();
            (name, metadata.ctime(), metadata.ctime_nsec())
        })
        .collect()
}

#[test]
fn attributes_of_all_entries_are_kept_between_doppels_and_follow_each_change() {
    let (source, destination) = two();
    tree_of_everything(source.path());
    attributes_of_everything(source.path());
    let (pushed, served) = sync(source.path(), destination.path());
    assert!(pushed.remarks.is_empty() && served.remarks.is_empty(), "{pushed:?} {served:?}");
    assert_same(source.path(), destination.path());

    let before = changed(destination.path());
    let (pushed, served) = sync(source.path(), destination.path());
    assert_eq!(pushed.tally.files_sent, 0);
    assert!(pushed.left_out.is_empty() && served.left_out.is_empty());
    assert_eq!(changed(destination.path()), before, "nothing is touched when nothing changed");

    change_attributes(source.path());
    add_extraneous(destination.path());
    let (pushed, served) = sync(source.path(), destination.path());
    assert_same(source.path(), destination.path());
    assert_eq!((pushed.tally.files_sent, pushed.tally.literal_bytes), (0, 0), "no content moves for attributes");
    assert!(pushed.remarks.is_empty() && served.remarks.is_empty(), "{pushed:?} {served:?}");
}

#[test]
fn a_file_of_new_content_gets_all_of_its_attributes_anew() {
    let (source, destination) = two();
    tree_of_everything(source.path());
    attributes_of_everything(source.path());
    sync(source.path(), destination.path());
    write(&source.path().join("large"), noise(900_001, 5));
    std::fs::remove_file(source.path().join("fifo")).unwrap();
    write(&source.path().join("fifo"), "a file now");
    set_xattr(&source.path().join("fifo"), "user.long", [b'f'; 100]);
    let (pushed, _) = sync(source.path(), destination.path());
    assert_eq!(pushed.tally.files_sent, 2);
    assert_same(source.path(), destination.path());
}

#[test]
fn entries_made_beneath_a_default_list_do_not_inherit_it() {
    let (source, destination) = two();
    write(&source.path().join("d/new"), "x");
    std::fs::create_dir_all(source.path().join("d/sub/deeper")).unwrap();
    support::make_fifo(&source.path().join("d/pipe"));
    std::fs::create_dir(destination.path().join("d")).unwrap();
    set_xattr(&destination.path().join("d"), DEFAULT, acl(7));
    sync(source.path(), destination.path());
    assert_same(source.path(), destination.path());
}

#[test]
fn attributes_of_all_entries_are_kept_by_rsyncs_daemon() {
    let (source, destination) = two();
    tree_of_everything(source.path());
    attributes_of_everything(source.path());
    let daemon = Daemon::start(Rsync::Installed, destination.path(), false, "");
    let tree = Tree::open(source.path()).unwrap();
    let run = || -> Outcome {
        let outcome = push(daemon.connect(), &tree, &OPTIONS, &Silent).unwrap().outcome;
        assert!(outcome.left_out.is_empty() && outcome.remarks.is_empty(), "{outcome:?}");
        outcome
    };
    run();
    assert_same_but(source.path(), destination.path(), LEADING_OUT);
    assert_eq!(run().tally.files_sent, 0);
    change_attributes(source.path());
    add_extraneous(destination.path());
    assert_eq!(run().tally.files_sent, 0);
    assert_same_but(source.path(), destination.path(), LEADING_OUT);
}

#[test]
fn attributes_of_all_entries_are_kept_from_rsync() {
    for extra in [&[][..], &["--protocol=31"], &["--no-inc-recursive"], &["-z"]] {
        let (source, destination) = two();
        tree_of_everything(source.path());
        attributes_of_everything(source.path());
        let run = || {
            let from = format!("{}/", source.path().display());
            let arguments = [&["-aHAXS", "--numeric-ids", "--delete"], extra].concat();
            let (output, served) = with_doppel_daemon(destination.path(), 1, EmptySource::Refuse, |url| {
                rsync(&arguments, &[&from, &format!("{url}/data")])
            });
            assert!(output.status.success(), "{extra:?}: {output:?}");
            match &served[0] {
                Ok(Served::Data(outcome)) => {
                    assert!(outcome.left_out.is_empty() && outcome.remarks.is_empty(), "{outcome:?}");
                    outcome.tally
                }
                other => panic!("{other:?}"),
            }
        };
        run();
        assert_same(source.path(), destination.path());
        let before = changed(destination.path());
        assert_eq!(run().files_sent, 0);
        assert_eq!(changed(destination.path()), before, "nothing is touched when nothing changed");
        change_attributes(source.path());
        add_extraneous(destination.path());
        assert_eq!(run().files_sent, 0);
        assert_same(source.path(), destination.path());
    }
}

#[test]
fn a_daemon_that_refuses_extras_gets_the_rest_and_that_is_remarked() {
    let (source, destination) = two();
    write(&source.path().join("f"), "x");
    set_xattr(&source.path().join("f"), "user.a", "a");
    set_xattr(&source.path().join("f"), ACCESS, acl(5));
    let tree = Tree::open(source.path()).unwrap();
    let daemon = Daemon::start(Rsync::Installed, destination.path(), false, "refuse options = xattrs acls\n");
    let mut keep = Keep::ALL;
    for extra in [Extra::Acls, Extra::Xattrs] {
        let error = push_keeping(daemon.connect(), &tree, &OPTIONS, keep, &Silent).unwrap_err();
        assert!(matches!(error, Error::NotTaken(not_taken) if not_taken == extra), "{error}");
        keep = keep.without(extra);
    }
    let outcome = push_keeping(daemon.connect(), &tree, &OPTIONS, keep, &Silent).unwrap().outcome;
    assert!(outcome.left_out.is_empty());
    let remarks: Vec<&str> = outcome.remarks.first.iter().map(|remark| remark.why.as_str()).collect();
    assert_eq!(remarks.len(), 2, "{remarks:?}");
    assert!(remarks[0].contains("access control lists") && remarks[1].contains("extended attributes"));
    assert_eq!(std::fs::read(destination.path().join("f")).unwrap(), b"x");
    assert_eq!(xattr(&destination.path().join("f"), b"user.a"), None);
}

#[test]
fn what_a_stock_client_does_not_send_is_left_as_it_is() {
    let (source, destination) = two();
    write(&source.path().join("f"), "x");
    let from = format!("{}/", source.path().display());
    let run = || {
        with_doppel_daemon(destination.path(), 1, EmptySource::Refuse, |url| {
            rsync(&["-a", "--numeric-ids"], &[&from, &format!("{url}/data")])
        })
    };
    assert!(run().0.status.success());
    set_xattr(&destination.path().join("f"), "user.a", "a");
    set_xattr(&destination.path().join("f"), ACCESS, acl(5));
    assert!(run().0.status.success());
    assert_eq!(xattr(&destination.path().join("f"), b"user.a").as_deref(), Some(&b"a"[..]));
    assert!(xattr(&destination.path().join("f"), ACCESS.as_bytes()).is_some());
}
