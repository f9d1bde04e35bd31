//! Links, and what they lead to.

use super::*;

#[test]
fn cve_2024_12086_a_daemon_cannot_name_the_file_that_it_is_told_of() {
    let cage = Cage::new();
    write(&cage.destination.join("f"), noise(5000, 1));
    for name in [&b"../canary/file"[..], b"/etc/passwd", b"f"] {
        for basis in [0x80, 0x81, 0x82, 0x83, 0, 0xff] {
            let flags = Flags::TRANSFER.and(Flags::NAME_FOLLOWS).and(Flags::BASIS_FOLLOWS);
            let item = Item { flags, basis, name: name.to_vec() };
            let mut coder = IndexCoder::default();
            let asks = frame(&request(&mut coder, 1, &item, SumHead::NOTHING));
            let (pushed, heard) = push_meanwhile(&cage, [daemon_preamble(), asks].concat(), frame(&done(5)), || {});
            assert_eq!(pushed.unwrap().tally.files_sent, 1);
            assert!(contains(&heard.lock().unwrap(), &noise(5000, 1)));
        }
    }
}

#[test]
fn cve_2024_12086_a_client_cannot_name_the_old_content_that_blocks_are_taken_from() {
    let cage = Cage::new();
    let flags = Flags::TRANSFER.and(Flags::NAME_FOLLOWS).and(Flags::BASIS_FOLLOWS);
    let item = Item { flags, basis: 0x83, name: b"../canary/file".to_vec() };
    let len = u32::try_from(SECRET.len()).unwrap();
    let mut content = request(&mut IndexCoder::default(), 1, &item, head(1, len, 2));
    content.extend([Token::Block(0).encode(), Token::End.encode()].concat());
    // The checksum of what is outside: if that were taken, it would match.
    let sum = doppel_rsync::proto::checksum::FileSum::whole(doppel_rsync::proto::checksum::Algorithm::Md5, SECRET);
    content.extend(sum.finish());
    let first = [client_preamble(false), frame(&list(&["./", "f"]))].concat();
    let served = serve_meanwhile(&cage, first, [frame(&content), frame(&done(4))].concat(), || {});
    assert!(matches!(&served, Ok(Served::Data(outcome)) if outcome.left_out.count == 1), "{served:?}");
    assert!(!cage.destination.join("f").exists());
}

#[test]
fn cve_2024_12087_a_link_and_a_directory_of_one_name_lead_nowhere() {
    for paths in [["./", "x>../canary", "x/", "x/file"], ["./", "x/", "x/file", "x>../canary"]] {
        let cage = Cage::new();
        let mut coder = IndexCoder::default();
        let content = reply(&mut coder, 3, SumHead::NOTHING, &FIVE, b"wrong");
        let first = [client_preamble(false), frame(&list(&paths))].concat();
        let _ = serve_meanwhile(&cage, first, [frame(&content), frame(&done(4))].concat(), || {});
    }
}

#[test]
fn cve_2024_12088_no_target_of_a_link_is_ever_judged_or_followed() {
    assert_refused(&[
        "--safe-links",
        "--copy-unsafe-links",
        "--munge-links",
        "--copy-links",
        "--keep-dirlinks",
        "-L",
        "-K",
    ]);
    let cage = Cage::new();
    let first = [client_preamble(true), frame(&[0; 4]), frame(&list(&["./", "a>b/../../canary", "b>../canary"]))];
    let served = serve_meanwhile(&cage, first.concat(), frame(&done(4)), || {});
    assert!(matches!(&served, Ok(Served::Data(outcome)) if outcome.left_out.is_empty()), "{served:?}");
    assert_eq!(std::fs::read_link(cage.destination.join("b")).unwrap().to_str(), Some("../canary"));
}

#[test]
fn cve_2024_12747_a_file_that_becomes_a_link_before_it_is_read_is_not_followed() {
    let cage = Cage::new();
    for name in ["f", "d/g"] {
        write(&cage.destination.join(name), vec![b'x'; SECRET.len()]);
    }
    let (root, canary) = (cage.destination.clone(), cage.canary.clone());
    let mut coder = IndexCoder::default();
    let requests = [1, 3].map(|index| request(&mut coder, index, &transfer(), SumHead::NOTHING)).concat();
    let (pushed, _) = push_meanwhile(&cage, daemon_preamble(), frame(&[requests, done(5)].concat()), move || {
        std::fs::remove_file(root.join("f")).unwrap();
        symlink(canary.join("file"), root.join("f")).unwrap();
        std::fs::remove_dir_all(root.join("d")).unwrap();
        symlink(&canary, root.join("d")).unwrap();
    });
    let pushed = pushed.unwrap();
    assert_eq!((pushed.tally.files_sent, pushed.remarks.count), (0, 2), "{pushed:?}");
}

#[test]
fn cve_2026_29518_a_directory_that_becomes_a_link_before_content_comes_is_not_followed() {
    let cage = Cage::new();
    let (root, canary) = (cage.destination.clone(), cage.canary.clone());
    let content = reply(&mut IndexCoder::default(), 2, SumHead::NOTHING, &FIVE, b"wrong");
    let first = [client_preamble(false), frame(&list(&["./", "x/", "x/file"]))].concat();
    let served = serve_meanwhile(&cage, first, [frame(&content), frame(&done(4))].concat(), move || {
        std::fs::rename(root.join("x"), root.join("aside")).unwrap();
        symlink(&canary, root.join("x")).unwrap();
    });
    assert!(matches!(&served, Ok(Served::Data(outcome)) if outcome.left_out.count > 0), "{served:?}");
}

