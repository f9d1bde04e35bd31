//! Connections that break, and processes that may not do everything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};

/// Calls a function each time that so many more bytes have passed.
pub struct Every<S, F> {
    inner: S,
    passed: u64,
    every: u64,
    act: F,
}

impl<S, F: FnMut() + Send> Every<S, F> {
    pub fn new(inner: S, every: u64, act: F) -> Self {
        Self { inner, passed: 0, every, act }
    }
}

impl<S: Write, F: FnMut() + Send> Write for Every<S, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = usize::try_from(self.every - self.passed % self.every).unwrap().min(bytes.len());
        let count = self.inner.write(&bytes[..most])?;
        let before = self.passed / self.every;
        self.passed += count as u64;
        if self.passed / self.every > before {
            (self.act)();
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A connection that is cut after so many bytes in this direction.
pub struct Cut {
    pub stream: UnixStream,
    pub left: u64,
}

impl Cut {
    fn take(&mut self, wanted: usize) -> io::Result<usize> {
        if self.left == 0 {
            let _ = self.stream.shutdown(Shutdown::Both);
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(usize::try_from(self.left).unwrap_or(usize::MAX).min(wanted))
    }
}

impl Write for Cut {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.take(bytes.len())?;
        let count = self.stream.write(&bytes[..most])?;
        self.left -= count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Read for Cut {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.take(buffer.len())?;
        let count = self.stream.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}

/// The variable that tells a test that it was started by itself, with less privilege.
const CHILD: &str = "DOPPEL_TEST_CHILD";

/// Whether this process is such a child.
pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs the test of this name once more, as a user that may nothing. True in the child: it goes on with the test.
pub fn unprivileged(test: &str) -> bool {
    if is_child() || !rustix::process::geteuid().is_root() {
        return true;
    }
    let output = child(test, &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"], &[]);
    assert!(output.status.success(), "{}", text(&output));
    false
}

/// Runs the test of this name once more, through `prefix`.
pub fn child(test: &str, prefix: &[&str], variables: &[(&str, &Path)]) -> Output {
    // The user may not be allowed to where the test was built.
    let directory = crate::support::directory();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let program = directory.path().join("test");
    // Another process copies: a thread of ours that starts a program meanwhile would keep the copy open for writing.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status().unwrap();
    assert!(copied.success());
    let (first, rest) = prefix.split_first().unwrap();
    let mut command = Command::new(first);
    command.args(rest).arg(&program).args(["--exact", test, "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    for (name, value) in variables {
        command.env(name, value);
    }
    command.output().unwrap()
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}
