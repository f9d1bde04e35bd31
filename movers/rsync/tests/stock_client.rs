//! rsync as the source, with the arguments of VolSync, and a Doppel destination.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use doppel_contract::EmptySource;
use doppel_rsync::error::Error;
use doppel_rsync::outcome::Peer;
use doppel_rsync::serve::Served;
use doppel_volume::acl::{Rule, Whom};
use support::programs::Rsync;
use support::stock::{VolSync, with_doppel_daemon};
use support::{assert_same_but, noise, tree_of_everything, two, write};

with_both_versions! {
    volsyncs_two_passes_make_the_same_tree
    access_control_lists_are_kept
    changes_of_all_kinds_arrive_in_a_second_run
    every_protocol_checksum_and_compression_that_we_speak_is_understood
    uploads_into_control_arrive
    what_is_not_supported_is_refused_by_name_and_leaves_nothing
    modules_are_listed_and_unknown_ones_refused
    an_empty_source_does_not_empty_a_destination
    a_directory_that_has_the_name_of_a_file_gives_way
}

/// The root itself is not in VolSync's list.
const ROOT: &[&str] = &[""];

fn volsync(rsync: Rsync, source: &std::path::Path, destination: &std::path::Path, extra: &[&str]) -> VolSync {
    let passes = if std::fs::read_dir(source).unwrap().count() > 0 { 2 } else { 1 };
    let (volsync, served) =
        with_doppel_daemon(destination, passes, EmptySource::Refuse, |url| VolSync::run(rsync, source, url, extra));
    for served in served {
        match served {
            Ok(Served::Data(outcome)) => {
                assert!(outcome.left_out.is_empty(), "{outcome:?}\n{}", volsync.text());
                assert_eq!(outcome.peer, Peer::Rsync);
            }
            other => panic!("{other:?}\n{}", volsync.text()),
        }
    }
    volsync
}

fn volsyncs_two_passes_make_the_same_tree(rsync: Rsync) {
    let (source, destination) = two();
    tree_of_everything(source.path());
    write(&destination.path().join("extra/tree/file"), "x");
    write(&destination.path().join("dir/extra"), "x");
    let run = volsync(rsync, source.path(), destination.path(), &[]);
    assert_eq!(run.codes(), (Some(0), Some(0)), "{}", run.text());
    assert_same_but(source.path(), destination.path(), ROOT);
    assert!(run.text().contains("Number of deleted files: 4"), "{}", run.text());
}

fn access_control_lists_are_kept(rsync: Rsync) {
    let (source, destination) = two();
    let rules = |may: u8| {
        doppel_volume::acl::encode(
            [(Whom::Owner, 6), (Whom::User(1234), may), (Whom::OwningGroup, 4), (Whom::Mask, 7), (Whom::Other, 0)]
                .map(|(whom, may)| Rule { whom, may })
                .to_vec(),
        )
    };
    write(&source.path().join("f"), "x");
    write(&source.path().join("plain"), "x");
    write(&source.path().join("d/in"), "x");
    set_acl(&source.path().join("f"), "access", &rules(5));
    set_acl(&source.path().join("d"), "default", &rules(7));
    volsync(rsync, source.path(), destination.path(), &[]);
    assert_eq!(acl(&destination.path().join("f"), "access"), Some(rules(5)));
    assert_eq!(acl(&destination.path().join("d"), "default"), Some(rules(7)));
    for (path, which) in [("plain", "access"), ("d", "access"), ("d/in", "access")] {
        assert_eq!(acl(&destination.path().join(path), which), None, "{path}");
    }
    set_acl(&source.path().join("f"), "access", &rules(4));
    set_acl(&destination.path().join("plain"), "access", &rules(4));
    volsync(rsync, source.path(), destination.path(), &[]);
    assert_eq!(acl(&destination.path().join("f"), "access"), Some(rules(4)));
    assert_eq!(acl(&destination.path().join("plain"), "access"), None);
    assert_same_but(source.path(), destination.path(), ROOT);
}