#[test]
fn cve_2026_43619_attributes_and_names_are_not_given_through_a_link() {
    let cage = Cage::new();
    let (root, canary) = (cage.destination.clone(), cage.canary.clone());
    write(&root.join("d/file"), "x");
    write(&root.join("d/gone"), "x");
    let paths = ["./", "a", "d/", "d/file>elsewhere", "e/", "e/f"];
    let content = reply(&mut IndexCoder::default(), 1, SumHead::NOTHING, &FIVE, b"hello");
    let first = [client_preamble(true), frame(&[0; 4]), frame(&list(&paths))].concat();
    // All directories get their attributes, and lose what the list does not have, in the end.
    let served = serve_meanwhile(&cage, first, [frame(&content), frame(&done(4))].concat(), move || {
        for directory in ["d", "e"] {
            std::fs::rename(root.join(directory), root.join(format!("{directory}-aside"))).unwrap();
            symlink(&canary, root.join(directory)).unwrap();
        }
    });
    assert!(matches!(&served, Ok(Served::Data(outcome)) if outcome.left_out.count > 0), "{served:?}");
}

#[test]
fn cve_2026_53799_access_control_lists_are_not_given_through_a_link() {
    let cage = Cage::new();
    let (root, canary) = (cage.destination.clone(), cage.canary.clone());
    let preamble = b"@RSYNCD: 31.0 md5\ndata\n--server\0-tprAe.LsfxCIvu\0--numeric-ids\0.\0data/\0\0\x03md5";
    let mut bytes = Vec::new();
    // Plain entries, each followed by a list for user 1234, and directories by one that is inherited.
    let mut fields = |path: &[u8], mode: i32, default: bool| {
        bytes.extend([0x04, u8::try_from(path.len()).unwrap()]);
        bytes.extend([path, &[0, 0, 0], &[0, 1, 0, 0], &mode.to_le_bytes()].concat());
        for _ in 0..=usize::from(default) {
            bytes.extend([&[0, 0x10, 1][..], &varint(1234), &[0x1e]].concat());
        }
    };
    fields(b".", 0o040_755, true);
    fields(b"file", 0o100_644, false);
    fields(b"d", 0o040_700, true);
    bytes.extend([0, 0]);
    let content = reply(&mut IndexCoder::default(), 1, SumHead::NOTHING, &FIVE, b"hello");
    let first = [&preamble[..], &frame(&bytes)].concat();
    let served = serve_meanwhile(&cage, first, [frame(&content), frame(&done(4))].concat(), move || {
        std::fs::remove_dir(root.join("d")).unwrap();
        symlink(&canary, root.join("d")).unwrap();
    });
    assert!(matches!(&served, Ok(Served::Data(outcome)) if outcome.left_out.count > 0), "{served:?}");
    assert_eq!(acl(&cage.canary), None);
    assert!(acl(&cage.destination.join("file")).is_some(), "where there is no link they are given");
}

fn acl(path: &std::path::Path) -> Option<usize> {
    rustix::fs::lgetxattr(path, "system.posix_acl_access", &mut [0; 200][..]).ok()
}

#[test]
fn cve_2026_53801_what_a_link_leads_to_is_not_even_listed() {
    let cage = Cage::new();
    let (root, canary) = (cage.destination.clone(), cage.canary.clone());
    write(&root.join("d/sub/f"), "x");
    let first = [client_preamble(true), frame(&[0; 4]), frame(&list(&["./", "d/", "d/sub/"]))].concat();
    // The directory cannot be opened to read it, so that only whoever does not look for links first would get there.
    std::fs::set_permissions(&canary, PermissionsExt::from_mode(0o711)).unwrap();
    let cage = cage.renewed();
    let served = serve_meanwhile(&cage, first, frame(&done(4)), move || {
        std::fs::remove_dir_all(root.join("d")).unwrap();
        symlink(&canary, root.join("d")).unwrap();
    });
    let Ok(Served::Data(outcome)) = &served else { panic!("{served:?}") };
    assert_eq!(outcome.tally.deleted, 0, "{outcome:?}");
    let whys: Vec<_> = outcome.left_out.first.iter().map(|problem| problem.why.as_str()).collect();
    assert!(whys.iter().any(|why| why.contains("list the directory")), "{whys:?}");
}

#[test]
fn cve_2026_70459_a_root_that_is_no_directory_is_refused() {
    for kind in [Kind::File, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::CharacterDevice, Kind::BlockDevice] {
        for hard_link in [HardLink::No, HardLink::First] {
            let cage = Cage::new();
            let mut bytes = Vec::new();
            let mut encoder = EntryEncoder::new(LAYOUT);
            encoder.write(&mut bytes, b".", &WireEntry { hard_link, ..entry(kind) }, b"../canary");
            EntryEncoder::end(&mut bytes, IoErrors::default());
            assert_malformed(&to_daemon(&cage.destination, &[client_preamble(false), frame(&bytes)].concat()));
            cage.assert_untouched();
        }
    }
}
