//! Backblaze B2: asks for the account's S3 interface.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use serde::Deserialize;
use url::Url;

use crate::Kind;
use crate::location::{B2, S3, S3Credentials};
use crate::remote::Failed;
use crate::web::Web;

/// The bucket as one of S3 (B2's documentation, `b2_authorize_account`).
pub(super) async fn as_s3(b2: &B2, web: &Web) -> Result<S3, Failed> {
    let B2 { authority, bucket, prefix, id, key } = b2;
    let user = STANDARD.encode(format!("{id}:{}", key.expose()));
    let request = Request::get(format!("{authority}/b2api/v3/b2_authorize_account"));
    let request = request.header(AUTHORIZATION, format!("Basic {user}")).body(Bytes::new());
    let answer = web.exchange(request.map_err(|error| Failed::lasting(Kind::Settings, error))?).await?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let why = "the account is refused; look at B2_ACCOUNT_ID and B2_ACCOUNT_KEY";
            return Err(Failed::lasting(Kind::Denied, why));
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return Err(Failed::passing(format_args!("asking for the account: {status}")));
        }
        status => return Err(Failed::lasting(Kind::Other, format_args!("asking for the account: {status}"))),
    }
    let unreadable = |error: &dyn std::fmt::Display| Failed::lasting(Kind::Other, format_args!("its account: {error}"));
    let account: Account = serde_json::from_slice(answer.body()).map_err(|error| unreadable(&error))?;
    let endpoint = Url::parse(&account.api_info.storage_api.s3_api_url).map_err(|error| unreadable(&error))?;
    // s3.REGION.backblazeb2.com
    let region = endpoint.host_str().and_then(|host| host.strip_prefix("s3.")?.split('.').next()).map(str::to_owned);
    Ok(S3 {
        endpoint,
        bucket: bucket.clone(),
        prefix: prefix.clone(),
        region: region.or_else(|| Some(super::operator::DEFAULT_REGION.to_owned())),
        credentials: S3Credentials::Key { id: id.clone(), secret: key.clone(), token: None },
        role: None,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    api_info: ApiInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiInfo {
    storage_api: StorageApi,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StorageApi {
    s3_api_url: String,
}
