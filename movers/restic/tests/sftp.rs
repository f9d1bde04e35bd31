//! One repository on an SFTP server of OpenSSH's, for us and for the real restic, which goes there with the real `ssh`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail their test")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use doppel_restic::format::config::Version;
use doppel_restic::repository::Repository;
use doppel_storage::location::{Location, Settings};
use doppel_storage::{Manners, Storage};
use support::server::sshd::{Sshd, user};
use support::tree::{assert_same, make};
use support::{PASSWORD, number, restics, text, try_backup};

fn storage(sshd: &Sshd, name: &str) -> Arc<dyn Storage> {
    let settings = Settings::new(sshd.keys().into_iter().map(|(key, value)| (key.to_owned(), value)));
    let location = Location::parse(&sshd.repository(name), &settings).unwrap();
    Arc::from(doppel_storage::open(location, None, Manners::default()).unwrap())
}

/// Runs restic, which must succeed, in a directory; what it wrote.
fn restic(program: &Path, sshd: &Sshd, name: &str, directory: &Path, args: &[&str]) -> String {
    let (key, known, port) = (sshd.file("ed25519"), sshd.file("known_hosts"), sshd.port);
    std::fs::write(&known, sshd.known("ed25519")).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    let ssh = format!(
        "ssh {}@127.0.0.1 -p {port} -F none -i {} -o UserKnownHostsFile={} -o BatchMode=yes -s sftp",
        user(),
        key.display(),
        known.display()
    );
    let mut command = Command::new(program);
    command.args(["--no-cache", "-o", &format!("sftp.command={ssh}"), "--repo", &sshd.repository(name)]).args(args);
    command.env("RESTIC_PASSWORD", PASSWORD).env("TZ", "UTC").current_dir(directory);
    text(command.output().unwrap(), args)
}

#[test]
fn what_we_backed_up_restic_finds_whole_and_goes_on_from() {
    let sshd = Sshd::start("Subsystem sftp internal-sftp");
    for (number_of_it, program) in restics().iter().enumerate() {
        let (tree, to, name) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), format!("ours{number_of_it}"));
        make(tree.path());
        let repository = Repository::init(storage(&sshd, &name), PASSWORD.as_bytes(), Version::V2).unwrap();
        let done = try_backup(&repository, tree.path()).unwrap();
        assert!(done.left_out.is_empty() && done.remarks.is_empty(), "{done:?}");
        let checked = restic(program, &sshd, &name, to.path(), &["check", "--read-data"]);
        assert!(checked.contains("no errors were found"), "{checked}");
        let again = restic(program, &sshd, &name, tree.path(), &["backup", "--json", "--host", "volsync", "."]);
        assert_eq!(number(again.lines().last().unwrap(), "data_blobs"), 0, "{again}");
        restic(program, &sshd, &name, to.path(), &["restore", "latest", "--target", "."]);
        assert_same(tree.path(), to.path());
    }
}

#[test]
fn what_restic_backed_up_we_restore_and_restic_finds_what_we_added() {
    let sshd = Sshd::start("Subsystem sftp internal-sftp");
    for (number_of_it, program) in restics().iter().enumerate() {
        let (tree, to, name) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), format!("theirs{number_of_it}"));
        make(tree.path());
        restic(program, &sshd, &name, to.path(), &["init"]);
        restic(program, &sshd, &name, tree.path(), &["backup", "--host", "volsync", "."]);
        let repository = Repository::open(storage(&sshd, &name), PASSWORD.as_bytes()).unwrap();
        let restored = support::restore_from(&repository, to.path(), &support::restore_options()).unwrap();
        let restored = support::restored(restored);
        assert!(restored.left_out.is_empty(), "{restored:?}");
        assert_same(tree.path(), to.path());
        try_backup(&repository, tree.path()).unwrap();
        let checked = restic(program, &sshd, &name, to.path(), &["check", "--read-data"]);
        assert!(checked.contains("no errors were found"), "{checked}");
    }
}
