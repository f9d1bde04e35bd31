//! A new bucket, for a new repository.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use opendal::Operator;
use opendal::raw::{OpPresign, OpWrite, Service};

use super::failure::failed;
use super::operator;
use crate::Kind;
use crate::location::S3;
use crate::remote::Failed;
use crate::web::Web;

/// Makes the bucket of a location. It is no error if somebody else was faster.
///
/// OpenDAL makes no buckets, but it signs: to write the object without a name into a bucket is S3's CreateBucket.
pub(super) async fn make_bucket(s3: &S3, web: &Web) -> Result<(), Failed> {
    const VALID: Duration = Duration::from_secs(600);
    let region = operator::region(s3, web).await?;
    let signer = operator::finish(Operator::new(operator::s3(s3, &region, web)), web)?;
    let signed = signer.service().presign(signer.context(), "/", OpPresign::new(OpWrite::new(), VALID)).await;
    let signed = signed.map_err(failed)?.into_presigned_request();
    // The default is the one region that may not be named (Amazon S3 API, CreateBucket).
    let place = match region.as_str() {
        operator::DEFAULT_REGION => String::new(),
        region => format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{region}\
             </LocationConstraint></CreateBucketConfiguration>"
        ),
    };
    let mut request = Request::builder().method(signed.method()).uri(signed.uri());
    if let Some(headers) = request.headers_mut() {
        headers.clone_from(signed.header());
    }
    let request = request.body(Bytes::from(place)).map_err(|error| Failed::lasting(Kind::Settings, error))?;
    match web.exchange(request).await?.status() {
        StatusCode::CONFLICT => Ok(()),
        status if status.is_success() => Ok(()),
        status if status.is_server_error() => Err(Failed::passing(format_args!("making the bucket: {status}"))),
        status => {
            let why = format!("the bucket {} is not there, and making it is refused: {status}", s3.bucket);
            Err(Failed::lasting(Kind::NotFound, why))
        }
    }
}
