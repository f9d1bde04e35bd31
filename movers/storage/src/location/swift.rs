//! `swift:` containers. Who asks is said by the keys of OpenStack's clients (`OS_`), or of the oldest of them (`ST_`).

use serde_json::{Value, json};
use url::Url;

use super::{Hidden, LocationError, Settings, path};

/// A container of OpenStack's object storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swift {
    /// The container.
    pub container: String,
    /// The path within it, without slashes at its ends.
    pub prefix: String,
    /// Who asks.
    pub login: SwiftLogin,
    /// Where the account is, if nobody is to be asked for it.
    pub storage: Option<Url>,
    /// The region whose storage is meant, where there are several.
    pub region: Option<String>,
    /// The storage policy of a container that is made.
    pub policy: Option<String>,
}

/// How a token is had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwiftLogin {
    /// It is known, and cannot be renewed.
    Token(Hidden),
    /// Swift's own way, version 1: user and key are headers.
    V1(Url, String, Hidden),
    /// Keystone, version 2: where it is asked, and the request.
    V2(Url, Hidden),
    /// Keystone, version 3: where it is asked, and the request.
    V3(Url, Hidden),
}

const FORM: &str = "swift:CONTAINER:/PATH";

impl Swift {
    pub(super) fn parse(place: &str, settings: &Settings) -> Result<Self, LocationError> {
        let Some((container, prefix)) = place.split_once(':').filter(|(_, prefix)| prefix.starts_with('/')) else {
            return Err(LocationError::repository(format!("has no colon and slash after its container; write {FORM}")));
        };
        if container.is_empty() || container.contains('/') || container.len() > 256 {
            return Err(LocationError::repository(format!("has no container; write {FORM}")));
        }
        let storage = settings.get("OS_STORAGE_URL")?.map(|text| address("OS_STORAGE_URL", text)).transpose()?;
        Ok(Self {
            container: container.to_owned(),
            prefix: path::prefix(prefix)?,
            login: login(settings, storage.is_some())?,
            storage,
            region: settings.text("OS_REGION_NAME")?,
            policy: settings.text("SWIFT_DEFAULT_CONTAINER_POLICY")?,
        })
    }
}

fn login(settings: &Settings, is_placed: bool) -> Result<SwiftLogin, LocationError> {
    match settings.hidden("OS_AUTH_TOKEN")? {
        Some(token) if is_placed => return Ok(SwiftLogin::Token(token)),
        Some(_) => return Err(missing("OS_STORAGE_URL", "OS_AUTH_TOKEN")),
        None => {}
    }
    let (key, text) = match (settings.get("OS_AUTH_URL")?, settings.get("ST_AUTH")?) {
        (Some(text), _) => ("OS_AUTH_URL", text),
        (None, Some(text)) => ("ST_AUTH", text),
        (None, None) => {
            let what =
                "is missing; write where Keystone is, as in https://HOST:5000/v3, or ST_AUTH for Swift's own login";
            return Err(LocationError::new("OS_AUTH_URL", what));
        }
    };
    let place = address(key, text)?;
    // The version is told by the address, as restic tells it.
    if place.path().contains("v3") {
        return Ok(SwiftLogin::V3(below(place, "auth/tokens"), Hidden(v3(settings)?.to_string())));
    }
    if place.path().contains("v2") {
        return Ok(SwiftLogin::V2(below(place, "tokens"), Hidden(v2(settings)?.to_string())));
    }
    if place.path().contains("v1") {
        let (user, secret) = if key == "ST_AUTH" { ("ST_USER", "ST_KEY") } else { ("OS_USERNAME", "OS_PASSWORD") };
        let (user, secret) = settings.pair(user, secret)?.ok_or_else(|| missing(user, key))?;
        return Ok(SwiftLogin::V1(place, user, secret));
    }
    Err(LocationError::new(key, "has no version in its path; write it as in https://HOST:5000/v3"))
}

/// Identity API v2.0, "Authenticate".
fn v2(settings: &Settings) -> Result<Value, LocationError> {
    let Some((user, password)) = settings.pair("OS_USERNAME", "OS_PASSWORD")? else {
        return Err(missing("OS_USERNAME", "OS_AUTH_URL"));
    };
    let mut auth = json!({"passwordCredentials": {"username": user, "password": password.expose()}});
    for (field, key) in [("tenantId", "OS_TENANT_ID"), ("tenantName", "OS_TENANT_NAME")] {
        if let (Some(value), Some(auth)) = (settings.get(key)?, auth.as_object_mut()) {
            auth.insert(field.to_owned(), value.into());
        }
    }
    Ok(json!({"auth": auth}))
}

