//! rsync as daemon and as client, of either version.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use doppel_contract::EmptySource;
use doppel_rsync::error::Error;
use doppel_rsync::push::Connection;
use doppel_rsync::serve::{Modules, Served, serve};
use doppel_volume::monitor::Silent;
use doppel_volume::tree::Tree;

use super::port::free_port;
use super::programs::Rsync;

/// A running daemon with the modules of VolSync's destination.
pub struct Daemon {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Daemon {
    /// Serves `data`, and a directory of its own as `control`; `munge` disguises symbolic links, as VolSync's does since
    /// 0.16. `extra` are further lines of its configuration.
    pub fn start(rsync: Rsync, data: &Path, munge: bool, extra: &str) -> Self {
        let directory = crate::support::directory();
        let control = directory.path().join("control");
        std::fs::create_dir(&control).unwrap();
        let configuration = format!(
            "use chroot = false\nnumeric ids = true\nmunge symlinks = {munge}\nreverse lookup = false\n\
             read only = false\nmax verbosity = 10\nlog file = {log}\n{identity}{extra}\n[data]\npath = {data}\n\
             comment = PVC data\n[control]\npath = {control}\n",
            identity = if rustix::process::geteuid().is_root() { "uid = 0\ngid = *\n" } else { "" },
            log = directory.path().join("log").display(),
            data = data.display(),
            control = control.display(),
        );
        let path = directory.path().join("rsyncd.conf");
        std::fs::write(&path, configuration).unwrap();
        // Asking for a free port and using it is a race; whoever loses it tries again.
        loop {
            let port = free_port();
            let mut child = rsync
                .command()
                .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
                .arg(format!("--port={port}"))
                .arg(format!("--config={}", path.display()))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            if answers(&mut child, port) {
                return Self { child, port, directory };
            }
        }
    }

    pub fn connect(&self) -> Connection<TcpStream, TcpStream> {
        connection(TcpStream::connect(("127.0.0.1", self.port)).unwrap())
    }

    /// The address of the daemon.
    pub fn url(&self) -> String {
        format!("rsync://127.0.0.1:{}", self.port)
    }

    /// Where a file of the module `control` is.
    pub fn control(&self, name: &str) -> PathBuf {
        self.directory.path().join("control").join(name)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether the daemon got the port.
fn answers(child: &mut Child, port: u16) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(20) {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::yield_now();
    }
    panic!("the rsync daemon does not answer");
}

fn connection(stream: TcpStream) -> Connection<TcpStream, TcpStream> {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    Connection { reader: stream.try_clone().unwrap(), writer: stream }
}

/// Runs `client` with the address of a Doppel daemon that serves `destination` for so many connections; what came of
/// each.
pub fn with_doppel_daemon<T>(
    destination: &Path,
    connections: usize,
    empty_source: EmptySource,
    client: impl FnOnce(&str) -> T,
) -> (T, Vec<Result<Served, Error>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rsync://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let destination = destination.to_path_buf();
    let serving = std::thread::spawn(move || {
        let tree = Tree::open(&destination).unwrap();
        let modules = Modules::new(&tree, empty_source);
        (0..connections).map(|_| serve(connection(listener.accept().unwrap().0), &modules, &Silent)).collect::<Vec<_>>()
    });
    let result = client(&url);
    (result, serving.join().unwrap())
}

/// What VolSync's source runs: all that is there is copied, then what is not there is deleted. The exit codes of both.
pub struct VolSync {
    pub copy: Option<Output>,
    pub delete: Output,
}

impl VolSync {
    pub fn run(rsync: Rsync, source: &Path, url: &str, extra: &[&str]) -> Self {
        Self::run_with(rsync, source, url, extra, None)
    }

    /// VolSync's passes (client algorithm, point 3), with a variable in the client's environment.
    pub fn run_with(rsync: Rsync, source: &Path, url: &str, extra: &[&str], variable: Option<(&str, &str)>) -> Self {
        let rsync = |extra: &[&str], arguments: &[&str]| {
            rsync.command().envs(variable).args(arguments).args(extra).output().unwrap()
        };
        let names = tempfile::NamedTempFile::new().unwrap();
        let mut entries = 0;
        for entry in std::fs::read_dir(source).unwrap() {
            use std::os::unix::ffi::OsStrExt;
            let name = entry.unwrap().file_name();
            names.as_file().write_all(&[b"/", name.as_bytes(), b"\0"].concat()).unwrap();
            entries += 1;
        }
        let from = format!("{}/", source.display());
        let to = format!("{url}/data");
        let copy = (entries > 0).then(|| {
            rsync(
                extra,
                &[
                    "-aAhHSxz",
                    "-r",
                    "--exclude=lost+found",
                    "--itemize-changes",
                    "--info=stats2,misc2",
                    // VolSync separates names by newlines; with NUL, names that have one can be tested too.
                    "--from0",
                    &format!("--files-from={}", names.path().display()),
                    &from,
                    &to,
                ],
            )
        });
        let delete = rsync(
            extra,
            &[
                "-rx",
                "--exclude=lost+found",
                "--ignore-existing",
                "--ignore-non-existing",
                "--delete",
                "--itemize-changes",
                "--info=stats2,misc2",
                &from,
                &to,
            ],
        );
        Self { copy, delete }
    }

    pub fn codes(&self) -> (Option<i32>, Option<i32>) {
        (self.copy.as_ref().and_then(|copy| copy.status.code()), self.delete.status.code())
    }

    pub fn text(&self) -> String {
        let both = self.copy.iter().chain([&self.delete]);
        both.map(|output| [&output.stdout[..], &output.stderr].concat().escape_ascii().to_string().replace("\\n", "\n"))
            .collect()
    }
}

/// The installed rsync.
pub fn rsync(extra: &[&str], arguments: &[&str]) -> Output {
    Rsync::Installed.command().args(extra).args(arguments).output().unwrap()
}
