use super::*;
use proptest::prelude::*;

fn set(attributes: &[(&[u8], &[u8])]) -> NewSet {
    let mut set = NewSet::default();
    for (name, value) in attributes {
        assert!(set.add(name, value));
    }
    set
}

/// `trusted.t`, 33 times `T`; `user.long`, 100 times `L`; `user.short`, `abc`: as rsync 3.5.0 and 3.2.7 send them, under
/// any negotiated checksum.
const CAPTURED: &[u8] =
    b"\x00\x03\x0a\x21trusted.t\x00\xcb\x59\x3e\x54\xaf\xe6\x74\xec\x8e\x5d\x7b\x10\xf0\x06\xf2\x9a\
    \x0a\x64user.long\x00\x54\xa0\xe7\x2a\x66\x98\xb7\x08\x70\x42\x07\x29\x86\xfb\xe2\x90\x0b\x03user.short\x00abc";

fn captured() -> NewSet {
    set(&[(b"trusted.t", &[b'T'; 33]), (b"user.long", &[b'L'; 100]), (b"user.short", b"abc")])
}

#[test]
fn a_captured_set_is_understood() {
    let mut table = XattrTable::default();
    // Then an entry without attributes, and one of the first set again.
    let mut input = &[CAPTURED, &[0, 0, 1]].concat()[..];
    assert_eq!(table.read(&mut input), Ok(0));
    assert_eq!(table.read(&mut input), Ok(1));
    assert_eq!(table.read(&mut input), Ok(0));
    let attributes: Vec<_> = table.get(0).collect();
    let names: Vec<_> = attributes.iter().map(|attribute| (attribute.number, attribute.name)).collect();
    assert_eq!(names, [(1, &b"trusted.t"[..]), (2, b"user.long"), (3, b"user.short")]);
    assert!(attributes[0].value.is(&[b'T'; 33]) && !attributes[0].value.is(&[b'U'; 33]));
    assert!(attributes[1].value.is(&[b'L'; 100]) && !attributes[1].value.is(&[b'L'; 101]));
    assert_eq!(attributes[2].value, Value::Whole(b"abc"));
    assert_eq!(table.long(0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(table.get(1).count(), 0);
}

#[test]
fn a_set_is_written_as_rsync_writes_it() {
    let mut table = XattrTable::default();
    let mut out = Vec::new();
    assert_eq!(table.write(&mut out, &captured()), Some(0));
    assert_eq!(out, CAPTURED);
    out.clear();
    assert_eq!(table.write(&mut out, &NewSet::default()), Some(1));
    assert_eq!(table.write(&mut out, &captured()), Some(0));
    assert_eq!(table.write(&mut out, &NewSet::default()), Some(1));
    assert_eq!(out, [0, 0, 1, 2]);
}

#[test]
fn captured_requests_and_values_are_understood() {
    let mut table = XattrTable::default();
    table.read(&mut &CAPTURED[..]).unwrap();
    let mut numbers = Vec::new();
    read_request(&mut &[1, 1, 0][..], &table, 0, &mut numbers).unwrap();
    assert_eq!(numbers, [1, 2]);
    let mut out = Vec::new();
    write_request(&mut out, numbers);
    assert_eq!(out, [1, 1, 0]);
    let captured = [&[1, 33][..], &[b'T'; 33], &[1, 100], &[b'L'; 100], &[0]].concat();
    let values = Values::read(&mut &captured[..], &table, 0).unwrap();
    assert_eq!(values.get(1), Some(&[b'T'; 33][..]));
    assert_eq!(values.get(2), Some(&[b'L'; 100][..]));
    assert_eq!(values.get(3), None);
    out.clear();
    write_value(&mut out, None, 1, &[b'T'; 33]);
    write_value(&mut out, Some(1), 2, &[b'L'; 100]);
    write_end(&mut out);
    assert_eq!(out, captured);
}

#[test]
fn hard_links_have_values_where_the_peer_says_so() {
    let link = Flags::XATTRS.and(Flags::NAME_FOLLOWS).and(Flags::LOCAL);
    assert!(values_follow(link, true, true) && values_follow(link, false, false));
    assert!(!values_follow(link, true, false));
    assert!(values_follow(Flags::XATTRS, true, false) && !values_follow(Flags::TIME, true, true));
}

#[test]
fn what_cannot_be_true_is_refused() {
    let long_name = [&[0, 1, 0x81, 1, 0][..], &[b'n'; 257], &[0]].concat();
    for bad in [
        &[1][..],
        // A negative number of attributes, and one above the limit.
        &[0, 0xf0, 0xff, 0xff, 0xff, 0xff],
        &[0, 0xc1, 0, 0],
        // No name, no NUL after it, a NUL within it.
        &[0, 1, 0, 0],
        &[0, 1, 1, 0, 0],
        &[0, 1, 2, 0, b'a', b'b'],
        &[0, 1, 3, 0, b'a', 0, 0],
        // A value of 64 KiB and a byte.
        &[0, 1, 2, 0xc1, 1, 0, b'a', 0],
        &long_name,
    ] {
        assert!(XattrTable::default().read(&mut &bad[..]).is_err(), "{}", bad.escape_ascii());
    }
    let mut table = XattrTable::default();
    table.read(&mut &CAPTURED[..]).unwrap();
    let mut numbers = Vec::new();
    // A short value, one that there is not, and one of no set.
    for (bad, set) in [(&[3][..], 0), (&[2, 2], 0), (&[1], 7)] {
        assert!(read_request(&mut &bad[..], &table, set, &mut numbers).is_err());
        assert!(Values::read(&mut &bad[..], &table, set).is_err());
    }
}

#[test]
fn a_set_is_bounded_whatever_its_attributes_are() {
    let mut set = NewSet::default();
    let value = vec![0; MAX_VALUE as usize];
    let accepted = (0..1000).take_while(|number| set.add(format!("user.{number}").as_bytes(), &value)).count();
    assert_eq!(accepted, MAX_VALUES / MAX_VALUE as usize);
    set.clear();
    let accepted = (0..100_000).take_while(|number| set.add(format!("user.{number:05}").as_bytes(), b"")).count();
    assert_eq!(accepted, MAX_NAMES / 11);
    let huge = (0..100).map(|number| {
        let name = format!("user.{number:03}");
        [&[9, 0xc1, 0, 0][..], name.as_bytes(), &[0; 17]].concat()
    });
    let huge = [vec![0, 100], huge.flatten().collect()].concat();
    assert!(XattrTable::default().read(&mut &huge[..]).is_err());
}

#[test]
fn a_table_is_bounded_whatever_its_sets_are() {
    let mut table = XattrTable::default();
    let mut set = [0, 1, 11, 64].to_vec();
    set.extend(b"user.12345\0");
    set.extend([0; DIGEST]);
    let mut sets = 0;
    while table.read(&mut &set[..]).is_ok() {
        sets += 1;
    }
    assert!(sets > 4_000_000 && table.is_full(), "{sets}");
    let mut out = Vec::new();
    assert_eq!(table.write(&mut out, &captured()), None);
    assert!(out.is_empty());
    assert!(table.write(&mut out, &NewSet::default()).is_some());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut table = XattrTable::default();
        let mut input = &bytes[..];
        while table.read(&mut input).is_ok() {}
        table.read(&mut &CAPTURED[..]).unwrap();
        let last = u32::try_from(table.ends.len()).unwrap() - 1;
        let _ = read_request(&mut &bytes[..], &table, last, &mut Vec::new());
        let _ = Values::read(&mut &bytes[..], &table, last);
    }

    #[test]
    fn sets_come_back(sets in proptest::collection::vec(
        proptest::collection::vec(("[a-z]{1,40}", proptest::collection::vec(any::<u8>(), 0..50)), 0..5), 0..10,
    )) {
        let (mut ours, mut theirs, mut out) = (XattrTable::default(), XattrTable::default(), Vec::new());
        let mut numbers = Vec::new();
        for attributes in &sets {
            let attributes: Vec<_> = attributes.iter().map(|(name, value)| (name.as_bytes(), &value[..])).collect();
            numbers.push(ours.write(&mut out, &set(&attributes)).unwrap());
        }
        let mut input = &out[..];
        for (number, attributes) in numbers.iter().zip(&sets) {
            prop_assert_eq!(theirs.read(&mut input), Ok(*number));
            let back: Vec<_> = theirs.get(*number).collect();
            prop_assert_eq!(back.len(), attributes.len());
            for (back, (name, value)) in back.iter().zip(attributes) {
                prop_assert!(back.name == name.as_bytes() && back.value.is(value));
                prop_assert_eq!(back.value.is_long(), value.len() > SHORT);
            }
        }
        prop_assert!(input.is_empty());
    }
}
