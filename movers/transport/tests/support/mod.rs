//! What the tests of this crate share: keys, a listener in a thread, stock peers.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test program uses its part of this")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail their test")]

mod port;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use doppel_transport::address::Address;
use doppel_transport::client::Client;
use doppel_transport::deadlines::Deadlines;
use doppel_transport::error::Error;
use doppel_transport::keys::Keys;
use doppel_transport::server::Listener;
use doppel_transport::stop::Stop;
use doppel_transport::stream::Connection;

pub use self::port::free_port;

/// The key of the tests: 64 bytes, as VolSync generates them.
pub fn psk() -> String {
    format!("volsync:{}", "0123456789abcdef".repeat(8))
}

/// Another key under the same identity.
pub fn wrong_key() -> String {
    format!("volsync:{}", "fedcba9876543210".repeat(8))
}

/// The same key under another identity.
pub fn wrong_identity() -> String {
    psk().replace("volsync", "stranger")
}

/// Short enough for a test to wait for, long enough for a busy machine to keep.
pub const SHORT: Deadlines =
    Deadlines { connect: Duration::from_secs(3), handshake: Duration::from_secs(3), idle: Duration::from_secs(3) };

pub fn keys(text: &str) -> Keys {
    Keys::parse(text.as_bytes()).unwrap()
}

pub fn listener(text: &str, deadlines: Deadlines) -> (Listener, u16, Stop) {
    let stop = Stop::new();
    let listener = Listener::bind(0, &keys(text), deadlines, stop.clone()).unwrap();
    let port = listener.local_address().unwrap().port();
    (listener, port, stop)
}

pub fn connect(port: u16, text: &str, deadlines: Deadlines) -> Result<Connection, Error> {
    Client::new(&keys(text), deadlines, Stop::new())?.connect(&local(port))
}

pub fn local(port: u16) -> Address {
    Address::new("127.0.0.1", NonZeroU16::new(port).unwrap()).unwrap()
}

/// A process that ends with the test.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// VolSync's stunnel as a client, in front of `port`; with `extra` lines.
pub fn stunnel_client(dir: &Path, port: u16, psk: &str, extra: &str) -> (Process, u16) {
    let front = free_port();
    let service = format!("client = yes\nciphers = PSK\nPSKsecrets = PSK_FILE\nconnect = 127.0.0.1:{port}\n{extra}");
    (stunnel(dir, front, psk, &service), front)
}

/// VolSync's stunnel as a server that leads to `port`; with `extra` lines.
pub fn stunnel_server(dir: &Path, port: u16, psk: &str, extra: &str) -> (Process, u16) {
    let front = free_port();
    let service =
        format!("ciphers = kPSK\nPSKsecrets = PSK_FILE\nsslVersionMin = TLSv1.3\nconnect = 127.0.0.1:{port}\n{extra}");
    (stunnel(dir, front, psk, &service), front)
}

/// Stock stunnel with this service section. Ready when it listens on `port`.
pub fn stunnel(dir: &Path, port: u16, psk: &str, service: &str) -> Process {
    let secrets = dir.join("psk.txt");
    std::fs::write(&secrets, format!("{psk}\n")).unwrap();
    std::fs::set_permissions(&secrets, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let service = service.replace("PSK_FILE", secrets.to_str().unwrap());
    let config =
        format!("foreground = yes\npid =\nsyslog = no\ndebug = info\n[rsync]\naccept = 127.0.0.1:{port}\n{service}\n");
    std::fs::write(dir.join("stunnel.conf"), config).unwrap();
    let log = std::fs::File::create(dir.join("stunnel.log")).unwrap();
    let mut command = Command::new("stunnel");
    command.arg(dir.join("stunnel.conf")).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let process = Process(command.spawn().expect("Debian package stunnel4"));
    wait_for_port(port);
    process
}

/// `openssl` with these arguments.
pub fn openssl(arguments: &[&str]) -> Process {
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Process(command.spawn().expect("Debian package openssl"))
}

pub fn wait_for_port(port: u16) {
    for _ in 0..2_000 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("nobody listens on port {port}");
}

/// A certificate and its key for a server that has no business to show one.
pub fn certificate(dir: &Path) -> (String, String) {
    let (key, certificate) = (dir.join("key.pem"), dir.join("cert.pem"));
    let (key, certificate) = (key.to_str().unwrap().to_owned(), certificate.to_str().unwrap().to_owned());
    let request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj"];
    let mut command = Command::new("openssl");
    command.args(request).args(["/CN=127.0.0.1", "-keyout", &key, "-out", &certificate]);
    assert!(command.output().unwrap().status.success());
    (certificate, key)
}

/// A plain TCP service that sends every byte back, as often as it is asked.
pub fn plain_echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            std::thread::spawn(move || std::io::copy(&mut socket.try_clone().unwrap(), &mut socket));
        }
    });
    port
}

/// Answers each connection with what it sends, line by line, until the listener is stopped. Returns what was refused.
pub fn echo_lines(mut listener: Listener) -> Vec<Error> {
    let mut refused = Vec::new();
    std::thread::scope(|scope| {
        loop {
            match listener.accept() {
                Ok(connection) => {
                    scope.spawn(move || echo(connection));
                }
                Err(Error::Stopped) => return,
                Err(error) => refused.push(error),
            }
        }
    });
    refused
}

fn echo(mut connection: Connection) {
    let mut line = String::new();
    while connection.reader.read_line(&mut line).is_ok_and(|length| length > 0) {
        connection.writer.write_all(line.as_bytes()).unwrap();
        connection.writer.flush().unwrap();
        line.clear();
    }
    let _ = connection.finish(Duration::from_secs(1));
}

/// Sends a line and reads the answer.
pub fn ask(connection: &mut Connection, line: &str) -> String {
    connection.writer.write_all(line.as_bytes()).unwrap();
    connection.writer.flush().unwrap();
    let mut answer = String::new();
    connection.reader.read_line(&mut answer).unwrap();
    answer
}

/// The same over a plain socket, for example one to a stunnel client.
pub fn ask_plain(socket: &mut TcpStream, line: &str) -> std::io::Result<String> {
    socket.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(socket).read_line(&mut answer)?;
    Ok(answer)
}

/// Everything until the end.
pub fn read_all(mut from: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = from.read_to_end(&mut all);
    all
}
