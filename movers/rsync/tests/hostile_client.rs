//! Clients that mean harm: whatever they send, nothing outside the volume is touched, nothing panics and nothing hangs.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::os::unix::fs::symlink;

use doppel_rsync::error::Error;
use doppel_rsync::proto::frame::Tag;
use doppel_rsync::proto::index::IndexCoder;
use doppel_rsync::proto::sums::SumHead;
use doppel_rsync::proto::token::Token;
use doppel_rsync::serve::Served;
use proptest::prelude::*;
use support::wire::{Cage, client_preamble, done, frame, list, message, reply, to_daemon, to_daemon_in_turn};
use support::{describe, write};

#[test]
fn an_honest_client_of_this_test_is_served() {
    let cage = Cage::new();
    let mut coder = IndexCoder::default();
    let content = reply(&mut coder, 1, SumHead::NOTHING, &[Token::Literal(5), Token::End], b"hello");
    let first = [client_preamble(false), frame(&list(&["./", "f"]))].concat();
    let rest = [frame(&content), frame(&done(4))].concat();
    let result = to_daemon_in_turn(&cage.destination, &first, &rest);
    assert!(matches!(result, Ok(Served::Data(_))), "{result:?}");
    assert_eq!(std::fs::read(cage.destination.join("f")).unwrap(), b"hello");
}

#[test]
fn paths_that_lead_out_are_refused_before_anything_is_made() {
    for paths in [
        &["../canary/file"][..],
        &["./", "a/", "a/../../canary/file"],
        &["/canary/file"],
        &["./", "x>../canary", "x/file"],
        &["./", "x>../canary", "x/", "x/file"],
        &["./", "x/", "x>../canary", "x/file"],
        &["./", "a//b"],
        &["./", "missing/file"],
    ] {
        let cage = Cage::new();
        let mut coder = IndexCoder::default();
        let content = reply(&mut coder, 2, SumHead::NOTHING, &[Token::Literal(5), Token::End], b"wrong");
        let bytes = [client_preamble(true), frame(&[0; 4]), frame(&list(paths)), frame(&content), frame(&done(4))];
        let result = to_daemon(&cage.destination, &bytes.concat());
        cage.assert_untouched();
        // A link and a directory of one name are not what a file system has; whichever wins, nothing is followed.
        if paths.iter().filter(|path| path.starts_with('x')).count() < 3 {
            assert!(matches!(result, Err(Error::Malformed(_))), "{paths:?}: {result:?}");
            assert_eq!(std::fs::read_dir(&cage.destination).unwrap().count(), 0);
        }
    }
}

#[test]
fn a_link_that_is_there_already_is_not_followed() {
    let cage = Cage::new();
    symlink("../canary", cage.destination.join("x")).unwrap();
    let mut coder = IndexCoder::default();
    let content = reply(&mut coder, 2, SumHead::NOTHING, &[Token::Literal(5), Token::End], b"hello");
    let first = [client_preamble(false), frame(&list(&["./", "x/", "x/file"]))].concat();
    let rest = [frame(&content), frame(&done(4))].concat();
    let result = to_daemon_in_turn(&cage.destination, &first, &rest);
    assert!(result.is_ok(), "{result:?}");
    cage.assert_untouched();
    assert_eq!(std::fs::read(cage.destination.join("x/file")).unwrap(), b"hello");
    assert!(cage.destination.join("x").symlink_metadata().unwrap().is_dir());
}

#[test]
fn deletion_stays_within_the_volume() {
    let cage = Cage::new();
    symlink("../canary", cage.destination.join("x")).unwrap();
    write(&cage.destination.join("d/f"), "x");
    symlink("../../canary", cage.destination.join("d/y")).unwrap();
    let first = [client_preamble(true), frame(&[0; 4]), frame(&list(&["./", "z/"]))].concat();
    let result = to_daemon_in_turn(&cage.destination, &first, &frame(&done(4)));
    assert!(result.is_ok(), "{result:?}");
    cage.assert_untouched();
    assert_eq!(std::fs::read_dir(&cage.destination).unwrap().count(), 1);
}