fn set_acl(path: &std::path::Path, which: &str, acl: &[u8]) {
    let name = format!("system.posix_acl_{which}");
    rustix::fs::setxattr(path, name, acl, rustix::fs::XattrFlags::empty()).unwrap();
}

fn acl(path: &std::path::Path, which: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 1000];
    let len = rustix::fs::getxattr(path, format!("system.posix_acl_{which}"), &mut bytes[..]).ok()?;
    bytes.truncate(len);
    Some(bytes)
}

fn changes_of_all_kinds_arrive_in_a_second_run(rsync: Rsync) {
    let (source, destination) = two();
    tree_of_everything(source.path());
    volsync(rsync, source.path(), destination.path(), &[]);
    let mut content = std::fs::read(source.path().join("large")).unwrap();
    content.splice(300_000..300_005, noise(4000, 77));
    content.drain(700_000..700_500);
    write(&source.path().join("large"), content);
    std::fs::remove_file(source.path().join("dir/sub/deep/file")).unwrap();
    write(&source.path().join("dir/sub/deep/other"), "other");
    std::fs::remove_dir_all(source.path().join("odd")).unwrap();
    let run = volsync(rsync, source.path(), destination.path(), &[]);
    assert_eq!(run.codes(), (Some(0), Some(0)), "{}", run.text());
    assert_same_but(source.path(), destination.path(), ROOT);
    let again = volsync(rsync, source.path(), destination.path(), &[]);
    assert!(again.text().contains("Number of regular files transferred: 0"), "{}", again.text());
}

fn every_protocol_checksum_and_compression_that_we_speak_is_understood(rsync: Rsync) {
    let offers = ["xxh128", "xxh3", "xxh64", "md5", "md4"].map(|name| (Some(("RSYNC_CHECKSUM_LIST", name)), vec![]));
    let packed = ["zstd", "lz4", "zlibx", "zlib", "none"].map(|name| (Some(("RSYNC_COMPRESS_LIST", name)), vec![]));
    let decided = [
        "--protocol=30",
        "--protocol=31",
        "--protocol=32",
        "--checksum-choice=xxh128",
        "--checksum-choice=xxh3,md5",
        "--checksum-choice=xxh64",
        "--checksum-choice=md5",
        "--checksum-choice=md4",
        "--compress-choice=zstd",
        "--compress-choice=lz4",
        "--compress-choice=zlibx",
        "--compress-choice=zlib",
        "--compress-choice=none",
        "--no-compress",
        "--no-inc-recursive",
        "--compress-level=19",
    ]
    .map(|option| (None, vec![option]));
    let both = [(None, vec!["--compress-choice=zlib", "--compress-level=9", "--checksum-choice=md4"])];
    for (variable, extra) in offers.into_iter().chain(packed).chain(decided).chain(both) {
        let (source, destination) = two();
        tree_of_everything(source.path());
        // Blocks of the old content, with new content before, between and after them that looks back at both.
        let old = [noise(900_000, 2).split_at(500_000).1, &"all work and no play\n".repeat(3000).into_bytes()].concat();
        write(&destination.path().join("mixed"), &old);
        write(
            &source.path().join("mixed"),
            [b"begin\n", &old[..300_000], &old[1000..40_000], &old[250_000..]].concat(),
        );
        write(&destination.path().join("large"), noise(900_000, 2).split_at(500_000).1);
        write(&destination.path().join("text"), "all work and no play\n".repeat(1000));
        if extra == ["--protocol=30"] {
            whole_seconds(source.path());
        }
        let (run, served) = with_doppel_daemon(destination.path(), 2, EmptySource::Refuse, |url| {
            VolSync::run_with(rsync, source.path(), url, &extra, variable)
        });
        let what = format!("{variable:?} {extra:?}: {served:?}\n{}", run.text());
        let matched = match &served[0] {
            Ok(Served::Data(outcome)) => outcome.tally.matched_bytes,
            _ => panic!("{what}"),
        };
        assert!(matched > 800_000 && served[1].is_ok(), "{what}");
        assert_eq!(run.codes(), (Some(0), Some(0)), "{what}");
        assert_same_but(source.path(), destination.path(), ROOT);
    }
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

fn uploads_into_control_arrive(rsync: Rsync) {
    let (source, destination) = two();
    let script = source.path().join("client.sh");
    write(&script, "#! /bin/bash\n".repeat(1000));
    let script = script.to_str().unwrap();
    let (outputs, served) = with_doppel_daemon(destination.path(), 2, EmptySource::Refuse, |url| {
        ["symlink-munging-file", "complete"]
            .map(|name| rsync.command().args([script, &format!("{url}/control/{name}")]).output().unwrap())
    });
    for output in outputs {
        assert!(output.status.success(), "{output:?}");
    }
    for (served, expected) in served.into_iter().zip(["symlink-munging-file", "complete"]) {
        let Served::Control { name, content } = served.unwrap() else { panic!("no upload") };
        assert_eq!((name.as_str(), content.len()), (expected, 13_000));
    }
    assert_eq!(std::fs::read_dir(destination.path()).unwrap().count(), 0);
}

fn what_is_not_supported_is_refused_by_name_and_leaves_nothing(rsync: Rsync) {
    let (source, destination) = two();
    write(&source.path().join("f"), "x");
    let from = format!("{}/", source.path().display());
    for (arguments, named) in [
        (&["-a", "--inplace"][..], "--inplace"),
        (&["-a", "--delete-excluded"], "--delete-excluded"),
        (&["-an"], "-n"),
        (&["-a", "--backup"], "-b"),
        (&["-a", "--checksum-choice=sha1"], "--checksum-choice=sha1"),
        (&["-a", "--delete", "--exclude=*.tmp"], "*.tmp"),
    ] {
        let (output, served) = with_doppel_daemon(destination.path(), 1, EmptySource::Refuse, |url| {
            rsync.command().args(arguments).args([&from, &format!("{url}/data")]).output().unwrap()
        });
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(named), "{arguments:?}: {text}");
        assert!(served[0].is_err());
        assert_eq!(std::fs::read_dir(destination.path()).unwrap().count(), 0);
    }
}

