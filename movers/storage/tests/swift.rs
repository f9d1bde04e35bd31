//! A real Swift: what stores do, who is let in, and logins that have to be renewed. Keystone is a server of the test's own, which
//! answers as its manual says; the tokens that it gives are Swift's.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use doppel_storage::{Kind, Storage};
use support::proxy::{Fault, Proxy};
use support::swift::{KEY, SwiftPeer, USER};
use support::*;

/// The one of this test program.
fn shared() -> &'static SwiftPeer {
    static SHARED: OnceLock<SwiftPeer> = OnceLock::new();
    SHARED.get_or_init(SwiftPeer::start)
}

fn open_at(repository: &str, login: &str) -> Box<dyn Storage> {
    open_for(repository, &[("ST_AUTH", login), ("ST_USER", USER), ("ST_KEY", KEY)], PATIENCE)
}

#[test]
fn a_container_does_what_stores_do_and_is_made_by_writing_alone() {
    let login = shared().login();
    let store = open_at("swift:made:/", &login);
    check_error(store.list("keys"), Kind::NotFound, &["listing keys", "404"]);
    check_error(store.read("config"), Kind::NotFound, &["reading config"]);
    store.write("config", content(1)).unwrap();
    store.remove("config").unwrap();
    does_what_stores_do(&*store);
}

#[test]
fn a_path_in_a_container_does_what_stores_do_and_sees_nothing_beside_it() {
    let login = shared().login();
    let beside = open_at("swift:shared box:/a path/down2", &login);
    beside.write("data/ab/beside", content(3)).unwrap();
    let store = open_at("swift:shared box:/a path/down", &login);
    does_what_stores_do(&*store);
    lists_more_than_a_page(&*store);
    assert_eq!(listed(&*beside, "").len(), 1);
}

#[test]
fn restic_reads_what_was_written_and_what_restic_made_is_found() {
    let swift = shared();
    let restic = |arguments: &[&str]| {
        let mut command = Command::new("restic");
        command.env("ST_AUTH", swift.login()).env("ST_USER", USER).env("ST_KEY", KEY).env("RESTIC_PASSWORD", "hush");
        let output =
            command.args(["--no-cache", "-r", "swift:of-restic:/repository"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    restic(&["init"]);
    let store = open_at("swift:of-restic:/repository", &swift.login());
    let keys = listed(&*store, "keys");
    assert_eq!((keys.len(), listed(&*store, "").len()), (1, 2));
    let config = store.read("config").unwrap();
    store.remove("config").unwrap();
    store.write("config", config).unwrap();
    assert!(String::from_utf8(restic(&["cat", "config"])).unwrap().contains("chunker_polynomial"));
}

#[test]
fn a_token_that_is_no_longer_taken_is_renewed() {
    // A Swift of its own: others would lose their tokens with it.
    let swift = SwiftPeer::start();
    let store = open_at("swift:box:/", &swift.login());
    store.write("config", content(3)).unwrap();
    swift.forget_tokens();
    assert_eq!(store.read("config").unwrap(), content(3));
    swift.forget_tokens();
    store.write("config", content(4)).unwrap();
    let (token, account) = swift.token();
    let storage = format!("http://127.0.0.1:{}{account}", swift.port);
    let given = open("swift:box:/", &[("OS_STORAGE_URL", &storage), ("OS_AUTH_TOKEN", &token)]);
    assert_eq!(given.read("config").unwrap(), content(4));
    swift.forget_tokens();
    check_error(given.read("config"), Kind::Denied, &["401", "OS_"]);
}

#[test]
fn who_is_not_let_in_is_told_so_at_once() {
    let (login, begin) = (shared().login(), Instant::now());
    let wrong = open("swift:box:/", &[("ST_AUTH", &login), ("ST_USER", USER), ("ST_KEY", "hush-wrong")]);
    check_error(wrong.read("config"), Kind::Denied, &["reading config", "logging in", "401", "ST_"]);
    assert!(begin.elapsed() < Duration::from_secs(10));
    let nobody = format!("http://127.0.0.1:{}/auth/v1.0", free_port());
    let keys = [("ST_AUTH", nobody.as_str()), ("ST_USER", USER), ("ST_KEY", KEY)];
    let nobody = open_for("swift:box:/", &keys, Duration::from_secs(1));
    check_error(nobody.read("config"), Kind::Unreachable, &["logging in", "refused", "tried for 1 s"]);
}

#[test]
fn faults_on_the_way_pass_and_content_that_arrives_damaged_is_sent_again() {
    let swift = shared();
    let proxy = Proxy::start(swift.port);
    let (token, account) = swift.token();
    let storage = format!("http://127.0.0.1:{}{account}", proxy.port);
    let store = open_for("swift:faults:/", &[("OS_STORAGE_URL", &storage), ("OS_AUTH_TOKEN", &token)], PATIENCE);
    store.write("config", content(1)).unwrap();
    for method in ["PUT", "GET", "DELETE"] {
        proxy.tell(method, "data/", 1, Fault::Status(503));
        proxy.tell(method, "data/", 1, Fault::LoseAnswer);
    }
    proxy.tell("PUT", "data/", 1, Fault::FlipUpload);
    store.write("data/ab/abcd", content(1000)).unwrap();
    assert_eq!(store.read("data/ab/abcd").unwrap(), content(1000));
    proxy.tell("GET", "data/", 1, Fault::CutAnswer(50));
    assert_eq!(store.read_range("data/ab/abcd", 100, 100).unwrap(), content(1000).slice(100..200));
    store.remove("data/ab/abcd").unwrap();
    assert!(proxy.is_done());
}

/// A Keystone that gives this answer to every request, and hands on what it was asked.
fn keystone(head: String, body: String) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut asked, mut buffer) = (String::new(), [0; 4096]);
            while !asked.ends_with("}}") {
                let length = stream.read(&mut buffer).unwrap();
                asked += &String::from_utf8_lossy(&buffer[..length]);
            }
            let length = body.len();
            write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
            send.send(asked).unwrap();
        }
    });
    (port, receive)
}

