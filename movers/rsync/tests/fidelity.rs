//! `docs/fidelity.md`: what is kept of a volume, by whom, found by doing it. The test fails when the document is stale;
//! with `DOPPEL_WRITE_DOCS=1` it writes it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

#[path = "fidelity/rows.rs"]
mod rows;
mod support;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use doppel_contract::{EmptySource, Verification};
use doppel_rsync::outcome::Outcome;
use doppel_rsync::push::{PushOptions, push};
use doppel_rsync::serve::Served;
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;
use rows::ROWS;
use rustix::fs::{CWD, FileType, Mode};
use support::faulty::{child, is_child, text};
use support::programs::{Rsync, unpacked};
use support::stock::{Daemon, VolSync, with_doppel_daemon};
use support::{ACCESS, DEFAULT, acl, noise, set_time, set_xattr, sync, write, xattr};

/// Somebody without privileges, and somebody else.
const NOBODY: u32 = 65534;
const OTHER: u32 = 1234;

/// What may be kept: how to make it, and what of it to compare. All paths are beneath the volume's root.
struct Row {
    what: &'static str,
    path: &'static str,
    make: fn(&Path),
    see: fn(&Path) -> String,
}

/// Who sends to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peers {
    Doppels,
    DoppelTo(Rsync),
    ToDoppel(Rsync),
    VolSync,
}

impl Peers {
    const ALL: [Self; 6] = [
        Self::Doppels,
        Self::DoppelTo(Rsync::Installed),
        Self::ToDoppel(Rsync::Installed),
        Self::DoppelTo(Rsync::V3_2),
        Self::ToDoppel(Rsync::V3_2),
        Self::VolSync,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::Doppels => "Doppel to Doppel",
            Self::DoppelTo(Rsync::Installed) => "Doppel to rsync 3.5",
            Self::ToDoppel(Rsync::Installed) => "rsync 3.5 to Doppel",
            Self::DoppelTo(Rsync::V3_2) => "Doppel to rsync 3.2",
            Self::ToDoppel(Rsync::V3_2) => "rsync 3.2 to Doppel",
            Self::VolSync => "VolSync to VolSync",
        }
    }

    /// Synchronizes; what was said of entries that are not as they were.
    fn run(self, source: &Path, destination: &Path) -> String {
        match self {
            Self::Doppels => {
                let (pushed, served) = sync(source, destination);
                said(&pushed) + &said(&served)
            }
            Self::DoppelTo(version) => {
                let daemon = Daemon::start(version, destination, false, "");
                let options = PushOptions { empty_source: EmptySource::Refuse, verification: Verification::None };
                said(&push(daemon.connect(), &Tree::open(source).unwrap(), &options, &Silent).unwrap().outcome)
            }
            Self::ToDoppel(version) => {
                let from = format!("{}/", source.display());
                let (output, served) = with_doppel_daemon(destination, 1, EmptySource::Refuse, |url| {
                    let arguments = ["-aHAXS", "--numeric-ids", "--delete", &from, &format!("{url}/data")];
                    version.command().args(arguments).output().unwrap()
                });
                match &served[0] {
                    Ok(Served::Data(outcome)) => said(outcome),
                    other => panic!("{other:?} {output:?}"),
                }
            }
            Self::VolSync => {
                let daemon = Daemon::start(Rsync::Installed, destination, false, "");
                VolSync::run(Rsync::Installed, source, &daemon.url(), &[]).text()
            }
        }
    }
}

fn said(outcome: &Outcome) -> String {
    let all = outcome.left_out.first.iter().chain(&outcome.remarks.first);
    all.map(|problem| format!("\"{}\" {}\n", problem.path, problem.why)).collect()
}

/// Both ends without privileges, in a process of their own. Does nothing unless another test starts it.
#[test]
fn unprivileged_process() {
    if !is_child() {
        return;
    }
    let variable = |name: &str| PathBuf::from(std::env::var_os(name).unwrap());
    let peers = Peers::ALL.into_iter().find(|peers| variable("PEERS") == Path::new(peers.words())).unwrap();
    println!("{}", peers.run(&variable("SOURCE"), &variable("DESTINATION")));
}

fn volume() -> tempfile::TempDir {
    let directory = support::directory();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    directory
}

