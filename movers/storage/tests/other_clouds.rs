//! Stores of the other clouds, as far as they can be run here: Google's as fake-gcs-server speaks it, Backblaze's through the S3
//! interface that its account names.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;

use doppel_storage::location::{GcsCredentials, Location};
use doppel_storage::{Kind, Manners, Storage};
use support::peers::{FakeGcs, ID, SECRET, Seaweed};
use support::*;

fn open_at(location: Location) -> Box<dyn Storage> {
    doppel_storage::open(location, None, Manners::default()).unwrap()
}

#[test]
fn a_bucket_of_google_does_what_stores_do() {
    let server = FakeGcs::start("bucket");
    let place = |path: &str| match location(&format!("gs:bucket:/{path}"), &[]) {
        Location::Gcs(mut gcs) => {
            gcs.endpoint = Some(format!("http://127.0.0.1:{}", server.port));
            gcs.credentials = GcsCredentials::Token("hush".to_owned().into());
            Location::Gcs(gcs)
        }
        other => panic!("{other:?}"),
    };
    does_what_stores_do(&*open_at(place("")));
    lists_more_than_a_page(&*open_at(place("many")));
}

/// Says where the S3 interface of an account is, to the one who has the key.
fn authority(s3: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let account = format!(r#"{{"apiInfo":{{"storageApi":{{"s3ApiUrl":"{s3}"}}}}}}"#);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = vec![0; 10_000];
            let length = stream.read(&mut buffer).unwrap_or(0);
            let asked = String::from_utf8_lossy(&buffer[..length]).to_lowercase();
            let good = asked.contains("authorization: basic ") && !asked.contains("d3jvbmc");
            let (status, body) = if good { ("200 OK", account.as_str()) } else { ("401 Unauthorized", "") };
            let length = body.len();
            let _ = write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        }
    });
    format!("http://127.0.0.1:{port}")
}

#[test]
fn a_bucket_of_backblaze_is_reached_by_the_s3_interface_of_its_account() {
    let seaweed = Seaweed::shared();
    seaweed.bucket("backblaze");
    let authority = authority(&format!("http://127.0.0.1:{}", seaweed.port));
    let place =
        |id: &str, key: &str| match location("b2:backblaze:path", &[("B2_ACCOUNT_ID", id), ("B2_ACCOUNT_KEY", key)]) {
            Location::B2(mut b2) => {
                b2.authority.clone_from(&authority);
                Location::B2(b2)
            }
            other => panic!("{other:?}"),
        };
    does_what_stores_do(&*open_at(place(ID, SECRET)));
    // "wrong:..." begins with d3Jvbmc in base64.
    let wrong = open_at(place("wrong", "hush"));
    check_error(wrong.read("config"), Kind::Denied, &["reading config", "B2_ACCOUNT_KEY"]);
}
