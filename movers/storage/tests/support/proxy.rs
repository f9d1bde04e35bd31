//! An HTTP proxy to which faults are told. It forwards one request a connection, and everything in it but `Connection`, so that
//! signatures stay valid.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server never sees it; this is the answer's status.
    Status(u16),
    /// The server does it, and the answer is lost.
    LoseAnswer,
    /// The answer's body ends after so many bytes.
    CutAnswer(usize),
    /// A bit of the request's body is turned over on its way.
    FlipUpload,
    /// The server never sees it, and nobody answers.
    Silence,
}

struct Rule {
    method: &'static str,
    /// What the request's target contains.
    part: &'static str,
    times: usize,
    fault: Fault,
}

#[derive(Default)]
struct State {
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<String>>,
    /// Every connection is closed at once.
    gone: AtomicBool,
}

pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

impl Proxy {
    pub fn start(upstream: u16) -> Self {
        Self::start_at("127.0.0.1", upstream)
    }

    /// At an address of this machine, before a port of the same address.
    pub fn start_at(host: &'static str, upstream: u16) -> Self {
        Self::listen((host, upstream), |stream| Box::new(stream))
    }

    /// Speaks TLS with this certificate.
    pub fn start_tls(upstream: u16, certificate: CertificateDer<'static>, key: PrivateKeyDer<'static>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
        Self::listen(("127.0.0.1", upstream), move |stream| {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            Box::new(rustls::StreamOwned::new(connection, stream))
        })
    }

    fn listen(upstream: (&'static str, u16), wrap: impl Fn(TcpStream) -> Box<dyn Both> + Send + 'static) -> Self {
        let listener = TcpListener::bind((upstream.0, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.gone.load(Ordering::Relaxed) {
                    continue;
                }
                let (stream, state) = (wrap(stream), shared.clone());
                std::thread::spawn(move || handle(stream, upstream, &state));
            }
        });
        Self { port, state }
    }

    /// The next requests of this method whose target has this part.
    pub fn tell(&self, method: &'static str, part: &'static str, times: usize, fault: Fault) {
        self.state.rules.lock().unwrap().push(Rule { method, part, times, fault });
    }

    /// Closes every connection, or no longer does.
    pub fn set_gone(&self, gone: bool) {
        self.state.gone.store(gone, Ordering::Relaxed);
    }

    /// Method and target of each request so far.
    pub fn seen(&self) -> Vec<String> {
        self.state.seen.lock().unwrap().clone()
    }

    /// How many requests there were of this method whose target has this part.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.seen().iter().filter(|line| line.starts_with(method) && line.contains(part)).count()
    }

    /// Whether every fault that was told has happened.
    pub fn is_done(&self) -> bool {
        self.state.rules.lock().unwrap().iter().all(|rule| rule.times == 0)
    }
}

trait Both: Read + Write + Send {}
impl<T: Read + Write + Send> Both for T {}

fn handle(mut client: Box<dyn Both>, upstream: (&str, u16), state: &State) -> Option<()> {
    let (head, mut body) = request(&mut client)?;
    let mut words = head.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    state.seen.lock().unwrap().push(format!("{method} {target}"));
    let fault = {
        let mut rules = state.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|rule| rule.times > 0 && rule.method == method && target.contains(rule.part));
        rule.map(|rule| {
            rule.times -= 1;
            rule.fault
        })
    };
    match fault {
        Some(Fault::Status(status)) => {
            return write!(client, "HTTP/1.1 {status} Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok();
        }
        Some(Fault::Silence) => loop {
            std::thread::park();
        },
        Some(Fault::FlipUpload) => {
            let middle = body.len() / 2;
            body[middle] ^= 1;
        }
        _ => {}
    }
    let mut server = TcpStream::connect(upstream).ok()?;
    server.write_all(head.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes()).ok()?;
    server.write_all(&body).ok()?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).ok()?;
    match fault {
        Some(Fault::LoseAnswer) => return None,
        Some(Fault::CutAnswer(length)) => {
            let begin = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
            answer.truncate(begin + length);
        }
        _ => {}
    }
    client.write_all(&answer).ok()?;
    client.flush().ok()
}

/// Head and body of a request.
fn request(client: &mut dyn Both) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 65_536];
    let begin = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        let length = client.read(&mut buffer).ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&buffer[..length]);
    };
    let mut body = bytes.split_off(begin);
    let head = String::from_utf8(bytes).ok()?;
    let lower = head.to_lowercase();
    let length = lower.split("\r\n").find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(Some(0), |length| length.trim().parse().ok())?;
    while body.len() < length {
        let read = client.read(&mut buffer).ok().filter(|length| *length > 0)?;
        body.extend_from_slice(&buffer[..read]);
    }
    Some((head, body))
}
