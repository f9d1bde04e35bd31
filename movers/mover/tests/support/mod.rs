//! What the tests of the program share: movers as processes, trees, stock peers, and a proxy that stops at a byte.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test program uses its part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail their test"
)]

pub mod away;
pub mod cgroup;
pub mod diskrsync;
pub mod hostile;
#[path = "../../../transport/tests/support/port.rs"]
mod port;
#[path = "../../../rsync/tests/support/programs.rs"]
pub mod programs;
pub mod proxy;
pub mod tree;
pub mod vault;
pub mod volsync;

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use self::port::free_port;
use doppel_contract::{Progress, REQUEST_ENV, Report, Request, Verdict};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The secret part of the tests' key. Must never be seen anywhere.
pub const KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with a key file, and room for volumes and for what movers say.
pub struct Stage {
    pub dir: TempDir,
}

impl Stage {
    pub fn new() -> Self {
        let stage = Self { dir: tempfile::tempdir().unwrap() };
        // Movers of other users have to get in.
        permissions(stage.dir.path(), 0o755);
        stage.write_key("psk.txt", &format!("volsync:{KEY}\n"));
        stage
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An empty directory.
    pub fn volume(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir(&path).unwrap();
        path
    }

    pub fn key_file(&self) -> PathBuf {
        self.path("psk.txt")
    }

    pub fn write_key(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        permissions(&path, 0o644);
        path
    }

    pub fn source(&self, volume: &Path, port: u16, more: &[&str]) -> Mover {
        let mut arguments = vec!["rsync-tls", "source", "--address", "127.0.0.1"];
        arguments.extend(more);
        self.mover("source", Some(volume), port, &arguments)
    }

    pub fn destination(&self, volume: &Path, port: u16, more: &[&str]) -> Mover {
        let mut arguments = vec!["rsync-tls", "destination"];
        arguments.extend(more);
        self.mover("destination", Some(volume), port, &arguments)
    }

    /// A source of a block device.
    pub fn device_source(&self, device: &Path, port: u16, more: &[&str]) -> Mover {
        let mut arguments = vec!["rsync-tls", "source", "--address", "127.0.0.1", "--block-device"];
        arguments.push(device.to_str().unwrap());
        arguments.extend(more);
        self.mover("source", None, port, &arguments)
    }

    /// A destination of a block device.
    pub fn device_destination(&self, device: &Path, port: u16, more: &[&str]) -> Mover {
        let mut arguments = vec!["rsync-tls", "destination", "--block-device", device.to_str().unwrap()];
        arguments.extend(more);
        self.mover("destination", None, port, &arguments)
    }

    fn mover(&self, role: &str, volume: Option<&Path>, port: u16, arguments: &[&str]) -> Mover {
        let mut command = command();
        command.args(arguments).args(["--port", &port.to_string()]);
        if let Some(volume) = volume {
            command.arg("--volume").arg(volume);
        }
        if !arguments.contains(&"--key-file") {
            command.arg("--key-file").arg(self.key_file());
        }
        self.start(role, command)
    }

    /// As a pod of the operator is started.
    pub fn run(&self, role: &str, request: &Request, termination_message: &Path) -> Mover {
        let mut command = command();
        command.env(REQUEST_ENV, serde_json::to_string(request).unwrap());
        command.args(["run", "--termination-message"]).arg(termination_message);
        self.start(role, command)
    }

    /// A mover without privileges; the program's own place may be closed to it.
    pub fn unprivileged(&self) -> Command {
        let program = self.path("doppel-mover");
        if !program.exists() {
            std::fs::copy(env!("CARGO_BIN_EXE_doppel-mover"), &program).unwrap();
        }
        let mut command = Command::new(program);
        command.uid(NOBODY).gid(NOBODY);
        command
    }

    pub fn start(&self, role: &str, mut command: Command) -> Mover {
        let unique = format!("{role}-{}", free_port());
        let (out, err) = (self.path(&format!("{unique}.out")), self.path(&format!("{unique}.err")));
        command.stdin(Stdio::null()).stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Mover { child: command.spawn().unwrap(), out, err }
    }
}

pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doppel-mover"));
    command.env_remove(REQUEST_ENV);
    command
}

