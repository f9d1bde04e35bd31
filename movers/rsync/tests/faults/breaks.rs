//! Connections that break.

use super::*;

#[test]
fn wherever_a_connection_breaks_files_are_whole_and_the_next_run_finishes() {
    let (old, new) = two();
    tree_of_everything(old.path());
    tree_of_everything(new.path());
    write(&new.path().join("large"), [noise(400_000, 2), noise(400_000, 50)].concat());
    write(&new.path().join("hello.txt"), "hello again\n");
    write(&new.path().join("new/file"), noise(50_000, 51));
    std::fs::remove_file(new.path().join("sparse")).unwrap();
    let (before, after) = (contents(old.path()), contents(new.path()));
    let total = {
        let destination = support::directory();
        sync(old.path(), destination.path());
        sync(new.path(), destination.path()).0.tally
    };
    let mut broken = 0;
    for step in 0..16 {
        for direction in ["to the destination", "to the source"] {
            let bytes = if direction == "to the source" { total.wire_received } else { total.wire_sent };
            let cut = bytes * step / 16;
            let destination = support::directory();
            sync(old.path(), destination.path());
            broken += u32::from(break_after(new.path(), destination.path(), direction, cut));
            for (path, content) in contents(destination.path()) {
                let whole = before.get(&path) == Some(&content) || after.get(&path) == Some(&content);
                assert!(whole, "cut after {cut} bytes {direction}: {path} is {content}");
            }
            sync(new.path(), destination.path());
            assert_same(new.path(), destination.path());
        }
    }
    assert!(broken > 26, "only {broken} of 32 runs were broken");
}

/// Runs a synchronization whose connection breaks; whether that kept it from success. Never may one end say that it was
/// a success when the destination said that it was not.
fn break_after(source: &Path, destination: &Path, direction: &str, bytes: u64) -> bool {
    let (client, server) = pair();
    let (sent, received) = if direction == "to the source" { (u64::MAX, bytes) } else { (bytes, u64::MAX) };
    let client = Connection {
        reader: Cut { stream: client.reader, left: received },
        writer: Cut { stream: client.writer, left: sent },
    };
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| {
            let tree = Tree::open(destination).unwrap();
            serve(server, &Modules::new(&tree, EmptySource::Refuse), &Silent)
        });
        let pushed = push(client, &Tree::open(source).unwrap(), &OPTIONS, &Silent);
        let served = serving.join().unwrap();
        if let Err(error) = &pushed {
            assert_eq!(error.fault(), Fault::Network, "{error}");
        }
        assert!(pushed.is_err() || served.is_ok());
        pushed.is_err()
    })
}
