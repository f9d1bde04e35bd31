//! Tokens, and where an account's storage is.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use serde::Deserialize;
use url::Url;

use super::{accept, secret};
use crate::Kind;
use crate::location::{Swift, SwiftLogin};
use crate::remote::Failed;
use crate::web::Web;

/// What a login gives.
pub(super) struct Access {
    /// The account's address, without a slash at its end.
    pub(super) storage: String,
    pub(super) token: HeaderValue,
    pub(super) can_be_renewed: bool,
}

/// An entry of Keystone's catalogue of services, version 3 and, with its names for the same, version 2.
#[derive(Deserialize)]
struct Offered {
    #[serde(rename = "type")]
    kind: String,
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(default)]
    interface: Option<String>,
    #[serde(default)]
    region: Option<String>,
    #[serde(default, alias = "publicURL")]
    url: Option<String>,
}

#[derive(Deserialize)]
struct AnswerOfV2 {
    access: AccessOfV2,
}

#[derive(Deserialize)]
struct AccessOfV2 {
    token: TokenOfV2,
    #[serde(rename = "serviceCatalog", default)]
    catalog: Vec<Offered>,
}

#[derive(Deserialize)]
struct TokenOfV2 {
    id: String,
}

#[derive(Deserialize)]
struct AnswerOfV3 {
    token: TokenOfV3,
}

#[derive(Deserialize)]
struct TokenOfV3 {
    #[serde(default)]
    catalog: Vec<Offered>,
}

pub(super) async fn log_in(place: &Swift, web: &Web) -> Result<Access, Failed> {
    let (token, catalog) = match &place.login {
        SwiftLogin::Token(token) => (token.expose().to_owned(), Vec::new()),
        SwiftLogin::V1(address, user, key) => {
            let request = Request::builder().method(Method::GET).uri(address.as_str());
            let request = request.header("x-auth-user", secret(user)?).header("x-auth-key", secret(key.expose())?);
            let answer = send(web, request.body(Bytes::new())).await?;
            let storage = Endpoint { interface: None, region: None, url: Some(header(&answer, "x-storage-url")?) };
            let storage = Offered { kind: STORAGE.to_owned(), endpoints: vec![storage] };
            (header(&answer, "x-auth-token")?, vec![storage])
        }
        SwiftLogin::V2(address, request) => {
            let AnswerOfV2 { access } = read(&post(web, address, request.expose()).await?)?;
            (access.token.id, access.catalog)
        }
        SwiftLogin::V3(address, request) => {
            let answer = post(web, address, request.expose()).await?;
            let AnswerOfV3 { token } = read(&answer)?;
            (header(&answer, "x-subject-token")?, token.catalog)
        }
    };
    let storage = match &place.storage {
        Some(storage) => storage.as_str().to_owned(),
        None => endpoint(catalog, place.region.as_deref())?,
    };
    let can_be_renewed = !matches!(place.login, SwiftLogin::Token(_));
    Ok(Access { storage: storage.trim_end_matches('/').to_owned(), token: secret(&token)?, can_be_renewed })
}

/// What Keystone calls Swift.
const STORAGE: &str = "object-store";

/// The public address of the storage, in a region if one is asked for.
fn endpoint(catalog: Vec<Offered>, region: Option<&str>) -> Result<String, Failed> {
    let mut endpoints =
        catalog.into_iter().filter(|offered| offered.kind == STORAGE).flat_map(|offered| offered.endpoints);
    let found = endpoints.find(|endpoint| {
        let is_public = endpoint.interface.as_deref().is_none_or(|interface| interface == "public");
        is_public && region.is_none_or(|region| endpoint.region.as_deref() == Some(region))
    });
    found.and_then(|endpoint| endpoint.url).ok_or_else(|| {
        let advice = "see whether OS_REGION_NAME and the project are right, or write OS_STORAGE_URL";
        Failed::lasting(Kind::Settings, format_args!("the login names no object storage for this user; {advice}"))
    })
}

async fn post(web: &Web, address: &Url, request: &str) -> Result<Response<Bytes>, Failed> {
    let json = "application/json";
    let head = Request::builder().method(Method::POST).uri(address.as_str()).header(CONTENT_TYPE, json);
    send(web, head.header(ACCEPT, json).body(Bytes::copy_from_slice(request.as_bytes()))).await
}

async fn send(web: &Web, request: http::Result<Request<Bytes>>) -> Result<Response<Bytes>, Failed> {
    let request = request.map_err(|error| Failed::lasting(Kind::Settings, error))?;
    let named = |failed: Failed| Failed { why: format!("logging in: {}", failed.why), ..failed };
    let answer = accept(web.exchange(request).await.map_err(named)?).map_err(named)?;
    Ok(answer)
}

fn header(answer: &Response<Bytes>, name: &str) -> Result<String, Failed> {
    let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
    value
        .map(str::to_owned)
        .ok_or_else(|| Failed::lasting(Kind::Other, format_args!("the login answers without {name}")))
}

fn read<'a, T: Deserialize<'a>>(answer: &'a Response<Bytes>) -> Result<T, Failed> {
    serde_json::from_slice(answer.body())
        .map_err(|error| Failed::passing(format_args!("the answer to the login cannot be read: {error}")))
}
