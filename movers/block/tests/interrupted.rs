//! A session that is cut at any byte leaves a device that the next one goes on from.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::os::unix::net::UnixStream;
use std::thread;

use doppel_block::connection::Peer;
use doppel_block::error::Error;
use doppel_contract::Retry;
use support::*;

/// A session through a line that ends after so many bytes from the source, or from the destination.
fn cut(pair: &Pair, peer: Peer, from_source: u64, from_destination: u64) -> [Option<Error>; 2] {
    let ((near, near_end), (far, far_end)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    let clone = |socket: &UnixStream| socket.try_clone().unwrap();
    thread::scope(|scope| {
        let (there, back) = ((clone(&near_end), clone(&far_end)), (far_end, near_end));
        scope.spawn(move || pipe(there.0, there.1, from_source));
        scope.spawn(move || pipe(back.0, back.1, from_destination));
        let destination = scope.spawn(|| pair.receive(far, peer));
        let sent = pair.send(near, peer);
        [sent.err(), destination.join().unwrap().err()]
    })
}

#[test]
fn wherever_it_is_cut_neither_end_calls_it_a_success_and_the_next_run_completes_it() {
    const ALL: u64 = u64::MAX;
    for peer in PEERS {
        let source = noise(700_000, 1);
        let mut destination = source.clone();
        destination[100_000..500_000].copy_from_slice(&noise(400_000, 2));
        let whole = Pair::new(&source, &destination).session(peer, &ACCEPT).0.unwrap().tally;
        for at in [0, 1, 15, 16, 17, 39, 40, 41, 42, 100, 1_000, 20_000, 100_000, 300_000] {
            let pair = Pair::new(&source, &destination);
            let [sent, received] = cut(&pair, peer, at, ALL);
            for error in [sent.as_ref(), received.as_ref()].into_iter().flatten() {
                assert_eq!(error.retry(), Retry::Later, "{peer:?} {at}: {error}");
            }
            assert!(received.is_some(), "{peer:?} {at}");
            let tally = pair.session(peer, &ACCEPT).0.unwrap().tally;
            assert_eq!(pair.destination(), source, "{peer:?} {at}");
            // What was stored before is not sent again.
            let stored = at.saturating_sub(200_000);
            assert!(tally.literal_bytes <= whole.literal_bytes - stored, "{peer:?} {at}: {tally:?}");
        }
        for at in [0, 16, 40, 41, 57, 64, 80, 100, 200] {
            let pair = Pair::new(&source, &destination);
            let [sent, _] = cut(&pair, peer, ALL, at);
            assert!(sent.is_some(), "{peer:?} {at}");
            pair.session(peer, &ACCEPT).0.unwrap();
            assert_eq!(pair.destination(), source, "{peer:?} {at}");
        }
    }
}

/// diskrsync acknowledges nothing; between Doppels the last byte says that all is durable.
#[test]
fn a_source_that_does_not_hear_that_all_is_durable_does_not_succeed() {
    let source = noise(100_000, 1);
    let pair = Pair::new(&source, &noise(100_000, 2));
    // Hello, and a digest for each of seven blocks.
    let [sent, received] = cut(&pair, Peer::Doppel, u64::MAX, 41 + 7 * 17);
    assert!(matches!(sent, Some(Error::Closed | Error::Network(_))), "{sent:?}");
    assert!(received.is_none(), "{received:?}");
    assert_eq!(pair.destination(), source);
}
