//! Real servers, on loopback. They end with the test program.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::time::Duration;

use tempfile::TempDir;

use super::{free_port, wait_until};

/// A program that `tests/peers` has unpacked.
pub fn program(name: &str) -> PathBuf {
    let from = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = || from("XDG_CACHE_HOME").or_else(|| Some(from("HOME")?.join(".cache")));
    let peers = from("DOPPEL_PEERS").or_else(|| Some(cache()?.join("doppel/peers"))).unwrap_or_default();
    let program = peers.join("bin").join(name);
    assert!(program.exists(), "{} is missing; `tests/peers` installs it", program.display());
    program
}

/// A process that is killed with this one, however it ends.
pub struct Peer {
    child: Child,
    /// Where it keeps what it has.
    pub stage: TempDir,
}

impl Peer {
    pub(super) fn start(program: &Path, arguments: &[String], stage: TempDir) -> Self {
        let (send, receive) = channel();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments).current_dir(stage.path());
        let log = std::fs::File::create(stage.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        // The signal comes when the thread that has started it ends.
        std::thread::spawn(move || {
            send.send(command.spawn().expect("setpriv, of util-linux, is missing; `tests/peers` installs it")).unwrap();
            loop {
                std::thread::park();
            }
        });
        Self { child: receive.recv().unwrap(), stage }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn wait_for(&mut self, what: &str, mut ready: impl FnMut() -> bool) {
        wait_until(what, || {
            let ended = self.child.try_wait().unwrap();
            let log = || std::fs::read_to_string(self.stage.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "{what} has ended: {ended:?}\n{}", log());
            ready()
        });
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A SeaweedFS: a real S3.
pub struct Seaweed {
    peer: Peer,
    host: &'static str,
    pub port: u16,
    filer: u16,
}

pub const ID: &str = "DOPPELTESTACCESSKEY1";
pub const SECRET: &str = "hush-of-the-test-and-of-nobody-else-1234";
pub const KEY: &[(&str, &str)] = &[("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];

impl Seaweed {
    /// The one of this test program.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Seaweed> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    pub fn start() -> Self {
        Self::start_at("127.0.0.1", |_| Vec::new())
    }

    /// One at an address of this machine, with the further arguments that are made for its folder.
    pub fn start_at(host: &'static str, more: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let stage = tempfile::tempdir().unwrap();
        let identity = format!(
            r#"{{"identities":[{{"name":"test","credentials":[{{"accessKey":"{ID}","secretKey":"{SECRET}"}}],"actions":["Admin","Read","Write","List","Tagging"]}}]}}"#
        );
        std::fs::write(stage.path().join("s3.json"), identity).unwrap();
        let (port, filer) = (free_port(), free_port());
        let mut arguments = vec!["server".to_owned(), "-dir=.".to_owned()];
        arguments.extend([format!("-ip={host}"), format!("-ip.bind={host}")]);
        arguments.extend(["-s3", "-s3.config=s3.json", "-volume.max=100"].map(str::to_owned));
        arguments.extend(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64"].map(str::to_owned));
        arguments.push(format!("-s3.port={port}"));
        arguments.push(format!("-filer.port={filer}"));
        for other in
            ["master.port", "volume.port", "master.port.grpc", "volume.port.grpc", "filer.port.grpc", "s3.port.grpc"]
        {
            arguments.push(format!("-{other}={}", free_port()));
        }
        arguments.extend(more(stage.path()));
        let peer = Peer::start(&program("weed"), &arguments, stage);
        let mut seaweed = Self { peer, host, port, filer };
        seaweed.peer.wait_for("a bucket in SeaweedFS", || {
            let made = http_at((host, filer), "POST", "/buckets/ready/", "", "");
            // The second time it says that it is there.
            let ready = made.starts_with("HTTP/1.1 201") || made.starts_with("HTTP/1.1 409");
            ready && http_at((host, port), "GET", "/ready", "", "").starts_with("HTTP/1.1 403")
        });
        seaweed
    }

    /// A new bucket.
    pub fn bucket(&self, name: &str) {
        let said = http_at((self.host, self.filer), "POST", &format!("/buckets/{name}/"), "", "");
        assert!(said.starts_with("HTTP/1.1 2"), "{said}");
    }

    /// A repository in a bucket.
    pub fn repository(&self, path: &str) -> String {
        format!("s3:http://{}:{}/{path}", self.host, self.port)
    }
}

/// `rclone serve restic`: a real server of restic's protocol.
pub struct RestPeer {
    peer: Peer,
    pub port: u16,
}

impl RestPeer {
    pub fn start(more: &[&str]) -> Self {
        let stage = tempfile::tempdir().unwrap();
        let port = free_port();
        std::fs::create_dir(stage.path().join("repositories")).unwrap();
        let mut arguments =
            ["serve", "restic", "repositories", "--config", "none", "--addr"].map(str::to_owned).to_vec();
        arguments.push(format!("127.0.0.1:{port}"));
        arguments.extend(more.iter().map(|more| (*more).to_owned()));
        let mut peer = Peer::start(&program("rclone"), &arguments, stage);
        peer.wait_for("rclone serve restic", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { peer, port }
    }

    pub fn folder(&self) -> PathBuf {
        self.peer.stage.path().join("repositories")
    }
}

/// `rclone serve sftp`: a server of SFTP that is not OpenSSH's.
pub struct SftpPeer {
    peer: Peer,
    pub port: u16,
}

impl SftpPeer {
    /// Lets in who has this password.
    pub fn start(user: &str, password: &str) -> Self {
        let stage = tempfile::tempdir().unwrap();
        let (port, key) = (free_port(), stage.path().join("host"));
        std::fs::create_dir(stage.path().join("files")).unwrap();
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.unwrap().success());
        let mut arguments = ["serve", "sftp", "files", "--config", "none", "--key", "host"].map(str::to_owned).to_vec();
        arguments.extend(["--user", user, "--pass", password, "--addr"].map(str::to_owned));
        arguments.push(format!("127.0.0.1:{port}"));
        let mut peer = Peer::start(&program("rclone"), &arguments, stage);
        peer.wait_for("rclone serve sftp", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { peer, port }
    }

    pub fn known_hosts(&self) -> String {
        let key = std::fs::read_to_string(self.peer.stage.path().join("host.pub")).unwrap();
        format!("[127.0.0.1]:{} {key}", self.port)
    }
}

/// A fake-gcs-server: Google Cloud Storage without its security.
pub struct FakeGcs {
    peer: Peer,
    pub port: u16,
}

impl FakeGcs {
    /// A server with this bucket.
    pub fn start(bucket: &str) -> Self {
        let stage = tempfile::tempdir().unwrap();
        let port = free_port();
        std::fs::create_dir_all(stage.path().join("data").join(bucket)).unwrap();
        let mut arguments = ["-scheme", "http", "-host", "127.0.0.1", "-backend", "memory", "-data", "data"]
            .map(str::to_owned)
            .to_vec();
        arguments.push(format!("-port={port}"));
        arguments.push(format!("-external-url=http://127.0.0.1:{port}"));
        let mut peer = Peer::start(&program("fake-gcs-server"), &arguments, stage);
        let path = format!("/storage/v1/b/{bucket}");
        peer.wait_for("fake-gcs-server", || http(port, "GET", &path, "").starts_with("HTTP/1.1 200"));
        Self { peer, port }
    }
}

/// The answer to a request, with its head; nothing if there is none.
pub fn http(port: u16, method: &str, path: &str, body: &str) -> String {
    http_with(port, method, path, "", body)
}

/// The same, with more headers, each with its line's end.
pub fn http_with(port: u16, method: &str, path: &str, headers: &str, body: &str) -> String {
    http_at(("127.0.0.1", port), method, path, headers, body)
}

fn http_at((host, port): (&str, u16), method: &str, path: &str, headers: &str, body: &str) -> String {
    let ask = || {
        let mut stream = TcpStream::connect((host, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n{headers}")?;
        write!(stream, "Content-Length: {length}\r\n\r\n{body}")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    ask().unwrap_or_default()
}