#[test]
fn content_that_was_not_asked_for_is_refused() {
    let literal = [Token::Literal(5), Token::End];
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("an index out of the list", vec![reply(&mut IndexCoder::default(), 7, SumHead::NOTHING, &literal, b"hello")]),
        ("a directory", vec![reply(&mut IndexCoder::default(), 2, SumHead::NOTHING, &literal, b"hello")]),
        ("twice", {
            let mut coder = IndexCoder::default();
            let mut once = || reply(&mut coder, 1, SumHead::NOTHING, &literal, b"hello");
            vec![once(), once()]
        }),
        ("a block of nothing", vec![reply(&mut IndexCoder::default(), 1, SumHead::NOTHING, &[Token::Block(0)], b"")]),
        (
            "a block beyond the last",
            vec![reply(
                &mut IndexCoder::default(),
                1,
                SumHead { count: 2, block: 700, strong: 2, remainder: 0 },
                &[Token::Block(2)],
                b"",
            )],
        ),
        (
            "blocks of no length (CVE-2026-53792)",
            vec![reply(
                &mut IndexCoder::default(),
                1,
                SumHead { count: 2, block: 0, strong: 2, remainder: 0 },
                &[Token::Block(1), Token::End],
                b"",
            )],
        ),
        (
            "blocks that are too long",
            vec![reply(
                &mut IndexCoder::default(),
                1,
                SumHead { count: 1, block: 1 << 30, strong: 2, remainder: 0 },
                &[Token::Block(0), Token::End],
                b"",
            )],
        ),
        (
            "long checksums (CVE-2024-12084)",
            vec![reply(
                &mut IndexCoder::default(),
                1,
                SumHead { count: 1, block: 700, strong: 64, remainder: 0 },
                &[Token::End],
                b"",
            )],
        ),
        ("a withheld entry that is not in the list", vec![message(Tag::NoSend, &[1, 0, 0, 0]).repeat(10)]),
    ];
    for (name, replies) in cases {
        let cage = Cage::new();
        let replies = replies.concat();
        let replies = if name.starts_with("a withheld") { replies } else { frame(&replies) };
        let first = [client_preamble(false), frame(&list(&["./", "f", "d/"]))].concat();
        let result = to_daemon_in_turn(&cage.destination, &first, &[replies, frame(&done(4))].concat());
        assert!(matches!(result, Err(Error::Malformed(_))), "{name}: {result:?}");
        cage.assert_untouched();
        let temporary = describe(&cage.destination).keys().any(|path| path.contains("doppel-tmp"));
        assert!(!temporary, "{name}");
    }
}

#[test]
fn a_client_that_does_not_send_what_it_was_asked_for_is_no_success() {
    let cage = Cage::new();
    let first = [client_preamble(false), frame(&list(&["./", "f", "g", "h"]))].concat();
    let rest = [message(Tag::NoSend, &[2, 0, 0, 0]), frame(&done(4))].concat();
    let result = to_daemon_in_turn(&cage.destination, &first, &rest);
    let Ok(Served::Data(outcome)) = &result else { panic!("{result:?}") };
    assert_eq!(outcome.left_out.count, 3, "{outcome:?}");
}

#[test]
fn wrong_content_is_not_stored() {
    let cage = Cage::new();
    write(&cage.destination.join("f"), "old content");
    let mut coder = IndexCoder::default();
    let mut wrong = || {
        let mut bytes = reply(&mut coder, 1, SumHead::NOTHING, &[Token::Literal(5), Token::End], b"wrong");
        *bytes.last_mut().unwrap() ^= 1;
        bytes
    };
    let replies = [wrong(), done(1), wrong(), done(3)].concat();
    let first = [client_preamble(false), frame(&list(&["./", "f"]))].concat();
    // What it says the second time was not asked for yet, or is wrong again.
    match to_daemon_in_turn(&cage.destination, &first, &frame(&replies)) {
        Ok(Served::Data(outcome)) => assert_eq!(outcome.left_out.count, 1, "{outcome:?}"),
        Err(Error::Malformed(_)) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read(cage.destination.join("f")).unwrap(), b"old content");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_daemon_survives_any_bytes(preamble in 0_usize..3, bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let cage = Cage::new();
        let start = [Vec::new(), client_preamble(true), [client_preamble(false), frame(&list(&["./", "f", "d/", "d/g"]))].concat()];
        let body = if bytes.first().is_some_and(|byte| byte % 2 == 0) { frame(&bytes) } else { bytes };
        let _ = to_daemon(&cage.destination, &[&start[preamble][..], &body].concat());
        cage.assert_untouched();
    }
}
