//! Trees are read as they were written, and hostile ones are none.

use super::*;
use crate::repository::load::stream::NodeReader;
use proptest::prelude::*;

fn node(name: &[u8], kind: Kind) -> Node {
    Node {
        name: name.to_vec(),
        kind: Some(kind),
        permissions: 0o755,
        modified: Moment { seconds: 1_417_884_623, nanoseconds: 345_135_380 },
        accessed: Moment { seconds: 1_417_884_623, nanoseconds: 345_135_380 },
        changed: Moment { seconds: 1_417_884_624, nanoseconds: 0 },
        uid: 1000,
        gid: 100,
        user: String::new(),
        group: String::new(),
        inode: 7,
        device_id: 0,
        size: 0,
        links: 0,
        target: Vec::new(),
        xattrs: Vec::new(),
        device: DeviceNumber::default(),
        content: Vec::new(),
        subtree: None,
    }
}

#[test]
fn a_tree_is_written_field_by_field_as_restic_does() {
    let mut directory = node(b"d", Kind::Directory);
    directory.permissions = 0o1777;
    directory.subtree = Some(Id::of(b"subtree"));
    let mut file = node(b"f \"<\xff", Kind::File);
    (file.permissions, file.size, file.links, file.content) = (0o4644, 5, 2, vec![Id::of(b"12345")]);
    file.device_id = 66;
    file.xattrs = vec![Xattr { name: b"user.a".to_vec(), value: b"\x00\x01".to_vec() }];
    let mut link = node(b"l", Kind::Symlink);
    (link.permissions, link.links, link.target) = (0o777, 1, b"to\xff".to_vec());
    let expected = concat!(
        r#"{"nodes":[{"name":"d","type":"dir","mode":2148532735,"mtime":"2014-12-06T16:50:23.34513538Z","#,
        r#""atime":"2014-12-06T16:50:23.34513538Z","ctime":"2014-12-06T16:50:24Z","uid":1000,"gid":100,"inode":7,"#,
        r#""content":null,"subtree":"SUBTREE"},"#,
        r#"{"name":"f \\\"\u003c\\xff","type":"file","mode":8389028,"mtime":"2014-12-06T16:50:23.34513538Z","#,
        r#""atime":"2014-12-06T16:50:23.34513538Z","ctime":"2014-12-06T16:50:24Z","uid":1000,"gid":100,"inode":7,"#,
        r#""device_id":66,"size":5,"links":2,"extended_attributes":[{"name":"user.a","value":"AAE="}],"content":["CONTENT"]},"#,
        r#"{"name":"l","type":"symlink","mode":134218239,"mtime":"2014-12-06T16:50:23.34513538Z","#,
        r#""atime":"2014-12-06T16:50:23.34513538Z","ctime":"2014-12-06T16:50:24Z","uid":1000,"gid":100,"inode":7,"#,
        r#""links":1,"linktarget":"to\ufffd","linktarget_raw":"dG//","content":null}]}"#,
        "\n"
    );
    let expected = expected.replace("SUBTREE", &Id::of(b"subtree").to_string());
    let expected = expected.replace("CONTENT", &Id::of(b"12345").to_string());
    let nodes = [directory, file, link];
    assert_eq!(encode(&nodes), expected);
    assert_eq!(decode(expected.as_bytes()).unwrap(), nodes);
}

#[test]
fn an_empty_tree_has_no_nodes() {
    assert_eq!(encode(&[]), "{\"nodes\":[]}\n");
    assert_eq!(decode(b"{\"nodes\":[]}\n").unwrap(), []);
    assert_eq!(decode(b"{\"x\":{\"nodes\":3},\"nodes\":null,\"y\":[1]}").unwrap(), []);
}

