//! VolSync's two ends of a block volume: diskrsync 1.3 (the real one, in `tests/diskrsync`) behind stunnel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

use super::volsync::stunnel;
use super::{Process, Stage, free_port, wait_until};

/// The program, built once for all tests. Needs Go, as the test clusters do.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("diskrsync");
    let mut build = Command::new("go");
    build.env("GOWORK", "off").args(["build", "-o"]).arg(&program).arg(".");
    let built = build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/diskrsync")).status();
    assert!(built.expect("Go builds diskrsync").success());
    program
});

/// A destination: one connection, and a control file once it has succeeded.
pub struct Target {
    pub port: u16,
    dir: PathBuf,
    program: Process,
    _stunnel: Process,
}

impl Target {
    pub fn start(stage: &Stage, device: &Path) -> Self {
        let (port, behind) = (free_port(), free_port());
        let dir = stage.volume(&format!("diskrsync-target-{port}"));
        let log = fs::File::create(dir.join("log")).unwrap();
        let mut command = Command::new(&*PROGRAM);
        command.args(["--target", "--address", &format!("127.0.0.1:{behind}"), "--control-file"]);
        command.arg(dir.join("complete")).arg(device).stdin(Stdio::null()).stderr(log);
        let program = Process(command.spawn().unwrap());
        let service = format!(
            "ciphers = kPSK\nsslVersionMin = TLSv1.3\nPSKsecrets = PSK_FILE\nTIMEOUTclose = 0\nconnect = 127.0.0.1:{behind}\n"
        );
        let target = Self { port, program, _stunnel: stunnel(stage, &dir, port, &service), dir };
        wait_until("diskrsync to listen", || target.log().contains("listening"));
        target
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap()
    }

    /// Whether it has received everything. Waits for its end.
    pub fn succeeds(mut self) -> bool {
        let status = self.program.0.wait().unwrap();
        assert_eq!(status.success(), self.dir.join("complete").exists(), "{}", self.log());
        status.success()
    }
}

/// A source.
pub struct Source {
    /// Where its stunnel listens.
    pub front: u16,
    device: PathBuf,
    _stunnel: Process,
}

impl Source {
    pub fn start(stage: &Stage, device: &Path, port: u16) -> Self {
        let front = free_port();
        let dir = stage.volume(&format!("diskrsync-source-{front}"));
        let service = format!("client = yes\nciphers = PSK\nPSKsecrets = PSK_FILE\nconnect = 127.0.0.1:{port}\n");
        Self { front, device: device.to_owned(), _stunnel: stunnel(stage, &dir, front, &service) }
    }

    /// One attempt, by way of this port.
    pub fn attempt(&self, port: u16) -> Child {
        let mut command = Command::new(&*PROGRAM);
        command.args(["--source", "--address", &format!("127.0.0.1:{port}")]).arg(&self.device);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub fn sync(&self) -> Output {
        self.attempt(self.front).wait_with_output().unwrap()
    }
}