/// Identity API v3, "Password authentication" and "Authenticating with an application credential".
fn v3(settings: &Settings) -> Result<Value, LocationError> {
    let domain = named(settings, "OS_USER_DOMAIN_ID", "OS_USER_DOMAIN_NAME")?;
    let mut user = named(settings, "OS_USER_ID", "OS_USERNAME")?;
    if let (Some(user), Some(domain)) = (user.as_mut().and_then(Value::as_object_mut), &domain) {
        user.insert("domain".to_owned(), domain.clone());
    }
    if let Some(secret) = settings.hidden("OS_APPLICATION_CREDENTIAL_SECRET")? {
        let by_id = settings.get("OS_APPLICATION_CREDENTIAL_ID")?.map(|id| json!({"id": id}));
        let by_name = settings.get("OS_APPLICATION_CREDENTIAL_NAME")?.map(|name| json!({"name": name, "user": user}));
        let Some(mut credential) = by_id.or(by_name) else {
            return Err(missing("OS_APPLICATION_CREDENTIAL_ID", "OS_APPLICATION_CREDENTIAL_SECRET"));
        };
        if let Some(credential) = credential.as_object_mut() {
            credential.insert("secret".to_owned(), secret.expose().into());
        }
        // It is for one project, and no other may be named.
        let identity = json!({"methods": ["application_credential"], "application_credential": credential});
        return Ok(json!({"auth": {"identity": identity}}));
    }
    let Some(mut user) = user else {
        return Err(missing("OS_USERNAME", "OS_AUTH_URL"));
    };
    let password = settings.hidden("OS_PASSWORD")?.ok_or_else(|| missing("OS_PASSWORD", "OS_AUTH_URL"))?;
    if let Some(user) = user.as_object_mut() {
        user.insert("password".to_owned(), password.expose().into());
    }
    let mut auth = json!({"identity": {"methods": ["password"], "password": {"user": user}}});
    if let (Some(scope), Some(auth)) = (scope(settings, domain)?, auth.as_object_mut()) {
        auth.insert("scope".to_owned(), scope);
    }
    Ok(json!({"auth": auth}))
}

/// What a token is to be good for.
fn scope(settings: &Settings, of_user: Option<Value>) -> Result<Option<Value>, LocationError> {
    let of_project = named(settings, "OS_PROJECT_DOMAIN_ID", "OS_PROJECT_DOMAIN_NAME")?;
    let id = settings.get("OS_TENANT_ID")?.or(settings.get("OS_PROJECT_ID")?);
    let name = settings.get("OS_PROJECT_NAME")?.or(settings.get("OS_TENANT_NAME")?);
    Ok(match (settings.get("OS_TRUST_ID")?, id, name) {
        (Some(trust), ..) => Some(json!({"OS-TRUST:trust": {"id": trust}})),
        (None, Some(id), _) => Some(json!({"project": {"id": id}})),
        (None, None, Some(name)) => {
            let domain = of_project.or(of_user).unwrap_or_else(|| json!({"name": "Default"}));
            Some(json!({"project": {"name": name, "domain": domain}}))
        }
        (None, None, None) => None,
    })
}

fn named(settings: &Settings, id: &str, name: &str) -> Result<Option<Value>, LocationError> {
    let by_id = settings.get(id)?.map(|id| json!({"id": id}));
    Ok(by_id.or(settings.get(name)?.map(|name| json!({"name": name}))))
}

fn address(key: &str, text: &str) -> Result<Url, LocationError> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none());
    url.filter(|url| url.username().is_empty() && url.password().is_none())
        .ok_or_else(|| LocationError::new(key, "is no address; write it as in https://HOST:5000/v3"))
}

fn below(mut place: Url, path: &str) -> Url {
    let path = format!("{}/{path}", place.path().trim_end_matches('/'));
    place.set_path(&path);
    place
}

fn missing(key: &str, needed_by: &str) -> LocationError {
    LocationError::new(key, format!("is missing; {needed_by} needs it"))
}
