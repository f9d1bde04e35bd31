//! OpenStack's object storage (OpenStack's manual, "Object Storage API"), whole objects of restic's layout in one container.

mod login;

use bytes::Bytes;
use http::header::{ETAG, RANGE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use md5::{Digest, Md5};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::Mutex;

use crate::location::Swift;
use crate::remote::{Failed, Service};
use crate::web::Web;
use crate::{Kind, MOST_OBJECTS, Object};
use login::Access;

const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
const POLICY: HeaderName = HeaderName::from_static("x-storage-policy");

const WITHIN_A_PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const WITHIN_A_PATH: &AsciiSet = &WITHIN_A_PART.remove(b'/');

/// A container, or a folder in one.
pub(crate) struct Container {
    place: Swift,
    prefix: String,
    web: Web,
    access: Mutex<Option<Arc<Access>>>,
}

type Asked = Result<Response<Bytes>, Failed>;
type Headers<'h> = &'h [(HeaderName, &'h str)];

#[derive(Deserialize)]
struct Listed {
    name: String,
    bytes: u64,
}

impl Container {
    pub(crate) fn new(place: Swift, web: Web) -> Self {
        let prefix = if place.prefix.is_empty() { String::new() } else { format!("{}/", place.prefix) };
        Self { place, prefix, web, access: Mutex::default() }
    }

    /// Where the account is, and the token for it: of the login before, or of a new one.
    async fn access(&self) -> Result<Arc<Access>, Failed> {
        let mut access = self.access.lock().await;
        if let Some(access) = access.as_ref() {
            return Ok(Arc::clone(access));
        }
        let new = Arc::new(login::log_in(&self.place, &self.web).await?);
        *access = Some(Arc::clone(&new));
        Ok(new)
    }

    /// Asks for what is at `target`, below the container. A token that is no longer taken is renewed, once.
    async fn ask(&self, method: Method, target: &str, headers: Headers<'_>, body: Bytes) -> Asked {
        let access = self.access().await?;
        let answer = self.ask_with(&access, &method, target, headers, body.clone()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED || !access.can_be_renewed {
            return Ok(answer);
        }
        {
            let mut current = self.access.lock().await;
            if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &access)) {
                *current = None;
            }
        }
        self.ask_with(&*self.access().await?, &method, target, headers, body).await
    }

    async fn ask_with(
        &self,
        access: &Access,
        method: &Method,
        target: &str,
        headers: Headers<'_>,
        body: Bytes,
    ) -> Asked {
        let container = utf8_percent_encode(&self.place.container, WITHIN_A_PART);
        let address = format!("{}/{container}{target}", access.storage);
        let mut request = Request::builder().method(method).uri(address).header(TOKEN, &access.token);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(body).map_err(|error| Failed::lasting(Kind::Settings, error))?;
        self.web.exchange(request).await
    }

    fn target(&self, name: &str) -> String {
        format!("/{}{}", utf8_percent_encode(&self.prefix, WITHIN_A_PATH), utf8_percent_encode(name, WITHIN_A_PATH))
    }

    async fn put(&self, name: &str, content: &Bytes) -> Asked {
        use std::fmt::Write;
        let sum = Md5::digest(content).iter().fold(String::new(), |mut text, byte| {
            // Writing to a text cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        self.ask(Method::PUT, &self.target(name), &[(ETAG, &sum)], content.clone()).await
    }

    /// Makes the container, as restic does. It is no error if it is there.
    async fn create(&self) -> Result<(), Failed> {
        let policy: Vec<_> = self.place.policy.iter().map(|policy| (POLICY, policy.as_str())).collect();
        accept(self.ask(Method::PUT, "", &policy, Bytes::new()).await?).map(drop)
    }

    async fn size(&self, name: &str) -> Result<u64, Failed> {
        let answer = accept(self.ask(Method::HEAD, &self.target(name), &[], Bytes::new()).await?)?;
        let length =
            answer.headers().get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        length.ok_or_else(|| Failed::lasting(Kind::Other, "the service does not tell the object's size"))
    }

    /// The objects of a folder after the one of this name.
    async fn page(&self, folder: &str, after: &str) -> Result<Vec<Listed>, Failed> {
        let encode = |text: &str| utf8_percent_encode(text, WITHIN_A_PART).to_string();
        let target = format!("?format=json&prefix={}&marker={}", encode(folder), encode(after));
        let answer = accept(self.ask(Method::GET, &target, &[], Bytes::new()).await?)?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(Vec::new());
        }
        let unreadable = |error| Failed::passing(format_args!("its listing cannot be read: {error}"));
        serde_json::from_slice(answer.body()).map_err(unreadable)
    }
}

impl Service for Container {
    async fn read(&self, name: &str) -> Result<Bytes, Failed> {
        Ok(accept(self.ask(Method::GET, &self.target(name), &[], Bytes::new()).await?)?.into_body())
    }

    async fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Bytes, Failed> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let range = format!("bytes={offset}-{}", offset.saturating_add(length as u64) - 1);
        let answer = self.ask(Method::GET, &self.target(name), &[(RANGE, &range)], Bytes::new()).await?;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT if answer.body().len() == length => return Ok(answer.into_body()),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {}
            StatusCode::OK => return Err(Failed::lasting(Kind::Other, "the service cannot send parts of objects")),
            _ => return Err(refusal(&answer)),
        }
        // Either the object ends before, or the answer did.
        match crate::error::check_range(name, self.size(name).await?, offset, length) {
            Ok(()) => Err(Failed::passing(format_args!("{} bytes came instead of {length}", answer.body().len()))),
            Err(truncated) => Err(Failed::lasting(Kind::Truncated, truncated.reason())),
        }
    }

    async fn write(&self, name: &str, content: Bytes) -> Result<(), Failed> {
        let mut answer = self.put(name, &content).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            self.create().await?;
            answer = self.put(name, &content).await?;
        }
        accept(answer).map(drop)
    }

    async fn list(&self, folder: &str, found: &mut Vec<Object>) -> Result<(), Failed> {
        let below = if folder.is_empty() { self.prefix.clone() } else { format!("{}{folder}/", self.prefix) };
        loop {
            let after = found.last().map(|object| format!("{}{}", self.prefix, object.name)).unwrap_or_default();
            let page = self.page(&below, &after).await?;
            if page.is_empty() {
                return Ok(());
            }
            let before = found.len();
            for Listed { name, bytes } in page {
                // Names come in order; one that does not would be listed for ever.
                if let Some(own) = name.strip_prefix(&self.prefix).filter(|_| name > after && name.starts_with(&below))
                {
                    found.push(Object { name: own.to_owned(), size: bytes });
                }
            }
            if found.len() == before {
                return Err(Failed::lasting(Kind::Other, "its listing does not go on"));
            }
            if found.len() > MOST_OBJECTS {
                return Err(Failed::lasting(Kind::Other, crate::error::too_many()));
            }
        }
    }

    async fn remove(&self, name: &str) -> Result<(), Failed> {
        let answer = self.ask(Method::DELETE, &self.target(name), &[], Bytes::new()).await?;
        if answer.status() == StatusCode::NOT_FOUND { Ok(()) } else { accept(answer).map(drop) }
    }
}

fn accept(answer: Response<Bytes>) -> Asked {
    if answer.status().is_success() { Ok(answer) } else { Err(refusal(&answer)) }
}

fn refusal(answer: &Response<Bytes>) -> Failed {
    let status = answer.status();
    let why = format!("the service says {status}");
    match status.as_u16() {
        404 => Failed::lasting(Kind::NotFound, why),
        401 => Failed::lasting(Kind::Denied, why + "; see whether the keys that begin with OS_ or ST_ are right"),
        403 => Failed::lasting(Kind::Denied, why),
        // A quota is told as a content that is too large.
        413 | 507 => Failed::lasting(Kind::Full, why),
        // The content arrived damaged; somebody asks too often.
        408 | 422 | 429 | 498 => Failed::passing(why),
        _ if status.is_server_error() => Failed::passing(why),
        _ => Failed::lasting(Kind::Other, why),
    }
}

/// A value that is shown to nobody.
fn secret(text: &str) -> Result<HeaderValue, Failed> {
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| Failed::lasting(Kind::Settings, "a user, key or token has a line's end or other control in it"))?;
    value.set_sensitive(true);
    Ok(value)
}
