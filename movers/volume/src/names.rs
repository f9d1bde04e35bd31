//! Names of entries: the only thing that is ever handed to the kernel relative to a directory's descriptor.

use doppel_contract::Line;

/// One component of a path: not empty, not `.` or `..`, without `/` and NUL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(&'a [u8]);

/// Why some bytes are no [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing between two slashes.
    #[error("an empty name")]
    Empty,
    /// `.` or `..`.
    #[error("the name {0}, which would leave its directory")]
    Dots(Line),
    /// A slash or a NUL.
    #[error("the name {0}, which has a slash or NUL in it")]
    Separator(Line),
    /// Longer than the kernel's `PATH_MAX`.
    #[error("a name of {0} bytes")]
    TooLong(usize),
}

/// The kernel's `PATH_MAX` less its final NUL: no path and no name of ours is longer.
pub const MAX_PATH: usize = 4095;

impl<'a> Name<'a> {
    /// Checks that these bytes are a name.
    ///
    /// # Errors
    /// When they are not.
    pub fn new(bytes: &'a [u8]) -> Result<Self, BadName> {
        match bytes {
            [] => Err(BadName::Empty),
            b"." | b".." => Err(BadName::Dots(Line::from_bytes(bytes))),
            _ if bytes.len() > MAX_PATH => Err(BadName::TooLong(bytes.len())),
            _ if bytes.iter().any(|&byte| byte == b'/' || byte == 0) => {
                Err(BadName::Separator(Line::from_bytes(bytes)))
            }
            _ => Ok(Self(bytes)),
        }
    }

    /// A name that the kernel itself gave us (`getdents` returns single components).
    pub(crate) fn from_kernel(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes of the name.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Splits a path of names into its parent's path (empty for the root) and its last name.
///
/// # Errors
/// When any component is not a [`Name`], which includes absolute paths.
pub fn split(path: &[u8]) -> Result<(&[u8], Name<'_>), BadName> {
    if path.len() > MAX_PATH {
        return Err(BadName::TooLong(path.len()));
    }
    let (parent, name) = match path.iter().rposition(|&byte| byte == b'/') {
        None => (&[][..], path),
        Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
    };
    if parent.len() < path.len() - name.len() {
        for component in parent.split(|&byte| byte == b'/') {
            Name::new(component)?;
        }
    }
    Ok((parent, Name::new(name)?))
}

/// Writes `parent/name` (or `name` when the parent is the root) over `path`.
pub fn join(path: &mut Vec<u8>, parent: &[u8], name: &[u8]) {
    path.clear();
    path.extend_from_slice(parent);
    if !parent.is_empty() && !name.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// Names kept end to end in one allocation, for trees with millions of them.
#[derive(Debug, Default)]
pub struct Names {
    bytes: Vec<u8>,
}

/// Where a name is in a [`Names`]; by default, a place without a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NameId {
    /// Bytes of names before it.
    pub start: u32,
    /// Bytes of its own.
    pub len: u16,
}

/// A [`Names`] holds 4 GiB of names and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the names of this tree take more than 4 GiB")]
pub struct TooManyNames;

impl Names {
    /// Keeps one more name.
    ///
    /// # Errors
    /// When 4 GiB are full.
    pub fn push(&mut self, name: Name<'_>) -> Result<NameId, TooManyNames> {
        let start = u32::try_from(self.bytes.len()).map_err(|_| TooManyNames)?;
        let len = u16::try_from(name.0.len()).map_err(|_| TooManyNames)?;
        self.bytes.extend_from_slice(name.0);
        Ok(NameId { start, len })
    }

    /// The name at `id`, which must come from this very store.
    #[must_use]
    pub fn get(&self, id: NameId) -> Name<'_> {
        let start = id.start as usize;
        Name(self.bytes.get(start..start + usize::from(id.len)).unwrap_or_default())
    }

    /// Gives back memory that was kept for growing.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_cannot_leave_its_directory() {
        for bad in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b", &[b'a'; MAX_PATH + 1]] {
            assert!(Name::new(bad).is_err(), "{}", bad.escape_ascii());
        }
        for good in [&b"a"[..], b"...", b".hidden", b"a b\n", b"\xff\xfe", b"-"] {
            assert_eq!(Name::new(good).unwrap().bytes(), good);
        }
    }

    #[test]
    fn a_path_is_split_only_when_all_of_it_is_names() {
        for bad in [&b"/etc/passwd"[..], b"a//b", b"a/../b", b"../a", b"a/.", b"a/", b"/", b"", b"./a"] {
            assert!(split(bad).is_err(), "{}", bad.escape_ascii());
        }
        assert_eq!(split(b"a/b/c").unwrap(), (&b"a/b"[..], Name::new(b"c").unwrap()));
        assert_eq!(split(b"c").unwrap(), (&b""[..], Name::new(b"c").unwrap()));
    }

    proptest! {
        #[test]
        fn what_was_split_joins_again(path in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok((parent, name)) = split(&path) {
                let mut joined = Vec::new();
                join(&mut joined, parent, name.bytes());
                prop_assert_eq!(joined, path);
            }
        }
    }
}
