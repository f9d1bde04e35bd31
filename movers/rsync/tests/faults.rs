//! What happens when something goes wrong: connections that break, files that cannot be read, written or kept, and
//! files that change meanwhile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

#[path = "faults/breaks.rs"]
mod breaks;
#[path = "faults/changing.rs"]
mod changing;
mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use doppel_contract::{EmptySource, Fault, Verification};
use doppel_rsync::error::Error;
use doppel_rsync::outcome::Outcome;
use doppel_rsync::push::{Connection, PushOptions, push};
use doppel_rsync::serve::{Modules, Served, serve};
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;
use support::faulty::{Cut, Every, child, is_child, text, unprivileged};
use support::programs::Rsync;
use support::stock::{Daemon, VolSync, with_doppel_daemon};
use support::{
    ACCESS, acl, assert_same, assert_same_but, describe, noise, pair, set_time, set_xattr, sync, sync_with,
    tree_of_everything, two, write, xattr,
};

const OPTIONS: PushOptions = PushOptions { empty_source: EmptySource::Refuse, verification: Verification::None };

fn forbid(path: &Path) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o000)).unwrap();
}

/// Lets a temporary directory be removed.
fn allow(path: &Path) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn an_unreadable_file_is_left_out_and_nothing_is_deleted() {
    if !unprivileged("an_unreadable_file_is_left_out_and_nothing_is_deleted") {
        return;
    }
    let (source, destination) = two();
    write(&source.path().join("d/closed"), "x");
    write(&source.path().join("d/open"), "x");
    write(&destination.path().join("d/extra"), "x");
    write(&destination.path().join("d/closed"), "old");
    forbid(&source.path().join("d/closed"));
    let (pushed, served) = sync(source.path(), destination.path());
    for outcome in [&pushed, &served] {
        let left_out = &outcome.left_out.first[0];
        assert_eq!(left_out.path.as_str(), "d/closed", "{outcome:?}");
        assert!(left_out.why.as_str().contains("ermission denied"), "{outcome:?}");
    }
    assert_eq!(pushed.left_out.count, 1, "{pushed:?}");
    assert_eq!(std::fs::read(destination.path().join("d/open")).unwrap(), b"x");
    assert_eq!(std::fs::read(destination.path().join("d/closed")).unwrap(), b"old");
    assert!(destination.path().join("d/extra").exists(), "nothing may be deleted");
}

#[test]
fn an_unreadable_directory_is_left_out_and_nothing_is_deleted() {
    if !unprivileged("an_unreadable_directory_is_left_out_and_nothing_is_deleted") {
        return;
    }
    let (source, destination) = two();
    write(&source.path().join("d/f"), "x");
    write(&source.path().join("e/f"), "x");
    write(&destination.path().join("d/kept"), "x");
    write(&destination.path().join("extra"), "x");
    forbid(&source.path().join("d"));
    let (pushed, served) = sync(source.path(), destination.path());
    allow(&source.path().join("d"));
    allow(&destination.path().join("d"));
    for outcome in [&pushed, &served] {
        assert_eq!(outcome.left_out.first[0].path.as_str(), "d", "{outcome:?}");
        assert_eq!(outcome.tally.deleted, 0);
    }
    assert!(destination.path().join("e/f").exists());
    assert!(destination.path().join("d/kept").exists() && destination.path().join("extra").exists());
}

#[test]
fn an_unreadable_directory_keeps_a_stock_daemon_from_deleting_too() {
    if !unprivileged("an_unreadable_directory_keeps_a_stock_daemon_from_deleting_too") {
        return;
    }
    let (source, destination) = two();
    write(&source.path().join("d/f"), "x");
    write(&destination.path().join("d/kept"), "x");
    forbid(&source.path().join("d"));
    let daemon = Daemon::start(Rsync::Installed, destination.path(), false, "");
    let tree = Tree::open(source.path()).unwrap();
    let pushed = push(daemon.connect(), &tree, &OPTIONS, &Silent).unwrap().outcome;
    allow(&source.path().join("d"));
    allow(&destination.path().join("d"));
    assert_eq!(pushed.left_out.first[0].path.as_str(), "d", "{pushed:?}");
    assert!(destination.path().join("d/kept").exists());
}

