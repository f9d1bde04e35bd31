//! The keys beside a repository: of a Secret, or of the environment.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Hidden, LocationError};

/// Keys of a restic Secret that are for the engine.
pub const UNUSED_BY_STORES: &[&str] = &[
    super::REPOSITORY,
    "RESTIC_PASSWORD",
    "RESTIC_COMPRESSION",
    "RESTIC_PACK_SIZE",
    "RESTIC_READ_CONCURRENCY",
    "RESTIC_CACHE_DIR",
];

/// Keys and values. Remembers which were asked for, so that a user can be told of those that nobody reads.
#[derive(Clone, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
    used: RefCell<BTreeSet<String>>,
}

impl Settings {
    /// Settings of these keys and values.
    pub fn new(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { values: values.into_iter().collect(), used: RefCell::default() }
    }

    /// Keys that were not asked for, and are not the engine's: they do nothing.
    #[must_use]
    pub fn unused(&self) -> Vec<&str> {
        let used = self.used.borrow();
        let unused = |key: &&str| !used.contains(*key) && !UNUSED_BY_STORES.contains(key);
        self.values.keys().map(String::as_str).filter(unused).collect()
    }

    /// The value of a key. An empty one is as good as none; a line's end, which `echo` leaves behind, is no part of it.
    pub(super) fn get(&self, key: &str) -> Result<Option<&str>, LocationError> {
        self.used.borrow_mut().insert(key.to_owned());
        let Some(value) = self.values.get(key).map(|value| value.trim_end_matches(['\r', '\n'])) else {
            return Ok(None);
        };
        if value.is_empty() {
            return Ok(None);
        }
        if value.trim() != value || value.chars().any(|c| c.is_control() && c != '\n' && c != '\r' && c != '\t') {
            return Err(LocationError::new(key, "has blanks around it or control characters in it; remove them"));
        }
        Ok(Some(value))
    }

    pub(super) fn hidden(&self, key: &str) -> Result<Option<Hidden>, LocationError> {
        Ok(self.get(key)?.map(|value| Hidden(value.to_owned())))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, LocationError> {
        Ok(self.get(key)?.map(str::to_owned))
    }

    /// Two values that are of no use without each other.
    pub(super) fn pair(&self, first: &str, second: &str) -> Result<Option<(String, Hidden)>, LocationError> {
        match (self.text(first)?, self.hidden(second)?) {
            (Some(a), Some(b)) => Ok(Some((a, b))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(LocationError::new(second, format!("is missing; {first} needs it"))),
            (None, Some(_)) => Err(LocationError::new(first, format!("is missing; {second} needs it"))),
        }
    }

    /// Refuses a key that would change what happens and cannot be honoured.
    pub(super) fn refuse(&self, key: &str, why: &str) -> Result<(), LocationError> {
        match self.get(key)? {
            Some(_) => Err(LocationError::new(key, why)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values.keys()).finish()
    }
}
