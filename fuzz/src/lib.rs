//! What the targets that hold whole sessions share: a volume beside a canary, and the begin of a valid session.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use doppel_rsync::proto::arguments::Arguments;
use doppel_rsync::proto::frame::{Header, MAX_PAYLOAD, Tag};
use doppel_rsync::proto::integer::write_bits;
use doppel_rsync::proto::keep::Keep;
use doppel_rsync::proto::negotiate::write_string;

/// A volume beside a canary that nobody may touch. One for the process; it is removed by whoever started that.
pub struct Volume {
    root: PathBuf,
    beside: PathBuf,
    filled: AtomicBool,
}

const SECRET: &[u8] = b"not of the volume";

impl Volume {
    /// The volume of this process.
    pub fn get() -> &'static Self {
        static VOLUME: OnceLock<Volume> = OnceLock::new();
        VOLUME.get_or_init(|| {
            let parent = std::env::var_os("FUZZ_VOLUMES").map_or_else(std::env::temp_dir, PathBuf::from);
            let directory = parent.join(format!("doppel-fuzz-{}", std::process::id()));
            let (root, beside) = (directory.join("volume"), directory.join("canary"));
            std::fs::create_dir_all(&root).expect("make the volume");
            std::fs::create_dir_all(&beside).expect("make the canary");
            std::fs::write(beside.join("file"), SECRET).expect("write the canary");
            Self { root, beside, filled: AtomicBool::new(false) }
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the volume anew.
    pub fn fill(&self, fill: impl FnOnce(&Path)) {
        let _ = std::fs::remove_dir_all(&self.root);
        std::fs::create_dir_all(&self.root).expect("make the volume");
        fill(&self.root);
    }

    /// Makes the volume, once in the life of the process.
    pub fn fill_once(&self, fill: impl FnOnce(&Path)) {
        if !self.filled.swap(true, Ordering::Relaxed) {
            self.fill(fill);
        }
    }

    /// What is beside the volume is as it was.
    pub fn assert_untouched(&self) {
        assert_eq!(std::fs::read(self.beside.join("file")).expect("the canary"), SECRET);
        let beside = std::fs::read_dir(&self.beside).expect("the canary").count();
        let above = std::fs::read_dir(self.beside.parent().unwrap_or(&self.beside)).expect("the directory").count();
        assert_eq!((beside, above), (1, 2));
    }
}

/// Data in frames.
pub fn framed(data: &[u8]) -> Vec<u8> {
    data.chunks(MAX_PAYLOAD)
        .flat_map(|piece| [&Header { tag: Tag::Data, len: piece.len() }.encode()[..], piece].concat())
        .collect()
}

/// A client up to its first frame; with `delete` up to the end of its rules.
pub fn client_preamble(delete: bool) -> Vec<u8> {
    let keep = Keep::ALL;
    let path = b"data/".to_vec();
    let arguments = Arguments { keep, recursive: true, numeric_ids: true, delete, path, ..Arguments::default() };
    let mut bytes = b"@RSYNCD: 31.0 md5\ndata\n".to_vec();
    bytes.extend(arguments.encode());
    write_string(&mut bytes, b"md5");
    if delete {
        bytes.extend(framed(&[0; 4]));
    }
    bytes
}

/// A daemon up to its first frame.
pub fn daemon_preamble() -> Vec<u8> {
    let mut bytes = b"@RSYNCD: 31.0 md5\n@RSYNCD: OK\n".to_vec();
    write_bits(&mut bytes, 0x1fe);
    write_string(&mut bytes, b"md5");
    bytes.extend([1, 2, 3, 4]);
    bytes
}
