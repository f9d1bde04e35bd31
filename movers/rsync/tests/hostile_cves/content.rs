//! Numbers, checksums, tokens and attributes.

use super::*;

#[test]
fn cve_2024_12084_checksums_of_blocks_longer_than_the_digest_are_refused_in_both_roles() {
    for strong in [17, 20, 32, 64, u32::MAX >> 1] {
        let cage = Cage::new();
        write(&cage.destination.join("f"), noise(5000, 1));
        let bytes = [request(&mut IndexCoder::default(), 1, &transfer(), head(1, 700, strong)), vec![0; 4 + 64]];
        assert_malformed(&push_to(&cage, &bytes.concat()).0);
        let content = reply(&mut IndexCoder::default(), 1, head(1, 700, strong), &FIVE, b"hello");
        let first = [client_preamble(false), frame(&list(&["./", "f"]))].concat();
        assert_malformed(&serve_meanwhile(&cage, first, frame(&content), || {}));
    }
}

#[test]
fn cve_2024_12085_checksums_are_no_longer_than_those_that_were_agreed_on() {
    let cage = Cage::new();
    write(&cage.destination.join("f"), noise(5000, 1));
    // Both ends agree on xxh64, which has eight bytes: a ninth would be memory that nothing was written to.
    let mut bytes = b"@RSYNCD: 31.0 md5\n@RSYNCD: OK\n".to_vec();
    bytes.extend(varint(0x1fe));
    bytes.extend(b"\x05xxh64");
    bytes.extend([1, 2, 3, 4]);
    let asks = |strong| {
        let head = request(&mut IndexCoder::default(), 1, &transfer(), head(1, 700, strong));
        let requests = [head, vec![1; 4 + strong as usize]].concat();
        push_meanwhile(&cage, [bytes.clone(), frame(&requests)].concat(), Vec::new(), || {}).0
    };
    assert_malformed(&asks(9));
    assert_malformed(&asks(16));
    assert!(matches!(asks(8), Err(Error::Closed)));
}

/// Negative numbers, and those of file lists that there are not.
const BELOW: [&[u8]; 5] = [
    &[0xff, 1],
    &[0xff, 3],
    &[0xff, 0xfe, 0x80, 0x65, 0, 0],
    &[0xff, 0xfe, 0xff, 0xff, 0xff, 0xff],
    &[0xfe, 0xff, 0xff, 0xff, 0xff],
];

#[test]
fn cve_2025_10158_negative_indices_are_refused_in_both_roles() {
    for index in BELOW {
        let cage = Cage::new();
        write(&cage.destination.join("f"), "x");
        let item = [&0x8000_u16.to_le_bytes()[..], &[0; 16]].concat();
        assert_malformed(&push_to(&cage, &[index, &item].concat()).0);
        let first = [client_preamble(false), frame(&list(&["./", "f"]))].concat();
        assert_malformed(&serve_meanwhile(&cage, first, frame(&[index, &item].concat()), || {}));
    }
}

#[test]
fn cve_2026_41035_more_extended_attributes_than_there_can_be_are_refused() {
    for numbers in
        [[0, i32::MAX].as_slice(), &[0, -1], &[7], &[-1], &[0, 1, i32::MAX, 1], &[0, 1, 5, i32::MAX], &[0, 1, 0, 0]]
    {
        let cage = Cage::new();
        let preamble = b"@RSYNCD: 31.0 md5\ndata\n--server\0-rXe.LsfxCIvu\0--numeric-ids\0.\0data/\0\0\x03md5";
        let mut bytes = vec![1, 1, b'.', 0, 0, 0, 0, 1, 0, 0];
        bytes.extend(0o040_755_i32.to_le_bytes());
        bytes.extend(numbers.iter().flat_map(|number| varint(*number)));
        assert_malformed(&to_daemon(&cage.destination, &[&preamble[..], &frame(&bytes)].concat()));
        cage.assert_untouched();
    }
}

