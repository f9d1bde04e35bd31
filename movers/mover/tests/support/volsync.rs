//! VolSync's two ends of rsync over TLS, from the stock programs and the arguments that its scripts use: stunnel of the
//! machine's packages, and rsync of either version. Without the scripts' sleeps.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::programs::Rsync;
use super::tree::set_time;
use super::{Process, Stage, free_port, permissions, wait_for_port, wait_until};

/// How a destination treats symbolic links, by its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Since 0.16: they are disguised, and restored in the end by the source's list.
    Disguised,
    /// Before: rsync's daemon rewrites those that lead out. That version also took TLS 1.2.
    Rewritten,
}

/// A destination: an rsync daemon for each connection that stunnel lets in.
pub struct Destination {
    pub port: u16,
    volume: PathBuf,
    control: PathBuf,
    dir: PathBuf,
    _stunnel: Process,
}

impl Destination {
    pub fn start(stage: &Stage, volume: &Path, rsync: Rsync, links: Links) -> Self {
        let port = free_port();
        let dir = stage.volume(&format!("volsync-destination-{port}"));
        let control = dir.join("control");
        fs::create_dir(&control).unwrap();
        let rsyncd = dir.join("rsyncd.conf");
        fs::write(
            &rsyncd,
            format!(
                "address = 127.0.0.1\nmax verbosity = 10\nuse chroot = false\nnumeric ids = true\nmunge symlinks = {munge}\n\
                 open noatime = true\nreverse lookup = false\ntransfer logging = true\nread only = false\n\
                 log file = {dir}/rsyncd.log\nuid = 0\ngid = *\n\
                 [data]\npath = {volume}\ncomment = PVC data\n[control]\npath = {control}\n",
                munge = links == Links::Disguised,
                dir = dir.display(),
                volume = volume.display(),
                control = control.display(),
            ),
        )
        .unwrap();
        let service = format!(
            "{}PSKsecrets = PSK_FILE\nTIMEOUTclose = 0\nexec = {}\n\
             execArgs = rsync --server --daemon --config={} .\n",
            match links {
                Links::Disguised => "ciphers = kPSK\nsslVersionMin = TLSv1.3\n",
                Links::Rewritten => "ciphers = PSK\n",
            },
            rsync.program().display(),
            rsyncd.display()
        );
        let stunnel = stunnel(stage, &dir, port, &service);
        Self { port, volume: volume.to_owned(), control, dir, _stunnel: stunnel }
    }

    pub fn is_complete(&self) -> bool {
        self.control.join("complete").exists()
    }

    /// What the script does once `complete` is there: the links in the list get their targets back, with their owner if it
    /// may; what is no disguised link, because it is listed twice, stays. That changes the times of links and of their
    /// directories; those of directories are put back here, so that the tree can be compared.
    pub fn finish(self) {
        const MUNGED: &[u8] = b"/rsyncd-munged/";
        wait_until("control/complete", || self.is_complete());
        let list = fs::read(self.control.join("symlink-munging-file")).unwrap_or_default();
        for line in list.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let link = self.volume.join(OsStr::from_bytes(line));
            let before = fs::symlink_metadata(link.parent().unwrap()).unwrap();
            let target = fs::read_link(&link).unwrap_or_else(|error| panic!("{}: {error}", link.display()));
            let Some(target) = target.as_os_str().as_bytes().strip_prefix(MUNGED) else { continue };
            let owner = fs::symlink_metadata(&link).unwrap();
            fs::remove_file(&link).unwrap();
            symlink(OsStr::from_bytes(target), &link).unwrap();
            std::os::unix::fs::lchown(&link, Some(owner.uid()), Some(owner.gid())).unwrap();
            set_time(link.parent().unwrap(), before.mtime(), before.mtime_nsec());
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("rsyncd.log")).unwrap_or_default()
    }
}

/// A source: rsync through a stunnel client.
pub struct Source {
    rsync: Rsync,
    front: u16,
    volume: PathBuf,
    dir: PathBuf,
    _stunnel: Process,
}

impl Source {
    pub fn start(stage: &Stage, volume: &Path, port: u16, rsync: Rsync) -> Self {
        let front = free_port();
        let dir = stage.volume(&format!("volsync-source-{front}"));
        let service = format!("client = yes\nciphers = PSK\nPSKsecrets = PSK_FILE\nconnect = 127.0.0.1:{port}\n");
        let stunnel = stunnel(stage, &dir, front, &service);
        Self { rsync, front, volume: volume.to_owned(), dir, _stunnel: stunnel }
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
        let mut command = self.rsync.command();
        command.args(["-aAhHSxz", "-r", "--exclude=lost+found", "--itemize-changes", "--info=stats2,misc2"]);
        command.arg(format!("--files-from={}", list.display())).arg(self.from()).arg(self.url("data"));
        command.output().unwrap()
    }

    /// Pass B: what there is no more.
    pub fn delete(&self) -> Output {
        let mut command = self.rsync.command();
        command.args(["-rx", "--exclude=lost+found", "--ignore-existing", "--ignore-non-existing", "--delete"]);
        command.args(["--itemize-changes", "--info=stats2,misc2"]).arg(self.from()).arg(self.url("data"));
        command.output().unwrap()
    }

    /// Uploads a file of this content into the control module.
    pub fn control(&self, name: &str, content: &[u8]) -> Output {
        let file = self.dir.join(name);
        fs::write(&file, content).unwrap();
        self.rsync.command().arg(file).arg(self.url(&format!("control/{name}"))).output().unwrap()
    }

    /// The whole of VolSync's script: up to five attempts of two passes each, the second whatever became of the first, and
    /// word of the end. Returns how many attempts it took.
    #[track_caller]
    pub fn sync(&self) -> usize {
        let mut links = Vec::new();
        for attempt in 1..=5 {
            // Without entries there is nothing to copy.
            let is_empty = fs::read_dir(&self.volume).unwrap().next().is_none();
            let copied = is_empty || self.copy_with_links(&mut links);
            let deleted = self.delete().status.success();
            if copied && deleted {
                succeed(self.control("complete", b"#! /bin/bash\n"));
                return attempt;
            }
        }
        panic!("five attempts failed");
    }

    /// Pass A and the list of links, which grows from attempt to attempt. Whether all of it succeeded.
    fn copy_with_links(&self, links: &mut Vec<u8>) -> bool {
        let Output { status, stdout, .. } = self.copy();
        if !status.success() {
            return false;
        }
        for line in stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"cL")) {
            let path = line.splitn(2, |byte| *byte == b' ').nth(1).unwrap();
            let end = path.windows(4).position(|window| window == b" -> ").unwrap();
            links.extend(&path[..end]);
            links.push(b'\n');
        }
        links.is_empty() || self.control("symlink-munging-file", links).status.success()
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
