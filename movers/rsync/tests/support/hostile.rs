//! A peer that says what a script says, with one field of it changed.
//!
//! A script is a valid session as a list of its fields. For each of them there are other values: the least, the greatest,
//! one that overflows, and what a kind of field is known to be abused for. A field more is a line more in a script.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use doppel_rsync::proto::frame::{Header, Tag};
use doppel_rsync::proto::integer::{write_varint, write_varlong};
use doppel_rsync::proto::negotiate::write_string;
use doppel_rsync::push::Connection;

/// A field of a session.
pub struct Field {
    pub name: &'static str,
    pub stage: Stage,
    honest: Vec<u8>,
    others: Vec<Other>,
    /// Values, by the beginning of their names, with which the session may go on.
    tolerated: &'static [&'static str],
}

/// Another value of a field.
pub struct Other {
    pub name: String,
    bytes: Vec<u8>,
}

/// Where in a session a field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before frames begin.
    Handshake,
    /// In the first frame.
    First,
    /// In a frame that is sent when the other end has asked for something.
    Rest,
}

/// All but the named ones must be refused.
pub const NOTHING: &[&str] = &[];
/// Whatever the value, the session may go on.
pub const ANYTHING: &[&str] = &[""];

impl Stage {
    fn field(self, name: &'static str, honest: Vec<u8>, others: Vec<Other>) -> Field {
        Field { name, stage: self, honest, others, tolerated: NOTHING }
    }

    /// Bytes that are as they must be.
    pub fn fixed(self, honest: &[u8]) -> Field {
        self.field("", honest.to_vec(), Vec::new())
    }

    pub fn byte(self, name: &'static str, honest: u8) -> Field {
        let others = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff].map(|value: u8| other(format!("{value:#x}"), &[value]));
        self.field(name, vec![honest], others.into())
    }

    /// Two bytes of flags.
    pub fn short(self, name: &'static str, honest: u16) -> Field {
        let others = (0..16).map(|bit| 1 << bit).chain([0, u16::MAX]);
        let others = others.map(|value: u16| other(format!("{value:#06x}"), &value.to_le_bytes()));
        self.field(name, honest.to_le_bytes().into(), others.collect())
    }

    pub fn int(self, name: &'static str, honest: i32) -> Field {
        let others = around(honest).into_iter().map(|(label, value)| other(label, &value.to_le_bytes()));
        self.field(name, honest.to_le_bytes().into(), others.collect())
    }

    pub fn varint(self, name: &'static str, honest: i32) -> Field {
        self.field(name, varint(honest), varints(honest))
    }

    pub fn varlong(self, name: &'static str, honest: i64, min: usize) -> Field {
        let values = [("none", 0), ("one", 1), ("minus one", -1), ("least", i64::MIN), ("greatest", i64::MAX)];
        let mut others: Vec<Other> = values.map(|(label, value)| other(label, &varlong(value, min))).into();
        others.push(other("longer than there is", &[0xff; 12]));
        self.field(name, varlong(honest, min), others)
    }

    /// An index that says `honest` after the one before it.
    pub fn index(self, name: &'static str, honest: u8) -> Field {
        let others = [
            ("the end of a phase", &[0][..]),
            ("the first entry", &[0xfe, 0x80, 0, 0, 0]),
            ("the one before again", &[0xfe, 0, 0]),
            ("far away", &[0xfe, 0x7f, 0xff]),
            ("the greatest", &[0xfe, 0xff, 0xff, 0xff, 0xff]),
            ("the end of all lists", &[0xff, 1]),
            ("statistics", &[0xff, 2]),
            ("minus four", &[0xff, 3]),
            ("another list", &[0xff, 0xfe, 0x80, 0x65, 0, 0]),
            ("the least", &[0xff, 0xfe, 0xff, 0xff, 0xff, 0xff]),
        ];
        self.field(name, vec![honest], others.map(|(label, bytes)| other(label, bytes)).into())
    }

    /// Bytes without a length before them.
    pub fn text(self, name: &'static str, honest: &[u8]) -> Field {
        let others = texts().into_iter().map(|(label, text)| other(label, &text));
        self.field(name, honest.to_vec(), others.collect())
    }

    /// Bytes with their length before them: other lengths than there are bytes, and other bytes with their right length.
    pub fn sized(self, name: &'static str, length: Length, honest: &[u8]) -> Field {
        let lies = match length {
            Length::Byte => self.byte("", honest.len().to_le_bytes()[0]).others,
            Length::Varint => varints(i32::try_from(honest.len()).unwrap()),
            Length::Int => self.int("", i32::try_from(honest.len()).unwrap()).others,
            Length::String => [&[0][..], &[1], &[0x7f], &[0x84, 1], &[0xff, 0xff]]
                .map(|bytes| other(format!("{bytes:x?}"), bytes))
                .into(),
        };
        let mut others: Vec<Other> = lies
            .into_iter()
            .map(|Other { name, bytes }| other(format!("length {name}"), &[&bytes[..], honest].concat()))
            .collect();
        for (label, text) in texts() {
            if let Some(bytes) = length.before(&text) {
                others.push(other(label, &bytes));
            }
        }
        self.field(name, length.before(honest).unwrap(), others)
    }

    /// Bytes of a checksum or of content.
    pub fn raw(self, name: &'static str, honest: &[u8]) -> Field {
        let flipped: Vec<u8> = honest.iter().map(|byte| !byte).collect();
        let others = vec![
            other("flipped", &flipped),
            other("zeros", &vec![0; honest.len()]),
            other("one byte less", &honest[1..]),
            other("one byte more", &[honest, &[0]].concat()),
        ];
        self.field(name, honest.to_vec(), others)
    }
}

