//! Sources that fail or change while they are read: one verdict for each way.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::path::{Path, PathBuf};

use doppel_contract::{EmptySource, Verification};
use doppel_rsync::outcome::Outcome;
use doppel_rsync::push::{Connection, PushOptions, push};
use doppel_rsync::serve::{Modules, Served, serve};
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;
use support::faulty::{Every, child, is_child, text, unprivileged};
use support::programs::Rsync;
use support::stock::Daemon;
use support::{noise, pair, set_time, set_xattr, sync, two, write};

const OPTIONS: PushOptions = PushOptions { empty_source: EmptySource::Refuse, verification: Verification::None };

/// Sends `source`, and calls `act` each time that about a megabyte was sent.
fn sync_while(source: &Path, destination: &Path, act: impl FnMut() + Send) -> (Outcome, Outcome) {
    let (client, server) = pair();
    let client = Connection { reader: client.reader, writer: Every::new(client.writer, 1_000_000, act) };
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| {
            let tree = Tree::open(destination).unwrap();
            serve(server, &Modules::new(&tree, EmptySource::Refuse), &Silent)
        });
        let pushed = push(client, &Tree::open(source).unwrap(), &OPTIONS, &Silent).unwrap().outcome;
        let Served::Data(served) = serving.join().unwrap().unwrap() else { panic!("it served something else") };
        (pushed, served)
    })
}

fn assert_complete(outcomes: [&Outcome; 2]) {
    for outcome in outcomes {
        assert!(outcome.left_out.is_empty() && outcome.remarks.is_empty(), "{outcome:?}");
    }
}

/// Does `change` once, while the file is read.
fn one_change(change: impl Fn(&Path) + Send + Sync) -> Vec<u8> {
    let (source, destination) = two();
    let file = source.path().join("f");
    write(&file, noise(3_000_000, 1));
    let mut done = false;
    let (pushed, served) = sync_while(source.path(), destination.path(), || {
        if !std::mem::replace(&mut done, true) {
            change(&file);
            set_time(&file, 1_000_000, 1);
        }
    });
    assert_complete([&pushed, &served]);
    let arrived = std::fs::read(destination.path().join("f")).unwrap();
    assert!(arrived == std::fs::read(&file).unwrap(), "it is not the version that there is");
    arrived
}

#[test]
fn a_file_that_shrinks_while_it_is_read_arrives_in_its_new_length() {
    let arrived = one_change(|file| {
        std::fs::File::options().write(true).open(file).unwrap().set_len(1_200_000).unwrap();
    });
    assert_eq!(arrived.len(), 1_200_000);
}

#[test]
fn a_file_that_grows_while_it_is_read_arrives_in_its_new_length() {
    let arrived = one_change(|file| {
        std::fs::File::options().write(true).open(file).unwrap().set_len(3_500_000).unwrap();
    });
    assert_eq!(arrived.len(), 3_500_000);
}

#[test]
fn a_file_that_is_replaced_while_it_is_read_arrives_as_it_was_or_as_it_is() {
    let (source, destination) = two();
    let file = source.path().join("f");
    write(&file, noise(3_000_000, 1));
    let mut done = false;
    let (pushed, served) = sync_while(source.path(), destination.path(), || {
        if !std::mem::replace(&mut done, true) {
            write(&source.path().join("new"), noise(2_000_000, 2));
            std::fs::rename(source.path().join("new"), &file).unwrap();
        }
    });
    assert_complete([&pushed, &served]);
    let arrived = std::fs::read(destination.path().join("f")).unwrap();
    assert!(arrived == noise(3_000_000, 1) || arrived == noise(2_000_000, 2));
}

#[test]
fn a_file_whose_place_is_taken_by_a_pipe_is_a_remark_and_nobody_waits_for_the_pipe() {
    let (source, destination) = two();
    write(&source.path().join("a"), noise(2_000_000, 1));
    write(&source.path().join("z"), "x");
    let mut done = false;
    let (pushed, served) = sync_while(source.path(), destination.path(), || {
        if !std::mem::replace(&mut done, true) {
            std::fs::remove_file(source.path().join("z")).unwrap();
            support::make_fifo(&source.path().join("z"));
        }
    });
    assert!(pushed.left_out.is_empty() && served.left_out.is_empty(), "{pushed:?} {served:?}");
    assert_eq!(pushed.remarks.first[0].path.as_str(), "z");
    assert!(!destination.path().join("z").exists());
}

#[test]
fn an_attribute_that_vanishes_before_it_is_read_is_a_remark_only() {
    let (source, destination) = two();
    write(&source.path().join("a"), noise(2_000_000, 1));
    write(&source.path().join("z"), "x");
    set_xattr(&source.path().join("z"), "user.gone", [b'g'; 100]);
    let mut done = false;
    let (pushed, served) = sync_while(source.path(), destination.path(), || {
        if !std::mem::replace(&mut done, true) {
            rustix::fs::lremovexattr(source.path().join("z"), "user.gone").unwrap();
        }
    });
    assert!(pushed.left_out.is_empty() && served.left_out.is_empty(), "{pushed:?} {served:?}");
    let remark = &pushed.remarks.first[0];
    assert!(remark.path.as_str() == "z" && remark.why.as_str().contains("vanished"), "{pushed:?}");
}

