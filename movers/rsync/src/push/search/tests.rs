use super::*;
use crate::proto::checksum::Algorithm;
use crate::proto::input::Malformed;
use proptest::prelude::*;

fn sign(old: &[u8], head: SumHead, sums: &BlockSum) -> Signature {
    let mut bytes = Vec::new();
    for block in 0..head.count {
        let start = usize::try_from(head.start_of(block)).unwrap();
        let data = &old[start..start + head.length_of(block) as usize];
        bytes.extend(Weak::of(data).value().to_le_bytes());
        bytes.extend(&sums.of(data)[..head.strong as usize]);
    }
    Signature::read(&mut &bytes[..], head, u64::MAX).unwrap()
}

/// The new content put together again from the pieces; and how much of it was literal.
fn delta(old: &[u8], new: &[u8], head: SumHead) -> (Vec<u8>, usize) {
    let sums = BlockSum::new(Algorithm::Xxh128, 77);
    let signature = sign(old, head, &sums);
    let mut rest = new;
    let (mut result, mut literal) = (Vec::new(), 0);
    let read = |buffer: &mut [u8]| {
        // In pieces of an odd size, as a file system may give them.
        let count = rest.len().min(buffer.len()).min(70_001);
        buffer[..count].copy_from_slice(&rest[..count]);
        rest = &rest[count..];
        Ok::<_, Malformed>(count)
    };
    let emit = |piece: Piece<'_>| {
        match piece {
            Piece::Literal(data) => {
                literal += data.len();
                result.extend_from_slice(data);
            }
            Piece::Block(block, data) => {
                let start = usize::try_from(head.start_of(block)).unwrap();
                assert_eq!(data, &old[start..start + head.length_of(block) as usize], "block {block}");
                result.extend_from_slice(data);
            }
        }
        Ok(())
    };
    search(&signature, &sums, read, emit).unwrap();
    (result, literal)
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    })
    .take(len)
    .collect()
}

#[test]
fn unchanged_content_is_all_blocks() {
    for len in [0, 1, 699, 700, 701, 1400, 300_000, 1_000_000] {
        let data = noise(len, 5);
        let (result, literal) = delta(&data, &data, SumHead::for_basis(len as u64, 16, false));
        assert_eq!((result.len(), literal), (len, 0), "{len}");
    }
}

#[test]
fn an_insertion_costs_about_one_block() {
    let old = noise(1_000_000, 9);
    let mut new = old.clone();
    new.splice(500_000..500_000, *b"inserted");
    let head = SumHead::for_basis(old.len() as u64, 16, false);
    let (result, literal) = delta(&old, &new, head);
    assert_eq!(result, new);
    assert!(literal <= 8 + 2 * head.block as usize, "{literal}");
}

#[test]
fn equal_blocks_do_not_make_it_slow() {
    let old = vec![0; 4 << 20];
    let head = SumHead::for_basis(old.len() as u64, 16, false);
    let (result, literal) = delta(&old, &old, head);
    assert_eq!((result.len(), literal), (old.len(), 0));
}

/// A peer that sends one weak checksum that matches everywhere and a strong one that never does would have us hash a
/// whole block at every byte (CVE-2026-70453).
#[test]
fn checksums_that_nearly_match_everywhere_do_not_make_it_quadratic() {
    let sums = BlockSum::new(Algorithm::Md5, 1);
    let head = SumHead { count: 1, block: 128 * 1024, strong: 16, remainder: 0 };
    let mut bytes = Weak::of(&vec![0; 128 * 1024]).value().to_le_bytes().to_vec();
    bytes.extend([1; 16]);
    let signature = Signature::read(&mut &bytes[..], head, u64::MAX).unwrap();
    let mut left = 3 << 20;
    let read = |buffer: &mut [u8]| {
        let count = buffer.len().min(left);
        buffer[..count].fill(0);
        left -= count;
        Ok::<_, Malformed>(count)
    };
    let mut given = 0;
    let emit = |piece: Piece<'_>| {
        if let Piece::Literal(data) = piece {
            given += data.len();
        }
        Ok(())
    };
    let begin = std::time::Instant::now();
    search(&signature, &sums, read, emit).unwrap();
    assert_eq!(given, 3 << 20);
    // Unbounded it would hash 3 Mi * 128 KiB = 384 GiB, for many minutes.
    assert!(begin.elapsed().as_secs() < 60);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn old_blocks_and_literals_make_the_new_content(
        seed: u64,
        len in 0_usize..20_000,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..500, 0_usize..500), 0..6),
        block in 1_u32..2000,
        strong in 2_u32..=16,
    ) {
        let old = noise(len, seed);
        let mut new = old.clone();
        for (at, removed, added) in edits {
            let at = at.index(new.len() + 1);
            let end = (at + removed).min(new.len());
            new.splice(at..end, noise(added, seed ^ at as u64));
        }
        let size = u64::from(block);
        let head = SumHead {
            count: u32::try_from((len as u64).div_ceil(size)).unwrap(),
            block,
            strong,
            remainder: u32::try_from(len as u64 % size).unwrap(),
        };
        // With short strong checksums a false match may happen, which the whole file's checksum would catch.
        if strong >= 4 {
            prop_assert_eq!(delta(&old, &new, head).0, new);
        }
    }
}
