//! restic's own protocol, as `rclone serve restic` speaks it, and version 1 of it as a server of the test does.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use doppel_storage::{Kind, Object};
use support::peers::RestPeer;
use support::proxy::{Fault, Proxy};
use support::*;

#[test]
fn a_server_does_what_stores_do_and_lays_out_folders_as_restic_does() {
    let server = RestPeer::start(&[]);
    let store = open(&format!("rest:http://127.0.0.1:{}/some/path/", server.port), &[]);
    does_what_stores_do(&*store);
    lists_more_than_a_page(&*store);
    assert!(server.folder().join("some/path/data/cd/cdef").exists());
}

#[test]
fn a_user_is_let_in_by_the_address_or_by_keys_and_nobody_else_is() {
    let server = RestPeer::start(&["--user", "me", "--pass", "hush-p@ss"]);
    let host = format!("127.0.0.1:{}/", server.port);
    open(&format!("rest:http://me:hush-p%40ss@{host}"), &[]).write("config", content(3)).unwrap();
    let keys = [("RESTIC_REST_USERNAME", "me"), ("RESTIC_REST_PASSWORD", "hush-p@ss")];
    assert_eq!(open(&format!("rest:http://{host}"), &keys).read("config").unwrap(), content(3));
    for address in [format!("rest:http://{host}"), format!("rest:http://me:hush-wrong@{host}")] {
        let store = open(&address, &[]);
        check_error(store.read("config"), Kind::Denied, &["401", "RESTIC_REST_PASSWORD"]);
        check_error(store.list("data"), Kind::Denied, &["401"]);
        check_error(store.write("keys/1234", content(1)), Kind::Denied, &["401"]);
        check_error(store.remove("keys/1234"), Kind::Denied, &["401"]);
    }
}

#[test]
fn a_server_that_only_appends_is_written_to_once_and_says_so() {
    let server = RestPeer::start(&["--append-only"]);
    let store = open(&format!("rest:http://127.0.0.1:{}/", server.port), &[]);
    store.write("data/ab/abcd", content(10)).unwrap();
    // The same once more: an answer was lost.
    store.write("data/ab/abcd", content(10)).unwrap();
    check_error(store.write("data/ab/abcd", content(11)), Kind::Denied, &["writing data/ab/abcd", "403"]);
    check_error(store.remove("data/ab/abcd"), Kind::Denied, &["removing data/ab/abcd", "403"]);
    assert_eq!(store.read("data/ab/abcd").unwrap(), content(10));
    store.write("locks/1234", content(10)).unwrap();
    store.remove("locks/1234").unwrap();
}

#[test]
fn requests_go_through_their_proxy_unless_their_host_is_excepted() {
    let server = RestPeer::start(&[]);
    let proxy = Proxy::start(server.port);
    let address = format!("http://127.0.0.1:{}", proxy.port);
    // Nobody but the proxy knows this host.
    let store = open_through("rest:http://repository.invalid/", &[("HTTP_PROXY", &address)]);
    store.write("config", content(3)).unwrap();
    assert_eq!(store.read("config").unwrap(), content(3));
    assert_eq!(proxy.count("GET", "http://repository.invalid/config"), 1, "{:?}", proxy.seen());

    let store = open_through("rest:https://repository.invalid/", &[("HTTPS_PROXY", &address)]);
    check_error(store.read("config"), Kind::Unreachable, &["reading config"]);
    assert!(proxy.count("CONNECT", "repository.invalid:443") > 0, "{:?}", proxy.seen());

    let before = proxy.seen().len();
    let direct = format!("rest:http://127.0.0.1:{}/", server.port);
    let store = open_through(&direct, &[("HTTP_PROXY", &address), ("NO_PROXY", "localhost,127.0.0.0/8")]);
    assert_eq!(store.read("config").unwrap(), content(3));
    assert_eq!(proxy.seen().len(), before);
}

