use super::*;
use crate::proto::compressed::MAX_DATA;
use crate::proto::frame::{Header, Tag};
use crate::push::pace::Mode;
use flate2::{Compress, Compression as Level, FlushCompress};
use proptest::prelude::*;

/// What a sender packs: literal data, or a block of this content.
#[derive(Debug, Clone)]
enum Part {
    Literal(Vec<u8>),
    Block(u8),
}

const BLOCK: usize = 700;

fn block(number: u8) -> Vec<u8> {
    (0..BLOCK).map(|at| number.wrapping_mul(31).wrapping_add(at.to_le_bytes()[0] / 3)).collect()
}

/// Packs files one after the other, as the stock sender does.
fn pack(compression: Compression, files: &[Vec<Part>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut zstd = zstd::stream::raw::Encoder::new(1).unwrap();
    for parts in files {
        let mut deflate = Compress::new(Level::new(6), false);
        for part in &joined(parts) {
            match part {
                Part::Block(number) => {
                    out.push(0x20);
                    out.extend(i32::from(*number).to_le_bytes());
                    if compression == Compression::Zlib {
                        squeeze(&mut deflate, &block(*number));
                    }
                }
                Part::Literal(data) => match compression {
                    Compression::Zstd => put_data(&mut out, &flushed(&mut zstd, data)),
                    Compression::Lz4 => data.chunks(16_000).for_each(|piece| {
                        put_data(&mut out, &lz4_flex::block::compress(piece));
                    }),
                    Compression::Zlib | Compression::Zlibx if data.is_empty() => {}
                    Compression::Zlib | Compression::Zlibx => {
                        let packed = squeeze(&mut deflate, data);
                        put_data(&mut out, packed.strip_suffix(&[0, 0, 0xff, 0xff]).unwrap());
                    }
                    Compression::None => {
                        out.extend(Token::Literal(u32::try_from(data.len()).unwrap()).encode());
                        out.extend(data);
                    }
                },
            }
        }
        out.push(0);
    }
    out
}

/// Literal data in a row is one run: the sender flushes at its end.
fn joined(parts: &[Part]) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::new();
    for part in parts {
        match (joined.last_mut(), part) {
            (Some(Part::Literal(run)), Part::Literal(data)) => run.extend(data),
            _ => joined.push(part.clone()),
        }
    }
    joined
}

fn put_data(out: &mut Vec<u8>, packed: &[u8]) {
    for piece in packed.chunks(MAX_DATA) {
        out.extend([0x40 | (piece.len() >> 8).to_le_bytes()[0], piece.len().to_le_bytes()[0]]);
        out.extend(piece);
    }
}

/// One run of deflate, up to its flush.
fn squeeze(deflate: &mut Compress, data: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(data.len() + 1000);
    deflate.compress_vec(data, &mut packed, FlushCompress::Sync).unwrap();
    packed
}

fn flushed(zstd: &mut zstd::stream::raw::Encoder<'_>, data: &[u8]) -> Vec<u8> {
    use zstd::stream::raw::{InBuffer, Operation, OutBuffer};
    let mut packed = vec![0; data.len() + 1000];
    let (mut input, mut output) = (InBuffer::around(data), OutBuffer::around(&mut packed[..]));
    zstd.run(&mut input, &mut output).unwrap();
    assert_eq!((zstd.flush(&mut output).unwrap(), input.pos()), (0, data.len()));
    let len = output.pos();
    packed.truncate(len);
    packed
}

fn reader(bytes: &[u8]) -> Vec<u8> {
    bytes
        .chunks(10_000)
        .flat_map(|piece| [&Header { tag: Tag::Data, len: piece.len() }.encode()[..], piece].concat())
        .collect()
}

/// Unpacks what a stock sender packed.
fn unpack(compression: Compression, bytes: &[u8], files: usize) -> Result<Vec<Vec<u8>>, Error> {
    let framed = reader(bytes);
    let mut reader = Reader::new(&framed[..]);
    reader.begin_frames();
    receive(&mut Tokens::new(Packing::Stock(compression))?, &mut reader, files)
}

