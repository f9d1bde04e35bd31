//! A TCP proxy that stops its first connection at a given byte, so that a test can do something just then.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// The proxy. Connections after the first are forwarded whole.
pub struct Proxy {
    pub port: u16,
    reached: Receiver<()>,
    go_on: Sender<Then>,
}

/// What happens to the connection that was stopped.
pub enum Then {
    /// It goes on.
    GoOn,
    /// It is cut.
    Cut,
    /// Both ends get a reset, as of a firewall that has forgotten the connection.
    Reset,
}

impl Proxy {
    /// Forwards to `port`, and stops after so many bytes from the client.
    pub fn start(port: u16, stop_at: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let front = listener.local_addr().unwrap().port();
        let ((reach, reached), (go_on, resume)) = (channel(), channel());
        thread::spawn(move || {
            let mut gate = Some((stop_at, reach, resume));
            for client in listener.incoming() {
                // A destination that is not there is a connection that ends at once.
                if let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", port))) {
                    forward(client, server, gate.take());
                }
            }
        });
        Self { port: front, reached, go_on }
    }

    /// Waits until the first connection has been stopped.
    #[track_caller]
    pub fn wait(&self) {
        self.reached.recv_timeout(super::PATIENCE).expect("the transfer never got so far");
    }

    pub fn then(&self, then: Then) {
        self.go_on.send(then).unwrap();
    }
}

type Gate = (u64, Sender<()>, Receiver<Then>);

fn forward(client: TcpStream, server: TcpStream, gate: Option<Gate>) {
    let (client_twin, server_twin) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || pump(server_twin, client_twin, None));
    thread::spawn(move || pump(client, server, gate));
}

fn pump(mut from: TcpStream, mut to: TcpStream, mut gate: Option<Gate>) {
    let (mut buffer, mut count) = (vec![0; 16_384], 0);
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        count += length as u64;
        if let Some((_, reach, resume)) = gate.take_if(|(stop_at, ..)| count >= *stop_at) {
            let _ = reach.send(());
            match resume.recv() {
                Ok(Then::GoOn) => {}
                Ok(Then::Reset) => {
                    // A connected socket that is connected to nothing sends a reset (tcp(7)).
                    for end in [&from, &to] {
                        let _ = rustix::net::connect_unspec(end);
                    }
                    return;
                }
                // Without an answer the test is over.
                Ok(Then::Cut) | Err(_) => {
                    let _ = from.shutdown(Shutdown::Both);
                    break;
                }
            }
        }
        if to.write_all(&buffer[..length]).is_err() {
            let _ = from.shutdown(Shutdown::Both);
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