fn modules_are_listed_and_unknown_ones_refused(rsync: Rsync) {
    let destination = support::directory();
    let (output, served) = with_doppel_daemon(destination.path(), 1, EmptySource::Refuse, |url| {
        rsync.command().arg(format!("{url}/")).output().unwrap()
    });
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "data           \tPVC data\ncontrol        \t\n");
    assert!(matches!(served[0], Ok(Served::Listing)));
    let (output, served) = with_doppel_daemon(destination.path(), 1, EmptySource::Refuse, |url| {
        rsync.command().args(["/etc/hostname", &format!("{url}/other/x")]).output().unwrap()
    });
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Unknown module 'other'"));
    assert!(served[0].is_err());
}

fn an_empty_source_does_not_empty_a_destination(rsync: Rsync) {
    let (source, destination) = two();
    write(&destination.path().join("precious"), "x");
    let (run, served) = with_doppel_daemon(destination.path(), 1, EmptySource::Refuse, |url| {
        VolSync::run(rsync, source.path(), url, &[])
    });
    assert!(destination.path().join("precious").exists());
    assert_eq!(run.delete.status.code(), Some(23), "{}", run.text());
    assert!(run.text().contains("nothing was deleted"), "{}", run.text());
    assert!(matches!(served[0], Err(Error::EmptySource { destination: Some(1) })), "{served:?}");
    let (run, _) = with_doppel_daemon(destination.path(), 1, EmptySource::Accept, |url| {
        VolSync::run(rsync, source.path(), url, &[])
    });
    assert_eq!(run.delete.status.code(), Some(0), "{}", run.text());
    assert!(!destination.path().join("precious").exists());
}

fn a_directory_that_has_the_name_of_a_file_gives_way(rsync: Rsync) {
    let (source, destination) = two();
    write(&source.path().join("f"), "x");
    write(&destination.path().join("f/in"), "x");
    let run = volsync(rsync, source.path(), destination.path(), &[]);
    assert_eq!(run.codes(), (Some(0), Some(0)), "{}", run.text());
    assert_same_but(source.path(), destination.path(), ROOT);
}