/// Unpacks as a receiver does; stops at the first error. No piece may be longer than what a receiver has room for.
fn receive(tokens: &mut Tokens, reader: &mut Reader<&[u8]>, files: usize) -> Result<Vec<Vec<u8>>, Error> {
    let mut contents = Vec::new();
    for _ in 0..files {
        let mut content = Vec::new();
        tokens.begin(256);
        loop {
            match tokens.next(reader)? {
                Piece::End => break,
                Piece::Literal(data) => {
                    assert!(!data.is_empty() && data.len() <= 256 * 1024);
                    content.extend(data);
                }
                Piece::Block(number) => {
                    let data = block(u8::try_from(number).unwrap());
                    tokens.saw_block(&data)?;
                    content.extend(data);
                }
            }
        }
        contents.push(content);
    }
    Ok(contents)
}

fn content(parts: &[Part]) -> Vec<u8> {
    let content = |part: &Part| match part {
        Part::Literal(data) => data.clone(),
        Part::Block(number) => block(*number),
    };
    parts.iter().flat_map(content).collect()
}

const PACKED: [Compression; 4] = [Compression::Zstd, Compression::Lz4, Compression::Zlibx, Compression::Zlib];

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        any::<u8>().prop_map(Part::Block),
        (proptest::collection::vec(any::<u8>(), 0..50), 0_usize..1500).prop_map(|(some, times)| {
            Part::Literal(some.iter().copied().cycle().take(some.len() * times).collect())
        }),
    ]
}

proptest! {
    #[test]
    fn what_was_packed_is_unpacked(
        files in proptest::collection::vec(proptest::collection::vec(part(), 0..8), 1..4),
        which in 0_usize..4,
    ) {
        let expected: Vec<Vec<u8>> = files.iter().map(|parts| content(parts)).collect();
        let packed = pack(PACKED[which], &files);
        prop_assert_eq!(unpack(PACKED[which], &packed, files.len()).unwrap(), expected);
    }

    #[test]
    fn any_bytes_are_unpacked_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..500), which in 0_usize..4) {
        let mut data = Vec::new();
        put_data(&mut data, &bytes);
        let _ = unpack(PACKED[which], &data, 1);
        let _ = unpack(PACKED[which], &bytes, 1);
    }

    #[test]
    fn a_flipped_bit_is_refused_or_changes_no_more_than_content(at in any::<prop::sample::Index>(), which in 0_usize..4) {
        let parts = vec![Part::Literal(block(1)), Part::Block(2), Part::Literal(block(3))];
        let mut packed = pack(PACKED[which], &[parts]);
        let at = at.index(packed.len());
        packed[at] ^= 0x10;
        let _ = unpack(PACKED[which], &packed, 1);
    }
}

/// 16 KiB that unpack to 16 MiB are given in pieces, and to 4 MiB in one piece are refused.
#[test]
fn what_unpacks_to_very_much_comes_in_small_pieces_or_is_refused() {
    let zeros = vec![0; 16 << 20];
    for compression in [Compression::Zstd, Compression::Zlibx, Compression::Zlib] {
        let packed = pack(compression, &[vec![Part::Literal(zeros.clone())]]);
        assert!(packed.len() < 20_000, "{compression:?}: {}", packed.len());
        assert_eq!(unpack(compression, &packed, 1).unwrap()[0].len(), zeros.len());
    }
    let mut bomb = Vec::new();
    put_data(&mut bomb, &lz4_flex::block::compress(&zeros[..4_000_000]));
    bomb.push(0);
    assert!(bomb.len() < MAX_DATA + 100);
    let error = unpack(Compression::Lz4, &bomb, 1).unwrap_err().to_string();
    assert!(error.contains("lz4"), "{error}");
}

