//! Repositories that were made to do harm, by somebody who can write to the store, or who has the password too: memory stays
//! bounded, nothing is written outside of the destination, and the error says what is wrong with which file.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail their test")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use doppel_contract::LeftOut;
use doppel_restic::check::{CheckOptions, ReadData, check};
use doppel_restic::prune::{PruneOptions, prune};
use doppel_restic::repository::Repository;
use doppel_restic::restore::{Others, RestoreOptions, Restored};
use doppel_storage::folder::Folder;
use serde_json::json;
use support::forge::{CONFIG, Forge, bomb, contents, key_file, node, silent_bomb, snapshot};
use support::{PASSWORD, holder, restore_from, restore_options};
use tempfile::TempDir;

/// What a process came to that worked in such a repository.
#[derive(Debug)]
struct Outcome {
    restored: String,
    checked: String,
    pruned: String,
    /// MiB of memory that it had at most.
    peak: u64,
    destination: TempDir,
}

const REPOSITORY: &str = "HOSTILE_REPOSITORY";
const DESTINATION: &str = "HOSTILE_DESTINATION";
/// MiB: what a mover has that does nothing but this, with room for what a debug build takes more.
const LITTLE: u64 = 64;

/// Restores, checks and prunes in a process of its own, whose memory can be measured. Beside the destination is what nobody may
/// touch.
fn suffer(repository: &TempDir) -> Outcome {
    let destination = tempfile::tempdir().unwrap();
    let (volume, canary) = (destination.path().join("volume"), destination.path().join("canary"));
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("file"), "not of the volume").unwrap();
    fs::create_dir(&volume).unwrap();
    symlink("../canary", volume.join("out")).unwrap();
    let before = contents(&canary);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_is_done_in_a_process_of_its_own", "--nocapture"])
        .env(REPOSITORY, repository.path())
        .env(DESTINATION, &volume)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(contents(&canary), before);
    assert_eq!(fs::read_dir(destination.path()).unwrap().count(), 2);
    let line = |name: &str| {
        let found = said.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap_or_else(|| panic!("no {name} in {said}")).to_owned()
    };
    let peak = line("peak: ").parse().unwrap();
    Outcome { restored: line("restored: "), checked: line("checked: "), pruned: line("pruned: "), peak, destination }
}