#[test]
fn faults_on_the_way_pass() {
    let server = RestPeer::start(&[]);
    let proxy = Proxy::start(server.port);
    let store = open_for(&format!("rest:http://127.0.0.1:{}/", proxy.port), &[], PATIENCE);
    for (method, part) in [("POST", "data/"), ("GET", "data/"), ("DELETE", "data/")] {
        proxy.tell(method, part, 1, Fault::Status(503));
        proxy.tell(method, part, 1, Fault::LoseAnswer);
    }
    store.write("data/ab/abcd", content(1000)).unwrap();
    assert_eq!(store.read("data/ab/abcd").unwrap(), content(1000));
    proxy.tell("GET", "data/", 1, Fault::CutAnswer(500));
    assert_eq!(store.read("data/ab/abcd").unwrap(), content(1000));
    proxy.tell("GET", "data/", 1, Fault::CutAnswer(50));
    assert_eq!(store.read_range("data/ab/abcd", 100, 100).unwrap(), content(1000).slice(100..200));
    proxy.tell("GET", "data/", 1, Fault::CutAnswer(10));
    assert_eq!(listed(&*store, "data").len(), 1);
    store.remove("data/ab/abcd").unwrap();
    assert!(proxy.is_done());
    let nobody = open_for(&format!("rest:http://127.0.0.1:{}/", free_port()), &[], Duration::from_secs(1));
    check_error(nobody.read("config"), Kind::Unreachable, &["refused", "tried for 1 s"]);
}

/// Answers requests one after the other, by what they begin with: a status with headers, and a body.
fn server(answers: Vec<(&'static str, &'static str, &'static str)>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = vec![0; 10_000];
            let length = stream.read(&mut buffer).unwrap_or(0);
            let asked = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let answer = answers.iter().find(|(begin, ..)| asked.starts_with(begin));
            let (_, head, body) = answer.unwrap_or(&("", "404 Not Found", ""));
            let _ = write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n");
            if !head.contains("Content-Length") {
                let _ = write!(stream, "Content-Length: {}\r\n", body.len());
            }
            let _ = write!(stream, "\r\n{body}");
        }
    });
    port
}

#[test]
fn a_server_of_version_1_is_asked_for_each_size() {
    let port = server(vec![
        ("GET /data/ ", "200 OK", r#"["abcd", "gone"]"#),
        ("HEAD /data/abcd ", "200 OK\r\nContent-Length: 7", ""),
    ]);
    let store = open(&format!("rest:http://127.0.0.1:{port}"), &[]);
    assert_eq!(store.list("data").unwrap(), [Object { name: "data/ab/abcd".to_owned(), size: 7 }]);
    assert_eq!(store.list("keys").unwrap(), []);
}

#[test]
fn a_server_that_lies_is_not_believed() {
    const VERSION_2: &str = "200 OK\r\nContent-Type: application/vnd.x.restic.rest.v2";
    let port = server(vec![
        (
            "GET /data/ ",
            VERSION_2,
            r#"[{"name":"../abcd","size":1},{"name":"\u00e9","size":1},{"name":"abcd","size":-1}]"#,
        ),
        ("GET /index/ ", VERSION_2, r#"[{"name":"../abcd","size":1},{"name":"abcd","size":1}]"#),
        ("GET /config ", "200 OK\r\nContent-Length: 300000000", "x"),
        ("GET /keys/all ", "200 OK", "all!"),
        ("GET /keys/more ", "206 Partial Content", "more"),
        ("HEAD /keys/more ", "200 OK\r\nContent-Length: 9", ""),
        ("GET /locks/moved ", "302 Found\r\nLocation: http://127.0.0.1:1/", ""),
    ]);
    let store = open_for(&format!("rest:http://127.0.0.1:{port}"), &[], Duration::from_secs(1));
    check_error(store.list("data"), Kind::Unreachable, &["its listing cannot be read"]);
    // A name that leads elsewhere is no object.
    assert_eq!(store.list("index").unwrap(), [Object { name: "index/abcd".to_owned(), size: 1 }]);
    check_error(store.read("config"), Kind::Other, &["is larger than 256 MiB"]);
    check_error(store.read_range("keys/all", 1, 2), Kind::Other, &["cannot send parts"]);
    check_error(store.read_range("keys/more", 1, 2), Kind::Unreachable, &["4 bytes came instead of 2"]);
    check_error(store.read("locks/moved"), Kind::Other, &["302"]);
}
