//! A real Swift of one node, with a login of its own (TempAuth), as Debian packages it.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::peers::{Peer, http_with};
use super::{free_port, wait_until};

/// The user of the test, and the key.
pub const USER: &str = "test:tester";
pub const KEY: &str = "hush-testing";

pub struct SwiftPeer {
    /// They end with it.
    _peers: Vec<Peer>,
    _stage: TempDir,
    pub port: u16,
    tokens: u16,
}

impl SwiftPeer {
    pub fn start() -> Self {
        let stage = tempfile::tempdir().unwrap();
        let root = stage.path();
        fs::create_dir_all(root.join("disks/disk")).unwrap();
        let (port, tokens) = (free_port(), free_port());
        let all = format!(
            "user = root\nworkers = 0\nswift_dir = {0}\ndevices = {0}/disks\nmount_check = false\n",
            root.display()
        );
        let cache = ["-l", "127.0.0.1", "-u", "root", "-m", "16", "-p", &tokens.to_string()].map(str::to_owned);
        let mut peers = vec![start("memcached", &cache)];
        for kind in ["account", "container", "object"] {
            let own = free_port();
            make_ring(root, kind, own);
            let config = format!(
                "[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {own}\n{all}[pipeline:main]\npipeline = {kind}-server\n\
                 [app:{kind}-server]\nuse = egg:swift#{kind}\n"
            );
            peers.push(start_server(root, kind, own, &config));
        }
        let config = format!(
            "[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\n{all}[pipeline:main]\npipeline = errors cache login proxy-server\n\
             [app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n[filter:errors]\nuse = egg:swift#catch_errors\n\
             [filter:cache]\nuse = egg:swift#memcache\nmemcache_servers = 127.0.0.1:{tokens}\n\
             [filter:login]\nuse = egg:swift#tempauth\nuser_{} = {KEY} .admin\n",
            USER.replace(':', "_")
        );
        peers.push(start_server(root, "proxy", port, &config));
        let swift = Self { _peers: peers, _stage: stage, port, tokens };
        // All of its servers answer once there is a container.
        wait_until("Swift", || {
            let (token, account) = swift.token();
            let ready = format!("{account}/ready");
            !token.is_empty()
                && http_with(port, "PUT", &ready, &format!("X-Auth-Token: {token}\r\n"), "").starts_with("HTTP/1.1 20")
        });
        swift
    }

    /// What a login gives: a token, and the path of the account.
    pub fn token(&self) -> (String, String) {
        let answer =
            http_with(self.port, "GET", "/auth/v1.0", &format!("X-Auth-User: {USER}\r\nX-Auth-Key: {KEY}\r\n"), "");
        let header = |name| {
            let value = answer.lines().find_map(|line| line.strip_prefix(name));
            value.unwrap_or_default().trim().to_owned()
        };
        let storage = header("X-Storage-Url:");
        let path = storage.find("/v1/").and_then(|at| storage.get(at..)).unwrap_or_default();
        (header("X-Auth-Token:"), path.to_owned())
    }

    /// All tokens that it gave are none any more.
    pub fn forget_tokens(&self) {
        let mut cache = TcpStream::connect(("127.0.0.1", self.tokens)).unwrap();
        cache.write_all(b"flush_all\r\nquit\r\n").unwrap();
        std::io::read_to_string(cache).unwrap();
    }

    /// The address that logins are at.
    pub fn login(&self) -> String {
        format!("http://127.0.0.1:{}/auth/v1.0", self.port)
    }
}

fn start(program: &str, arguments: &[String]) -> Peer {
    let program = Path::new("/usr/bin").join(program);
    assert!(program.exists(), "{} is missing; `tests/peers` installs it", program.display());
    Peer::start(&program, arguments, tempfile::tempdir().unwrap())
}

fn start_server(root: &Path, kind: &str, port: u16, config: &str) -> Peer {
    let file = root.join(format!("{kind}-server.conf"));
    fs::write(&file, config).unwrap();
    let mut peer = start(&format!("swift-{kind}-server"), &[file.display().to_string(), "-v".to_owned()]);
    peer.wait_for(&format!("Swift's {kind} server"), || TcpStream::connect(("127.0.0.1", port)).is_ok());
    peer
}

/// Where objects of a kind are: all on one disk.
fn make_ring(root: &Path, kind: &str, port: u16) {
    let device = format!("r1z1-127.0.0.1:{port}/disk");
    for step in [&["create", "4", "1", "1"][..], &["add", &device, "1"], &["rebalance"]] {
        let (builder, mut command) = (format!("{kind}.builder"), Command::new("swift-ring-builder"));
        let output = command.arg(builder).args(step).current_dir(root).output().unwrap();
        // 1 is a warning: one disk is no safety.
        assert!(output.status.code().is_some_and(|code| code < 2), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