#[test]
fn what_cannot_be_stored_is_left_out_at_both_ends() {
    assert!(rustix::process::geteuid().is_root(), "this test has a destination of somebody else: run it as root");
    let (source, destination) = two();
    write(&source.path().join("f"), "x");
    allow(destination.path());
    let (pushed, text) = to_process(source.path(), destination.path(), NOBODY);
    let left_out = pushed.unwrap().left_out;
    assert_eq!((left_out.count, left_out.first[0].path.as_str()), (1, "f"), "{left_out:?}");
    assert!(left_out.first[0].why.as_str().contains("ermission denied"), "{left_out:?}");
    assert!(text.contains("left out 1 [f: store: Permission denied"), "{text}");
}

#[test]
fn a_stock_client_is_told_what_cannot_be_stored() {
    if !unprivileged("a_stock_client_is_told_what_cannot_be_stored") {
        return;
    }
    let (source, destination) = two();
    write(&source.path().join("f"), "x");
    std::fs::set_permissions(destination.path(), PermissionsExt::from_mode(0o500)).unwrap();
    let (run, served) = with_doppel_daemon(destination.path(), 2, EmptySource::Refuse, |url| {
        VolSync::run(Rsync::Installed, source.path(), url, &[])
    });
    allow(destination.path());
    assert_eq!(run.codes(), (Some(23), Some(0)), "{}", run.text());
    assert!(run.text().contains("f: store"), "{}", run.text());
    assert!(matches!(&served[0], Ok(Served::Data(outcome)) if outcome.left_out.count == 1), "{served:?}");
}

#[test]
fn what_a_stock_daemon_cannot_store_makes_the_run_incomplete() {
    assert!(rustix::process::geteuid().is_root(), "this test runs a daemon as somebody else: run it as root");
    let (source, destination) = two();
    write(&source.path().join("f"), "x");
    allow(destination.path());
    let daemon = Daemon::start(Rsync::Installed, destination.path(), false, "uid = 65534\ngid = 65534\n");
    let tree = Tree::open(source.path()).unwrap();
    let pushed = push(daemon.connect(), &tree, &OPTIONS, &Silent).unwrap().outcome;
    let said = format!("{pushed:?}");
    assert!(pushed.left_out.count > 0 && said.contains("Permission denied"), "{said}");
    assert!(said.contains("\\\"f\\\"") || said.contains(".f."), "{said}");
}

#[test]
fn directories_without_permissions_for_their_owner_are_worked_in_all_the_same() {
    if !unprivileged("directories_without_permissions_for_their_owner_are_worked_in_all_the_same") {
        return;
    }
    let (source, destination) = two();
    write(&source.path().join("d/e/f"), "one");
    std::fs::set_permissions(source.path().join("d/e"), PermissionsExt::from_mode(0o500)).unwrap();
    std::fs::set_permissions(source.path().join("d"), PermissionsExt::from_mode(0o500)).unwrap();
    std::fs::set_permissions(source.path(), PermissionsExt::from_mode(0o500)).unwrap();
    sync(source.path(), destination.path());
    assert_same(source.path(), destination.path());
    let file = source.path().join("d/e/f");
    write(&file, "another");
    let (pushed, _) = sync(source.path(), destination.path());
    assert!(pushed.left_out.is_empty(), "{pushed:?}");
    assert_same(source.path(), destination.path());
    for directory in [source.path(), destination.path()] {
        allow(directory);
        allow(&directory.join("d"));
        allow(&directory.join("d/e"));
    }
}

