//! SFTP, as OpenSSH and rclone serve it: what stores do, who is let in, who is believed, and connections that break.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use doppel_storage::location::Location;
use doppel_storage::{Kind, Manners, Storage};
use support::peers::SftpPeer;
use support::sshd::{KINDS, Sshd, user};
use support::*;

const SFTP: &str = "Subsystem sftp internal-sftp";

/// The one of this test program.
fn shared() -> &'static Sshd {
    static SHARED: OnceLock<Sshd> = OnceLock::new();
    SHARED.get_or_init(|| Sshd::start(SFTP))
}

fn open_with(repository: &str, keys: &[(&str, String)]) -> Box<dyn Storage> {
    let keys: Vec<_> = keys.iter().map(|(key, value)| (*key, value.as_str())).collect();
    open_for(repository, &keys, PATIENCE)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_server_does_what_stores_do_and_has_files_where_restic_has_them() {
    let sshd = shared();
    let store = open_with(&sshd.repository("deep/down"), &sshd.keys());
    does_what_stores_do(&*store);
    lists_more_than_a_page(&*store);
    let root = sshd.file("repositories/deep/down");
    let mode = |name: &str| fs::metadata(root.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("config"), mode("data/cd/cdef"), mode("data/cd"), mode("")), (0o400, 0o400, 0o700, 0o700));
    assert!(files(&root).iter().all(|file| !file.to_str().unwrap().contains("-tmp-")));
}

#[test]
fn a_server_without_any_extension_does_what_stores_do() {
    let sshd =
        Sshd::start(&format!("{SFTP} -P posix-rename,fsync,statvfs,fstatvfs,hardlink,lsetstat,limits,expand-path"));
    does_what_stores_do(&*open_with(&sshd.repository("plain"), &sshd.keys()));
}

#[test]
fn rclone_does_what_stores_do_and_lets_in_by_password() {
    let rclone = SftpPeer::start("me", "hush-p@ss");
    let repository = format!("sftp://me@127.0.0.1:{}//repository", rclone.port);
    let keys = |password: &str| [("SFTP_PASSWORD", password.to_owned()), ("SFTP_KNOWN_HOSTS", rclone.known_hosts())];
    does_what_stores_do(&*open_with(&repository, &keys("hush-p@ss")));
    let wrong = open_with(&repository, &keys("hush-wrong"));
    check_error(wrong.read("config"), Kind::Denied, &["does not let me in", "password", "SFTP_PASSWORD"]);
}

#[test]
fn keys_of_every_kind_let_in_and_hosts_are_known_by_keys_of_every_kind() {
    let sshd = shared();
    let repository = sshd.repository("kinds");
    for kind in KINDS {
        let keys = [("SFTP_PRIVATE_KEY", sshd.text(kind)), ("SFTP_KNOWN_HOSTS", sshd.known(kind))];
        open_with(&repository, &keys).write("config", Bytes::from_static(kind.as_bytes())).unwrap();
        assert_eq!(open_with(&repository, &sshd.keys()).read("config").unwrap(), kind);
    }
    let encrypted = [
        ("SFTP_PRIVATE_KEY", sshd.text("encrypted")),
        ("SFTP_PRIVATE_KEY_PASSPHRASE", "hush of a key".to_owned()),
        ("SFTP_KNOWN_HOSTS", sshd.known("ed25519")),
    ];
    assert_eq!(open_with(&repository, &encrypted).read("config").unwrap(), "ecdsa");
    let by_path = [("SFTP_PRIVATE_KEY", sshd.file("rsa")), ("SFTP_KNOWN_HOSTS", sshd.file("known"))];
    fs::write(sshd.file("known"), sshd.known("rsa")).unwrap();
    let by_path = by_path.map(|(key, path)| (key, path.display().to_string()));
    assert_eq!(open_with(&repository, &by_path).read("config").unwrap(), "ecdsa");
}

