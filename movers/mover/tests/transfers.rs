//! A source and a destination of ours, as two processes.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "transfers/ends.rs"]
mod ends;
mod support;

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::num::NonZeroU16;
use std::time::Duration;

use doppel_contract::{
    EmptySource, Phase, Progress, Report, Request, RsyncTlsDestination, RsyncTlsSource, Verdict, Verification, Volume,
    Work,
};
use rustix::process::Signal;
use support::proxy::{Proxy, Then, slow_link};
use support::tree::{assert_same, noise, plant, write};
use support::*;

#[test]
fn a_tree_becomes_a_copy_and_stays_one() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    plant(&from);
    write(&to, "stale/deep/file", b"of an earlier life");
    let (source, destination) = copy(&stage, &from, &to);
    assert_same(&from, &to);
    assert!(source.tally.files_sent > 20 && source.tally.deleted == 3, "{source:?}");
    assert_eq!(destination.tally.literal_bytes, source.tally.literal_bytes);
    assert_eq!((destination.tally.wire_received, destination.tally.deleted), (source.tally.wire_sent, 3));

    let (source, _) = copy(&stage, &from, &to);
    assert_same(&from, &to);
    assert_eq!((source.tally.files_sent, source.tally.literal_bytes, source.tally.deleted), (0, 0, 0));

    let mut changed = noise(1_000_000, 7);
    changed[500_000] ^= 1;
    write(&from, "sizes/1000000", &changed);
    fs::rename(from.join("links"), from.join("moved")).unwrap();
    fs::remove_file(from.join("names/plain")).unwrap();
    let (source, _) = copy(&stage, &from, &to);
    assert_same(&from, &to);
    assert_eq!(source.tally.files_sent, 1);
    assert!(source.tally.literal_bytes < 20_000 && source.tally.matched_bytes > 980_000, "{source:?}");
    assert!(source.tally.wire_sent + source.tally.wire_received < 60_000, "{source:?}");
}

#[test]
fn a_pod_reads_its_request_and_leaves_its_report() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    write(&from, "a", b"1");
    let port = NonZeroU16::new(free_port()).unwrap();
    let (key_file, empty_source) = (stage.key_file(), EmptySource::Refuse);
    let (left, right) = (stage.path("source-log"), stage.path("destination-log"));
    let destination = Work::RsyncTlsDestination(RsyncTlsDestination { port, key_file: key_file.clone(), empty_source });
    let source = Work::RsyncTlsSource(RsyncTlsSource {
        address: "localhost".into(),
        port,
        key_file,
        empty_source,
        verification: Verification::None,
    });
    let destination = stage.run(
        "destination",
        &Request { volume: Volume::Tree(to.clone()), work: destination, deadline_seconds: None, progress_port: None },
        &right,
    );
    let source = stage.run(
        "source",
        &Request { volume: Volume::Tree(from.clone()), work: source, deadline_seconds: None, progress_port: None },
        &left,
    );
    for (ended, file) in [(source.end(), left), (destination.end(), right)] {
        let report = Report::from_termination_message(&fs::read_to_string(file).unwrap()).unwrap();
        assert_eq!(&report, ended.expect_complete());
    }
    assert_same(&from, &to);
}

#[test]
fn a_pod_tells_whoever_connects_how_far_it_is_however_many_do() {
    let stage = Stage::new();
    let (port, tells) = (NonZeroU16::new(free_port()).unwrap(), NonZeroU16::new(free_port()).unwrap());
    let work = RsyncTlsDestination { port, key_file: stage.key_file(), empty_source: EmptySource::Refuse };
    let request = Request {
        volume: Volume::Tree(stage.volume("to")),
        work: Work::RsyncTlsDestination(work),
        deadline_seconds: None,
        progress_port: Some(tells),
    };
    let destination = stage.run("destination", &request, &stage.path("log"));
    let ask = || {
        let mut line = String::new();
        let mut connection = TcpStream::connect(("127.0.0.1", tells.get())).ok()?;
        connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        connection.read_to_string(&mut line).unwrap();
        Some(line)
    };
    wait_until("an answer", || ask().is_some());
    // These neither read nor go.
    let idle: Vec<_> = (0..200).map(|_| TcpStream::connect(("127.0.0.1", tells.get())).unwrap()).collect();
    let line = ask().unwrap();
    assert!(line.len() <= Progress::LONGEST_LINE && line.ends_with('\n'), "{line}");
    let progress: Progress = serde_json::from_str(&line).unwrap();
    assert_eq!((progress.phase, progress.entries, progress.bytes), (Phase::Waiting, 0, 0));
    drop(idle);
    destination.signal(Signal::TERM);
    destination.end().expect_failure(10);
}