/// A destination without privileges, in a process of its own. Does nothing unless another test starts it.
#[test]
fn destination_process() {
    if !is_child() {
        return;
    }
    let variable = |name: &str| PathBuf::from(std::env::var_os(name).unwrap());
    let listener = std::os::unix::net::UnixListener::bind(variable("SOCKET")).unwrap();
    std::fs::set_permissions(variable("SOCKET"), PermissionsExt::from_mode(0o777)).unwrap();
    let tree = Tree::open(&variable("DESTINATION")).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let connection = Connection { reader: stream.try_clone().unwrap(), writer: stream };
    let Served::Data(outcome) = serve(connection, &Modules::new(&tree, EmptySource::Refuse), &Silent).unwrap() else {
        panic!("it served something else")
    };
    println!("OUTCOME {}", describe_outcome(&outcome));
}

fn describe_outcome(outcome: &Outcome) -> String {
    let list = |list: &doppel_contract::LeftOut| {
        let problems: Vec<String> =
            list.first.iter().map(|problem| format!("{}: {}", problem.path, problem.why)).collect();
        format!("{} [{}]", list.count, problems.join("; "))
    };
    format!("left out {} remarks {}", list(&outcome.left_out), list(&outcome.remarks))
}

/// Sends `source` to a destination process started through `prefix`; what the source says, and the text of the process.
fn to_process(source: &Path, destination: &Path, prefix: &[&str]) -> (Result<Outcome, Error>, String) {
    let directory = support::directory();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let socket = directory.path().join("socket");
    std::thread::scope(|scope| {
        let serving =
            scope.spawn(|| child("destination_process", prefix, &[("SOCKET", &socket), ("DESTINATION", destination)]));
        let stream = loop {
            match std::os::unix::net::UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(_) if !serving.is_finished() => std::thread::yield_now(),
                Err(error) => panic!("{error}: {}", text(&serving.join().unwrap())),
            }
        };
        let connection = Connection { reader: stream.try_clone().unwrap(), writer: stream };
        let pushed = push(connection, &Tree::open(source).unwrap(), &OPTIONS, &Silent);
        (pushed.map(|pushed| pushed.outcome), text(&serving.join().unwrap()))
    })
}

const NOBODY: &[&str] = &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

#[test]
fn what_an_unprivileged_destination_cannot_keep_is_remarked_and_no_failure() {
    assert!(rustix::process::geteuid().is_root(), "this test makes device nodes and gives files away: run it as root");
    let (source, destination) = two();
    write(&source.path().join("theirs"), "x");
    chown(source.path().join("theirs"), Some(1234), Some(4321)).unwrap();
    write(&source.path().join("mine"), "x");
    chown(source.path().join("mine"), Some(65534), Some(65534)).unwrap();
    let device = source.path().join("device");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &device,
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::from_raw_mode(0o600),
        rustix::fs::makedev(1, 3),
    )
    .unwrap();
    support::make_fifo(&source.path().join("fifo"));
    chown(source.path(), Some(65534), Some(65534)).unwrap();
    chown(destination.path(), Some(65534), Some(65534)).unwrap();
    for expected_files in [2, 0] {
        let (pushed, text) = to_process(source.path(), destination.path(), NOBODY);
        let pushed = pushed.unwrap();
        assert!(pushed.left_out.is_empty(), "{pushed:?}");
        assert_eq!(pushed.tally.files_sent, expected_files);
        // The device, and the two entries of others: the file and the pipe.
        assert!(text.contains("left out 0 [] remarks 3 ["), "{text}");
        for remark in ["device: a device node cannot be made without privilege", "theirs: could not keep owner, group"]
        {
            assert!(text.contains(remark), "{text}");
        }
    }
    assert!(!destination.path().join("device").exists());
    assert_eq!(std::fs::read(destination.path().join("theirs")).unwrap(), b"x");
    // A privileged destination keeps all of it.
    let destination = support::directory();
    let (pushed, served) = sync(source.path(), destination.path());
    assert!(pushed.left_out.is_empty() && served.remarks.is_empty(), "{pushed:?} {served:?}");
    assert_same(source.path(), destination.path());
}

