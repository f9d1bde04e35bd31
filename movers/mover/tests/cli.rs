//! The program as a person or an operator meets it: what it refuses, and in which words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod support;

use doppel_contract::{Fault, REQUEST_ENV, Report, Retry, Verdict};
use support::*;

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = command().args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn help_names_every_flag_with_an_example() {
    let (code, text) = run(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(text.contains("rsync-tls") && text.contains("Exit codes:"), "{text}");
    let (code, text) = run(&["rsync-tls", "source", "--help"]);
    assert_eq!(code, Some(0));
    let flags =
        ["--volume", "--block-device", "--key-file", "--address", "--port", "--allow-empty-source", "--deadline"];
    for flag in flags.into_iter().chain(["Examples:"]) {
        assert!(text.contains(flag), "{flag} in {text}");
    }
    let (code, text) = run(&["rsync-tls", "destination", "--help"]);
    assert!(code == Some(0) && text.contains("Example:") && !text.contains("--address"), "{text}");
}

#[test]
fn a_command_line_that_is_not_understood_is_a_usage_error_that_names_the_flag() {
    let source = ["rsync-tls", "source", "--volume", "/", "--key-file", "k"];
    for (more, named) in [
        (["--address", "h", "--port", "0"].as_slice(), "--port"),
        (&["--address", "h", "--port", "65536"], "--port"),
        (&["--address", "h", "--deadline", "soon"], "--deadline"),
        (&["--address", "h", "--surprise"], "--surprise"),
        (&[], "--address"),
    ] {
        let (code, text) = run(&[&source, more].concat());
        assert!(code == Some(2) && text.contains(named), "{more:?}: {code:?} {text}");
    }
    let (code, text) = run(&[&source[..], &["--block-device", "/dev/null", "--address", "h"]].concat());
    assert!(code == Some(2) && text.contains("--block-device"), "{code:?} {text}");
    assert_eq!(run(&[]).0, Some(2));
    assert_eq!(run(&["rsync-tls"]).0, Some(2));
}

#[test]
fn a_key_file_that_is_no_key_file_is_named_with_line_and_rule_by_both_ends() {
    let stage = Stage::new();
    let volume = stage.volume("volume");
    let key = "0f".repeat(16);
    for (text, expected) in [
        (String::new(), "holds no key"),
        ("\r\n".to_owned(), "holds no key"),
        ("volsync\n".to_owned(), "line 1: has no colon"),
        (format!("volsync:{key}\n\nnext"), "line 3: has no colon"),
        (format!(":{key}"), "line 1: has no identity"),
        (format!("volsync:{}", "1".repeat(33)), "line 1: the key has 33 digits, an odd number"),
        (format!("volsync:{}", "1".repeat(30)), "line 1: the key has 30 digits, but at least 32"),
        (format!("volsync:{}", "0".repeat(64)), "line 1: the key is all zeros"),
        (format!("volsync:{key}g0"), "line 1: character 41 is not a hexadecimal digit"),
    ] {
        let file = stage.write_key("bad.txt", &text);
        let flags = ["--key-file", file.to_str().unwrap()];
        for mover in [stage.source(&volume, free_port(), &flags), stage.destination(&volume, free_port(), &flags)] {
            let ended = mover.end();
            let message = ended.expect_failure(11);
            assert!(message.contains("bad.txt") && message.contains(expected), "{text:?}: {message}");
            let user = Verdict::Failed { fault: Fault::User, retry: Retry::AfterChange, message: message.into() };
            assert_eq!(ended.report().verdict, user);
        }
    }
    let missing = ["--key-file", "/nowhere/psk.txt"];
    let ended = stage.source(&volume, free_port(), &missing).end();
    assert!(ended.expect_failure(11).contains("/nowhere/psk.txt: No such file"), "{}", ended.said);
}

#[test]
fn a_volume_or_an_address_that_cannot_be_one_fails_at_once_and_is_named() {
    let stage = Stage::new();
    let volume = stage.volume("volume");
    let ended = stage.source(&stage.path("nothing"), free_port(), &[]).end();
    assert!(ended.expect_failure(11).contains("nothing"), "{}", ended.said);
    let ended = stage.destination(&stage.key_file(), free_port(), &[]).end();
    assert!(ended.expect_failure(11).contains("must be a directory"), "{}", ended.said);

    let mut command = command();
    command.args(["rsync-tls", "source", "--address", "host:8000", "--volume"]).arg(&volume);
    command.arg("--key-file").arg(stage.key_file());
    let ended = stage.start("source", command).end();
    assert!(ended.expect_failure(11).contains("address \"host:8000\""), "{}", ended.said);
}

#[test]
fn a_port_that_is_taken_fails_the_destination_and_is_named() {
    let stage = Stage::new();
    let volume = stage.volume("volume");
    let port = free_port();
    let mut first = stage.destination(&volume, port, &[]);
    first.wait_for("Waiting for a source");
    let ended = stage.destination(&volume, port, &[]).end();
    assert!(ended.expect_failure(10).contains(&format!("listen on port {port}")), "{}", ended.said);
}

#[test]
fn a_request_that_is_not_understood_is_a_usage_error_and_leaves_a_report() {
    let stage = Stage::new();
    for request in ["", "{", "{}", r#"{"volume":"/data","work":{"mover":"carrier-pigeon"}}"#] {
        let message = stage.path("termination-log");
        let mut command = command();
        command.env(REQUEST_ENV, request).args(["run", "--termination-message"]).arg(&message);
        let ended = stage.start("run", command).end();
        assert_eq!(ended.code, Some(2), "{}", ended.said);
        let report = Report::from_termination_message(&std::fs::read_to_string(message).unwrap()).unwrap();
        match report.verdict {
            Verdict::Failed { retry: Retry::AfterChange, message, .. } => {
                assert!(message.as_str().contains(REQUEST_ENV), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
    let ended = stage
        .start("run", {
            let mut command = command();
            command.arg("run");
            command
        })
        .end();
    assert!(ended.code == Some(2) && ended.said.contains(REQUEST_ENV), "{}", ended.said);
}

/// The setting that leaves it out is a variable of the build (docs/adr/0006-randomness-from-the-kernel.md).
#[test]
fn the_mover_gathers_no_entropy_of_its_own_at_its_start() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_doppel-mover")).unwrap();
    let has = |symbol: &[u8]| program.windows(symbol.len()).any(|window| window == symbol);
    assert!(has(b"RAND_bytes"), "symbols were stripped, nothing can be told");
    assert!(!has(b"jent_read_entropy"), "jitter entropy was compiled in: .cargo/config.toml was not read");
}