#[test]
fn progress_is_printed_as_json_lines_that_end_with_everything_done() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    write(&from, "a", &noise(3_000_000, 1));
    let port = free_port();
    let destination = stage.destination(&to, port, &[]);
    let mut source = stage.source(&from, port, &[]);
    wait_until("the end", || !source.is_running());
    let phases: Vec<_> = source.progress().iter().map(|progress| progress.phase).collect();
    assert_eq!(phases.first(), Some(&Phase::Connecting));
    assert!(phases.contains(&Phase::Transferring), "{}", source.said());
    source.end().expect_complete();
    let last = destination.progress().into_iter().next_back();
    assert!(last.is_some(), "{}", destination.said());
    destination.end().expect_complete();
}

#[test]
fn a_destination_that_starts_later_is_met_at_once() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    write(&from, "a", b"1");
    let port = free_port();
    let mut source = stage.source(&from, port, &[]);
    source.wait_for("Connection refused");
    let destination = stage.destination(&to, port, &[]);
    source.end().expect_complete();
    destination.end().expect_complete();
    assert_same(&from, &to);
}

#[test]
fn an_empty_source_does_not_empty_a_destination_unless_both_were_told_so() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    fs::create_dir(from.join("lost+found")).unwrap();
    write(&to, "precious", b"data");
    let port = free_port();
    let mut destination = stage.destination(&to, port, &[]);
    let ended = stage.source(&from, port, &[]).end();
    let message = ended.expect_failure(11);
    assert!(message.contains("the source is empty"), "{message}");
    assert!(destination.is_running() && to.join("precious").exists());
    // The destination's own guard holds against a source that was told to go ahead.
    let ended = stage.source(&from, port, &["--allow-empty-source"]).end();
    assert_ne!(ended.code, Some(0), "{}", ended.said);
    assert!(destination.is_running() && to.join("precious").exists());
    destination.kill();

    let destination = stage.destination(&to, port, &["--allow-empty-source"]);
    stage.source(&from, port, &["--allow-empty-source"]).end().expect_complete();
    destination.end().expect_complete();
    assert!(!to.join("precious").exists());
}

#[test]
fn nothing_becomes_nothing() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    copy(&stage, &from, &to);
    assert_same(&from, &to);
}

#[test]
fn a_wrong_key_fails_the_source_at_once_and_the_destination_waits_on() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    write(&from, "a", b"1");
    let port = free_port();
    let mut destination = stage.destination(&to, port, &[]);
    destination.wait_for("Waiting for a source");
    for wrong in [format!("volsync:{}", "5".repeat(64)), format!("other:{KEY}")] {
        let file = stage.write_key("wrong.txt", &wrong);
        let ended = stage.source(&from, port, &["--key-file", file.to_str().unwrap()]).end();
        let message = ended.expect_failure(11);
        assert!(message.contains("authenticate 127.0.0.1") && message.contains("the same key"), "{message}");
    }
    drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
    stage.source(&from, port, &[]).end().expect_complete();
    let ended = destination.end();
    ended.expect_complete();
    assert_eq!(ended.said.matches("Refused a connection").count(), 3, "{}", ended.said);
}

#[test]
fn a_source_that_is_killed_at_any_byte_leaves_a_destination_that_the_next_one_completes() {
    for stop_at in [600, 5_000, 300_000, 2_500_000] {
        let stage = Stage::new();
        let (from, to) = (stage.volume("from"), stage.volume("to"));
        plant(&from);
        write(&from, "big", &noise(2_000_000, 3));
        write(&to, "big", &noise(1_000_000, 3));
        let port = free_port();
        let mut destination = stage.destination(&to, port, &[]);
        destination.wait_for("Waiting for a source");
        let proxy = Proxy::start(port, stop_at);
        let source = stage.source(&from, proxy.port, &[]);
        proxy.wait();
        source.kill();
        proxy.then(Then::Cut);
        if stop_at > 600 {
            destination.wait_for("A session failed");
        }
        stage.source(&from, port, &[]).end().expect_complete();
        destination.end().expect_complete();
        assert_same(&from, &to);
    }
}

#[test]
fn a_destination_that_is_killed_is_met_again_when_it_is_back() {
    for stop_at in [5_000, 1_000_000] {
        let stage = Stage::new();
        let (from, to) = (stage.volume("from"), stage.volume("to"));
        plant(&from);
        write(&from, "big", &noise(2_000_000, 3));
        let port = free_port();
        let destination = stage.destination(&to, port, &[]);
        let proxy = Proxy::start(port, stop_at);
        let source = stage.source(&from, proxy.port, &[]);
        proxy.wait();
        destination.kill();
        proxy.then(Then::GoOn);
        let destination = stage.destination(&to, port, &[]);
        source.end().expect_complete();
        destination.end().expect_complete();
        assert_same(&from, &to);
    }
}

#[test]
fn a_connection_that_is_cut_is_made_again() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    write(&from, "big", &noise(2_000_000, 3));
    let port = free_port();
    let destination = stage.destination(&to, port, &[]);
    let proxy = Proxy::start(port, 1_000_000);
    let source = stage.source(&from, proxy.port, &[]);
    proxy.wait();
    proxy.then(Then::Cut);
    let ended = source.end();
    ended.expect_complete();
    assert!(ended.said.contains("Will try again"), "{}", ended.said);
    destination.end().expect_complete();
    assert_same(&from, &to);
}