#[test]
fn what_is_done_in_a_process_of_its_own() {
    let Some(repository) = std::env::var_os(REPOSITORY) else { return };
    let destination = std::env::var_os(DESTINATION).unwrap();
    let open = || Repository::open(Arc::new(Folder::new(Path::new(&repository))), PASSWORD.as_bytes());
    let restored = open().and_then(|repository| {
        let options = RestoreOptions { others: Others::Delete, ..restore_options() };
        restore_from(&repository, Path::new(&destination), &options)
    });
    match restored {
        Ok(Restored::Done(done)) => println!("\nrestored: {}", listed(&done.left_out)),
        Ok(Restored::NoSnapshot(_)) => println!("\nrestored: no snapshot"),
        Err(error) => println!("\nrestored: {error}"),
    }
    let checked = open()
        .and_then(|repository| check(&repository, &CheckOptions { holder: holder(), read: ReadData::Everything }));
    match checked {
        Ok(checked) => println!("checked: {}", listed(&checked.damage)),
        Err(error) => println!("checked: {error}"),
    }
    let options = PruneOptions { holder: holder(), max_unused_percent: 0, max_repack: u64::MAX, pack_size: 4 << 20 };
    match open().and_then(|repository| prune(&repository, &options)) {
        Ok(pruned) => println!("pruned: {pruned:?}"),
        Err(error) => println!("pruned: {error}"),
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("peak: {}", kilobytes >> 10);
}

fn listed(entries: &LeftOut) -> String {
    let first = entries.first.iter().map(|entry| format!("{}: {}; ", entry.path, entry.why));
    format!("count: {}; {}", entries.count, first.collect::<String>())
}

/// A restore and a check both say this, within so many MiB.
#[track_caller]
fn check_case(name: &str, repository: &TempDir, says: &str, most: u64) {
    let outcome = suffer(repository);
    println!("{name}: {} MiB: {}", outcome.peak, outcome.restored);
    assert!(outcome.restored.contains(says), "{name}: {says} in {outcome:?}");
    assert!(outcome.checked.contains(says), "{name}: {says} in {outcome:?}");
    assert!(outcome.peak <= most, "{name}: {outcome:?}");
}

fn file(name: &str, content: &[&str], size: u64) -> serde_json::Value {
    node(name, "file", json!({ "content": content, "size": size }))
}

#[test]
fn no_name_leads_out_of_the_destination() {
    let names =
        ["..", ".", "", "/etc/x", "a/b", "../canary/file", "out/file", "a\\x00b", "\\x2e\\x2e", "a\\x2fb", "a\\057b"];
    for name in names {
        let mut forge = Forge::new();
        let data = forge.blob("data", b"evil").id;
        let inner = forge.tree(&[file(name, &[&data], 4)]);
        let root = forge.tree(&[node("dir", "dir", json!({ "subtree": inner }))]);
        let outcome = suffer(&forge.finish(&root, |_| {}));
        let says = format!("the repository is damaged: tree {inner}:");
        assert!(outcome.restored.contains(&says) && outcome.restored.contains("dir"), "{name}: {outcome:?}");
        assert!(outcome.checked.contains(&inner) && outcome.pruned.contains(&inner), "{name}: {outcome:?}");
        // Nothing of a directory that is not whole, and nothing is deleted.
        assert_eq!(fs::read_dir(outcome.destination.path().join("volume/dir")).unwrap().count(), 0);
        assert!(outcome.destination.path().join("volume/out").is_symlink());
    }
}

#[test]
fn names_that_are_twice_or_out_of_order_are_refused() {
    for names in [["a", "a"], ["b", "a"], ["a", "\\x61"]] {
        let mut forge = Forge::new();
        let data = forge.blob("data", b"evil").id;
        let root =
            forge.tree(&[node(names[0], "symlink", json!({ "linktarget": "../canary" })), file(names[1], &[&data], 4)]);
        check_case("names", &forge.finish(&root, |_| {}), "names that are not in order, or one twice", LITTLE);
    }
}

#[test]
fn links_that_lead_out_are_made_and_never_followed() {
    let mut forge = Forge::new();
    let data = forge.blob("data", b"evil").id;
    let inner = forge.tree(&[file("file", &[&data], 4)]);
    let link = |name: &str| {
        let more = json!({ "linktarget": "../canary/file", "links": 2, "inode": 5, "device_id": 1 });
        node(name, "symlink", more)
    };
    let twin = node("twin", "file", json!({ "content": [data], "size": 4, "links": 2, "inode": 5, "device_id": 1 }));
    // In the volume "out" is a link to the canary; in the snapshot it is a directory with a file.
    let root = forge.tree(&[link("link"), node("out", "dir", json!({ "subtree": inner })), twin]);
    let outcome = suffer(&forge.finish(&root, |_| {}));
    let volume = outcome.destination.path().join("volume");
    assert!(!volume.join("out").is_symlink() && volume.join("out/file").is_file(), "{outcome:?}");
    assert!(volume.join("link").is_symlink(), "{outcome:?}");
}

#[test]
fn attributes_that_no_kernel_takes_are_an_error_of_their_entry() {
    let value = "AAAA".repeat(40_000);
    for name in ["user.\\u0000", "", "user.", "security.capability", "system.posix_acl_access"] {
        let name: String = serde_json::from_str(&format!("\"{name}\"")).unwrap();
        let mut forge = Forge::new();
        let xattrs = json!({ "extended_attributes": [{ "name": name, "value": value }] });
        let root = forge.tree(&[node("dir", "symlink", json!({ "linktarget": "x" })), node("e", "fifo", xattrs)]);
        let outcome = suffer(&forge.finish(&root, |_| {}));
        assert!(outcome.peak <= LITTLE && outcome.checked.contains("count: 0"), "{name:?}: {outcome:?}");
        assert!(outcome.destination.path().join("volume/dir").is_symlink(), "{name:?}: {outcome:?}");
    }
}

#[test]
fn a_tree_that_holds_itself_is_not_what_its_name_says() {
    let mut forge = Forge::new();
    let id = "ab".repeat(32);
    let json = json!({ "nodes": [node("dir", "dir", json!({ "subtree": id }))] }).to_string();
    forge.raw("tree", id.clone(), json.as_bytes(), 0);
    check_case("cycle", &forge.finish(&id, |_| {}), "its hash is another", LITTLE);
}

#[test]
fn trees_that_hold_each_other_many_times_are_looked_at_once() {
    let mut forge = Forge::new();
    let mut tree = forge.tree(&[]);
    for _ in 0..12 {
        let nodes: Vec<_> =
            (10..60).map(|number| node(&number.to_string(), "dir", json!({ "subtree": tree }))).collect();
        tree = forge.tree(&nodes);
    }
    // 50^12 directories are restored by nobody: of these a check and a prune are what must end.
    let repository = forge.finish(&tree, |_| {});
    let open = Repository::open(Arc::new(Folder::new(repository.path())), PASSWORD.as_bytes()).unwrap();
    let checked = check(&open, &CheckOptions { holder: holder(), read: ReadData::Everything }).unwrap();
    assert!(checked.damage.is_empty() && checked.trees == 13, "{checked:?}");
    let options = PruneOptions { holder: holder(), max_unused_percent: 0, max_repack: u64::MAX, pack_size: 4 << 20 };
    prune(&open, &options).unwrap();
}

#[test]
fn directories_deeper_than_a_path_can_be_are_left_out() {
    let mut forge = Forge::new();
    let mut tree = forge.tree(&[]);
    for _ in 0..3000 {
        tree = forge.tree(&[node("d", "dir", json!({ "subtree": tree }))]);
    }
    let outcome = suffer(&forge.finish(&tree, |_| {}));
    assert!(outcome.restored.contains("the kernel takes 4095"), "{outcome:?}");
    assert!(outcome.checked.contains("count: 0") && outcome.peak <= LITTLE, "{outcome:?}");
}

#[test]
fn contents_that_are_not_as_long_as_they_say_are_not_written() {
    for size in [0, 3, 5, u64::MAX] {
        let mut forge = Forge::new();
        let data = forge.blob("data", b"evil").id;
        let root = forge.tree(&[file("f", &[&data], size)]);
        let outcome = suffer(&forge.finish(&root, |_| {}));
        let says = format!("its content has 4 bytes, not {size} as it should");
        assert!(outcome.restored.contains(&says) && outcome.peak <= LITTLE, "{outcome:?}");
        assert!(!outcome.destination.path().join("volume/f").exists());
    }
}

#[test]
fn places_that_no_blob_can_have_are_refused() {
    let beyond = " were to be read from byte ";
    let absurd = "index/";
    type Change = fn(&mut support::forge::Blob);
    let cases: [(&str, Change, &str); 8] = [
        ("a length of 4 GiB", |blob| blob.length = u64::from(u32::MAX), absurd),
        ("a length beyond 32 bits", |blob| blob.length = 1 << 40, absurd),
        ("a length of nothing", |blob| blob.length = 0, absurd),
        ("an offset at 4 GiB", |blob| blob.offset = u64::from(u32::MAX), absurd),
        ("a content of 4 GiB", |blob| blob.uncompressed = u64::from(u32::MAX), absurd),
        ("an offset behind the pack", |blob| blob.offset = 1 << 30, beyond),
        ("the most that a blob can be", |blob| blob.length = 64 << 20, beyond),
        ("another's place", |blob| blob.offset += 1, "its MAC does not match"),
    ];
    for (name, change, says) in cases {
        let mut forge = Forge::new();
        let data = forge.blob("data", b"evil").id;
        let root = forge.tree(&[file("f", &[&data], 4)]);
        let repository = forge.finish(&root, |blobs| change(&mut blobs[0]));
        let outcome = suffer(&repository);
        assert!(outcome.restored.contains(says), "{name}: {outcome:?}");
        assert!(!outcome.checked.contains("count: 0"), "{name}: {outcome:?}");
        assert!(outcome.peak <= LITTLE, "{name}: {outcome:?}");
        assert!(!outcome.destination.path().join("volume/f").exists(), "{name}");
    }
}

#[test]
fn what_grows_when_it_is_unpacked_is_bounded_by_what_it_was_said_to_be() {
    const MIB: usize = 1 << 20;
    let zeros = vec![0; MIB];
    let id = "cd".repeat(32);
    for (bomb, most) in [(bomb(&zeros, 512, [b"", b""]), LITTLE), (silent_bomb(&zeros, 512), 192)] {
        for claims in [1000, 64 << 20] {
            let mut forge = Forge::new();
            forge.raw("data", id.clone(), &bomb, claims);
            let root = forge.tree(&[file("f", &[&id], 4)]);
            check_case("512 MiB of data", &forge.finish(&root, |_| {}), "not the expected zstd frame", most);
        }
        let mut forge = Forge::new();
        forge.raw("tree", id.clone(), &bomb, 1 << 20);
        check_case("512 MiB of a tree", &forge.finish(&id, |_| {}), "not the expected zstd frame", LITTLE);
    }
    let spaces = vec![b' '; MIB];
    for folder in ["index", "snapshots", "locks"] {
        for (bomb, says) in [
            (bomb(&spaces, 512, [b"{\"a\":\"", b"\"}"]), "a zstd frame of more than 67108864 bytes"),
            (silent_bomb(&spaces, 512), "not the expected zstd frame"),
        ] {
            let forge = Forge::new();
            if folder == "index" {
                forge.file("snapshots", snapshot(&id).to_string().as_bytes());
            }
            let file = forge.file(folder, &[&[2][..], &bomb].concat());
            // As much as such a file may be.
            check_case(folder, &forge.folder, &format!("{folder}/{file}: {says}"), LITTLE + 64);
        }
    }
}

#[test]
fn many_large_index_files_at_once_take_little_more_than_one() {
    let forge = Forge::new();
    for number in 0..16 {
        let begin = format!("{{\"number\":{number},\"a\":\"");
        forge.file(
            "index",
            &[&[2][..], &bomb(&vec![b' '; 1 << 20], 31, [begin.as_bytes(), b"\",\"packs\":[]}"])].concat(),
        );
    }
    let outcome = suffer(&forge.folder);
    assert!(outcome.restored.contains("no snapshot") && outcome.peak <= 192, "{outcome:?}");
}

#[test]
fn a_directory_of_a_million_entries_is_read_within_bounds() {
    let mut forge = Forge::new();
    let time = "2026-11-29T12:00:00Z";
    let mut json = String::from("{\"nodes\":[");
    for number in 0..1_000_000 {
        let comma = if number == 0 { "" } else { "," };
        json += &format!(
            "{comma}{{\"name\":\"{number:07}\",\"type\":\"irregular\",\"mtime\":\"{time}\",\"atime\":\"{time}\",\"ctime\":\"{time}\"}}"
        );
    }
    json += "]}";
    let id = doppel_restic::format::id::Id::of(json.as_bytes()).to_string();
    let packed = bomb(json.as_bytes(), 1, [b"", b""]);
    println!("{} bytes of JSON, {} packed", json.len(), packed.len());
    forge.raw("tree", id.clone(), &packed, json.len() as u64);
    drop(json);
    let outcome = suffer(&forge.finish(&id, |_| {}));
    println!("{} MiB", outcome.peak);
    assert!(outcome.restored.contains("it is of a kind that Linux does not have"), "{outcome:?}");
    assert!(outcome.peak <= 512, "{outcome:?}");
}

#[test]
fn a_key_file_cannot_ask_for_more_memory_than_a_mover_has() {
    for (n, r, p) in [(1 << 40, 8, 1), (1 << 18, 8, 1), (1 << 20, 8, 1), (1 << 15, 1 << 20, 1), (1 << 15, 8, 1 << 30)] {
        let forge = Forge::new();
        fs::remove_dir_all(forge.folder.path().join("keys")).unwrap();
        let id = forge.named("keys", key_file(n, r, p).to_string().as_bytes());
        let says = format!("keys/{id}: scrypt with N = {n}, r = {r}, p = {p}");
        check_case("scrypt", &forge.folder, &says, LITTLE);
        // It keeps nobody out who has a good one.
        forge.named("keys", key_file(2, 1, 1).to_string().as_bytes());
        assert!(suffer(&forge.folder).restored.contains("no snapshot"));
    }
    let forge = Forge::new();
    fs::remove_dir_all(forge.folder.path().join("keys")).unwrap();
    let id = forge.named("keys", &vec![b' '; 16 << 20]);
    check_case("a long key", &forge.folder, &format!("keys/{id}: it is longer than a key file can be"), LITTLE);
}

#[test]
fn a_configuration_with_an_absurd_polynomial_is_refused() {
    for polynomial in ["0", "1", "3da3358b4dc172", "ffffffffffffffff", "fffffffffffffffffffff", "-1", "", "x"] {
        let forge = Forge::new();
        forge.config(&CONFIG.replace("3da3358b4dc173", polynomial));
        check_case("polynomial", &forge.folder, "the repository is damaged: config: the chunker's polynomial", LITTLE);
    }
    for (config, says) in [
        (CONFIG.replace("\"version\":2", "\"version\":3"), "version 3 of the format"),
        ("{".repeat(100_000), "the repository is damaged: config: not the expected JSON"),
        ("[".repeat(100_000), "the repository is damaged: config: not the expected JSON"),
    ] {
        let forge = Forge::new();
        forge.config(&config);
        check_case("config", &forge.folder, says, LITTLE);
    }
}

#[test]
fn snapshots_that_are_none_are_named() {
    let mut absurd = snapshot(&"ab".repeat(32));
    absurd["time"] = json!("99999-01-01T00:00:00Z");
    for json in ["{}".to_owned(), "[]".to_owned(), "[".repeat(100_000), absurd.to_string()] {
        let forge = Forge::new();
        let id = forge.file("snapshots", json.as_bytes());
        check_case("snapshot", &forge.folder, &format!("snapshots/{id}"), LITTLE);
    }
    let forge = Forge::new();
    forge.file("snapshots", snapshot(&"ab".repeat(32)).to_string().as_bytes());
    check_case("no tree", &forge.folder, &format!("tree {}: it is in no index", "ab".repeat(32)), LITTLE);
}

#[test]
fn a_lock_cannot_write_to_a_terminal() {
    let forge = Forge::new();
    let lock = json!({ "time": "9999-01-01T00:00:00Z", "exclusive": true, "hostname": "\u{1b}]0;evil\u{7}\n",
                       "username": "\u{9b}2J", "pid": u32::MAX });
    forge.file("locks", lock.to_string().as_bytes());
    let outcome = suffer(&forge.folder);
    for said in [&outcome.restored, &outcome.checked, &outcome.pruned] {
        assert!(said.contains("locked exclusively by process") && said.contains("evil"), "{said}");
        assert!(!said.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{said:?}");
    }
}
