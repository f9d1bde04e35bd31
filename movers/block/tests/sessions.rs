//! Two of ours, in both protocols: what arrives is what was there, and no more is read or sent than has to be.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

mod support;

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use doppel_block::connection::Peer;
use doppel_block::device::Device;
use doppel_block::error::Error;
use doppel_block::proto::direct::Hello;
use doppel_block::receive::{Destination, receive};
use doppel_contract::{EmptySource, Retry, Tally};
use doppel_volume::monitor::Silent;
use proptest::prelude::*;
use support::*;

/// One session, that has to succeed and to leave equal devices.
fn sync(pair: &Pair, peer: Peer) -> Tally {
    let source = pair.source();
    let (sent, received) = pair.session(peer, &ACCEPT);
    let (sent, received) = (sent.unwrap().tally, received.unwrap().tally);
    let mut destination = pair.destination();
    destination.truncate(source.len());
    assert!(destination == source, "{peer:?}: the devices differ");
    let of = |tally: &Tally| (tally.bytes, tally.literal_bytes, tally.matched_bytes, tally.zeroed_bytes);
    assert_eq!(of(&sent), of(&received));
    assert_eq!(sent.literal_bytes + sent.matched_bytes + sent.zeroed_bytes, source.len() as u64);
    sent
}

#[test]
fn every_size_around_a_block_and_a_leaf_arrives() {
    for peer in PEERS {
        for unit in [1, 512, 4 * KIB, 16 * KIB, 128 * KIB, 256 * KIB, MIB, 8 * MIB] {
            for size in [unit - 1, unit, unit + 1] {
                let length = usize::try_from(size).unwrap();
                let pair = Pair::new(&noise(length, size), &noise(length, size + 7));
                let tally = sync(&pair, peer);
                assert_eq!((tally.literal_bytes, tally.bytes), (size, size), "{peer:?} {size}");
                assert_eq!(sync(&pair, peer).literal_bytes, 0, "{peer:?} {size}");
            }
        }
    }
}

/// A device in parts: zeros, what both have, what one has.
fn content(parts: &[(u8, usize)], seed: u64) -> Vec<u8> {
    let mut content = Vec::new();
    for (index, (kind, length)) in parts.iter().enumerate() {
        match kind {
            0 => content.resize(content.len() + length, 0),
            1 => content.extend(noise(*length, index as u64)),
            _ => content.extend(noise(*length, seed + index as u64)),
        }
    }
    content
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_both_devices_hold_the_destination_becomes_like_the_source(
        lengths in proptest::collection::vec(1..400_000_usize, 0..12),
        kinds in proptest::collection::vec((0..3_u8, 0..3_u8), 12),
        more in prop_oneof![Just(0_usize), 1..300_000_usize],
        peer in prop_oneof![Just(Peer::Diskrsync), Just(Peer::Doppel)],
    ) {
        let parts = |side: fn(&(u8, u8)) -> u8| -> Vec<_> {
            kinds.iter().map(side).zip(lengths.iter().copied()).collect()
        };
        let source = content(&parts(|kinds| kinds.0), 1_000);
        let mut destination = content(&parts(|kinds| kinds.1), 2_000);
        destination.extend(noise(more, 5));
        // A source without a byte is another test's.
        prop_assume!(!source.is_empty());
        let pair = Pair::new(&source, &destination);
        let tally = sync(&pair, peer);
        prop_assert_eq!(pair.destination().len(), source.len());
        prop_assert!(tally.literal_bytes <= source.len() as u64);
        prop_assert_eq!(sync(&pair, peer).matched_bytes, source.len() as u64);
    }
}

#[test]
fn a_page_that_changed_costs_one_block_and_each_end_reads_its_device_once() {
    const SIZE: u64 = 64 * MIB;
    let content = noise(SIZE as usize, 1);
    for (peer, block) in [(Peer::Diskrsync, 512 * KIB), (Peer::Doppel, 16 * KIB)] {
        let pair = Pair::new(&content, &content);
        write_at(&pair.source, 33 * MIB + 100, &[9; 4096]);
        let (sent, received) = pair.session(peer, &REFUSE);
        let (sent, received) = (sent.unwrap().tally, received.unwrap().tally);
        assert_eq!(received.read_bytes, SIZE);
        assert!((1..=2 * block).contains(&sent.literal_bytes), "{peer:?}: {}", sent.literal_bytes);
        // diskrsync's source compares hashes, and has let go of the data when it learns that they differ.
        let again = if peer == Peer::Diskrsync { sent.literal_bytes } else { 0 };
        assert_eq!(sent.read_bytes, SIZE + again, "{peer:?}");
    }
}

#[test]
fn holes_are_neither_read_nor_written_and_stay_holes() {
    const SIZE: u64 = 4 << 30;
    for peer in PEERS {
        let pair = Pair::sparse(SIZE, SIZE);
        for at in [0, SIZE / 2, SIZE - 4096] {
            write_at(&pair.source, at, &noise(4096, at));
        }
        let begin = std::time::Instant::now();
        let (sent, received) = pair.session(peer, &REFUSE);
        let (sent, received) = (sent.unwrap().tally, received.unwrap().tally);
        // Some leaves of diskrsync's are read twice, and what a leaf or a block around the data holds beside it.
        assert!(sent.read_bytes < 4 * MIB, "{peer:?}: {}", sent.read_bytes);
        assert_eq!(received.read_bytes, 0, "{peer:?}");
        assert!(sent.literal_bytes < MIB && sent.zeroed_bytes == 0, "{peer:?}: {sent:?}");
        let stored = std::fs::metadata(&pair.destination).unwrap().blocks() * 512;
        assert!(stored < 2 * MIB, "{peer:?}: {stored} after {:?}", begin.elapsed());
        for at in [0, SIZE / 2, SIZE - 4096] {
            let mut page = vec![0; 4096];
            let file = std::fs::File::open(&pair.destination).unwrap();
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut page, at).unwrap();
            assert_eq!(page, noise(4096, at));
        }
    }
}

