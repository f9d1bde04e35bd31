//! Stock TLS peers on loopback: stunnel as VolSync runs it, and OpenSSL's test programs. Who is served, who is refused, and
//! what a refusal says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod support;

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use doppel_contract::{Fault, Retry};
use doppel_transport::error::Error;
use support::*;

/// The three ways to fail that a user must be able to tell apart.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Authentication,
    Protocol,
    Network,
}

fn kind(error: &Error) -> Kind {
    let (kind, expected) = match error {
        Error::Authentication { .. } => (Kind::Authentication, (Fault::User, Retry::AfterChange)),
        Error::Protocol { .. } => (Kind::Protocol, (Fault::Peer, Retry::AfterChange)),
        Error::Lookup { .. } | Error::Connect { .. } | Error::Lost { .. } | Error::Slow { .. } => {
            (Kind::Network, (Fault::Network, Retry::Later))
        }
        other => panic!("unexpected error: {other}"),
    };
    assert_eq!((error.fault(), error.retry()), expected, "{error}");
    kind
}

#[test]
fn two_of_ours_talk_and_end_in_order() {
    let (listener, port, stop) = listener(&psk(), SHORT);
    let server = std::thread::spawn(move || echo_lines(listener));
    for _ in 0..3 {
        let mut connection = connect(port, &psk(), SHORT).unwrap();
        assert_eq!(ask(&mut connection, "hello\n"), "hello\n");
        connection.writer.end().unwrap();
        assert_eq!(read_all(connection.reader), b"");
    }
    stop.stop();
    assert!(server.join().unwrap().is_empty());
}

#[test]
fn stock_stunnel_clients_are_served() {
    let (listener, port, stop) = listener(&psk(), SHORT);
    let server = std::thread::spawn(move || echo_lines(listener));
    for extra in ["", "ciphersuites = TLS_CHACHA20_POLY1305_SHA256", "sslVersionMin = TLSv1.3"] {
        let dir = tempfile::tempdir().unwrap();
        let (_stunnel, front) = stunnel_client(dir.path(), port, &psk(), extra);
        // Twice: a second connection of a stock client may try to resume the first.
        for _ in 0..2 {
            let mut socket = TcpStream::connect(("127.0.0.1", front)).unwrap();
            assert_eq!(ask_plain(&mut socket, "hello\n").unwrap(), "hello\n", "{extra}");
        }
    }
    stop.stop();
    server.join().unwrap();
}

#[test]
fn stock_stunnel_servers_serve_us() {
    let echo = plain_echo();
    for extra in ["", "ciphersuites = TLS_CHACHA20_POLY1305_SHA256", "curves = P-384"] {
        let dir = tempfile::tempdir().unwrap();
        let (_stunnel, front) = stunnel_server(dir.path(), echo, &psk(), extra);
        for _ in 0..2 {
            let mut connection = connect(front, &psk(), SHORT).unwrap();
            assert_eq!(ask(&mut connection, "hello\n"), "hello\n", "{extra}");
            connection.writer.end().unwrap();
            assert_eq!(read_all(connection.reader), b"");
        }
    }
}

#[test]
fn a_listener_accepts_every_key_of_its_file_and_a_client_uses_the_first() {
    let both = format!("{}\r\n{}\r\n", wrong_identity(), psk());
    let (listener, port, stop) = listener(&both, SHORT);
    let server = std::thread::spawn(move || echo_lines(listener));
    for text in [psk(), wrong_identity(), both] {
        assert_eq!(ask(&mut connect(port, &text, SHORT).unwrap(), "hello\n"), "hello\n");
    }
    let error = connect(port, &format!("{}\n{}", wrong_key(), psk()), SHORT).err().unwrap();
    assert_eq!(kind(&error), Kind::Authentication);
    stop.stop();
    server.join().unwrap();
}

#[test]
fn a_client_refuses_every_server_that_does_not_hold_its_key() {
    use Kind::{Authentication, Protocol};
    let dir = tempfile::tempdir().unwrap();
    let (certificate, private) = certificate(dir.path());
    let key = |psk: String| psk.split_once(':').unwrap().1.to_owned();
    let (right, wrong) = (key(psk()), key(wrong_key()));
    let show = ["-cert", &certificate, "-key", &private];
    let prove = |key, identity| ["-nocert", "-psk", key, "-psk_identity", identity];
    let with = |arguments: &[&'static str], rest: &[&str]| -> Vec<String> {
        arguments.iter().chain(rest).map(ToString::to_string).collect()
    };
    let only_aes_256 = ["-ciphersuites", "TLS_AES_256_GCM_SHA384"];
    for (arguments, expected) in [
        (with(&[], &show), Authentication),
        (with(&["-tls1_2"], &show), Protocol),
        (with(&[], &prove(&wrong, "volsync")), Authentication),
        (with(&[], &prove(&right, "other")), Authentication),
        (with(&["-tls1_2"], &prove(&right, "volsync")), Protocol),
        (with(&only_aes_256, &prove(&right, "volsync")), Authentication),
    ] {
        let port = free_port();
        let accept = port.to_string();
        let mut all = vec!["s_server", "-quiet", "-accept", &accept];
        all.extend(arguments.iter().map(String::as_str));
        let _server = openssl(&all);
        wait_for_port(port);
        let error = connect(port, &psk(), SHORT).err().expect("must be refused");
        assert_eq!(kind(&error), expected, "{arguments:?}: {error}");
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    }
}