/// What is done on which link is `push::pace`'s own tests' to show: an unoptimised receiver is a slow link, too.
#[test]
fn content_that_shrinks_is_packed_where_the_link_is_slow() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    let line = b"all work and no play makes jack a dull boy ".as_slice();
    let text: Vec<u8> = noise(200_000, 5).into_iter().flat_map(|byte| [&line[..40], &[byte, b'\n']].concat()).collect();
    for part in 0..4 {
        write(&from, &format!("text{part}"), &text);
    }
    write(&from, "noise", &noise(3_000_000, 6));
    let port = free_port();
    let destination = stage.destination(&to, port, &[]);
    wait_for_port(port);
    let way = slow_link(port, Duration::from_millis(5), 8_000_000);
    let report = stage.source(&from, way, &[]).end().expect_complete().tally;
    destination.end().expect_complete();
    assert_same(&from, &to);
    assert!(report.literal_bytes > 30_000_000, "{report:?}");
    // Once the kernel's buffers before the link are full.
    assert!(report.wire_sent < report.literal_bytes * 3 / 4, "{report:?}");
}

#[test]
fn a_large_file_goes_on_from_where_an_interrupted_run_left_it() {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Killed {
        Source,
        Destination,
        Connection,
    }
    for killed in [Killed::Source, Killed::Destination, Killed::Connection] {
        let stage = Stage::new();
        let (from, to) = (stage.volume("from"), stage.volume("to"));
        write(&from, "dir/big", &noise(24_000_000, 3));
        fs::create_dir(to.join("dir")).unwrap();
        let names = || -> Vec<_> {
            fs::read_dir(to.join("dir"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        };
        let port = free_port();
        let mut destination = stage.destination(&to, port, &[]);
        destination.wait_for("Waiting for a source");
        let proxy = Proxy::start(port, 16_000_000);
        let source = stage.source(&from, proxy.port, &[]);
        proxy.wait();
        let (source, destination) = match killed {
            Killed::Source => {
                source.kill();
                proxy.then(Then::Cut);
                destination.wait_for("A session failed");
                let left = names();
                assert!(left.len() == 1 && left[0].starts_with(".doppel-part."), "{left:?}");
                (stage.source(&from, port, &[]), destination)
            }
            Killed::Destination => {
                destination.kill();
                proxy.then(Then::GoOn);
                (source, stage.destination(&to, port, &[]))
            }
            Killed::Connection => {
                proxy.then(Then::Cut);
                (source, destination)
            }
        };
        let report = source.end().expect_complete().tally;
        destination.end().expect_complete();
        assert_same(&from, &to);
        assert_eq!(names(), ["big"], "{killed:?}");
        assert!(report.matched_bytes > 8_000_000, "{killed:?}: {report:?}");
    }
}

#[test]
fn verification_finds_what_size_and_time_do_not_show() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    plant(&from);
    copy(&stage, &from, &to);
    let damaged = to.join("sizes/65536");
    let before = fs::metadata(&damaged).unwrap();
    let mut content = fs::read(&damaged).unwrap();
    content[40_000] ^= 1;
    fs::write(&damaged, content).unwrap();
    fs::File::open(&damaged).unwrap().set_modified(before.modified().unwrap()).unwrap();
    let port = free_port();
    let mut destination = stage.destination(&to, port, &[]);
    destination.wait_for("Waiting for a source");
    let ended = stage.source(&from, port, &["--verify"]).end();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    let Verdict::Incomplete(left_out) = &ended.report().verdict else { panic!("{}", ended.said) };
    assert_eq!((left_out.count, left_out.first[0].path.as_str()), (1, "sizes/65536"), "{}", ended.said);
    assert!(destination.is_running());
    // Its time was changed: it is sent again, and all is well.
    fs::File::open(&damaged).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    stage.source(&from, port, &["--verify"]).end().expect_complete();
    destination.end().expect_complete();
    assert_same(&from, &to);
}

#[test]
fn the_key_is_seen_nowhere() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    write(&from, "big", &noise(2_000_000, 3));
    let port = free_port();
    let destination = stage.destination(&to, port, &[]);
    let proxy = Proxy::start(port, 1_000_000);
    let source = stage.source(&from, proxy.port, &[]);
    proxy.wait();
    let processes = [source.in_proc(), destination.in_proc()].concat();
    assert!(processes.contains("psk.txt"));
    proxy.then(Then::GoOn);
    let said = [source.end().said, destination.end().said].concat();
    let raw: Vec<u8> = (0..KEY.len() / 2).map(|i| u8::from_str_radix(&KEY[2 * i..2 * i + 2], 16).unwrap()).collect();
    for text in [&processes, &said] {
        assert!(!text.to_lowercase().contains(&KEY[..16]));
        assert!(!text.as_bytes().windows(8).any(|window| window == &raw[..8]));
    }
}
