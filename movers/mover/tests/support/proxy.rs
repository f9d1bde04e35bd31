//! TCP proxies: one that stops a connection at a given byte, so that a test can do something just then; and one that is a
//! slow link.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};

/// The proxy. It stops one connection, the first that gets so far: those that only try whether the port is open do not.
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
            let gate = Gate(Arc::new(Mutex::new(Some((stop_at, reach, resume)))));
            for client in listener.incoming() {
                // A destination that is not there is a connection that ends at once.
                if let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", port))) {
                    forward(client, server, gate.clone());
                }
            }
        });
        Self { port: front, reached, go_on }
    }

    /// Waits until a connection has been stopped.
    #[track_caller]
    pub fn wait(&self) {
        self.reached.recv_timeout(super::PATIENCE).expect("the transfer never got so far");
    }

    pub fn then(&self, then: Then) {
        self.go_on.send(then).unwrap();
    }
}

/// Where one connection is stopped; nothing in it once that has happened.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<Option<Stop>>>);

/// After how many bytes, whom to tell, and who says what to do then.
type Stop = (u64, Sender<()>, Receiver<Then>);

impl Gate {
    /// What to do with a connection that has come so far, if it is the one to be stopped.
    fn pass(&self, count: u64) -> Option<Then> {
        let (_, reach, resume) = self.0.lock().unwrap().take_if(|(stop_at, ..)| count >= *stop_at)?;
        let _ = reach.send(());
        // Without an answer the test is over.
        Some(resume.recv().unwrap_or(Then::Cut))
    }
}

fn forward(client: TcpStream, server: TcpStream, gate: Gate) {
    let (client_twin, server_twin) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || pump(server_twin, client_twin, &Gate::default()));
    thread::spawn(move || pump(client, server, &gate));
}

fn pump(mut from: TcpStream, mut to: TcpStream, gate: &Gate) {
    let (mut buffer, mut count) = (vec![0; 16_384], 0);
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        count += length as u64;
        match gate.pass(count) {
            None | Some(Then::GoOn) => {}
            Some(Then::Reset) => {
                // A connected socket that is connected to nothing sends a reset (tcp(7)).
                for end in [&from, &to] {
                    let _ = rustix::net::connect_unspec(end);
                }
                return;
            }
            Some(Then::Cut) => {
                let _ = from.shutdown(Shutdown::Both);
                break;
            }
        }
        if to.write_all(&buffer[..length]).is_err() {
            let _ = from.shutdown(Shutdown::Both);
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// A link to `port` on which every byte takes `delay`, and which carries so many bytes a second, each way and for each
/// connection. Returns the port of its near end.
pub fn slow_link(port: u16, delay: Duration, rate: u64) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // What the kernel buffers would be room on the link; sockets that are accepted get the listener's.
    set_socket_recv_buffer_size(&listener, ROOM).unwrap();
    let near = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            if let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", port))) {
                for (from, to) in [(&client, &server), (&server, &client)] {
                    set_socket_send_buffer_size(to, ROOM).unwrap();
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let packets = usize::try_from(u128::from(rate) * delay.as_millis() / 1000).unwrap() / PACKET;
                    let (enter, leave) = sync_channel(packets + ROOM / PACKET);
                    thread::spawn(move || enter_link(from, &enter, delay, rate));
                    thread::spawn(move || leave_link(&leave, to));
                }
            }
        }
    });
    near
}

const ROOM: usize = 64 * 1024;
const PACKET: usize = 1400;

fn enter_link(mut from: TcpStream, link: &SyncSender<(Instant, Vec<u8>)>, delay: Duration, rate: u64) {
    let mut free = Instant::now();
    let mut packet = vec![0; PACKET];
    while let Ok(length @ 1..) = from.read(&mut packet) {
        free = free.max(Instant::now()) + Duration::from_nanos(length as u64 * 1_000_000_000 / rate);
        if link.send((free + delay, packet[..length].to_vec())).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Read);
}

fn leave_link(link: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    for (arrival, packet) in link {
        thread::sleep(arrival.saturating_duration_since(Instant::now()));
        if to.write_all(&packet).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