#[test]
fn keystone_is_asked_for_a_token_and_for_where_the_storage_of_a_region_is() {
    let swift = shared();
    let (token, account) = swift.token();
    let storage = format!("http://127.0.0.1:{}{account}", swift.port);
    let endpoint =
        |interface, region, url| format!(r#"{{"interface":"{interface}","region":"{region}","url":"{url}"}}"#);
    let nowhere = "http://127.0.0.1:1/";
    let endpoints = [
        endpoint("internal", "here", nowhere),
        endpoint("public", "there", nowhere),
        endpoint("public", "here", &storage),
    ];
    let catalog = format!(
        r#"[{{"type":"identity","endpoints":[]}},{{"type":"object-store","name":"swift","endpoints":[{}]}}]"#,
        endpoints.join(",")
    );
    let head = format!("201 Created\r\nX-Subject-Token: {token}");
    let (port, asked) = keystone(head, format!(r#"{{"token":{{"methods":["password"],"catalog":{catalog}}}}}"#));
    let address = format!("http://127.0.0.1:{port}/v3");
    let mut keys = vec![("OS_AUTH_URL", address.as_str()), ("OS_USERNAME", "me"), ("OS_PASSWORD", "hush")];
    keys.extend([("OS_USER_DOMAIN_NAME", "home"), ("OS_PROJECT_NAME", "shop"), ("OS_REGION_NAME", "here")]);
    open("swift:keystone:/", &keys).write("config", content(9)).unwrap();
    let asked = asked.recv().unwrap();
    assert!(
        asked.starts_with("POST /v3/auth/tokens HTTP/1.1\r\n") && asked.contains(r#""password":"hush""#),
        "{asked}"
    );
    keys.pop();
    keys.push(("OS_REGION_NAME", "elsewhere"));
    check_error(open("swift:keystone:/", &keys).read("config"), Kind::Settings, &["OS_REGION_NAME"]);

    let body = format!(
        r#"{{"access":{{"token":{{"id":"{token}"}},"serviceCatalog":[{{"type":"object-store","endpoints":[{{"region":"here","publicURL":"{storage}","internalURL":"{nowhere}"}}]}}]}}}}"#
    );
    let (port, _asked) = keystone("200 OK".to_owned(), body);
    let address = format!("http://127.0.0.1:{port}/v2.0/");
    let keys =
        [("OS_AUTH_URL", address.as_str()), ("OS_USERNAME", "me"), ("OS_PASSWORD", "hush"), ("OS_TENANT_NAME", "shop")];
    assert_eq!(open("swift:keystone:/", &keys).read("config").unwrap(), content(9));
}
