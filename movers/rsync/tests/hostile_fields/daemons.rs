//! What a daemon says, with one field changed.

use super::*;

pub(super) fn daemon() -> Vec<Field> {
    let seed = 7;
    let sums = BlockSum::new(Algorithm::Md5, seed);
    let block = noise(700, 9);
    vec![
        Handshake.text("the begin of the greeting", b"@RSYNCD: "),
        Handshake.text("the version", b"31"),
        Handshake.text("the rest of the greeting", b".0 md5").may_be(ANYTHING),
        Handshake.fixed(b"\n"),
        Handshake.text("the message of the day", b"welcome").may_be(ANYTHING),
        Handshake.fixed(b"\n"),
        Handshake.text("the answer", b"@RSYNCD: OK"),
        Handshake.fixed(b"\n"),
        Handshake.varint("the flags of the session", 0x1fe),
        Handshake.sized("the names of checksums", Length::String, b"md5"),
        // A seed is a number like any other; ours to compute with.
        Handshake.int("the seed", seed).may_be(ANYTHING),
        First.index("an index", 2),
        First.short("the flags of an item", TRANSFER | NAME_FOLLOWS | BASIS_FOLLOWS).may_be(&["0xffff"]),
        First.byte("the kind of the basis", 0x80).may_be(ANYTHING),
        First.sized("the name of the basis", Length::String, b"f").may_be(ANYTHING),
        First.int("the count of blocks", 2),
        First.int("the length of blocks", 700).may_be(&["one"]),
        First.int("the length of checksums", 2),
        First.int("the length of the last block", 0).may_be(&["one"]),
        First.raw("a weak checksum", &Weak::of(&block).value().to_le_bytes()).may_be(ANYTHING),
        First.raw("a strong checksum", &sums.of(&block)[..2]).may_be(ANYTHING),
        First.raw("another weak checksum", &Weak::of(&block).value().to_le_bytes()).may_be(ANYTHING),
        First.raw("another strong checksum", &sums.of(&block)[..2]).may_be(ANYTHING),
        First.index("the index of an item without content", 1).may_be(&["the first entry", "the one before again"]),
        First.fixed(&[0, 0x20]),
        First.index("the end of the first phase", 0),
        First.index("the end of the second phase", 0),
        First.index("the end of the third phase", 0).may_be(&["the first entry", "the one before again"]),
        First.fixed(&[0xff]),
        First.byte("statistics", 2),
        First.varint("deleted files", 1).may_be(&["none", "one", "a million"]),
        First.varint("deleted directories", 0).may_be(&["one", "a million"]),
        First.fixed(&[0; 3]),
        First.index("the first goodbye", 0),
        First.index("the second goodbye", 0),
    ]
}

/// Sends a tree to such a daemon. Nothing but the tree is ever told.
pub(super) fn push_to(speech: Speech) -> Result<(), String> {
    let cage = Cage::new();
    let source = cage.destination.clone();
    write(&source.join("d/f"), "inside");
    write(&source.join("f"), noise(5000, 3));
    std::os::unix::fs::symlink("../canary/file", source.join("l")).unwrap();
    let before = describe(&source);
    let root = source.clone();
    let (pushed, heard) = in_time(move || send(&root, speech));
    cage.assert_untouched();
    assert_eq!(describe(&source), before, "a source is only read");
    assert!(!contains(&heard.lock().unwrap(), SECRET));
    match pushed {
        Err(error) => Err(said(&error)),
        Ok(outcome) if outcome.left_out.is_empty() => Ok(()),
        Ok(outcome) => Err(format!("{:?}", outcome.left_out)),
    }
}

type Heard = Arc<Mutex<Vec<u8>>>;

fn send(source: &Path, speech: Speech) -> (Result<doppel_rsync::outcome::Outcome, Error>, Heard) {
    let tree = Tree::open(source).unwrap();
    let (connection, heard) = speech.connection(0);
    let pushed = push(
        connection,
        &tree,
        &PushOptions { empty_source: EmptySource::Refuse, verification: Verification::None },
        &Silent,
    );
    (pushed.map(|pushed| pushed.outcome), heard)
}

#[test]
fn a_daemon_that_changes_one_field_is_refused_or_served_correctly() {
    limit_memory();
    let sessions = try_all(&daemon(), push_to);
    assert!(sessions > 250, "{sessions}");
}