#[test]
fn an_attribute_that_cannot_be_read_is_left_out_and_nothing_is_deleted() {
    if !unprivileged("an_attribute_that_cannot_be_read_is_left_out_and_nothing_is_deleted") {
        return;
    }
    let (source, destination) = two();
    write(&source.path().join("f"), "x");
    set_time(&source.path().join("f"), 1_000_000, 1);
    sync(source.path(), destination.path());
    // Its content is at the destination, so that nobody asks for it.
    set_xattr(&source.path().join("f"), "user.secret", "s");
    let forbidden = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(source.path().join("f"), forbidden).unwrap();
    write(&destination.path().join("extra"), "x");
    let (pushed, served) = sync(source.path(), destination.path());
    for outcome in [&pushed, &served] {
        let left_out = &outcome.left_out.first[0];
        assert!(left_out.path.as_str() == "f" && left_out.why.as_str().contains("user.secret"), "{outcome:?}");
    }
    assert!(destination.path().join("extra").exists(), "nothing may be deleted");
}

/// Both ends in a process of their own. Does nothing unless another test starts it.
#[test]
fn synchronizing_process() {
    if !is_child() {
        return;
    }
    let variable = |name: &str| PathBuf::from(std::env::var_os(name).unwrap());
    let (pushed, served) = sync(&variable("SOURCE"), &variable("DESTINATION"));
    println!("PUSHED {:?}\nSERVED {:?}", pushed.left_out, served.left_out);
}

/// Synchronizes in a process in which calls about `file` fail as `inject` says, in the words of strace.
fn sync_with_errors(source: &Path, destination: &Path, file: &str, inject: &str) -> String {
    let file = source.join(file);
    let prefix = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", file.to_str().unwrap(), "-e", inject];
    let variables = [("SOURCE", source), ("DESTINATION", destination)];
    let output = child("synchronizing_process", &prefix, &variables);
    let text = text(&output);
    assert!(output.status.success(), "strace is to be installed: {text}");
    text
}

#[test]
fn a_file_of_which_a_block_cannot_be_read_is_left_out_and_its_old_content_stays() {
    let (source, destination) = two();
    write(&source.path().join("bad"), noise(300_000, 1));
    write(&source.path().join("good"), "x");
    write(&destination.path().join("bad"), "old");
    write(&destination.path().join("extra"), "x");
    let text = sync_with_errors(source.path(), destination.path(), "bad", "inject=pread64:error=EIO:when=3+");
    for end in ["PUSHED", "SERVED"] {
        let line = text.lines().find(|line| line.contains(end)).unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains("count: 1") && line.contains("bad"), "{line}");
        assert!(line.contains("read: Input/output error"), "{line}");
    }
    assert_eq!(std::fs::read(destination.path().join("bad")).unwrap(), b"old");
    assert_eq!(std::fs::read(destination.path().join("good")).unwrap(), b"x");
    assert!(destination.path().join("extra").exists(), "nothing may be deleted");
}

#[test]
fn a_directory_that_cannot_be_listed_to_its_end_is_left_out_and_nothing_is_deleted() {
    let (source, destination) = two();
    write(&source.path().join("bad/in"), "x");
    write(&source.path().join("good"), "x");
    write(&destination.path().join("bad/in"), "old");
    write(&destination.path().join("bad/extra"), "x");
    let text = sync_with_errors(source.path(), destination.path(), "bad", "inject=getdents64:error=EIO:when=1+");
    let line = text.lines().find(|line| line.contains("PUSHED")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("count: 1") && line.contains("bad"), "{line}");
    assert_eq!(std::fs::read(destination.path().join("bad/in")).unwrap(), b"old");
    assert!(destination.path().join("bad/extra").exists(), "nothing may be deleted");
}

#[test]
fn a_stock_daemon_is_kept_from_deleting_what_could_not_be_read() {
    if !unprivileged("a_stock_daemon_is_kept_from_deleting_what_could_not_be_read") {
        return;
    }
    let (source, destination) = two();
    write(&source.path().join("closed"), "x");
    write(&destination.path().join("extra"), "x");
    let forbidden = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(source.path().join("closed"), forbidden).unwrap();
    let daemon = Daemon::start(Rsync::Installed, destination.path(), false, "");
    let pushed = push(daemon.connect(), &Tree::open(source.path()).unwrap(), &OPTIONS, &Silent).unwrap().outcome;
    assert_eq!((pushed.left_out.count, pushed.left_out.first[0].path.as_str()), (1, "closed"));
    assert!(destination.path().join("extra").exists(), "nothing may be deleted");
}
