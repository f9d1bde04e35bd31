//! The content of files as tokens: plain, mixed as between Doppels, and compressed. The first two bytes say how many blocks there are.
#![no_main]

use doppel_rsync::proto::compressed::{Packed, PackedReader};
use doppel_rsync::proto::input::{Input, Malformed};
use doppel_rsync::proto::token::{MAX_PACKED, Token};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((blocks, rest)) = bytes.split_first_chunk::<2>() else { return };
    let blocks = u32::from(u16::from_le_bytes(*blocks));
    plain(rest, |input| Token::read(input, blocks), blocks);
    plain(rest, |input| Token::read_mixed(input, blocks), blocks);
    let (mut reader, mut input) = (PackedReader::default(), rest);
    let mut read = 0_u64;
    loop {
        read += 1;
        match reader.read(&mut input, blocks) {
            Err(_) | Ok(Packed::End) => break,
            Ok(Packed::Block(block)) => assert!(block < blocks),
            Ok(Packed::Data(len)) => {
                if input.take(len).is_err() {
                    break;
                }
            }
        }
    }
    // A run is three bytes and at most 65,536 tokens.
    assert!(read <= 1 + rest.len() as u64 * 65_536);
});

fn plain(mut input: &[u8], read: impl Fn(&mut &[u8]) -> Result<Token, Malformed>, blocks: u32) {
    loop {
        let len = match read(&mut input) {
            Err(_) | Ok(Token::End) => return,
            Ok(Token::Block(block)) => {
                assert!(block < blocks);
                continue;
            }
            Ok(Token::Literal(len)) => len,
            Ok(Token::Packed(len)) => {
                assert!(len <= MAX_PACKED);
                len
            }
        };
        if input.sized("data", len as usize, 4096).is_err() {
            return;
        }
    }
}
