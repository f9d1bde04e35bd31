//! S3, as SeaweedFS speaks it: what stores do, and what happens when something goes wrong on the way.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use doppel_storage::{Kind, Manners, Storage};
use rustls::pki_types::PrivateKeyDer;
use support::peers::{ID, KEY, SECRET, Seaweed};
use support::proxy::{Fault, Proxy};
use support::*;

/// A store in a bucket of its own, behind a proxy.
fn behind_a_proxy(bucket: &str) -> (Proxy, Box<dyn Storage>) {
    let seaweed = Seaweed::shared();
    seaweed.bucket(bucket);
    let proxy = Proxy::start(seaweed.port);
    let store = open_for(&format!("s3:http://127.0.0.1:{}/{bucket}/repository", proxy.port), KEY, PATIENCE);
    (proxy, store)
}

#[test]
fn a_bucket_does_what_stores_do() {
    let seaweed = Seaweed::shared();
    seaweed.bucket("whole");
    does_what_stores_do(&*open(&seaweed.repository("whole"), KEY));
}

#[test]
fn a_path_in_a_bucket_does_what_stores_do_and_sees_nothing_beside_it() {
    let seaweed = Seaweed::shared();
    seaweed.bucket("shared");
    let beside = open(&seaweed.repository("shared/a%20path/down2"), KEY);
    beside.write("data/ab/beside", content(3)).unwrap();
    does_what_stores_do(&*open(&seaweed.repository("shared/a%20path/down"), KEY));
    assert_eq!(listed(&*beside, "").len(), 1);
}

#[test]
fn listings_have_many_pages_and_go_on_after_one_that_failed() {
    let (proxy, store) = behind_a_proxy("pages");
    lists_more_than_a_page(&*store);
    let before = proxy.count("GET", "list-type=2");
    proxy.tell("GET", "continuation-token", 1, Fault::Status(503));
    assert_eq!(listed(&*store, "snapshots").len(), 1100);
    assert!(proxy.is_done());
    // Two pages, the second of them twice: what had been listed is not listed again.
    assert_eq!(proxy.count("GET", "list-type=2") - before, 3, "{:?}", proxy.seen());
}

