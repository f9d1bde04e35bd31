//! The arguments that a client gives to the daemon's rsync, which decide what is on the wire.
//!
//! The daemon accepts what VolSync's source sends (`facts/volsync.md` 4.1), what our own client sends, and options that
//! change neither the wire nor the outcome. Anything else is refused by name: an option that is not heeded would make
//! either the stream unreadable or the copy other than what was asked for.

use doppel_contract::Line;

use crate::proto::checksum::Algorithm;
use crate::proto::extras::Extras;
use crate::proto::input::{Input, Malformed};
use crate::proto::keep::Keep;
use crate::proto::negotiate::Compression;

/// What a client asks of a daemon that receives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Arguments {
    /// What is kept of each entry.
    pub keep: Keep,
    /// The list has the whole tree beneath its directories (`-r`).
    pub recursive: bool,
    /// Paths of the list are complete (`-R`).
    pub relative: bool,
    /// Only one file system (`-x`).
    pub one_file_system: bool,
    /// Zeros become holes (`-S`).
    pub sparse: bool,
    /// How content is compressed: by what the peers agree on (`-z`), or by what the client says (`--compress-choice`).
    pub compression: Choice<Compression>,
    /// By which checksum content is compared (`--checksum-choice`).
    pub checksum: Choice<Algorithm>,
    /// User and group ids have no names (`--numeric-ids`).
    pub numeric_ids: bool,
    /// What is not in the list is deleted (`--delete` and its variants; we always delete after the transfer).
    pub delete: bool,
    /// Nothing is deleted, but something is said if it would have to be (`--max-delete=0`, which rsync sends as -1).
    pub delete_nothing: bool,
    /// What is there is left as it is (`--ignore-existing`).
    pub ignore_existing: bool,
    /// What is not there is not made (`--existing`).
    pub ignore_missing: bool,
    /// The daemon is to send (`--sender`). We ask that of others; asked ourselves, we refuse.
    pub sender: bool,
    /// The client wants to be told of each change (`--log-format`).
    pub itemize: bool,
    /// The client is a Doppel, and uses these extras (`--doppel`, which is only said to a Doppel).
    pub doppel: Option<Extras>,
    /// What the client's program knows, a letter each (`-e.`).
    pub letters: Vec<u8>,
    /// Where to: the module, a slash and perhaps a name.
    pub path: Vec<u8>,
}

/// Something that peers agree on, unless the client decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<T> {
    /// They agree on it after the arguments.
    Negotiated,
    /// It is decided.
    Fixed(T),
}

impl Default for Choice<Compression> {
    fn default() -> Self {
        Self::Fixed(Compression::None)
    }
}

#[expect(clippy::derivable_impls, reason = "derived, it would be the default of the compression, too")]
impl Default for Choice<Algorithm> {
    fn default() -> Self {
        Self::Negotiated
    }
}

/// Why arguments are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The client wants to receive.
    #[error("this daemon only receives")]
    Sender,
    /// An option that is not supported.
    #[error("the option {0} is not supported")]
    Option(Line),
    /// The arguments have another form than a client's.
    #[error("the arguments are not those of an rsync client: {0}")]
    Form(&'static str),
}

/// An argument is not longer, and there are not more of them.
const MAX_ARGUMENT: usize = 4096;
const MAX_ARGUMENTS: usize = 100;

/// Reads arguments, each ended by NUL, up to an empty one.
///
/// # Errors
/// When they are too long or too many.
pub fn read<I: Input>(input: &mut I) -> Result<Vec<Vec<u8>>, I::Error> {
    let mut arguments = Vec::new();
    let mut argument = Vec::new();
    loop {
        match input.byte()? {
            0 if argument.is_empty() => return Ok(arguments),
            0 if arguments.len() < MAX_ARGUMENTS => arguments.push(std::mem::take(&mut argument)),
            byte if byte != 0 && argument.len() < MAX_ARGUMENT => argument.push(byte),
            _ => return Err(Malformed::unexpected("too many arguments").into()),
        }
    }
}

