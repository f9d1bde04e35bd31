//! VolSync's two ends of rsync over TLS, from the stock programs and the arguments that its scripts use: stunnel and
//! rsync of the machine's packages. Without the scripts' sleeps.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::tree::set_time;
use super::{Process, Stage, free_port, permissions, wait_for_port, wait_until};

/// A destination: an rsync daemon for each connection that stunnel lets in.
pub struct Destination {
    pub port: u16,
    volume: PathBuf,
    control: PathBuf,
    dir: PathBuf,
    _stunnel: Process,
}

impl Destination {
    pub fn start(stage: &Stage, volume: &Path) -> Self {
        let port = free_port();
        let dir = stage.volume(&format!("volsync-destination-{port}"));
        let control = dir.join("control");
        fs::create_dir(&control).unwrap();
        let rsyncd = dir.join("rsyncd.conf");
        fs::write(
            &rsyncd,
            format!(
                "address = 127.0.0.1\nmax verbosity = 10\nuse chroot = false\nnumeric ids = true\nmunge symlinks = true\n\
                 open noatime = true\nreverse lookup = false\ntransfer logging = true\nread only = false\n\
                 log file = {dir}/rsyncd.log\nuid = 0\ngid = *\n\
                 [data]\npath = {volume}\ncomment = PVC data\n[control]\npath = {control}\n",
                dir = dir.display(),
                volume = volume.display(),
                control = control.display(),
            ),
        )
        .unwrap();
        let service = format!(
            "ciphers = kPSK\nsslVersionMin = TLSv1.3\nPSKsecrets = PSK_FILE\nTIMEOUTclose = 0\n\
             exec = /usr/bin/rsync\nexecArgs = rsync --server --daemon --config={} .\n",
            rsyncd.display()
        );
        let stunnel = stunnel(stage, &dir, port, &service);
        Self { port, volume: volume.to_owned(), control, dir, _stunnel: stunnel }
    }

    pub fn is_complete(&self) -> bool {
        self.control.join("complete").exists()
    }

    /// What the script does once `complete` is there: the links in the list get their targets back. That changes the
    /// times of their directories; here they are put back, so that the tree can be compared.
    pub fn finish(self) {
        const MUNGED: &[u8] = b"/rsyncd-munged/";
        wait_until("control/complete", || self.is_complete());
        let list = fs::read(self.control.join("symlink-munging-file")).unwrap_or_default();
        for line in list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let link = self.volume.join(OsStr::from_bytes(line));
            let before = fs::symlink_metadata(link.parent().unwrap()).unwrap();
            let target = fs::read_link(&link).unwrap_or_else(|error| panic!("{}: {error}", link.display()));
            let target = target.as_os_str().as_bytes().strip_prefix(MUNGED).expect("the daemon munges every link");
            fs::remove_file(&link).unwrap();
            symlink(OsStr::from_bytes(target), &link).unwrap();
            set_time(link.parent().unwrap(), before.mtime(), before.mtime_nsec());
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("rsyncd.log")).unwrap_or_default()
    }
}

/// A source: rsync through a stunnel client.
pub struct Source {
    front: u16,
    volume: PathBuf,
    dir: PathBuf,
    _stunnel: Process,
}

impl Source {
    pub fn start(stage: &Stage, volume: &Path, port: u16) -> Self {
        let front = free_port();
        let dir = stage.volume(&format!("volsync-source-{front}"));
        let service = format!("client = yes\nciphers = PSK\nPSKsecrets = PSK_FILE\nconnect = 127.0.0.1:{port}\n");
        let stunnel = stunnel(stage, &dir, front, &service);
        Self { front, volume: volume.to_owned(), dir, _stunnel: stunnel }
    }

    /// Pass A: what there is. The names at the top are listed, for the root itself is not sent.
    pub fn copy(&self) -> Output {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.volume).unwrap() {
            names.extend(b"/");
            names.extend(entry.unwrap().file_name().as_bytes());
            names.push(b'\n');
        }
        let list = self.dir.join("list");
        fs::write(&list, names).unwrap();
        let mut command = Command::new("rsync");
        command.args(["-aAhHSxz", "-r", "--exclude=lost+found", "--itemize-changes", "--info=stats2,misc2"]);
        command.arg(format!("--files-from={}", list.display())).arg(self.from()).arg(self.url("data"));
        command.output().unwrap()
    }

    /// Pass B: what there is no more.
    pub fn delete(&self) -> Output {
        let mut command = Command::new("rsync");
        command.args(["-rx", "--exclude=lost+found", "--ignore-existing", "--ignore-non-existing", "--delete"]);
        command.args(["--itemize-changes", "--info=stats2,misc2"]).arg(self.from()).arg(self.url("data"));
        command.output().unwrap()
    }

    /// Uploads a file of this content into the control module.
    pub fn control(&self, name: &str, content: &[u8]) -> Output {
        let file = self.dir.join(name);
        fs::write(&file, content).unwrap();
        Command::new("rsync").arg(file).arg(self.url(&format!("control/{name}"))).output().unwrap()
    }

    /// The whole of VolSync's script.
    #[track_caller]
    pub fn sync(&self) {
        let copied = succeed(self.copy());
        let mut links = Vec::new();
        for line in copied.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"cL")) {
            let path = line.splitn(2, |byte| *byte == b' ').nth(1).unwrap();
            let end = path.windows(4).position(|window| window == b" -> ").unwrap();
            links.extend(&path[..end]);
            links.push(b'\n');
        }
        if !links.is_empty() {
            succeed(self.control("symlink-munging-file", &links));
        }
        succeed(self.delete());
        succeed(self.control("complete", b"#! /bin/bash\n"));
    }

    fn from(&self) -> String {
        format!("{}/", self.volume.display())
    }

    fn url(&self, path: &str) -> String {
        format!("rsync://127.0.0.1:{}/{path}", self.front)
    }
}

#[track_caller]
pub fn succeed(output: Output) -> Vec<u8> {
    let Output { status, stdout, stderr } = output;
    assert!(status.success(), "{status}\n{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    stdout
}

pub(super) fn stunnel(stage: &Stage, dir: &Path, port: u16, service: &str) -> Process {
    let secrets = dir.join("psk.txt");
    fs::copy(stage.key_file(), &secrets).unwrap();
    permissions(&secrets, 0o600);
    let service = service.replace("PSK_FILE", secrets.to_str().unwrap());
    let config = dir.join("stunnel.conf");
    let keepalive = "socket = l:SO_KEEPALIVE=1\nsocket = l:TCP_KEEPIDLE=180\n";
    fs::write(
        &config,
        format!("foreground = yes\npid =\nsyslog = no\n{keepalive}[rsync]\naccept = 127.0.0.1:{port}\n{service}"),
    )
    .unwrap();
    let log = fs::File::create(dir.join("stunnel.log")).unwrap();
    let mut command = Command::new("stunnel");
    command.arg(config).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let process = Process(command.spawn().expect("Debian package stunnel4"));
    wait_for_port(port);
    process
}
