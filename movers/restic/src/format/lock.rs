//! Locks (design.rst, "Locks"), and which of them count.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::format::time::Time;

/// A lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lock {
    pub(crate) time: Time,
    pub(crate) exclusive: bool,
    #[serde(default)]
    pub(crate) hostname: String,
    #[serde(default)]
    pub(crate) username: String,
    #[serde(default)]
    pub(crate) pid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gid: Option<u32>,
}

/// Whoever has a lock renews it every five minutes, and stops working if it cannot: a lock of this age is nobody's.
const STALE: SignedDuration = SignedDuration::from_mins(30);

impl Lock {
    /// Whether nobody has it any more.
    pub(crate) fn is_stale(&self, now: Timestamp) -> bool {
        now.duration_since(self.time.at()) > STALE
    }

    /// Whether the two cannot be held at once.
    pub(crate) fn conflicts(&self, other: &Self) -> bool {
        self.exclusive || other.exclusive
    }

    /// For people.
    pub(crate) fn words(&self) -> String {
        let how = if self.exclusive { " exclusively" } else { "" };
        let Self { hostname, username, pid, time, .. } = self;
        format!("locked{how} by process {pid} of {username} on {hostname}, since {time}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_stale_after_thirty_minutes() {
        let json = r#"{"time":"2015-06-27T12:18:51.759239612+02:00","exclusive":false,"hostname":"kasimir","username":"fd0","pid":13607,"uid":1000,"gid":100}"#;
        let lock: Lock = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&lock).unwrap(), json);
        let after = |minutes| lock.time.at() + SignedDuration::from_mins(minutes);
        assert!(!lock.is_stale(after(-60)) && !lock.is_stale(after(30)) && lock.is_stale(after(31)));
    }

    #[test]
    fn only_locks_that_are_not_exclusive_go_together() {
        let lock = |exclusive| Lock {
            time: Time::parse("2026-01-01T00:00:00Z").unwrap(),
            exclusive,
            hostname: String::new(),
            username: String::new(),
            pid: 1,
            uid: None,
            gid: None,
        };
        assert!(!lock(false).conflicts(&lock(false)));
        for (a, b) in [(true, false), (false, true), (true, true)] {
            assert!(lock(a).conflicts(&lock(b)));
        }
    }
}
