//! VolSync at the other end: its stunnel, its rsync, its order of calls, both ways.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use doppel_contract::Verdict;
use support::programs::Rsync;
use support::proxy::{Proxy, Then};
use support::tree::{assert_same, noise, plant, write};
use support::volsync::{Destination, Links, Source, succeed};
use support::*;

with_both_versions! {
    a_volsync_destination_gets_the_tree_with_its_links_and_is_told_when_it_is_complete
    a_volsync_source_fills_our_destination_and_ends_it
    a_volsync_source_that_stops_before_it_is_complete_leaves_our_destination_waiting
    an_empty_volsync_source_does_not_empty_our_destination
    an_older_volsync_destination_gets_the_tree_and_links_that_it_changes_are_named
    a_volsync_source_whose_connection_is_cut_tries_again_and_ends_our_destination
}

fn a_volsync_destination_gets_the_tree_with_its_links_and_is_told_when_it_is_complete(rsync: Rsync) {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    plant(&from);
    write(&to, "stale/file", b"of an earlier life");
    for round in 0..2 {
        let destination = Destination::start(&stage, &to, rsync, Links::Disguised);
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

fn a_volsync_source_fills_our_destination_and_ends_it(rsync: Rsync) {
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
        Source::start(&stage, &from, port, rsync).sync();
        let ended = destination.end();
        ended.expect_complete();
        assert_same(&from, &to);
        write(&from, "sizes/1000000", &noise(1_000_001, 8));
        // At the top: VolSync's second pass deletes without keeping the times of directories, and does not send the root.
        let _ = std::fs::remove_file(from.join("later removed"));
    }
}

fn a_volsync_source_that_stops_before_it_is_complete_leaves_our_destination_waiting(rsync: Rsync) {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    plant(&from);
    let port = free_port();
    let mut destination = stage.destination(&to, port, &[]);
    destination.wait_for("Waiting for a source");
    let source = Source::start(&stage, &from, port, rsync);
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

fn an_empty_volsync_source_does_not_empty_our_destination(rsync: Rsync) {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    write(&to, "precious", b"data");
    let port = free_port();
    let mut destination = stage.destination(&to, port, &[]);
    destination.wait_for("Waiting for a source");
    let deleted = Source::start(&stage, &from, port, rsync).delete();
    assert!(!deleted.status.success());
    assert!(to.join("precious").exists() && destination.is_running());
}

/// VolSync before 0.16. What its daemon makes of links that lead out nobody can help; everything else is the same.
fn an_older_volsync_destination_gets_the_tree_and_links_that_it_changes_are_named(rsync: Rsync) {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    plant(&from);
    let destination = Destination::start(&stage, &to, rsync, Links::Rewritten);
    let ended = stage.source(&from, destination.port, &[]).end();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    let Verdict::Incomplete(left_out) = &ended.report().verdict else { panic!("{}", ended.said) };
    let named: Vec<_> = left_out.first.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(
        (left_out.count, &named[..]),
        (3, &["links/absolute", "links/munged", "links/up"][..]),
        "{}",
        ended.said
    );
    assert!(left_out.first[0].why.as_str().contains("link to /etc/hostname"), "{}", ended.said);
    assert!(!destination.is_complete());
    for name in named {
        std::fs::remove_file(from.join(name)).unwrap();
    }
    // Removing them changed the time of their directory, which is all that is left to do.
    stage.source(&from, destination.port, &[]).end().expect_complete();
    assert!(destination.is_complete());
    destination.finish();
    assert_same(&from, &to);
}

fn a_volsync_source_whose_connection_is_cut_tries_again_and_ends_our_destination(rsync: Rsync) {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    plant(&from);
    write(&from, "big", &noise(24_000_000, 3));
    write(&to, "stale/file", b"of an earlier life");
    let port = free_port();
    let mut destination = stage.destination(&to, port, &[]);
    destination.wait_for("Waiting for a source");
    let proxy = Proxy::start(port, 16_000_000);
    let source = Source::start(&stage, &from, proxy.port, rsync);
    let attempts = std::thread::scope(|scope| {
        let syncing = scope.spawn(|| source.sync());
        proxy.wait();
        proxy.then(Then::Cut);
        syncing.join().unwrap()
    });
    assert_eq!(attempts, 2);
    // The large file went on from where it was, although a pass that deletes came in between.
    let report = destination.end().expect_complete().clone();
    assert!(report.tally.matched_bytes > 8_000_000, "{report:?}");
    assert_same(&from, &to);
}
