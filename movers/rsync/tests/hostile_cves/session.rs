//! What a session is about: names, options, limits, times.

use super::*;

#[test]
fn cve_2022_29154_a_source_takes_no_files_and_a_daemon_sends_none() {
    let cage = Cage::new();
    write(&cage.destination.join("f"), "x");
    let before = describe(&cage.destination);
    let bytes = [
        list(&["./", "new", "../canary/file"]),
        reply(&mut IndexCoder::default(), 1, SumHead::NOTHING, &FIVE, b"wrong"),
    ];
    assert!(push_to(&cage, &bytes.concat()).0.is_err());
    assert_eq!(describe(&cage.destination), before);
    let refused = with_option("--sender").unwrap_err().to_string();
    assert!(refused.contains("only receives"), "{refused}");
}

#[test]
fn cve_2026_43617_who_a_peer_is_depends_on_no_name_or_address() {
    // There is nothing to say it with: neither access lists nor users. The key alone opens a session.
    let cage = Cage::new();
    for line in ["#auth user md5", "data\0admin", "@data", "data "] {
        let bytes = format!("@RSYNCD: 31.0 md5\n{line}\n");
        let result = to_daemon(&cage.destination, bytes.as_bytes());
        assert!(matches!(result, Err(Error::Refused(_))), "{line}: {result:?}");
    }
}

#[test]
fn cve_2026_43620_the_first_entry_need_not_be_the_root_and_an_incremental_list_is_not_spoken() {
    // Entry 0 is whatever it is, and nothing is before it; whoever speaks of another has another list.
    for index in [0, 1, 0x7fff_ffff] {
        let cage = Cage::new();
        let mut bytes = Vec::new();
        IndexCoder::default().write(&mut bytes, Index::Entry(index));
        Item::default().write(&mut bytes);
        let first = [client_preamble(false), frame(&list(&["f"]))].concat();
        let served = serve_meanwhile(&cage, first, frame(&[bytes, done(4)].concat()), || {});
        if index == 0 {
            assert!(matches!(&served, Ok(Served::Data(outcome)) if outcome.left_out.count == 1), "{served:?}");
        } else {
            assert_malformed(&served);
        }
    }
    let cage = Cage::new();
    let mut bytes = b"@RSYNCD: 31.0 md5\n@RSYNCD: OK\n".to_vec();
    bytes.extend(varint(0x1ff));
    bytes.extend(b"\x03md5\x01\x02\x03\x04");
    assert_malformed(&push_meanwhile(&cage, bytes, Vec::new(), || {}).0);
}

#[test]
fn cve_2026_53789_nothing_is_deleted_beyond_what_the_session_is_about() {
    let arguments = |letters: &str, more: &str| {
        format!("@RSYNCD: 31.0 md5\ndata\n--server\0-{letters}e.LsfxCIvu\0{more}--numeric-ids\0.\0data/\0\0\x03md5")
            .into_bytes()
    };
    let mut plain = Vec::new();
    let mut without_content = Vec::new();
    let layout = doppel_rsync::proto::entry::Layout {
        links: false,
        hard_links: false,
        owner: false,
        group: false,
        devices: false,
        ..LAYOUT
    };
    for (bytes, passed_by) in [(&mut plain, false), (&mut without_content, true)] {
        let mut encoder = EntryEncoder::new(layout);
        for path in [&b"."[..], b"d"] {
            let directory = WireEntry { without_content: passed_by, ..entry(Kind::Directory) };
            encoder.write(bytes, path, &directory, &[]);
        }
        EntryEncoder::end(bytes, IoErrors::default());
    }
    let kept = |first: Vec<u8>, rest: Vec<u8>| {
        let cage = Cage::new();
        write(&cage.destination.join("d/f"), "x");
        write(&cage.destination.join("lost+found/f"), "x");
        write(&cage.destination.join("g"), "x");
        let served = serve_meanwhile(&cage, first, rest, || {});
        assert!(served.is_ok(), "{served:?}");
        assert!(cage.destination.join("lost+found/f").exists());
        cage.destination.join("d/f").exists() && cage.destination.join("g").exists()
    };
    let end = || frame(&done(4));
    // It works, or the rest would show nothing.
    assert!(!kept([arguments("r", "--delete\0"), frame(&[0; 4]), frame(&plain)].concat(), end()));
    // Without the option, without recursion, for directories whose content is not in the list, after an error.
    assert!(kept([arguments("r", ""), frame(&plain)].concat(), end()));
    assert!(kept([arguments("", "--delete\0"), frame(&[0; 4]), frame(&plain)].concat(), end()));
    assert!(kept([arguments("r", "--delete\0"), frame(&[0; 4]), frame(&without_content)].concat(), end()));
    let error = message(Tag::IoError, &[1, 0, 0, 0]);
    assert!(kept([arguments("r", "--delete\0"), frame(&[0; 4]), frame(&plain)].concat(), [error, end()].concat()));
}

#[test]
fn cve_2026_53794_limits_are_not_the_peers_to_set() {
    assert_refused(&["--max-alloc=0", "--max-alloc=1", "--max-size=1", "--block-size=0", "--bwlimit=1"]);
}