#[test]
fn by_hand_the_keys_of_the_user_are_used_and_the_hosts_that_he_knows() {
    let (sshd, home) = (shared(), tempfile::tempdir().unwrap());
    let dot_ssh = home.path().join(".ssh");
    fs::create_dir(&dot_ssh).unwrap();
    let keys = [("HOME", home.path().display().to_string())];
    let open =
        || doppel_storage::open(location(&sshd.repository("kinds"), &[("HOME", &keys[0].1)]), None, Manners::default());
    let parts = ["SFTP_PRIVATE_KEY and SFTP_PASSWORD are missing", "~/.ssh"];
    check_error(open().map(drop), Kind::Settings, &parts);
    // What cannot be used is passed over, and so is a line that nobody can read.
    fs::copy(sshd.file("encrypted"), dot_ssh.join("id_rsa")).unwrap();
    fs::copy(sshd.file("ecdsa"), dot_ssh.join("id_ecdsa")).unwrap();
    fs::write(dot_ssh.join("known_hosts"), format!("old 1024 35 12345\n{}", sshd.known("rsa"))).unwrap();
    open_with(&sshd.repository("home"), &keys).write("config", content(3)).unwrap();
}

#[test]
fn a_key_that_is_encrypted_or_none_is_refused_before_anybody_is_asked() {
    let sshd = shared();
    for (name, passphrase, what) in [
        (
            "encrypted",
            "",
            "SFTP_PRIVATE_KEY: is encrypted; write what it is encrypted with to SFTP_PRIVATE_KEY_PASSPHRASE",
        ),
        ("encrypted", "hush-wrong", "see whether SFTP_PRIVATE_KEY_PASSPHRASE is right"),
    ] {
        let (key, known) = (sshd.text(name), sshd.known("ed25519"));
        let pairs = [
            ("SFTP_PRIVATE_KEY", key.as_str()),
            ("SFTP_PRIVATE_KEY_PASSPHRASE", passphrase),
            ("SFTP_KNOWN_HOSTS", &known),
        ];
        let error = Location::parse(&sshd.repository("none"), &settings(&pairs)).unwrap_err().to_string();
        assert!(error.contains(what) && !error.contains("hush"), "{error}");
    }
}

#[test]
fn a_server_that_is_not_known_is_not_spoken_to_and_not_tried_again() {
    let sshd = shared();
    let begin = Instant::now();
    let with = |known: String| {
        open_with(
            &sshd.repository("strange"),
            &[("SFTP_PRIVATE_KEY", sshd.text("ed25519")), ("SFTP_KNOWN_HOSTS", known)],
        )
    };
    let elsewhere = with(sshd.known("ed25519").replace("127.0.0.1", "10.0.0.1"));
    let unknown = ["writing config", "is not known", "SHA256:", "ssh-keyscan", "SFTP_KNOWN_HOSTS"];
    check_error(elsewhere.write("config", content(1)), Kind::Settings, &unknown);
    let changed = format!("[127.0.0.1]:{} {}", sshd.port, sshd.text("stranger.pub"));
    check_error(with(changed).read("config"), Kind::Settings, &["known by another key", "somebody else answers"]);
    let revoked = format!("{}@revoked {}", sshd.known("ed25519"), sshd.known("ed25519"));
    check_error(with(revoked).list("keys"), Kind::Settings, &["revoked"]);
    assert!(begin.elapsed() < Duration::from_secs(10) && !sshd.file("repositories/strange").exists());
}