#[test]
fn a_zstd_stream_that_looks_back_further_than_we_remember_is_refused() {
    use zstd::zstd_safe::CParameter;
    let mut zstd = zstd::stream::raw::Encoder::new(1).unwrap();
    zstd.set_parameter(CParameter::WindowLog(27)).unwrap();
    let mut packed = Vec::new();
    put_data(&mut packed, &flushed(&mut zstd, &block(1)));
    packed.push(0);
    let error = unpack(Compression::Zstd, &packed, 1).unwrap_err().to_string();
    assert!(error.contains("zstd"), "{error}");
}

#[test]
fn the_end_of_a_deflate_stream_is_not_that_of_a_file() {
    let mut deflate = Compress::new(Level::new(6), false);
    let mut packed = Vec::with_capacity(1000);
    deflate.compress_vec(b"hello", &mut packed, FlushCompress::Finish).unwrap();
    let mut data = Vec::new();
    put_data(&mut data, &packed);
    data.push(0);
    let error = unpack(Compression::Zlibx, &data, 1).unwrap_err().to_string();
    assert!(error.contains("the end of a deflate stream"), "{error}");
}

/// What our own sender writes, packed in every way that it knows.
mod from_our_sender {
    use super::*;
    use crate::push::tokens::Tokens as Sending;
    use crate::stream::writer::Writer;

    fn sent(sending: &mut Sending, files: &[Vec<Part>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        writer.begin_frames();
        for parts in files {
            sending.begin();
            for part in parts {
                match part {
                    Part::Literal(data) => sending.literal(data, &mut writer).unwrap(),
                    Part::Block(number) => sending.block((*number).into(), &mut writer).unwrap(),
                }
            }
            sending.end(&mut writer).unwrap();
        }
        writer.flush().unwrap();
        bytes
    }

    fn check(packing: Packing, mut sending: Sending, files: &[Vec<Part>]) -> usize {
        let bytes = sent(&mut sending, files);
        let mut reader = Reader::new(&bytes[..]);
        reader.begin_frames();
        let mut tokens = Tokens::new(packing).unwrap();
        let contents = receive(&mut tokens, &mut reader, files.len()).unwrap();
        assert_eq!(contents, files.iter().map(|parts| content(parts)).collect::<Vec<_>>());
        bytes.len()
    }

    proptest! {
        #[test]
        fn arrives(files in proptest::collection::vec(proptest::collection::vec(part(), 0..8), 1..4)) {
            let zstd = Packing::Stock(Compression::Zstd);
            check(zstd, Sending::new(zstd).unwrap(), &files);
            check(Packing::Mixed, Sending::new(Packing::Mixed).unwrap(), &files);
            check(Packing::Mixed, Sending::mixed(Mode::Packed), &files);
            check(Packing::Stock(Compression::None), Sending::new(Packing::Stock(Compression::None)).unwrap(), &files);
        }
    }

    /// Bytes that do not shrink.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn what_does_not_shrink_is_sent_as_it_is_but_for_a_piece_of_it_now_and_then() {
        let noise = noise(3_000_000);
        let text = b"all work and no play\n".repeat(50_000);
        let len = noise.len();
        let sent = check(
            Packing::Mixed,
            Sending::mixed(Mode::Packed),
            &[vec![Part::Literal(noise)], vec![Part::Literal(text)]],
        );
        assert!(sent < len + 30_000, "{sent}");
    }

    #[test]
    fn what_shrinks_in_part_is_packed_in_that_part() {
        const PART: usize = 40_000;
        let mut file = Vec::new();
        for part in noise(50 * PART).chunks(PART) {
            file.extend(part);
            file.extend(&b"all work and no play\n".repeat(PART)[..PART]);
        }
        let len = file.len();
        let sent = check(Packing::Mixed, Sending::mixed(Mode::Packed), &[vec![Part::Literal(file)]]);
        assert!(sent < len * 53 / 100, "{sent} of {len}");
    }
}
