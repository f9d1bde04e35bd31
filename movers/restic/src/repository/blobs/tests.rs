use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use doppel_storage::double::Memory;
use doppel_storage::{Object, Storage};

use super::*;
use crate::format::config::Version;
use crate::repository::writer::{self, Packing};

/// Tells of every request for several parts, as it comes.
struct Telling {
    inner: Memory,
    requests: Mutex<Sender<usize>>,
}

impl Storage for Telling {
    fn read(&self, name: &str) -> Result<Bytes, doppel_storage::Error> {
        self.inner.read(name)
    }

    fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Bytes, doppel_storage::Error> {
        self.inner.read_range(name, offset, length)
    }

    fn read_ranges(&self, parts: &[Part]) -> Vec<Result<Bytes, doppel_storage::Error>> {
        self.requests.lock().unwrap().send(parts.iter().map(|part| part.length).sum()).unwrap();
        self.inner.read_ranges(parts)
    }

    fn write(&self, name: &str, content: Bytes) -> Result<(), doppel_storage::Error> {
        self.inner.write(name, content)
    }

    fn list(&self, folder: &str) -> Result<Vec<Object>, doppel_storage::Error> {
        self.inner.list(folder)
    }

    fn remove(&self, name: &str) -> Result<(), doppel_storage::Error> {
        self.inner.remove(name)
    }
}

/// Longer than a request for what is in memory takes, however busy the machine is.
const A_WHILE: Duration = Duration::from_secs(60);

#[test]
fn while_parts_are_opened_the_next_ones_are_read_and_no_more_of_them() {
    let (requests, requested) = channel();
    let storage = Arc::new(Telling { inner: Memory::default(), requests: Mutex::new(requests) });
    let repository = Repository::init(storage, b"password", Version::V2).unwrap();
    let index = Index::load(&repository).unwrap();
    let packing = Packing { compression: Compression::Off, pack_size: writer::SMALLEST_PACK };
    writer::write(&repository, &index, packing, |writer| {
        let mut codec = Codec::new(Compression::Off)?;
        (0..20_u8).try_for_each(|n| writer.save(BlobKind::Data, &vec![n; 1 << 20], &mut codec).map(|_| ()))
    })
    .unwrap();
    let index = Index::load(&repository).unwrap();
    let mut places: Vec<Place> = index.entries(BlobKind::Data).iter().map(|entry| (BlobKind::Data, *entry)).collect();
    places.sort_unstable_by_key(|(_, entry)| (entry.pack, entry.offset));

    let mut opened = 0;
    let mut reader = BlobReader::new(&repository, &index).unwrap();
    reader
        .read_all(&places, |_, content| -> Result<(), Error> {
            assert_eq!(content?.len(), 1 << 20);
            if opened == 0 {
                let together: usize = (0..2).map(|_| requested.recv_timeout(A_WHILE).unwrap()).sum();
                assert!(together <= 2 * (AT_A_TIME + RUN as usize), "{together}");
                assert!(requested.recv_timeout(Duration::from_millis(100)).is_err(), "a third was asked for");
            }
            opened += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(opened, 20);
    assert!(requested.try_iter().count() > 0, "two requests were enough for all that there was");
}