#[test]
fn who_is_not_let_in_is_told_so_at_once() {
    let sshd = shared();
    let begin = Instant::now();
    let keys = [("SFTP_PRIVATE_KEY", sshd.text("stranger")), ("SFTP_KNOWN_HOSTS", sshd.known("ed25519"))];
    let advice = [&*format!("does not let {} in (it takes: publickey)", user()), "authorized_keys"];
    check_error(open_with(&sshd.repository("closed"), &keys).read("config"), Kind::Denied, &advice);
    let keys = [("SFTP_PASSWORD", "hush".to_owned()), ("SFTP_KNOWN_HOSTS", sshd.known("ed25519"))];
    let closed = open_with(&sshd.repository("closed"), &keys);
    check_error(closed.remove("config"), Kind::Denied, &["it takes: publickey", "SFTP_PASSWORD"]);
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_server_that_only_reads_or_has_no_sftp_or_is_not_there_says_so() {
    let sshd = Sshd::start(&format!("{SFTP} -R"));
    let store = open_with(&sshd.repository("readonly"), &sshd.keys());
    check_error(store.write("keys/ab", content(1)), Kind::Denied, &["writing keys/ab", "Permission denied"]);
    check_error(store.read("config"), Kind::NotFound, &["reading config"]);
    assert_eq!(store.list("").unwrap(), []);

    let sshd = Sshd::start("");
    let store = open_with(&sshd.repository("none"), &sshd.keys());
    check_error(store.read("config"), Kind::Settings, &["has no SFTP"]);

    let (port, keys) = (free_port(), shared().keys());
    let keys: Vec<_> = keys.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let nobody = open_for(&format!("sftp://me@127.0.0.1:{port}//srv"), &keys, Duration::from_secs(1));
    check_error(
        nobody.read("config"),
        Kind::Unreachable,
        &["connecting to 127.0.0.1 at port", "refused", "tried for 1 s"],
    );
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_a_write_gets_all_of_it_when_it_is_back() {
    let mut sshd = Sshd::start(SFTP);
    let store = open_with(&sshd.repository("cut"), &sshd.keys());
    store.write("config", content(10)).unwrap();
    let (pack, folder) = (content(64 << 20), sshd.file("repositories/cut"));
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| store.write("data/ab/abcd", pack.clone()));
        let begun =
            |file: &PathBuf| file.to_str().unwrap().contains("-tmp-") && fs::metadata(file).unwrap().len() > 1 << 20;
        wait_until("a file that is being written", || files(&folder).iter().any(begun));
        sshd.kill();
        assert!(!folder.join("data/ab/abcd").exists());
        // Others of the same connection go on as well.
        let reading = scope.spawn(|| store.read("config"));
        std::thread::sleep(Duration::from_secs(1));
        sshd.run();
        writing.join().unwrap().unwrap();
        assert_eq!(reading.join().unwrap().unwrap(), content(10));
    });
    assert_eq!(store.read("data/ab/abcd").unwrap(), pack);
    assert_eq!(files(&folder).len(), 2, "{:?}", files(&folder));
}

#[test]
fn an_unfinished_file_of_anybody_is_no_object_and_a_link_is_named() {
    let sshd = shared();
    let store = open_with(&sshd.repository("mixed"), &sshd.keys());
    store.write("data/aa/aaff", content(5)).unwrap();
    let root = sshd.file("repositories/mixed");
    for unfinished in ["aabb-tmp-12", "aacc-restic-temp-34"] {
        fs::write(root.join("data/aa").join(unfinished), "half").unwrap();
    }
    assert_eq!(listed(&*store, "data").len(), 1);
    fs::create_dir_all(root.join("keys/1234")).unwrap();
    check_error(store.read("keys/1234"), Kind::Other, &["reading keys/1234", "is not a file"]);
    symlink("/etc", root.join("index")).unwrap();
    check_error(store.list(""), Kind::Other, &["index is a link"]);
    fs::File::create(root.join("bomb")).unwrap().set_len(doppel_storage::LARGEST_OBJECT + 1).unwrap();
    check_error(store.read("bomb"), Kind::Other, &["bomb", "is larger than 256 MiB"]);
    check_error(store.read_range("data/aa/aaff", u64::MAX, 2), Kind::Truncated, &["has 5 bytes"]);
}

#[test]
fn a_full_disk_is_said_to_be_full_and_nothing_unfinished_is_left_on_it() {
    let sshd = shared();
    let path = sshd.file("repositories/small");
    fs::create_dir(&path).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "doppel-test"]).arg(&path).status();
    assert!(mounted.unwrap().success(), "mount needs root");
    let store = open_with(&sshd.repository("small"), &sshd.keys());
    store.write("data/aa/first", content(1 << 19)).unwrap();
    let second = store.write("data/aa/second", content(1 << 20));
    let left = files(&path);
    drop(store);
    assert!(Command::new("umount").args(["--lazy"]).arg(&path).status().unwrap().success());
    check_error(second, Kind::Full, &["writing data/aa/second", "disk is full", "MiB are free"]);
    assert!(left.len() == 1 && left[0].ends_with("data/aa/first"), "{left:?}");
}
