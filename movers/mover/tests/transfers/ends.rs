//! Runs that end before they are done: a signal, a deadline, what cannot be read, no room.

use super::*;

#[test]
fn the_first_signal_ends_a_run_in_order_with_a_report() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    write(&from, "big", &noise(2_000_000, 3));
    let port = free_port();
    let mut destination = stage.destination(&to, port, &[]);
    destination.wait_for("Waiting for a source");
    let proxy = Proxy::start(port, 1_000_000);
    let source = stage.source(&from, proxy.port, &[]);
    proxy.wait();
    for mover in [source, destination] {
        mover.signal(Signal::TERM);
        let ended = mover.end();
        assert!(ended.expect_failure(10).contains("stopped by a signal"), "{}", ended.said);
    }
    // Nothing half written is left.
    assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
}

#[test]
fn a_deadline_ends_a_run_and_tells_what_was_wrong() {
    let stage = Stage::new();
    let volume = stage.volume("volume");
    let ended = stage.source(&volume, free_port(), &["--deadline", "1s"]).end();
    let message = ended.expect_failure(10);
    assert!(message.contains("deadline of 1 s") && message.contains("Connection refused"), "{message}");

    // A destination's clock begins with its first authenticated peer, whatever becomes of that.
    let (from, port) = (stage.volume("from"), free_port());
    write(&from, "big", &noise(2_000_000, 3));
    let destination = stage.destination(&volume, port, &["--deadline", "1s"]);
    let proxy = Proxy::start(port, 1_000_000);
    let source = stage.source(&from, proxy.port, &[]);
    proxy.wait();
    let ended = destination.end();
    assert!(ended.expect_failure(10).contains("deadline of 1 s"), "{}", ended.said);
    drop(source);
}

#[test]
fn what_cannot_be_read_is_named_and_the_destination_is_not_told_that_it_is_complete() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    write(&from, "readable", b"1");
    permissions(&write(&from, "dir/secret", b"2"), 0o000);
    let port = free_port();
    let mut destination = stage.destination(&to, port, &[]);
    let mut command = stage.unprivileged();
    command.args(["rsync-tls", "source", "--address", "127.0.0.1", "--port", &port.to_string(), "--volume"]);
    command.arg(&from).arg("--key-file").arg(stage.key_file());
    let ended = stage.start("source", command).end();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    match &ended.report().verdict {
        Verdict::Incomplete(left_out) => {
            assert_eq!(left_out.count, 1, "{}", ended.said);
            assert_eq!(left_out.first[0].path.as_str(), "dir/secret");
        }
        other => panic!("{other:?}"),
    }
    assert!(to.join("readable").exists() && !to.join("dir/secret").exists());
    assert!(destination.is_running());
    // Once it can be read, the same destination completes.
    permissions(&from.join("dir/secret"), 0o644);
    stage.source(&from, port, &[]).end().expect_complete();
    destination.end().expect_complete();
    assert_same(&from, &to);
}

#[test]
fn a_destination_without_room_is_named_by_both_ends_and_goes_on_when_it_has_room() {
    let stage = Stage::new();
    let (from, to) = (stage.volume("from"), stage.volume("to"));
    write(&from, "big", &noise(3_000_000, 3));
    write(&from, "small", b"1");
    let volume = Mount::tmpfs(&to, "2m");
    let port = free_port();
    let mut destination = stage.destination(&to, port, &[]);
    let ended = stage.source(&from, port, &[]).end();
    assert!(ended.code == Some(3) && ended.said.contains("No space left"), "{}", ended.said);
    // The file that fits is whole, of the other there is nothing.
    let names: Vec<_> = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["small"]);
    assert!(destination.is_running());
    volume.resize("20m");
    stage.source(&from, port, &[]).end().expect_complete();
    destination.end().expect_complete();
    assert_same(&from, &to);

    write(&from, "bigger", &noise(30_000_000, 4));
    let destination = stage.destination(&to, port, &[]);
    assert_eq!(stage.source(&from, port, &[]).end().code, Some(3));
    destination.signal(Signal::TERM);
    let ended = destination.end();
    let message = ended.expect_failure(10);
    assert!(
        message.contains("before that") && message.contains("bigger: ") && message.contains("No space left"),
        "{message}"
    );
}
