//! The known vulnerabilities of rsync, one test each: what was possible there is refused here, or cannot be said at all.
//! Those of the connection, before a session begins, are in `doppel-transport`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

#[path = "hostile_cves/content.rs"]
mod content;
#[path = "hostile_cves/links.rs"]
mod links;
#[path = "hostile_cves/session.rs"]
mod session;
mod support;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use doppel_contract::{EmptySource, Verification};
use doppel_rsync::error::Error;
use doppel_rsync::outcome::Outcome;
use doppel_rsync::proto::arguments::{Arguments, Choice};
use doppel_rsync::proto::entry::{EntryEncoder, HardLink, WireEntry};
use doppel_rsync::proto::frame::{IoErrors, Tag};
use doppel_rsync::proto::index::{Index, IndexCoder};
use doppel_rsync::proto::request::{Flags, Item};
use doppel_rsync::proto::sums::SumHead;
use doppel_rsync::proto::token::Token;
use doppel_rsync::push::{PushOptions, push};
use doppel_rsync::serve::{Modules, Served, serve};
use doppel_volume::metadata::Kind;
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;
use support::hostile::{Speech, varint};
use support::wire::{
    Cage, LAYOUT, SECRET, client_preamble, daemon_preamble, done, entry, frame, heard_before_requests, list, message,
    reply, to_daemon,
};
use support::{contains, describe, noise, write};

/// Serves a client that says the rest when it was asked for something, and does something before.
fn serve_meanwhile(
    cage: &Cage,
    first: Vec<u8>,
    rest: Vec<u8>,
    act: impl FnOnce() + Send + 'static,
) -> Result<Served, Error> {
    let tree = Tree::open(&cage.destination).unwrap();
    let heard = heard_before_requests(&first);
    let (connection, _) = Speech::new(first, rest).meanwhile(act).connection(heard);
    let served = serve(connection, &Modules::new(&tree, EmptySource::Refuse), &Silent);
    cage.assert_untouched();
    served
}

/// Sends the volume of the cage to a daemon that says this; what it heard of us.
fn push_meanwhile(
    cage: &Cage,
    first: Vec<u8>,
    rest: Vec<u8>,
    act: impl FnOnce() + Send + 'static,
) -> (Result<Outcome, Error>, Arc<Mutex<Vec<u8>>>) {
    let tree = Tree::open(&cage.destination).unwrap();
    let (connection, heard) = Speech::new(first, rest).meanwhile(act).connection(usize::MAX);
    let pushed = push(
        connection,
        &tree,
        &PushOptions { empty_source: EmptySource::Refuse, verification: Verification::None },
        &Silent,
    );
    cage.assert_untouched();
    assert!(!contains(&heard.lock().unwrap(), SECRET));
    (pushed.map(|pushed| pushed.outcome), heard)
}

fn push_to(cage: &Cage, requests: &[u8]) -> (Result<Outcome, Error>, Arc<Mutex<Vec<u8>>>) {
    push_meanwhile(cage, [daemon_preamble(), frame(requests)].concat(), Vec::new(), || {})
}

/// A request for the content of one entry, with this head.
fn request(coder: &mut IndexCoder, index: u32, item: &Item, head: SumHead) -> Vec<u8> {
    let mut bytes = Vec::new();
    coder.write(&mut bytes, Index::Entry(index));
    item.write(&mut bytes);
    head.write(&mut bytes);
    bytes
}

fn transfer() -> Item {
    Item::new(Flags::TRANSFER)
}

const FIVE: [Token; 2] = [Token::Literal(5), Token::End];

fn head(count: u32, block: u32, strong: u32) -> SumHead {
    SumHead { count, block, strong, remainder: 0 }
}

#[track_caller]
fn assert_malformed<T: std::fmt::Debug>(result: &Result<T, Error>) {
    assert!(matches!(result, Err(Error::Malformed(_))), "{result:?}");
}

/// What a client gets that gives this option.
fn with_option(option: &str) -> Result<Served, Error> {
    let cage = Cage::new();
    let bytes = format!("@RSYNCD: 31.0 md5\ndata\n--server\0-re.LsfxCIvu\0{option}\0.\0data/\0\0\x03md5");
    let served = to_daemon(&cage.destination, bytes.as_bytes());
    cage.assert_untouched();
    assert_eq!(std::fs::read_dir(&cage.destination).unwrap().count(), 0);
    served
}

#[track_caller]
fn assert_refused(options: &[&str]) {
    for option in options {
        let result = with_option(option);
        assert!(
            matches!(&result, Err(Error::Arguments(why)) if why.to_string().contains(option)),
            "{option}: {result:?}"
        );
    }
}
