//! OpenSSH's `sshd`, with keys of the test's own.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::free_port;
use super::peers::Peer;

pub const KINDS: [&str; 3] = ["ed25519", "rsa", "ecdsa"];

/// A server that lets in the user who runs the test.
pub struct Sshd {
    peer: Option<Peer>,
    pub port: u16,
    /// Its keys and configuration, and a folder for repositories.
    stage: TempDir,
}

impl Sshd {
    /// What it says of SFTP in its configuration.
    pub fn start(subsystem: &str) -> Self {
        let mut sshd = Self { peer: None, port: free_port(), stage: tempfile::tempdir().unwrap() };
        let stage = sshd.stage.path().display();
        let mut authorized = String::new();
        let mut config = format!(
            "Port {}\nListenAddress 127.0.0.1\nAuthorizedKeysFile {stage}/authorized\nStrictModes no\nUsePAM no\nPidFile none\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n{subsystem}\n",
            sshd.port
        );
        for kind in KINDS {
            make_key(&sshd.file(&format!("host_{kind}")), kind, "");
            config += &format!("HostKey {stage}/host_{kind}\n");
            make_key(&sshd.file(kind), kind, "");
            authorized += &fs::read_to_string(sshd.file(&format!("{kind}.pub"))).unwrap();
        }
        make_key(&sshd.file("encrypted"), "ed25519", "hush of a key");
        authorized += &fs::read_to_string(sshd.file("encrypted.pub")).unwrap();
        make_key(&sshd.file("stranger"), "ed25519", "");
        fs::write(sshd.file("authorized"), authorized).unwrap();
        fs::write(sshd.file("config"), config).unwrap();
        fs::create_dir(sshd.file("repositories")).unwrap();
        sshd.run();
        sshd
    }

    /// Starts it, at its port.
    pub fn run(&mut self) {
        // Debian's wants it, and its service makes it.
        fs::create_dir_all("/run/sshd").unwrap();
        let arguments = ["-D", "-e", "-f", self.file("config").to_str().unwrap()].map(str::to_owned);
        let mut peer = Peer::start(Path::new("/usr/sbin/sshd"), &arguments, tempfile::tempdir().unwrap());
        peer.wait_for("sshd, of openssh-server", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
        self.peer = Some(peer);
    }

    /// Ends it and its connections in the middle of whatever they do.
    pub fn kill(&mut self) {
        let peer = self.peer.take().unwrap();
        let mut all = vec![peer.id()];
        for at in 0.. {
            let Some(parent) = all.get(at) else { break };
            let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
            all.extend(children.split_whitespace().map(|child| child.parse::<u32>().unwrap()));
        }
        let all = all.iter().map(ToString::to_string);
        assert!(Command::new("kill").arg("-KILL").args(all).status().unwrap().success());
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.stage.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    /// A repository in a folder of its own.
    pub fn repository(&self, path: &str) -> String {
        format!("sftp://{}@127.0.0.1:{}/{}", user(), self.port, self.file("repositories").join(path).display())
    }

    /// The line of `known_hosts` for one of its keys.
    pub fn known(&self, kind: &str) -> String {
        format!("[127.0.0.1]:{} {}", self.port, self.text(&format!("host_{kind}.pub")))
    }

    /// What a Secret says beside the repository.
    pub fn keys(&self) -> Vec<(&'static str, String)> {
        vec![("SFTP_PRIVATE_KEY", self.text("ed25519")), ("SFTP_KNOWN_HOSTS", self.known("ed25519"))]
    }
}

pub fn user() -> String {
    String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap().trim_end().to_owned()
}

fn make_key(file: &Path, kind: &str, passphrase: &str) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", passphrase, "-f"]).arg(file).status();
    assert!(made.unwrap().success());
}