#[test]
fn cve_2026_70458_hard_links_are_refused_where_the_session_keeps_none() {
    for flags in [1 << 9, (1 << 9) | (1 << 12)] {
        let cage = Cage::new();
        let preamble = b"@RSYNCD: 31.0 md5\ndata\n--server\0-re.LsfxCIvu\0--numeric-ids\0.\0data/\0\0\x03md5";
        let mut bytes = Vec::new();
        let mut encoder = EntryEncoder::new(doppel_rsync::proto::entry::Layout {
            links: false,
            hard_links: false,
            owner: false,
            group: false,
            devices: false,
            ..LAYOUT
        });
        encoder.write(&mut bytes, b".", &entry(Kind::Directory), &[]);
        encoder.write(&mut bytes, b"f", &entry(Kind::File), &[]);
        bytes.extend(varint(flags));
        bytes.extend(b"\x01g");
        bytes.extend(if flags == 1 << 9 {
            varint(1)
        } else {
            [&[0; 3][..], &[0; 4], &0o100_644_i32.to_le_bytes()].concat()
        });
        bytes.extend([0, 0]);
        assert_malformed(&to_daemon(&cage.destination, &[&preamble[..], &frame(&bytes)].concat()));
        assert_eq!(std::fs::read_dir(&cage.destination).unwrap().count(), 0);
    }
}

#[test]
fn cve_2026_70460_no_directory_for_parts_or_backups_can_be_named() {
    assert_refused(&[
        "--partial-dir=../canary",
        "--backup-dir=/tmp",
        "--backup",
        "-b",
        "--suffix=/../../x",
        "--temp-dir=/tmp",
        "--delay-updates",
        "--inplace",
        "--append",
        "--append-verify",
    ]);
}

#[test]
fn cve_2026_70462_a_peers_timeout_changes_nothing() {
    for seconds in [0, 1, -1, i32::MIN, i32::MAX] {
        let cage = Cage::new();
        write(&cage.destination.join("f"), "x");
        let timeout = message(Tag::IoTimeout, &seconds.to_le_bytes());
        let first = [daemon_preamble(), timeout.clone(), frame(&done(5))].concat();
        let (pushed, _) = push_meanwhile(&cage, first, Vec::new(), || {});
        assert!(pushed.is_ok(), "{pushed:?}");
        let first = [client_preamble(false), timeout, frame(&list(&["./"]))].concat();
        assert!(serve_meanwhile(&cage, first, frame(&done(4)), || {}).is_ok());
    }
    assert_refused(&["--contimeout=1", "--stop-after=1"]);
}

#[test]
fn cve_2026_70464_a_stall_in_the_handshake_ends_with_the_connections_deadline() {
    struct Stalled;
    impl std::io::Read for Stalled {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::TimedOut.into())
        }
    }
    let cage = Cage::new();
    let tree = Tree::open(&cage.destination).unwrap();
    let said = client_preamble(false);
    for length in 0..said.len() {
        let reader = std::io::Read::chain(&said[..length], Stalled);
        let connection = doppel_rsync::push::Connection { reader, writer: Vec::new() };
        let modules = Modules::new(&tree, EmptySource::Refuse);
        let served = serve(connection, &modules, &Silent);
        assert!(matches!(served, Err(Error::Network(_))), "{length}: {served:?}");
        // It locks nobody out.
        let first = [client_preamble(false), frame(&list(&["./"]))].concat();
        let heard = heard_before_requests(&first);
        let (connection, _) = Speech::new(first, frame(&done(4))).connection(heard);
        assert!(serve(connection, &modules, &Silent).is_ok());
    }
}

#[test]
fn options_that_name_files_programs_or_other_roles_are_refused() {
    // CVE-2026-53783 to 53803, as far as they begin with an argument.
    assert_refused(&[
        "--files-from=/etc/passwd",
        "--log-file=/tmp/x",
        "--write-batch=x",
        "--password-file=/etc/shadow",
        "--link-dest=/tmp",
        "--copy-dest=../canary",
        "--compare-dest=../canary",
        "--filter=merge /etc/passwd",
        "--remove-source-files",
        "--copy-devices",
        "--write-devices",
        "--fake-super",
        "--super",
        "--rsync-path=sh",
        "-s",
        "-a",
        "-n",
        "--usermap=*:root",
        "--chown=root",
        "--mkpath",
        "--daemon",
        "--config=/tmp/x",
        "--iconv=utf8",
    ]);
}

#[test]
fn a_path_that_is_not_the_modules_root_is_refused() {
    for path in
        ["data/../canary", "data//", "data/.", "data/./..", "/", "control/", "../data/", "data/a/./b", "data\u{1}"]
    {
        let cage = Cage::new();
        let bytes = format!("@RSYNCD: 31.0 md5\ndata\n--server\0-re.LsfxCIvu\0.\0{path}\0\0\x03md5");
        let result = to_daemon(&cage.destination, bytes.as_bytes());
        assert!(matches!(result, Err(Error::Arguments(_))), "{path}: {result:?}");
        cage.assert_untouched();
    }
}
