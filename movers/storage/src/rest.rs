//! restic's own protocol (restic's manual, "REST Backend"), versions 1 and 2.
//!
//! Its names are flat: `data/3f/3f9a...` is the server's `data/3f9a...`.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RANGE, SERVER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::location::Rest;
use crate::remote::{Failed, Service};
use crate::web::Web;
use crate::{Error, Kind, Object};

const VERSION_2: &str = "application/vnd.x.restic.rest.v2";

/// What a repository consists of, besides `config`.
const FOLDERS: [&str; 5] = ["data", "index", "keys", "locks", "snapshots"];

/// Objects of a version 1 server whose sizes are asked for at a time.
const SIZES_AT_A_TIME: usize = 32;

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A server, and a repository on it.
pub(crate) struct RestServer {
    base: String,
    authorization: Option<HeaderValue>,
    web: Web,
}

impl RestServer {
    pub(crate) fn new(place: &Rest, web: Web) -> Result<Self, Error> {
        let Rest { url, user } = place;
        let authorization = user.as_ref().map(|(user, password)| basic(user, password.expose())).transpose()?;
        Ok(Self { base: url.as_str().to_owned(), authorization, web })
    }

    /// The address of an object, or of a folder if it ends with a slash.
    fn address(&self, name: &str) -> String {
        let (folder, own) = match name.split_once('/') {
            Some((folder, rest)) => (folder, rest.rsplit('/').next()),
            None => (name, None),
        };
        let encode = |part| utf8_percent_encode(part, UNRESERVED);
        let own = own.map(|own| format!("/{}", encode(own))).unwrap_or_default();
        format!("{}{}{own}", self.base, encode(folder))
    }

    async fn ask(&self, method: Method, address: &str, more: &[(http::HeaderName, String)], body: Bytes) -> Asked {
        let mut request = Request::builder().method(method).uri(address).header(ACCEPT, VERSION_2);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        for (name, value) in more {
            request = request.header(name, value);
        }
        let request = request.body(body).map_err(|error| Failed::lasting(Kind::Settings, error))?;
        self.web.exchange(request).await
    }

    async fn get(&self, address: &str) -> Result<Response<Bytes>, Failed> {
        accept(self.ask(Method::GET, address, &[], Bytes::new()).await?)
    }

    async fn post(&self, name: &str, content: Bytes) -> Asked {
        let binary = [(CONTENT_TYPE, "application/octet-stream".to_owned())];
        self.ask(Method::POST, &self.address(name), &binary, content).await
    }

    /// Makes the folders of a new repository. It is no error if they are there.
    async fn create(&self) -> Result<(), Failed> {
        let address = format!("{}?create=true", self.base);
        accept(self.ask(Method::POST, &address, &[], Bytes::new()).await?).map(drop)
    }

    async fn size(&self, name: &str) -> Result<u64, Failed> {
        let answer = accept(self.ask(Method::HEAD, &self.address(name), &[], Bytes::new()).await?)?;
        let length =
            answer.headers().get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        length.ok_or_else(|| Failed::lasting(Kind::Other, "the server does not tell the object's size"))
    }

    async fn list_folder(&self, folder: &str, found: &mut Vec<Object>) -> Result<(), Failed> {
        let answer = self.ask(Method::GET, &format!("{}/", self.address(folder)), &[], Bytes::new()).await?;
        // A folder that is not there; rclone says the same of failures (restic's source, rest.go, tells why).
        let by_rclone = answer.headers().get(SERVER).is_some_and(|server| server.as_bytes().starts_with(b"rclone/"));
        if answer.status() == StatusCode::NOT_FOUND && !by_rclone {
            return Ok(());
        }
        let answer = accept(answer)?;
        let unreadable =
            |error: serde_json::Error| Failed::passing(format_args!("its listing cannot be read: {error}"));
        let of_version_2 = answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == VERSION_2);
        if of_version_2 {
            let listed: Vec<Listed> = serde_json::from_slice(answer.body()).map_err(unreadable)?;
            found.extend(
                listed
                    .into_iter()
                    .filter_map(|Listed { name, size }| Some(Object { name: full(folder, &name)?, size })),
            );
            return Ok(());
        }
        let names: Vec<String> = serde_json::from_slice(answer.body()).map_err(unreadable)?;
        let names: Vec<_> = names.iter().filter_map(|name| full(folder, name)).collect();
        let sized = stream::iter(names).map(async |name| match self.size(&name).await {
            Ok(size) => Ok(Some(Object { name, size })),
            // It was removed meanwhile.
            Err(failed) if failed.kind == Kind::NotFound => Ok(None),
            Err(failed) => Err(failed),
        });
        let sized: Vec<_> = sized.buffer_unordered(SIZES_AT_A_TIME).try_collect().await?;
        found.extend(sized.into_iter().flatten());
        Ok(())
    }
}