#[test]
fn what_became_a_hole_at_the_source_becomes_one_at_the_destination() {
    for peer in PEERS {
        let mut content = noise(32 * MIB as usize, 4);
        let pair = Pair::new(&[], &content);
        content[..MIB as usize].fill(1);
        write_at(&pair.source, 0, &content[..MIB as usize]);
        std::fs::File::options().write(true).open(&pair.source).unwrap().set_len(32 * MIB).unwrap();
        let tally = sync(&pair, peer);
        assert!(tally.zeroed_bytes > 30 * MIB, "{peer:?}: {tally:?}");
        let stored = std::fs::metadata(&pair.destination).unwrap().blocks() * 512;
        assert!(stored < 2 * MIB, "{peer:?}: {stored}");
    }
}

#[test]
fn a_destination_that_is_too_small_is_not_touched_and_both_ends_name_both_sizes() {
    for peer in PEERS {
        let pair = Pair::new(&noise(300_001, 1), &noise(300_000, 2));
        let before = pair.destination();
        let (sent, received) = pair.session(peer, &ACCEPT);
        for error in [sent.unwrap_err(), received.unwrap_err()] {
            let text = error.to_string();
            assert!(text.contains("300000 bytes") && text.contains("300001"), "{text}");
            assert_eq!(error.retry(), Retry::AfterChange);
        }
        assert_eq!(pair.destination(), before);
    }
}

#[test]
fn a_destination_that_is_larger_says_so() {
    for peer in PEERS {
        let pair = Pair::new(&noise(300_000, 1), &noise(300_007, 2));
        let (sent, received) = pair.session(peer, &ACCEPT);
        sent.unwrap();
        let remarks = received.unwrap().remarks;
        assert!(remarks.first[0].why.as_str().starts_with("is 7 bytes larger than the source"), "{remarks:?}");
        assert_eq!(pair.destination(), pair.source());
    }
}

#[test]
fn a_source_of_zeros_wipes_nothing_unless_it_may_and_is_fine_where_there_is_nothing() {
    for peer in PEERS {
        for size in [0, 5, 3 * MIB] {
            let zeros = vec![0; size as usize];
            let pair = Pair::new(&zeros, &noise((size as usize).max(9), 2));
            let before = pair.destination();
            let (sent, received) = pair.session(peer, &REFUSE);
            assert!(matches!(sent.unwrap_err(), Error::EmptySource), "{peer:?} {size}");
            received.unwrap_err();
            assert_eq!(pair.destination(), before, "{peer:?} {size}");
            if size > 0 {
                let pair = Pair::new(&zeros, &zeros);
                let (sent, received) = pair.session(peer, &REFUSE);
                assert_eq!(sent.unwrap().tally.matched_bytes, received.unwrap().tally.matched_bytes);
                let pair = Pair::new(&zeros, &before);
                sync(&pair, peer);
            }
        }
    }
}

#[test]
fn the_destinations_own_guard_holds_against_a_source_that_was_told_to_go_ahead() {
    let (zeros, data) = (vec![0; 300_000], noise(300_000, 2));
    let pair = Pair::new(&zeros, &data);
    let (sent, received) = pair.session(Peer::Doppel, &Options { source: EmptySource::Accept, ..REFUSE });
    assert!(matches!(sent.unwrap_err(), Error::EmptySource));
    assert!(received.unwrap_err().to_string().contains("nothing but zeros"));
    assert_eq!(pair.destination(), data);
}

#[test]
fn a_second_source_is_turned_away_while_one_is_received() {
    for peer in PEERS {
        let pair = Pair::new(&noise(300_000, 1), &noise(300_000, 2));
        let destination = Destination::new(Device::open_destination(&pair.destination).unwrap(), EmptySource::Accept);
        std::thread::scope(|scope| {
            let (mut first, far) = UnixStream::pair().unwrap();
            let destination = &destination;
            let receiving = scope.spawn(move || receive(connection(&far, peer), destination, &Silent));
            let hello: Vec<u8> = match peer {
                Peer::Diskrsync => doppel_block::proto::header::encode(300_000).to_vec(),
                Peer::Doppel => {
                    let empty_source = EmptySource::Accept;
                    Hello { size: 300_000, empty_source, key: [0; 32] }.encode().to_vec()
                }
            };
            first.write_all(&hello).unwrap();
            // Its header and the first byte of what it says of its device: it is at work.
            let mut answer = vec![0; hello.len() + 1];
            first.read_exact(&mut answer).unwrap();
            let (second, far) = UnixStream::pair().unwrap();
            let turned_away = scope.spawn(move || receive(connection(&far, peer), destination, &Silent));
            let sent = pair.send(second, peer);
            assert!(sent.is_err());
            assert!(matches!(turned_away.join().unwrap(), Err(Error::Busy)));
            drop(first);
            receiving.join().unwrap().unwrap_err();
        });
        // And is welcome afterwards.
        sync(&pair, peer);
    }
}
