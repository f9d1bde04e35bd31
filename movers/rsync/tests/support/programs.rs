//! Which rsync a test runs against: the machine's own, and the oldest one that we speak to.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A version of rsync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rsync {
    /// Whatever the machine has installed: 3.5 on Debian 12 with its security updates.
    Installed,
    /// 3.2, which `tests/peers` unpacks.
    V3_2,
}

impl Rsync {
    /// Where the program is.
    pub fn program(self) -> PathBuf {
        let (program, version) = match self {
            Self::Installed => (PathBuf::from("/usr/bin/rsync"), "rsync  version "),
            Self::V3_2 => (unpacked().join("rsync-3.2/usr/bin/rsync"), "rsync  version 3.2."),
        };
        let said = Command::new(&program).arg("--version").stdin(Stdio::null()).output();
        let said = said.map(|output| output.stdout).unwrap_or_default();
        let missing = "a stock peer of the tests is missing; `tests/peers` installs them";
        assert!(said.starts_with(version.as_bytes()), "{}, {version:?}: {missing}", program.display());
        program
    }

    /// The program, about to be run without input.
    pub fn command(self) -> Command {
        let mut command = Command::new(self.program());
        command.stdin(Stdio::null());
        command
    }
}

/// Where `tests/peers` unpacks to.
pub fn unpacked() -> PathBuf {
    let from = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = || from("XDG_CACHE_HOME").or_else(|| Some(from("HOME")?.join(".cache")));
    from("DOPPEL_PEERS").or_else(|| Some(cache()?.join("doppel/peers"))).unwrap_or_default()
}

/// Makes two tests of each function named: one for each version.
#[macro_export]
macro_rules! with_both_versions {
    ($($test:ident)*) => {
        mod rsync_3_2 {
            $(#[test] fn $test() { super::$test($crate::support::programs::Rsync::V3_2); })*
        }
        mod rsync_installed {
            $(#[test] fn $test() { super::$test($crate::support::programs::Rsync::Installed); })*
        }
    };
}
