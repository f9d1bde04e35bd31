use super::*;
use proptest::prelude::*;

fn parse(line: &str) -> Result<Arguments, Refused> {
    let words: Vec<Vec<u8>> = line.split(' ').map(|argument| argument.as_bytes().to_vec()).collect();
    let Parsed { arguments, refused } = Arguments::parse(&words);
    refused.map_or(Ok(arguments), Err)
}

#[test]
fn volsyncs_arguments_are_understood() {
    let copy = parse("--server -lHogDtpArRxSze.iLsfxCIvu --log-format=%i --info=MISC2,STATS2 . data/").unwrap();
    assert_eq!(copy.keep, Keep { xattrs: false, ..Keep::ALL });
    assert!(copy.compression == Choice::Negotiated && copy.sparse && copy.relative && copy.itemize && !copy.delete);
    assert_eq!(copy.letters, b"iLsfxCIvu");
    let delete = parse(
        "--server -rxe.iLsfxCIvu --log-format=%i --delete --ignore-existing --existing --info=MISC2,STATS2 . data/",
    )
    .unwrap();
    assert!(delete.delete && delete.ignore_existing && delete.ignore_missing);
    assert_eq!(delete.keep, Keep::default());
    let upload = parse("--server -e.LsfxCIvu . control/complete").unwrap();
    assert_eq!(upload.module_and_rest(), (&b"control"[..], &b"complete"[..]));
}

#[test]
fn what_would_not_be_heeded_is_refused_by_name() {
    for (line, named) in [
        ("--server --sender -re.L . data/", "only receives"),
        ("--server -ne.L . data/", "-n"),
        ("--server -Ue.L . data/", "-U"),
        ("--server -re.L --inplace . data/", "--inplace"),
        ("--server -re.L --delete-excluded . data/", "--delete-excluded"),
        ("--server -re.L --compress-choice=lzma . data/", "--compress-choice=lzma"),
        ("--server -re.L --checksum-choice=sha1 . data/", "--checksum-choice=sha1"),
        ("--server -re.L --checksum-choice=auto,md5 . data/", "--checksum-choice=auto,md5"),
        ("--server -re.L --max-delete=5 . data/", "--max-delete=5"),
        ("--server -re.L data/", "data/"),
        ("--server -re.L . data/ more", "one path"),
        ("--server -re.L", "no path"),
        ("-re.L . data/", "--server"),
    ] {
        let refused = parse(line).unwrap_err().to_string();
        assert!(refused.contains(named), "{line}: {refused}");
    }
}

#[test]
fn a_client_can_decide_compression_and_checksum() {
    use Choice::{Fixed, Negotiated};
    for (options, compression, checksum) in [
        ("-re.L", Fixed(Compression::None), Negotiated),
        ("-rze.L", Negotiated, Negotiated),
        ("-rze.L --old-compress", Fixed(Compression::Zlib), Negotiated),
        ("-re.L --new-compress", Fixed(Compression::Zlibx), Negotiated),
        ("-rze.L --compress-level=9", Negotiated, Negotiated),
        ("-re.L --compress-level=19 --compress-choice=lz4", Fixed(Compression::Lz4), Negotiated),
        ("-re.L --checksum-choice=md4,xxh3", Fixed(Compression::None), Fixed(Algorithm::Md4)),
    ] {
        let parsed = parse(&format!("--server {options} . data/")).unwrap();
        assert_eq!((parsed.compression, parsed.checksum), (compression, checksum), "{options}");
    }
}

#[test]
fn arguments_come_back() {
    let arguments = Arguments {
        keep: Keep::ALL,
        recursive: true,
        one_file_system: true,
        numeric_ids: true,
        delete: true,
        delete_nothing: true,
        doppel: Some(Extras::PACK),
        checksum: Choice::Fixed(Algorithm::Xxh3),
        compression: Choice::Fixed(Compression::Zlibx),
        letters: b"LsfxCIvu".to_vec(),
        path: b"data/".to_vec(),
        ..Arguments::default()
    };
    let bytes = arguments.encode();
    let parsed = Arguments::parse(&read(&mut &bytes[..]).unwrap());
    assert_eq!(parsed, Parsed { arguments, refused: None });
}

#[test]
fn endless_arguments_are_refused() {
    assert!(read(&mut &vec![b'a'; 100_000][..]).is_err());
    assert!(read(&mut &b"a\0".repeat(1000)[..]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(arguments) = read(&mut &bytes[..]) {
            let _ = Arguments::parse(&arguments);
        }
    }
}