impl Field {
    /// With these values, by the beginning of their names, the session may go on.
    pub fn may_be(self, tolerated: &'static [&'static str]) -> Self {
        Self { tolerated, ..self }
    }
}

/// How a length is written.
#[derive(Debug, Clone, Copy)]
pub enum Length {
    Byte,
    Int,
    Varint,
    /// One byte, or two with the highest bit set.
    String,
}

impl Length {
    fn before(self, text: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = match self {
            Self::Byte => vec![u8::try_from(text.len()).ok()?],
            Self::Int => i32::try_from(text.len()).ok()?.to_le_bytes().into(),
            Self::Varint => varint(i32::try_from(text.len()).ok()?),
            Self::String if text.len() > 0x7fff => return None,
            Self::String => {
                let mut bytes = Vec::new();
                write_string(&mut bytes, text);
                return Some(bytes);
            }
        };
        bytes.extend_from_slice(text);
        Some(bytes)
    }
}

fn other(name: impl Into<String>, bytes: &[u8]) -> Other {
    Other { name: name.into(), bytes: bytes.to_vec() }
}

pub fn varint(value: i32) -> Vec<u8> {
    let mut out = Vec::new();
    write_varint(&mut out, value);
    out
}

pub fn varlong(value: i64, min: usize) -> Vec<u8> {
    let mut out = Vec::new();
    write_varlong(&mut out, value, min);
    out
}

fn around(honest: i32) -> Vec<(&'static str, i32)> {
    let values = [
        ("none", 0),
        ("one", 1),
        ("minus one", -1),
        ("least", i32::MIN),
        ("greatest", i32::MAX),
        ("one less", honest.wrapping_sub(1)),
        ("one more", honest.wrapping_add(1)),
        ("a million", 1_000_000),
    ];
    values.into_iter().filter(|(_, value)| *value != honest).collect()
}

fn varints(honest: i32) -> Vec<Other> {
    let mut others: Vec<Other> =
        around(honest).into_iter().map(|(label, value)| other(label, &varint(value))).collect();
    others.push(other("longer than there is", &[0xff; 12]));
    others
}

/// Texts that paths, names and lines are abused for.
fn texts() -> Vec<(&'static str, Vec<u8>)> {
    let long = |len: usize| vec![b'n'; len];
    vec![
        ("nothing", Vec::new()),
        ("a dot", b".".to_vec()),
        ("dots", b"..".to_vec()),
        ("the parent", b"../canary/file".to_vec()),
        ("from the root", b"/canary/file".to_vec()),
        ("down and up", b"dir/../../canary/file".to_vec()),
        ("up inside", b"dir/../file".to_vec()),
        ("a dot inside", b"dir/./file".to_vec()),
        ("two slashes", b"dir//file".to_vec()),
        ("a slash at the end", b"dir/".to_vec()),
        ("beneath nothing", b"nowhere/file".to_vec()),
        ("beneath a file", b"file/file".to_vec()),
        ("beneath a link", b"link/file".to_vec()),
        ("NUL", b"a\0b".to_vec()),
        ("a newline", b"a\nb".to_vec()),
        ("control characters", b"\x1b[31m\xc2\x9b\xff".to_vec()),
        ("the name of another", b"file".to_vec()),
        ("of 255 bytes", long(255)),
        ("of 256 bytes", long(256)),
        ("of 4095 bytes", long(4095)),
        ("of 4096 bytes", long(4096)),
        ("of 32767 bytes", long(0x7fff)),
        ("of 70000 bytes", long(70_000)),
        ("deep", b"d/".repeat(2000)),
    ]
}

/// What a script comes to.
pub struct Speech {
    first: Vec<u8>,
    meanwhile: Act,
    rest: Vec<u8>,
}

type Act = Box<dyn FnOnce() + Send>;

impl Speech {
    /// Says this first, and the rest when the other end has asked for something.
    pub fn new(first: Vec<u8>, rest: Vec<u8>) -> Self {
        Self { first, meanwhile: Box::new(|| {}), rest }
    }