/// Times are compared to the nanosecond. (By default rsync is content with the second, except when it sends content.) We
/// always do.
const EXACT_TIMES: &[u8] = b"-@-1";
/// Options that change neither the wire nor the outcome.
const WITHOUT_EFFECT: [&[u8]; 6] = [b"--stats", b"--partial", b"--force", b"--fsync", b"--info", b"--debug"];
const DELETE: [&[u8]; 5] = [b"--delete", b"--delete-before", b"--delete-during", b"--delete-delay", b"--delete-after"];

/// Arguments as far as they were understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// What was understood: enough to go on speaking to the client.
    pub arguments: Arguments,
    /// Why they must be refused, if they must.
    pub refused: Option<Refused>,
}

impl Parsed {
    fn refuse(&mut self, refused: Refused) {
        self.refused.get_or_insert(refused);
    }

    fn option(&mut self, option: &[u8]) {
        if let Err(refused) = self.arguments.option(option) {
            self.refuse(refused);
        }
    }
}

impl Arguments {
    /// Understands arguments.
    #[must_use]
    pub fn parse(arguments: &[Vec<u8>]) -> Parsed {
        let mut parsed = Parsed { arguments: Self::default(), refused: None };
        let mut arguments = arguments.iter().map(Vec::as_slice);
        if arguments.next() != Some(b"--server") {
            parsed.refuse(Refused::Form("they do not begin with --server"));
        }
        loop {
            match arguments.next() {
                None => parsed.refuse(Refused::Form("there is no path")),
                Some(b".") => {}
                Some(option) => {
                    parsed.option(option);
                    continue;
                }
            }
            break;
        }
        match (arguments.next(), arguments.next()) {
            (Some(path), None) => parsed.arguments.path = path.to_vec(),
            _ => parsed.refuse(Refused::Form("there is not exactly one path")),
        }
        parsed
    }

    fn option(&mut self, option: &[u8]) -> Result<(), Refused> {
        match option {
            [b'-', b'-', ..] => self.long(option),
            EXACT_TIMES => Ok(()),
            [b'-', short @ ..] => self.short(short),
            other => Err(Refused::Option(Line::from_bytes(other))),
        }
    }

    fn short(&mut self, letters: &[u8]) -> Result<(), Refused> {
        let mut refused = Ok(());
        for (place, letter) in letters.iter().enumerate() {
            match letter {
                b'l' => self.keep.links = true,
                b'H' => self.keep.hard_links = true,
                b'o' => self.keep.owner = true,
                b'g' => self.keep.group = true,
                b'D' => self.keep.specials = true,
                b't' => self.keep.times = true,
                b'p' => self.keep.permissions = true,
                b'A' => self.keep.acls = true,
                b'X' => self.keep.xattrs = true,
                b'r' => self.recursive = true,
                b'R' => self.relative = true,
                b'x' => self.one_file_system = true,
                b'S' => self.sparse = true,
                b'z' => self.compression = Choice::Negotiated,
                // Verbosity, and whole files: how much is read of the old content is ours to decide.
                b'v' | b'W' => {}
                b'e' => {
                    let rest = letters.get(place + 1..).unwrap_or_default();
                    self.letters = rest.strip_prefix(b".").unwrap_or(rest).to_vec();
                    break;
                }
                other => refused = Err(Refused::Option(Line::from_bytes(&[b'-', *other]))),
            }
        }
        refused
    }

    fn long(&mut self, option: &[u8]) -> Result<(), Refused> {
        let (name, value) = match option.iter().position(|&byte| byte == b'=') {
            Some(equals) => (option.get(..equals).unwrap_or(option), option.get(equals + 1..)),
            None => (option, None),
        };
        let refused = || Refused::Option(Line::from_bytes(option));
        if name == b"--sender" {
            return Err(Refused::Sender);
        }
        match (name, value) {
            (name, None) if DELETE.contains(&name) => self.delete = true,
            (b"--max-delete", Some(b"0" | b"-1")) => self.delete_nothing = true,
            (b"--ignore-existing", None) => self.ignore_existing = true,
            (b"--existing" | b"--ignore-non-existing", None) => self.ignore_missing = true,
            (b"--numeric-ids", None) => self.numeric_ids = true,
            (b"--log-format", Some(_)) => self.itemize = true,
            // Only the compressor is concerned. It comes with -z, or with a choice after it.
            (b"--compress-level", Some(_)) => self.compression = Choice::Negotiated,
            (b"--compress-choice", Some(name)) => return self.choose_compression(Compression::named(name), refused),
            (b"--new-compress", None) => self.compression = Choice::Fixed(Compression::Zlibx),
            (b"--old-compress", None) => self.compression = Choice::Fixed(Compression::Zlib),
            (b"--checksum-choice", Some(names)) => return self.choose_checksum(names, refused),
            (b"--doppel", Some(names)) => self.doppel = Some(Extras::named(names.split(|&byte| byte == b','))),
            (name, _) if WITHOUT_EFFECT.contains(&name) => {}
            (b"--timeout", Some(_)) => {}
            _ => return Err(refused()),
        }
        Ok(())
    }

