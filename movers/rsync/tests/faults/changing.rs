//! Files that change, grow, shrink or vanish while they are read.

use super::*;

#[test]
fn a_file_that_changes_while_it_is_read_arrives_in_one_version() {
    let (source, destination) = two();
    let file = source.path().join("f");
    write(&file, vec![b'1'; 3_000_000]);
    write(&source.path().join("g"), "other");
    let (client, server) = pair();
    let changing = file.clone();
    let mut changes = 1;
    let act = move || {
        if changes > 0 {
            changes -= 1;
            std::fs::write(&changing, vec![b'2'; 3_000_000]).unwrap();
            set_time(&changing, 1_000_000, 1);
        }
    };
    let client = Connection { reader: client.reader, writer: Every::new(client.writer, 1_000_000, act) };
    let (pushed, served) = run(client, server, source.path(), destination.path());
    assert!(pushed.left_out.is_empty() && served.left_out.is_empty(), "{pushed:?} {served:?}");
    assert_eq!(std::fs::read(destination.path().join("f")).unwrap(), vec![b'2'; 3_000_000]);
    assert_eq!(std::fs::read(destination.path().join("g")).unwrap(), b"other");
}

#[test]
fn a_file_that_shrinks_or_grows_while_it_is_read_arrives_in_one_version() {
    for size in [0, 1_000, 2_999_999, 3_000_001, 6_000_000] {
        let (source, destination) = two();
        let file = source.path().join("f");
        write(&file, noise(3_000_000, 1));
        let (client, server) = pair();
        let changing = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
        let mut changes = 1;
        let act = move || {
            if changes > 0 {
                changes -= 1;
                changing.set_len(size).unwrap();
            }
        };
        let client = Connection { reader: client.reader, writer: Every::new(client.writer, 1_000_000, act) };
        let (pushed, served) = run(client, server, source.path(), destination.path());
        assert!(pushed.left_out.is_empty() && served.left_out.is_empty(), "{size}: {pushed:?} {served:?}");
        assert!(std::fs::read(destination.path().join("f")).unwrap() == std::fs::read(&file).unwrap(), "{size}");
    }
}

#[test]
fn a_tree_that_somebody_writes_to_all_the_time_arrives_without_a_file_that_never_was() {
    // Each file says its own name and version in every line: two versions in one file would be seen.
    let (source, destination) = two();
    let version = |name: usize, version: u64| format!("{name} {version}\n").repeat(2_000);
    for name in 0..40 {
        write(&source.path().join(format!("d/f{name}")), version(name, 0));
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                number += 1;
                for name in 0..40 {
                    // In place, so that a reader can see both.
                    std::fs::write(source.path().join(format!("d/f{name}")), version(name, number)).unwrap();
                }
            }
        });
        let mut mixed = Vec::new();
        for _ in 0..10 {
            let _ = sync_with(source.path(), destination.path(), (EmptySource::Refuse, EmptySource::Refuse));
            for path in contents(destination.path()).into_keys() {
                let content = std::fs::read_to_string(destination.path().join(&path)).unwrap();
                // In the middle of a write a file is shorter, and its last line may be cut.
                let whole = content.rsplit_once('\n').map_or("", |(whole, _)| whole);
                let lines: std::collections::BTreeSet<&str> = whole.lines().collect();
                if lines.len() > 1 {
                    mixed.push((path, lines.len()));
                }
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(mixed.is_empty(), "files of several versions: {mixed:?}");
    });
}

#[test]
fn a_file_that_never_stops_changing_is_left_out_and_the_old_one_stays() {
    let (source, destination) = two();
    let file = source.path().join("f");
    write(&file, vec![b'1'; 3_000_000]);
    write(&destination.path().join("f"), "old");
    let (client, server) = pair();
    let changing = file.clone();
    let mut version = 0;
    let act = move || {
        version += 1;
        std::fs::write(&changing, vec![b'0' + version; 3_000_000]).unwrap();
        set_time(&changing, 1_000_000 + i64::from(version), 1);
    };
    let client = Connection { reader: client.reader, writer: Every::new(client.writer, 1_000_000, act) };
    let (pushed, served) = run(client, server, source.path(), destination.path());
    for outcome in [&pushed, &served] {
        assert_eq!(outcome.left_out.count, 1, "{outcome:?}");
        assert_eq!(outcome.left_out.first[0].path.as_str(), "f");
        assert!(outcome.left_out.first[0].why.as_str().contains("changed while it was read"), "{outcome:?}");
    }
    assert_eq!(std::fs::read(destination.path().join("f")).unwrap(), b"old");
}

#[test]
fn a_file_that_vanishes_before_it_is_read_is_a_remark_only() {
    let (source, destination) = two();
    write(&source.path().join("a"), noise(2_000_000, 1));
    write(&source.path().join("z/gone"), "x");
    write(&destination.path().join("extra"), "x");
    let (client, server) = pair();
    let directory = source.path().join("z");
    let act = move || {
        let _ = std::fs::remove_dir_all(&directory);
    };
    let client = Connection { reader: client.reader, writer: Every::new(client.writer, 1_000_000, act) };
    let (pushed, served) = run(client, server, source.path(), destination.path());
    assert!(pushed.left_out.is_empty() && served.left_out.is_empty(), "{pushed:?} {served:?}");
    assert_eq!(pushed.remarks.first[0].path.as_str(), "z/gone");
    assert!(!destination.path().join("extra").exists(), "that is no reason not to delete");
}