#[test]
fn an_impostor_with_stock_stunnel_and_a_certificate_is_refused() {
    // VolSync's own client accepts this one and hands it the data.
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(dir.path());
    let port = free_port();
    let service = format!("cert = {certificate}\nkey = {key}\nconnect = 127.0.0.1:{}", plain_echo());
    let _stunnel = stunnel(dir.path(), port, &psk(), &service);
    let error = connect(port, &psk(), SHORT).err().unwrap();
    assert_eq!(kind(&error), Kind::Authentication);
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[test]
fn a_listener_refuses_every_client_that_does_not_hold_its_key_and_says_why() {
    use Kind::{Authentication, Protocol};
    let (mut listener, port, _stop) = listener(&psk(), SHORT);
    let key = psk().split_once(':').unwrap().1.to_owned();
    let wrong = wrong_key().split_once(':').unwrap().1.to_owned();
    let connect_to = format!("127.0.0.1:{port}");
    for (arguments, expected, alert) in [
        (vec!["-tls1_3"], Authentication, 40),
        (vec!["-tls1_2"], Protocol, 70),
        (vec!["-tls1_3", "-psk", &wrong, "-psk_identity", "volsync"], Authentication, 51),
        (vec!["-tls1_3", "-psk", &key, "-psk_identity", "other"], Authentication, 40),
        (vec!["-tls1_2", "-psk", &key, "-psk_identity", "volsync"], Protocol, 70),
        (
            vec!["-tls1_2", "-cipher", "PSK-NULL-SHA256:@SECLEVEL=0", "-psk", &key, "-psk_identity", "volsync"],
            Protocol,
            70,
        ),
        (
            vec!["-ciphersuites", "TLS_AES_256_GCM_SHA384", "-tls1_3", "-psk", &key, "-psk_identity", "volsync"],
            Protocol,
            40,
        ),
    ] {
        let mut all = vec!["s_client", "-connect", &connect_to];
        all.extend(&arguments);
        let mut client = openssl(&all);
        let error = listener.accept().err().expect("must be refused");
        assert_eq!(kind(&error), expected, "{arguments:?}: {error}");
        drop(client.0.stdin.take());
        let said = String::from_utf8_lossy(&read_all(client.0.stderr.take().unwrap())).into_owned();
        assert!(said.contains(&format!("SSL alert number {alert}")), "{arguments:?}: {said}");
    }
}

#[test]
fn a_client_of_ours_learns_from_a_listener_of_ours_that_its_key_is_wrong() {
    let (mut listener, port, _stop) = listener(&psk(), SHORT);
    for text in [wrong_key(), wrong_identity()] {
        let client = std::thread::spawn(move || connect(port, &text, SHORT).err().unwrap());
        let refused = listener.accept().err().unwrap();
        assert_eq!(kind(&refused), Kind::Authentication, "{refused}");
        let learned = client.join().unwrap();
        assert_eq!(kind(&learned), Kind::Authentication, "{learned}");
    }
}

#[test]
fn a_reflected_handshake_is_refused() {
    // RFC 9257 section 4.1 ("Selfie"): the client's own bytes come back to it.
    let error = connect(plain_echo(), &psk(), SHORT).err().unwrap();
    assert_eq!(kind(&error), Kind::Protocol, "{error}");
}

#[test]
fn a_peer_that_is_not_there_does_not_speak_tls_or_says_nothing_is_told_apart() {
    let refused = connect(free_port(), &psk(), SHORT).err().unwrap();
    assert_eq!(kind(&refused), Kind::Network);
    assert!(refused.nobody_there() && refused.to_string().contains("Connection refused"), "{refused}");

    let banner = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = banner.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let mut socket = banner.accept().unwrap().0;
        std::io::Write::write_all(&mut socket, b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
        read_all(socket)
    });
    let foreign = connect(port, &psk(), SHORT).err().unwrap();
    assert_eq!(kind(&foreign), Kind::Protocol);
    assert!(foreign.to_string().contains("does not speak TLS"), "{foreign}");
    server.join().unwrap();

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let deadlines = doppel_transport::deadlines::Deadlines { handshake: Duration::from_millis(200), ..SHORT };
    let slow = connect(port, &psk(), deadlines).err().unwrap();
    assert!(matches!(slow, Error::Slow { .. }) && !slow.nobody_there(), "{slow}");

    let unknown = doppel_transport::address::Address::new("no-such-host.invalid", 1.try_into().unwrap()).unwrap();
    let client = doppel_transport::client::Client::new(&keys(&psk()), SHORT, doppel_transport::stop::Stop::new());
    let lookup = client.unwrap().connect(&unknown).err().unwrap();
    assert_eq!(kind(&lookup), Kind::Network);
    assert!(matches!(lookup, Error::Lookup { .. }) && lookup.to_string().contains("no-such-host.invalid"), "{lookup}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let (_listener, port, stop) = listener(&psk(), SHORT);
    let second = doppel_transport::server::Listener::bind(port, &keys(&psk()), SHORT, stop);
    let error = second.err().unwrap().to_string();
    assert!(error.contains(&format!("listen on port {port}")), "{error}");
}