#[test]
fn cve_2026_43618_runs_of_compressed_tokens_cannot_count_past_what_there_is() {
    let preamble = || {
        let arguments = Arguments {
            recursive: true,
            compression: Choice::Negotiated,
            numeric_ids: true,
            path: b"data/".to_vec(),
            ..Arguments::default()
        };
        let mut bytes = b"@RSYNCD: 31.0 md5\ndata\n".to_vec();
        bytes.extend(arguments.encode());
        bytes.extend(b"\x03md5\x04zstd");
        bytes
    };
    let mut names = Vec::new();
    let layout = doppel_rsync::proto::entry::Layout {
        links: false,
        hard_links: false,
        owner: false,
        group: false,
        devices: false,
        ..LAYOUT
    };
    let mut encoder = EntryEncoder::new(layout);
    encoder.write(&mut names, b".", &entry(Kind::Directory), &[]);
    encoder.write(&mut names, b"f", &entry(Kind::File), &[]);
    EntryEncoder::end(&mut names, IoErrors::default());
    for tokens in [
        // The last number that there is, and a run after it; and back to what is known.
        &[0x21, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff][..],
        &[0x20, 0xff, 0xff, 0xff, 0x7f, 0x82],
        &[0x21, 5, 0, 0, 0, 0xff, 0xff],
        &[0xc0, 0xff, 0xff],
        &[0x20, 0, 0, 0, 0x80],
        &[0x85, 0xbf],
    ] {
        let cage = Cage::new();
        write(&cage.destination.join("f"), noise(4200, 1));
        let mut content = request(&mut IndexCoder::default(), 1, &transfer(), head(6, 700, 2));
        content.extend(tokens);
        content.extend([0; 17]);
        let first = [preamble(), frame(&names)].concat();
        assert_malformed(&serve_meanwhile(&cage, first, frame(&content), || {}));
    }
}

#[test]
fn cve_2026_53792_blocks_of_no_length_are_refused_in_both_roles() {
    let cage = Cage::new();
    write(&cage.destination.join("f"), noise(5000, 1));
    for count in [1, 2, u32::MAX >> 1] {
        let bytes = [request(&mut IndexCoder::default(), 1, &transfer(), head(count, 0, 2)), vec![0; 12]].concat();
        assert_malformed(&push_to(&cage, &bytes).0);
        let content = reply(&mut IndexCoder::default(), 1, head(count, 0, 2), &[Token::Block(0), Token::End], b"");
        let first = [client_preamble(false), frame(&list(&["./", "f"]))].concat();
        assert_malformed(&serve_meanwhile(&cage, first, frame(&content), || {}));
    }
}

#[test]
fn cve_2026_70453_equal_weak_checksums_do_not_make_the_source_quadratic() {
    let cage = Cage::new();
    // One weak checksum everywhere in the file, and no strong one that fits.
    write(&cage.destination.join("f"), vec![0; 8 << 20]);
    let block = 128 * 1024;
    let sums: Vec<u8> = (0..20_000_u32).flat_map(|n| [0_u32.to_le_bytes(), n.to_le_bytes()].concat()).collect();
    let ask = request(&mut IndexCoder::default(), 1, &transfer(), head(20_000, block, 4));
    let before = cpu();
    let (pushed, _) = push_to(&cage, &[ask, sums, done(5)].concat());
    assert_eq!(pushed.unwrap().tally.literal_bytes, 8 << 20);
    // Hashing a block at each position would be 2^40 bytes: minutes. What the budget allows takes a second, unoptimised.
    let spent = cpu() - before;
    assert!(spent < Duration::from_secs(30), "{spent:?}");
}

/// What this thread has computed, whatever else the machine does.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap(), u32::try_from(time.tv_nsec).unwrap())
}

#[test]
fn cve_2026_70455_the_threads_of_a_compressor_are_not_the_peers_to_set() {
    assert_refused(&["--zt=1000000", "--compress-threads=1000000", "--zl=22", "--zc=zstd"]);
    // Nor are decompressors for many uploads at a time, each with its window.
    let cage = Cage::new();
    let bytes = b"@RSYNCD: 31.0 md5\ncontrol\n--server\0-ze.LsfxCIvu\0.\0control/complete\0\0\x03md5\x04zstd";
    let result = to_daemon(&cage.destination, bytes);
    assert!(matches!(&result, Err(Error::Arguments(why)) if why.to_string().contains("-z")), "{result:?}");
}

#[test]
fn cve_2026_119741_a_daemon_cannot_have_the_same_content_read_again_and_again() {
    let cage = Cage::new();
    write(&cage.destination.join("f"), noise(100_000, 1));
    let mut coder = IndexCoder::default();
    let again = |coder: &mut IndexCoder| request(coder, 1, &transfer(), SumHead::NOTHING);
    // Once, and once more when it was damaged on the way.
    let twice = [again(&mut coder), done(1), again(&mut coder), done(4)].concat();
    assert_eq!(push_to(&cage, &twice).0.unwrap().tally.files_sent, 2);
    for phase in [0, 1] {
        let mut coder = IndexCoder::default();
        let requests = [done(phase), again(&mut coder), again(&mut coder)].concat();
        let (pushed, heard) = push_to(&cage, &requests);
        assert_malformed(&pushed);
        assert!(heard.lock().unwrap().len() < 150_000);
    }
}