type Asked = Result<Response<Bytes>, Failed>;

#[derive(Deserialize)]
struct Listed {
    name: String,
    size: u64,
}

impl Service for RestServer {
    async fn read(&self, name: &str) -> Result<Bytes, Failed> {
        Ok(self.get(&self.address(name)).await?.into_body())
    }

    async fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Bytes, Failed> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let end = offset.saturating_add(length as u64);
        let range = [(RANGE, format!("bytes={offset}-{}", end - 1))];
        let answer = self.ask(Method::GET, &self.address(name), &range, Bytes::new()).await?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT if answer.body().len() == length => return Ok(answer.into_body()),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {}
            StatusCode::OK => return Err(Failed::lasting(Kind::Other, "the server cannot send parts of objects")),
            _ => return Err(refusal(&answer)),
        }
        // Either the object ends before, or the answer did.
        match crate::error::check_range(name, self.size(name).await?, offset, length) {
            Ok(()) => Err(Failed::passing(format_args!("{} bytes came instead of {length}", answer.body().len()))),
            Err(truncated) => Err(Failed::lasting(Kind::Truncated, truncated.reason())),
        }
    }

    async fn write(&self, name: &str, content: Bytes) -> Result<(), Failed> {
        let mut answer = self.post(name, content.clone()).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            self.create().await?;
            answer = self.post(name, content.clone()).await?;
        }
        // A server may keep objects from being replaced, and the answer to an earlier attempt may have been lost.
        if matches!(answer.status(), StatusCode::FORBIDDEN | StatusCode::CONFLICT)
            && self.read(name).await.is_ok_and(|there| there == content)
        {
            return Ok(());
        }
        accept(answer).map(drop)
    }

    async fn list(&self, folder: &str, found: &mut Vec<Object>) -> Result<(), Failed> {
        found.clear();
        let top = folder.split('/').next().unwrap_or(folder);
        for listed in FOLDERS.into_iter().filter(|known| top.is_empty() || top == *known) {
            self.list_folder(listed, found).await?;
        }
        if folder.is_empty() {
            match self.size("config").await {
                Ok(size) => found.push(Object { name: "config".to_owned(), size }),
                Err(failed) if failed.kind == Kind::NotFound => {}
                Err(failed) => return Err(failed),
            }
        } else if folder != top {
            found.retain(|object| object.name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')));
        }
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<(), Failed> {
        let answer = self.ask(Method::DELETE, &self.address(name), &[], Bytes::new()).await?;
        if answer.status() == StatusCode::NOT_FOUND { Ok(()) } else { accept(answer).map(drop) }
    }
}

/// The whole name of an object of a folder, if it can be one.
fn full(folder: &str, name: &str) -> Option<String> {
    if name.contains('/') {
        return None;
    }
    match (folder, name.get(..2)) {
        ("data", Some(first)) => Some(format!("data/{first}/{name}")),
        ("data", None) => None,
        _ => Some(format!("{folder}/{name}")),
    }
}

fn accept(answer: Response<Bytes>) -> Result<Response<Bytes>, Failed> {
    if answer.status().is_success() { Ok(answer) } else { Err(refusal(&answer)) }
}

fn refusal(answer: &Response<Bytes>) -> Failed {
    let status = answer.status();
    let why = format!("the server says {status}");
    match status {
        StatusCode::NOT_FOUND => Failed::lasting(Kind::NotFound, why),
        StatusCode::UNAUTHORIZED => {
            let advice = "; write the user to RESTIC_REST_USERNAME and the password to RESTIC_REST_PASSWORD";
            Failed::lasting(Kind::Denied, why + advice)
        }
        StatusCode::FORBIDDEN => Failed::lasting(Kind::Denied, why),
        StatusCode::INSUFFICIENT_STORAGE | StatusCode::PAYLOAD_TOO_LARGE => Failed::lasting(Kind::Full, why),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Failed::passing(why),
        status if status.is_server_error() => Failed::passing(why),
        _ => Failed::lasting(Kind::Other, why),
    }
}

fn basic(user: &str, password: &str) -> Result<HeaderValue, Error> {
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::try_from(format!("Basic {encoded}"))
        .map_err(|error| Error::new(Kind::Settings, "preparing the user of a REST server", error))?;
    value.set_sensitive(true);
    Ok(value)
}