/// A source with everything, of which all that need not be somebody else's is nobody's.
fn make_source() -> tempfile::TempDir {
    let source = volume();
    for row in ROWS {
        (row.make)(&source.path().join(row.path));
    }
    let mut pending = vec![source.path().to_path_buf()];
    while let Some(path) = pending.pop() {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            pending.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        if metadata.uid() != OTHER && !path.ends_with("setuid") && !path.ends_with("capable") {
            std::os::unix::fs::lchown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    chown(source.path().join("capable"), Some(NOBODY), Some(NOBODY)).unwrap();
    set_xattr(&source.path().join("capable"), "security.capability", b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    // Making entries changed it.
    let root = ROWS.last().unwrap();
    (root.make)(source.path());
    source
}

/// What became of each row.
fn column(source: &Path, peers: Peers, privileged: bool) -> Vec<&'static str> {
    let destination = volume();
    chown(destination.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let said = if privileged {
        peers.run(source, destination.path())
    } else {
        let prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        let (words, programs) = (PathBuf::from(peers.words()), volume());
        // The user may not be allowed to where the programs are.
        let copied = Command::new("cp").arg("-r").arg(unpacked().join("rsync-3.2")).arg(programs.path()).status();
        assert!(copied.unwrap().success());
        let variables = [
            ("PEERS", words.as_path()),
            ("SOURCE", source),
            ("DESTINATION", destination.path()),
            ("DOPPEL_PEERS", programs.path()),
        ];
        let output = child("unprivileged_process", &prefix, &variables);
        let text = text(&output);
        assert!(output.status.success(), "{peers:?}: {text}");
        text
    };
    ROWS.iter()
        .map(|row| {
            let see = |root: &Path| (row.see)(&root.join(row.path));
            match see(source) == see(destination.path()) {
                true => "kept",
                false if said.contains(&format!("\"{}\"", row.path)) => "reported",
                false => "**lost**",
            }
        })
        .collect()
}

const HEAD: &str = "\
# What is kept of a volume

Written by `movers/rsync/tests/fidelity.rs`, which does what it says here: it makes each of these, synchronizes it, and
looks. *Kept*: it is the same at the destination. *Reported*: it is not, and the report of the run names the entry among
its remarks, which do not make a run fail, for no data is missing. *Lost*: it is not, and nobody says so. rsync 3.5 is
3.5.0, rsync 3.2 is 3.2.7; \"VolSync to VolSync\" is rsync 3.5 with the arguments and the configuration of VolSync's movers
at both ends. Privileged are movers that run as root, unprivileged ones both as the same other user.

";

const FOOT: &str = "
## What is not kept, by anybody

- Times of access, of the last change of an inode, and of birth; numbers of inodes; attributes of `chattr`.
- Labels that a node's security policy gives to files: `security.selinux`, `security.SMACK64*`, `security.apparmor*`,
  `security.ima`, `security.evm`. They are neither sent nor removed.
- `lost+found` in the root belongs to the file system, not to the volume's data: neither sent nor deleted.
- Other file systems that are mounted within the volume: their place is kept as a directory, and what the destination has
  there is left alone.

## What `fsGroup` changes before a mover looks

With `moverSecurityContext.fsGroup`, the kubelet goes through a volume when the mover's pod starts. It gives every file and
directory to that group, and the group the right to read and write (for directories also to search, and the setgid bit): a
file of mode 0600 has 0660 then, a directory of mode 0755 has 2775.

- At a source with Snapshot or Clone this happens to the copy. The original stays as it is, and the double is one of the
  copy: its groups and modes are not the original's. No run reports that, for what was read is what was sent. With Direct
  it happens to the original.
- At a destination it happens before each run to what the run before had set right, and the run sets it right again, as far
  as its user may. `fsGroupChangePolicy: OnRootMismatch` spares a volume whose root directory has that group and those rights
  already.

The kubelet leaves a volume alone where it is mounted read-only, or where its CSI driver says so (`fsGroupPolicy`). Doppel sets
no `fsGroup` of its own. Where modes and groups have to stay as they are, set none either: let the mover's user, or one of its
`supplementalGroups`, be one that may read the files, or allow privileged movers in the namespace.

## What makes a run incomplete

- An entry whose path beneath the root has more than 4,095 bytes, the most that the kernel takes. It is left out by name,
  and nothing is deleted at the destination.
- Extended attributes of one entry of more than 64 KiB of names or 4 MiB of values, and more than 256 MiB of different
  attributes in a volume; more than 65,535 different access control lists.
- Whatever could not be read, or changed each time that it was read.

## When the destination cannot keep something

A destination that is not privileged, or whose file system has no access control lists or extended attributes, keeps the
rest and says so, once for each entry. A daemon of rsync's that refuses `-A` or `-X` (`refuse options`, or built without)
is asked again without, and the report says what was not kept.

What is lost without privilege cannot be known to the one who would have to say so: the kernel does not show `trusted.`
attributes to an unprivileged source, and an unprivileged rsync does not say which owners it could not give.
";

fn document() -> String {
    let source = make_source();
    let mut columns = Vec::new();
    for peers in Peers::ALL {
        for privileged in [true, false] {
            columns.push((peers, privileged, column(source.path(), peers, privileged)));
        }
    }
    let mut text = HEAD.to_owned();
    for privileged in [true, false] {
        let columns: Vec<_> = columns.iter().filter(|(_, of, _)| *of == privileged).collect();
        let title = if privileged { "Privileged" } else { "Unprivileged" };
        let names: Vec<&str> = columns.iter().map(|(peers, _, _)| peers.words()).collect();
        let _ = writeln!(text, "## {title}\n\n| | {} |\n|---|{}", names.join(" | "), "---|".repeat(names.len()));
        for (number, row) in ROWS.iter().enumerate() {
            let cells: Vec<&str> = columns.iter().map(|(_, _, cells)| cells[number]).collect();
            let _ = writeln!(text, "| {} | {} |", row.what, cells.join(" | "));
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text + "\n" + FOOT
}

#[test]
fn the_document_says_what_is_kept() {
    if is_child() {
        return;
    }
    assert!(rustix::process::geteuid().is_root(), "this test makes device nodes and gives files away: run it as root");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/fidelity.md");
    let document = document();
    if std::env::var_os("DOPPEL_WRITE_DOCS").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == document, "docs/fidelity.md is stale: run this test with DOPPEL_WRITE_DOCS=1\n{document}");
}