    /// Does something before the rest is said.
    pub fn meanwhile(self, act: impl FnOnce() + Send + 'static) -> Self {
        Self { meanwhile: Box::new(act), ..self }
    }

    /// The script, with another value for one field.
    pub fn with(script: &[Field], field: Option<(usize, &Other)>) -> Self {
        let bytes = |stage: Stage| -> Vec<u8> {
            let of_stage = script.iter().enumerate().filter(|(_, field)| field.stage == stage);
            of_stage
                .flat_map(|(at, own)| match field {
                    Some((changed, other)) if changed == at => other.bytes.clone(),
                    _ => own.honest.clone(),
                })
                .collect()
        };
        let first = [bytes(Stage::Handshake), framed(&bytes(Stage::First))].concat();
        Self::new(first, framed(&bytes(Stage::Rest)))
    }

    /// The script, with another header of the frame at the begin of a stage.
    pub fn with_header(script: &[Field], stage: Stage, header: [u8; 4]) -> Self {
        let mut speech = Self::with(script, None);
        let handshake: usize =
            script.iter().filter(|field| field.stage == Stage::Handshake).map(|field| field.honest.len()).sum();
        let place = match stage {
            Stage::Handshake | Stage::First => &mut speech.first[handshake..handshake + 4],
            Stage::Rest => &mut speech.rest[..4],
        };
        place.copy_from_slice(&header);
        speech
    }

    /// The connection of which this is the other end. The rest is said once more than `heard` bytes were heard.
    pub fn connection(self, heard: usize) -> (Connection<Says, Hears>, Arc<Mutex<Vec<u8>>>) {
        let all = Arc::new(Mutex::new(Vec::new()));
        let hearing = Arc::new((Mutex::new(0), Condvar::new()));
        let says = Says {
            bytes: self.first,
            position: 0,
            rest: Some((self.meanwhile, self.rest)),
            hearing: Arc::clone(&hearing),
            heard,
            caller: std::thread::current().id(),
        };
        (Connection { reader: says, writer: Hears { hearing, all: Arc::clone(&all) } }, all)
    }
}

fn framed(data: &[u8]) -> Vec<u8> {
    if data.is_empty() {
        return Vec::new();
    }
    [&Header { tag: Tag::Data, len: data.len() }.encode()[..], data].concat()
}

/// Says the script.
pub struct Says {
    bytes: Vec<u8>,
    position: usize,
    rest: Option<(Act, Vec<u8>)>,
    hearing: Arc<(Mutex<usize>, Condvar)>,
    heard: usize,
    caller: ThreadId,
}

impl Read for Says {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.bytes.len()
            && let Some((meanwhile, rest)) = self.rest.take()
        {
            // An engine that reads on a thread of its own asks on another; one that only reads will not ask any more.
            let asks = std::thread::current().id() != self.caller;
            let patience = if asks { Duration::from_secs(20) } else { Duration::from_millis(20) };
            let (count, more) = &*self.hearing;
            let waits = |count: &mut usize| *count <= self.heard;
            drop(more.wait_timeout_while(count.lock().unwrap(), patience, waits).unwrap());
            meanwhile();
            (self.bytes, self.position) = (rest, 0);
        }
        let count = buffer.len().min(self.bytes.len() - self.position);
        buffer[..count].copy_from_slice(&self.bytes[self.position..self.position + count]);
        self.position += count;
        Ok(count)
    }
}

/// Hears what the other end says.
pub struct Hears {
    hearing: Arc<(Mutex<usize>, Condvar)>,
    all: Arc<Mutex<Vec<u8>>>,
}

impl Write for Hears {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.all.lock().unwrap().extend_from_slice(bytes);
        let (count, more) = &*self.hearing;
        *count.lock().unwrap() += bytes.len();
        more.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Tries every other value of every field: `run` says what came of a speech, and whether the other end refused it. What
/// was neither refused nor may be is a failure. Returns how many sessions there were.
pub fn try_all(script: &[Field], mut run: impl FnMut(Speech) -> Result<(), String>) -> usize {
    if let Err(refused) = run(Speech::with(script, None)) {
        panic!("the honest session is refused: {refused}");
    }
    let mut accepted = Vec::new();
    let mut sessions = 0;
    for (at, field) in script.iter().enumerate() {
        for other in field.others.iter().filter(|other| other.bytes != field.honest) {
            sessions += 1;
            let may_be = field.tolerated.iter().any(|start| other.name.starts_with(start));
            if run(Speech::with(script, Some((at, other)))).is_ok() && !may_be {
                accepted.push(format!("{}: {}", field.name, other.name));
            }
        }
    }
    assert!(accepted.is_empty(), "accepted:\n{}", accepted.join("\n"));
    sessions
}