    /// What is refused counts as decided, too: nothing is exchanged about it.
    fn choose_compression(
        &mut self,
        compression: Option<Compression>,
        refused: impl FnOnce() -> Refused,
    ) -> Result<(), Refused> {
        self.compression = Choice::Fixed(compression.unwrap_or(Compression::None));
        compression.map(|_| ()).ok_or_else(refused)
    }

    /// A second name, after a comma, is about checksums of whole files before the transfer (`-c`), which we do not do.
    fn choose_checksum(&mut self, names: &[u8], refused: impl FnOnce() -> Refused) -> Result<(), Refused> {
        let algorithm = names.split(|&byte| byte == b',').next().and_then(Algorithm::named);
        self.checksum = Choice::Fixed(algorithm.unwrap_or(Algorithm::Md5));
        algorithm.map(|_| ()).ok_or_else(refused)
    }

    /// The module that the path is in, and the rest of the path.
    #[must_use]
    pub fn module_and_rest(&self) -> (&[u8], &[u8]) {
        match self.path.iter().position(|&byte| byte == b'/') {
            None => (&self.path, b""),
            Some(slash) => (self.path.get(..slash).unwrap_or_default(), self.path.get(slash + 1..).unwrap_or_default()),
        }
    }

    /// The bytes of these arguments as a client sends them. Incremental lists are not offered.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Self { keep, .. } = self;
        let letters = [
            (keep.links, 'l'),
            (keep.hard_links, 'H'),
            (keep.owner, 'o'),
            (keep.group, 'g'),
            (keep.specials, 'D'),
            (keep.times, 't'),
            (keep.permissions, 'p'),
            (keep.acls, 'A'),
            (keep.xattrs, 'X'),
            (self.recursive, 'r'),
            (self.relative, 'R'),
            (self.one_file_system, 'x'),
            (self.sparse, 'S'),
            (self.compression == Choice::Negotiated, 'z'),
        ];
        let letters: String = letters.iter().filter(|(set, _)| *set).map(|(_, letter)| *letter).collect();
        let options = [
            Some("--server".to_owned()),
            self.sender.then(|| "--sender".to_owned()),
            Some(format!("-{letters}e.LsfxCIvu")),
            self.itemize.then(|| "--log-format=%i".to_owned()),
            self.delete.then(|| "--delete-after".to_owned()),
            self.delete_nothing.then(|| "--max-delete=-1".to_owned()),
            self.keep.times.then(|| String::from_utf8_lossy(EXACT_TIMES).into_owned()),
            self.ignore_existing.then(|| "--ignore-existing".to_owned()),
            self.ignore_missing.then(|| "--existing".to_owned()),
            self.numeric_ids.then(|| "--numeric-ids".to_owned()),
            fixed(self.checksum).map(|checksum| format!("--checksum-choice={}", checksum.name())),
            fixed(self.compression)
                .filter(|compression| *compression != Compression::None)
                .map(|compression| format!("--compress-choice={}", compression.name())),
            self.doppel.map(|extras| format!("--doppel={}", extras.names())),
            Some(".".to_owned()),
        ];
        let mut bytes = Vec::new();
        for option in options.into_iter().flatten() {
            bytes.extend_from_slice(option.as_bytes());
            bytes.push(0);
        }
        bytes.extend_from_slice(&self.path);
        bytes.extend_from_slice(&[0, 0]);
        bytes
    }
}

fn fixed<T: Copy>(choice: Choice<T>) -> Option<T> {
    match choice {
        Choice::Negotiated => None,
        Choice::Fixed(value) => Some(value),
    }
}

#[cfg(test)]
mod tests;