#[test]
fn a_name_that_leads_elsewhere_refuses_the_whole_tree() {
    for bad in ["", ".", "..", "a/b", "/", "/etc/passwd", "..\\\\x2fa", "a\\\\x00b", "a\\\\x2fb"] {
        let json = encode(&[node(b"NAME", Kind::File)]).replace("NAME", bad);
        assert!(decode(json.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn a_name_twice_or_out_of_order_refuses_the_whole_tree() {
    for (first, second) in [(b"a", b"a"), (b"b", b"a")] {
        assert!(decode(encode(&[node(first, Kind::Directory), node(second, Kind::Symlink)]).as_bytes()).is_err());
    }
}

#[test]
fn fields_and_kinds_that_nobody_knows_yet_are_passed_by() {
    let json = encode(&[node(b"a", Kind::File)]).replace("\"uid\"", "\"new\":[{}],\"generic_attributes\":{},\"uid\"");
    assert_eq!(decode(json.as_bytes()).unwrap(), [node(b"a", Kind::File)]);
    let json = json.replace("\"file\"", "\"irregular\"");
    assert_eq!(decode(json.as_bytes()).unwrap()[0].kind, None);
}

#[test]
fn devices_have_the_kernels_numbers() {
    for (major, minor, device) in [(8, 1, 0x801), (259, 0x12_34567, 0x1234_5601_0367_u64)] {
        let number = DeviceNumber { major, minor };
        assert_eq!(split_device(join_device(number)), number);
        if major == 8 {
            assert_eq!(join_device(number), device);
        }
    }
}

prop_compose! {
    fn any_node()(
        name in "[^/\0]{1,20}".prop_filter("dots", |name| name != "." && name != ".."),
        index in 0..KINDS.len(),
        permissions in 0..0o10000_u32,
        seconds in -62_167_219_200..253_402_207_199_i64,
        numbers in any::<(u32, u32, u64, u64, u64, u64)>(),
        target in proptest::collection::vec(any::<u8>(), 0..20),
        xattrs in proptest::collection::vec((any::<String>(), any::<Vec<u8>>()), 0..3),
        device in any::<(u32, u32)>(),
        content in proptest::collection::vec(any::<[u8; 32]>(), 0..3),
    ) -> Node {
        let kind = KINDS[index].0;
        let (uid, gid, inode, device_id, size, links) = numbers;
        let moment = Moment { seconds, nanoseconds: uid % 1_000_000_000 };
        Node {
            name: name.into_bytes(), kind: Some(kind), permissions,
            modified: moment, accessed: Moment::default(), changed: moment,
            uid, gid, user: "root".into(), group: String::new(), inode, device_id, size, links, target,
            xattrs: xattrs.into_iter().map(|(name, value)| Xattr { name: name.into_bytes(), value }).collect(),
            device: DeviceNumber { major: device.0, minor: device.1 },
            content: if kind == Kind::File { content.into_iter().map(Id::from_bytes).collect() } else { Vec::new() },
            subtree: (kind == Kind::Directory).then_some(Id::NONE),
        }
    }
}

proptest! {
    #[test]
    fn a_tree_is_read_as_it_was_written(mut nodes in proptest::collection::vec(any_node(), 0..6)) {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes.dedup_by(|a, b| a.name == b.name);
        let text = encode(&nodes);
        prop_assert_eq!(&decode(text.as_bytes()).unwrap(), &nodes);
        prop_assert_eq!(streamed(text.as_bytes()).unwrap(), nodes);
    }

    #[test]
    fn no_bytes_make_trouble(bytes in any::<Vec<u8>>()) {
        let _ = (decode(&bytes), streamed(&bytes));
    }
}

fn streamed(text: &[u8]) -> Result<Vec<Node>, crate::format::Malformed> {
    /// Few bytes at a time, as a decoder may yield them.
    struct Drops<'t>(&'t [u8]);
    impl std::io::Read for Drops<'_> {
        fn read(&mut self, room: &mut [u8]) -> std::io::Result<usize> {
            let len = room.len().min(7);
            self.0.read(&mut room[..len])
        }
    }
    let mut reader = NodeReader::new(Drops(text))?;
    let mut nodes = Vec::new();
    while let Some(node) = reader.next()? {
        nodes.push(node);
    }
    Ok(nodes)
}

#[test]
fn what_follows_or_is_missing_refuses_a_tree_that_is_read_entry_by_entry() {
    let good = encode(&[node(b"a{\"}", Kind::File), node(b"b", Kind::Directory)]);
    assert_eq!(streamed(good.as_bytes()).unwrap().len(), 2);
    for end in 1..good.len() - 1 {
        assert!(streamed(&good.as_bytes()[..end]).is_err(), "{end}");
    }
    for more in ["]}\n{", ",{}]}\n", "]}\n\n", "}"] {
        assert!(streamed(good.replace("]}\n", more).as_bytes()).is_err(), "{more:?}");
    }
    assert!(streamed(b"{\"nodes\":null}").is_err());
    let twice = encode(&[node(b"a", Kind::File), node(b"a", Kind::File)]);
    assert!(streamed(twice.as_bytes()).is_err());
}