/// Somebody without privileges.
const NOBODY: u32 = 65_534;

pub fn permissions(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

/// A mover. Killed when it is dropped.
pub struct Mover {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// How a mover ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub report: Option<Report>,
    /// Everything it printed, on both streams.
    pub said: String,
}

impl Ended {
    pub fn report(&self) -> &Report {
        self.report.as_ref().unwrap_or_else(|| panic!("no report in:\n{}", self.said))
    }

    #[track_caller]
    pub fn expect_complete(&self) -> &Report {
        assert_eq!((self.code, &self.report().verdict), (Some(0), &Verdict::Complete), "{}", self.said);
        self.report()
    }

    /// The message of a failure.
    #[track_caller]
    pub fn expect_failure(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{}", self.said);
        match &self.report().verdict {
            Verdict::Failed { message, .. } => message.as_str(),
            other => panic!("{other:?}\n{}", self.said),
        }
    }
}

impl Mover {
    pub fn said(&self) -> String {
        let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        format!("{}{}", read(&self.out), read(&self.err))
    }

    pub fn progress(&self) -> Vec<Progress> {
        self.said().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Its command line and environment, as everybody on the machine may see them.
    pub fn in_proc(&self) -> String {
        let read = |name: &str| std::fs::read(format!("/proc/{}/{name}", self.child.id())).unwrap_or_default();
        String::from_utf8_lossy(&[read("cmdline"), read("environ")].concat()).into_owned()
    }

    /// When memory is short the kernel shall choose this one.
    pub fn first_to_be_killed(&self) {
        std::fs::write(format!("/proc/{}/oom_score_adj", self.child.id()), "1000").unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it has said `text`.
    pub fn wait_for(&mut self, text: &str) {
        wait_until(&format!("{text:?} in what a mover says"), || self.said().contains(text) || !self.is_running());
        assert!(self.said().contains(text), "{}", self.said());
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        while self.is_running() {
            assert!(Instant::now() < deadline, "waited in vain for the end of a mover, which said:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
        let status = self.child.wait().unwrap();
        let said = self.said();
        let report = said.lines().filter_map(|line| serde_json::from_str(line).ok()).next_back();
        Ended { code: status.code(), report, said }
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A stock program that ends with its test.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file system of its own, until it is dropped. Needs root.
pub struct Mount(PathBuf);

impl Mount {
    pub fn tmpfs(path: &Path, size: &str) -> Self {
        Self::tmpfs_with(path, &format!("size={size}"))
    }

    pub fn tmpfs_with(path: &Path, options: &str) -> Self {
        mount(&["-t", "tmpfs", "-o", options, "doppel-test"], path);
        Self(path.to_owned())
    }

    pub fn resize(&self, size: &str) {
        self.remount(&format!("size={size}"));
    }

    pub fn remount(&self, options: &str) {
        mount(&["-o", &format!("remount,{options}")], &self.0);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a mover that a failed test left behind may still be in it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str], path: &Path) {
    assert!(Command::new("mount").args(arguments).arg(path).status().unwrap().success(), "mount needs root");
}

/// Waits for a condition.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port that was free a moment ago.
pub fn wait_for_port(port: u16) {
    wait_until("a port to be listened on", || TcpStream::connect(("127.0.0.1", port)).is_ok());
}

/// Copies `from` to `to` with two movers and expects both to be content.
pub fn copy(stage: &Stage, from: &Path, to: &Path) -> (Report, Report) {
    let port = free_port();
    let destination = stage.destination(to, port, &[]);
    let source = stage.source(from, port, &[]).end();
    let destination = destination.end();
    (source.expect_complete().clone(), destination.expect_complete().clone())
}