#[test]
fn keys_that_are_wrong_are_told_apart_and_not_tried_again() {
    let seaweed = Seaweed::shared();
    seaweed.bucket("closed");
    let repository = seaweed.repository("closed");
    let begin = Instant::now();
    let wrong = open(&repository, &[("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", "hush-that-is-wrong")]);
    check_error(wrong.read("config"), Kind::Denied, &["reading config", "SignatureDoesNotMatch"]);
    check_error(wrong.write("config", content(1)), Kind::Denied, &["writing config", "SignatureDoesNotMatch"]);
    check_error(wrong.list("keys"), Kind::Denied, &["listing keys"]);
    let unknown = open(&repository, &[("AWS_ACCESS_KEY_ID", "NOBODY"), ("AWS_SECRET_ACCESS_KEY", SECRET)]);
    check_error(unknown.read("config"), Kind::Denied, &["reading config", "InvalidAccessKeyId"]);
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_bucket_that_is_not_there_is_made_by_writing_and_by_nothing_else() {
    let seaweed = Seaweed::shared();
    let store = open(&seaweed.repository("not-there"), KEY);
    check_error(store.read("config"), Kind::NotFound, &["reading config"]);
    check_error(store.list("keys"), Kind::NotFound, &["listing keys", "NoSuchBucket"]);
    store.write("keys/1234", content(7)).unwrap();
    assert_eq!(store.read("keys/1234").unwrap(), content(7));
}

#[test]
fn a_service_that_is_busy_is_asked_again() {
    let (proxy, store) = behind_a_proxy("busy");
    for (method, part) in [("PUT", "data/"), ("GET", "data/"), ("GET", "list-type"), ("DELETE", "data/")] {
        proxy.tell(method, part, 2, Fault::Status(503));
        proxy.tell(method, part, 1, Fault::Status(500));
    }
    store.write("data/ab/abcd", content(100)).unwrap();
    assert_eq!(store.read("data/ab/abcd").unwrap(), content(100));
    assert_eq!(listed(&*store, "data").len(), 1);
    store.remove("data/ab/abcd").unwrap();
    assert!(proxy.is_done());
    assert_eq!(listed(&*store, "data"), []);
}

#[test]
fn an_answer_that_was_lost_changes_nothing() {
    let (proxy, store) = behind_a_proxy("lost");
    for method in ["PUT", "GET", "DELETE"] {
        proxy.tell(method, "data/", 2, Fault::LoseAnswer);
    }
    store.write("data/ab/abcd", content(100)).unwrap();
    assert_eq!(store.read("data/ab/abcd").unwrap(), content(100));
    store.remove("data/ab/abcd").unwrap();
    assert!(proxy.is_done());
    check_error(store.read("data/ab/abcd"), Kind::NotFound, &[]);
}

#[test]
fn an_answer_that_breaks_off_is_never_taken_for_whole() {
    let (proxy, store) = behind_a_proxy("cut");
    store.write("data/ab/abcd", content(100_000)).unwrap();
    for length in [0, 1, 50_000, 99_999] {
        proxy.tell("GET", "data/", 1, Fault::CutAnswer(length));
        assert_eq!(store.read("data/ab/abcd").unwrap(), content(100_000));
        proxy.tell("GET", "data/", 1, Fault::CutAnswer(length.min(9_999)));
        assert_eq!(store.read_range("data/ab/abcd", 1000, 10_000).unwrap(), content(100_000)[1000..11_000]);
        proxy.tell("GET", "list-type", 1, Fault::CutAnswer(length.min(100)));
        assert_eq!(listed(&*store, "data").len(), 1);
        assert!(proxy.is_done());
    }
}

#[test]
fn content_that_was_changed_on_its_way_is_not_stored() {
    let (proxy, store) = behind_a_proxy("flipped");
    proxy.tell("PUT", "data/", 2, Fault::FlipUpload);
    store.write("data/ab/abcd", content(10_000)).unwrap();
    assert!(proxy.is_done());
    assert_eq!(proxy.count("PUT", "data/"), 3);
    assert_eq!(store.read("data/ab/abcd").unwrap(), content(10_000));
}

#[test]
fn a_server_that_goes_away_is_waited_for_and_given_up_on() {
    let (proxy, store) = behind_a_proxy("gone");
    store.write("config", content(1)).unwrap();
    proxy.set_gone(true);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| store.read("config"));
        std::thread::sleep(Duration::from_millis(700));
        assert!(!waiting.is_finished());
        proxy.set_gone(false);
        assert_eq!(waiting.join().unwrap().unwrap(), content(1));
    });
    let repository = format!("s3:http://127.0.0.1:{}/gone/repository", proxy.port);
    let impatient = open_for(&repository, KEY, Duration::from_secs(1));
    proxy.set_gone(true);
    check_error(impatient.read("config"), Kind::Unreachable, &["reading config", "tried for 1 s"]);
    let nobody = open_for(&format!("s3:http://127.0.0.1:{}/gone", free_port()), KEY, Duration::from_secs(1));
    check_error(nobody.write("config", Bytes::new()), Kind::Unreachable, &["refused", "tried for 1 s"]);
    let nowhere = open_for("s3:https://host.invalid/gone", KEY, Duration::from_secs(1));
    check_error(nowhere.list("data"), Kind::Unreachable, &["listing data", "tried for 1 s"]);
}

#[test]
fn a_server_that_says_nothing_is_given_up_on() {
    let (proxy, _) = behind_a_proxy("silent");
    let repository = format!("s3:http://127.0.0.1:{}/silent", proxy.port);
    let manners = Manners { patience: Duration::from_secs(1), ..Manners::default() };
    let store = doppel_storage::open(location(&repository, KEY), None, manners).unwrap();
    check_error(store.read("config"), Kind::NotFound, &[]);
    proxy.tell("GET", "config", 9, Fault::Silence);
    check_error(store.read("config"), Kind::Unreachable, &["no answer; tried for 1 s"]);
}

#[test]
fn a_certificate_is_trusted_if_its_authority_was_given_and_refused_at_once_if_not() {
    let seaweed = Seaweed::shared();
    seaweed.bucket("tls");
    let stage = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let proxy = Proxy::start_tls(seaweed.port, made.cert.der().clone(), key);
    let ca = stage.path().join("ca.crt");
    std::fs::write(&ca, made.cert.pem()).unwrap();

    let at = |host: &str| location(&format!("s3:https://{host}:{}/tls", proxy.port), KEY);
    let trusting = doppel_storage::open(at("localhost"), Some(&ca), Manners::default()).unwrap();
    trusting.write("config", content(3)).unwrap();
    assert_eq!(trusting.read("config").unwrap(), content(3));

    let begin = Instant::now();
    for (host, trusted) in [("localhost", None), ("127.0.0.1", Some(ca.as_path()))] {
        let store = doppel_storage::open(at(host), trusted, Manners::default()).unwrap();
        check_error(store.read("config"), Kind::Settings, &["is not trusted", "customCA"]);
    }
    assert!(begin.elapsed() < Duration::from_secs(20));
    for (text, expected) in [("", "holds no certificate"), ("not PEM", "holds no certificate")] {
        std::fs::write(&ca, text).unwrap();
        let refused = doppel_storage::open(at("localhost"), Some(&ca), Manners::default());
        check_error(refused.map(drop), Kind::Settings, &["ca.crt", expected]);
    }
}
