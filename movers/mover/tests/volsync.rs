//! VolSync at the other end: its stunnel, its rsync, its order of calls, both ways.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use support::tree::{assert_same, noise, plant, write};
use support::volsync::{Destination, Source, succeed};
use support::*;

#[test]
fn a_volsync_destination_gets_the_tree_with_its_links_and_is_told_when_it_is_complete() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    plant(&from);
    write(&to, "stale/file", b"of an earlier life");
    for round in 0..2 {
        let destination = Destination::start(&stage, &to);
        let ended = stage.source(&from, destination.port, &[]).end();
        let report = ended.expect_complete();
        assert!(destination.is_complete(), "{}", destination.log());
        destination.finish();
        assert_same(&from, &to);
        if round == 1 {
            assert_eq!(report.tally.literal_bytes, 0, "{}", ended.said);
        }
    }
}

#[test]
fn a_volsync_source_fills_our_destination_and_ends_it() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    plant(&from);
    // Names that VolSync's own list of links cannot carry need no carrying here.
    std::os::unix::fs::symlink("b", from.join("links/arrow -> here")).unwrap();
    write(&to, "stale/file", b"of an earlier life");
    write(&from, "later removed", b"r");
    for _ in 0..2 {
        let port = free_port();
        let mut destination = stage.destination(&to, port, &[]);
        destination.wait_for("Waiting for a source");
        Source::start(&stage, &from, port).sync();
        let ended = destination.end();
        ended.expect_complete();
        assert_same(&from, &to);
        write(&from, "sizes/1000000", &noise(1_000_001, 8));
        // At the top: VolSync's second pass deletes without keeping the times of directories, and does not send the root.
        let _ = std::fs::remove_file(from.join("later removed"));
    }
}

#[test]
fn a_volsync_source_that_stops_before_it_is_complete_leaves_our_destination_waiting() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    plant(&from);
    let port = free_port();
    let mut destination = stage.destination(&to, port, &[]);
    destination.wait_for("Waiting for a source");
    let source = Source::start(&stage, &from, port);
    // Not believed: no data came in this run.
    succeed(source.control("complete", b"x"));
    destination.wait_for("sent no data to this run");
    succeed(source.copy());
    succeed(source.delete());
    assert!(destination.is_running());
    source.sync();
    destination.end().expect_complete();
    assert_same(&from, &to);
}

#[test]
fn an_empty_volsync_source_does_not_empty_our_destination() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    write(&to, "precious", b"data");
    let port = free_port();
    let mut destination = stage.destination(&to, port, &[]);
    destination.wait_for("Waiting for a source");
    let deleted = Source::start(&stage, &from, port).delete();
    assert!(!deleted.status.success());
    assert!(to.join("precious").exists() && destination.is_running());
}
