//! OpenDAL, set up for each kind of bucket.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use opendal::{HttpTransporter, OperationContext, Operator, services};

use super::Place;
use crate::Kind;
use crate::location::{AssumedRole, Azure, AzureCredentials, Gcs, GcsCredentials, S3, S3Credentials};
use crate::remote::Failed;
use crate::web::Web;

/// The header Content-MD5. Every service of S3's protocol compares it with what has arrived; newer checksums are refused by some.
const CHECKSUM: &str = "md5";

/// restic's default, and the region of services that have none.
pub(super) const DEFAULT_REGION: &str = "us-east-1";

pub(super) async fn make(place: &Place, web: &Web) -> Result<Operator, Failed> {
    let operator = match place {
        Place::S3(s3) => checked_s3(s3, web).await?,
        Place::B2(b2) => checked_s3(&super::b2::as_s3(b2, web).await?, web).await?,
        Place::Azure(azure) => Operator::new(self::azure(azure)),
        Place::Gcs(gcs) => Operator::new(self::gcs(gcs)),
    };
    finish(operator, web)
}

async fn checked_s3(s3: &S3, web: &Web) -> Result<opendal::Result<Operator>, Failed> {
    Ok(Operator::new(self::s3(s3, &region(s3, web).await?, web).checksum_algorithm(CHECKSUM)))
}

pub(super) fn finish(made: opendal::Result<Operator>, web: &Web) -> Result<Operator, Failed> {
    let operator = made.map_err(|error| Failed::lasting(Kind::Settings, error.message()))?;
    Ok(operator.with_context(OperationContext::new().with_http_transport(HttpTransporter::new(web.clone()))))
}

pub(super) fn s3(s3: &S3, region: &str, web: &Web) -> services::S3 {
    let S3 { endpoint, bucket, prefix: _, region: _, credentials, role } = s3;
    let mut service =
        services::S3::default().endpoint(endpoint.as_str().trim_end_matches('/')).bucket(bucket).region(region);
    match credentials {
        S3Credentials::Key { id, secret, token } => {
            service = service.access_key_id(id).secret_access_key(secret.expose());
            service = service.disable_config_load().disable_ec2_metadata();
            if let Some(token) = token {
                service = service.session_token(token.expose());
            }
        }
        S3Credentials::Ambient { profile: Some(profile) } => service = service.profile(profile),
        S3Credentials::Ambient { profile: None } => {}
    }
    if let Some(AssumedRole { arn, session, external_id }) = role {
        // OpenDAL asks for roles with the transport of the process.
        HttpTransporter::install_default(web.clone());
        service = service.role_arn(arn).role_session_name(session.as_deref().unwrap_or("doppel"));
        if let Some(external_id) = external_id {
            service = service.external_id(external_id);
        }
    }
    service
}

/// The region that signatures are to name: as it was written, as it is in the host's name, or as the service says of the bucket
/// to anybody who asks.
pub(super) async fn region(s3: &S3, web: &Web) -> Result<String, Failed> {
    if let Some(region) = &s3.region {
        return Ok(region.clone());
    }
    let amazon = s3.endpoint.host_str().and_then(|host| host.strip_suffix(".amazonaws.com"));
    if let Some(region) = amazon.and_then(|host| host.strip_prefix("s3.").or_else(|| host.strip_prefix("s3-"))) {
        return Ok(region.trim_start_matches("dualstack.").to_owned());
    }
    let address = format!("{}{}", s3.endpoint, s3.bucket);
    let request = Request::head(address).body(Bytes::new());
    let request = request.map_err(|error| Failed::lasting(Kind::Settings, error))?;
    let answer = web.exchange(request).await?;
    let region = answer.headers().get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
    Ok(region.unwrap_or(DEFAULT_REGION).to_owned())
}

fn azure(azure: &Azure) -> services::Azblob {
    let Azure { endpoint, account, container, prefix: _, credentials } = azure;
    let service = services::Azblob::default();
    let service = service.endpoint(endpoint.as_str().trim_end_matches('/')).account_name(account).container(container);
    match credentials {
        AzureCredentials::Key(key) => service.account_key(key.expose()),
        AzureCredentials::Signature(token) => service.sas_token(token.expose()),
        AzureCredentials::Ambient => service,
    }
}

fn gcs(gcs: &Gcs) -> services::Gcs {
    let Gcs { endpoint, bucket, prefix: _, credentials } = gcs;
    let mut service = services::Gcs::default().bucket(bucket);
    if let Some(endpoint) = endpoint {
        service = service.endpoint(endpoint);
    }
    match credentials {
        GcsCredentials::Content(content) => service.credential(&STANDARD.encode(content.expose())),
        GcsCredentials::File(path) => service.credential_path(&path.to_string_lossy()),
        GcsCredentials::Token(token) => service.token(token.expose().to_owned()),
        GcsCredentials::Ambient => service,
    }
}