#[test]
fn an_unprivileged_destination_keeps_the_attributes_of_users_and_remarks_once_on_the_others() {
    assert!(rustix::process::geteuid().is_root(), "this test gives files away: run it as root");
    let (source, destination) = two();
    for name in ["both", "users", "forbidden"] {
        write(&source.path().join(name), "x");
        set_xattr(&source.path().join(name), "user.short", "u");
        set_xattr(&source.path().join(name), "user.long", [b'l'; 100]);
    }
    for name in ["trusted.a", "trusted.b", "trusted.long"] {
        set_xattr(&source.path().join("both"), name, [b't'; 50]);
    }
    set_xattr(&source.path().join("users"), ACCESS, acl(5));
    std::fs::set_permissions(source.path().join("forbidden"), PermissionsExt::from_mode(0o400)).unwrap();
    for path in ["", "both", "users", "forbidden"] {
        chown(source.path().join(path), Some(65534), Some(65534)).unwrap();
    }
    chown(destination.path(), Some(65534), Some(65534)).unwrap();
    for round in 0..3 {
        let (pushed, text) = to_process(source.path(), destination.path(), NOBODY);
        let pushed = pushed.unwrap();
        assert!(pushed.left_out.is_empty(), "{pushed:?}");
        assert_eq!(pushed.tally.files_sent, if round == 0 { 3 } else { 0 });
        assert!(text.contains("left out 0 [] remarks 1 [both: could not keep extended attributes"), "{text}");
        assert_same_but(source.path(), destination.path(), &["both"]);
        assert_eq!(xattr(&destination.path().join("both"), b"user.long"), Some(vec![b'l'; 100]));
        // Also of a file that its owner may not write to.
        set_xattr(&source.path().join("forbidden"), "user.short", format!("round {round}"));
        set_xattr(&source.path().join("forbidden"), "user.long", format!("round {round:0100}"));
        set_xattr(&destination.path().join("forbidden"), "user.extraneous", "x");
    }
}

#[test]
fn a_full_destination_is_named_keeps_its_old_files_and_leaves_no_temporary_ones() {
    assert!(rustix::process::geteuid().is_root(), "this test mounts a small file system: run it as root");
    let (source, destination) = two();
    write(&source.path().join("a"), noise(100_000, 1));
    write(&source.path().join("large"), noise(8_000_000, 2));
    write(&source.path().join("z"), noise(100_000, 3));
    // The mount is in the process's own namespace, so what is left is listed there too.
    let script = "mount -t tmpfs -o size=2m none $DESTINATION && echo old > $DESTINATION/large && \"$@\"; \
                  echo CODE $?; ls -A $DESTINATION; cat $DESTINATION/large; umount $DESTINATION";
    let (pushed, text) = to_process(source.path(), destination.path(), &["unshare", "-m", "sh", "-c", script, "sh"]);
    let pushed = pushed.unwrap();
    assert_eq!(pushed.left_out.count, 1, "{pushed:?}");
    assert_eq!(pushed.left_out.first[0].path.as_str(), "large");
    assert!(pushed.left_out.first[0].why.as_str().contains("No space left"), "{pushed:?}");
    assert!(text.contains("left out 1"), "{text}");
    assert!(text.ends_with("CODE 0\na\nlarge\nz\nold\n"), "{text}");
}

fn run(
    client: Connection<impl std::io::Read, impl std::io::Write>,
    server: Connection<impl std::io::Read + Send, impl std::io::Write + Send>,
    source: &Path,
    destination: &Path,
) -> (Outcome, Outcome) {
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

/// The content of all files of a tree.
fn contents(root: &Path) -> BTreeMap<String, String> {
    describe(root)
        .into_iter()
        .filter_map(|(path, entry)| {
            let content: Vec<&str> = entry.split(' ').take(3).collect();
            entry.starts_with("file").then(|| (path, content.join(" ")))
        })
        .collect()
}
