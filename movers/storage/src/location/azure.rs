//! `azure:` containers.

use url::Url;

use super::{Hidden, LocationError, Settings, path};

/// A container of Azure Blob Storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Azure {
    /// Scheme and host of the account.
    pub endpoint: Url,
    /// The account.
    pub account: String,
    /// The container.
    pub container: String,
    /// The path within it, without slashes at its ends.
    pub prefix: String,
    /// Who asks.
    pub credentials: AzureCredentials,
}

/// Who asks for blobs of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AzureCredentials {
    /// The account's key, in base64.
    Key(Hidden),
    /// A shared access signature.
    Signature(Hidden),
    /// What the pod, its service account or the machine was given.
    Ambient,
}

const FORM: &str = "azure:CONTAINER:/PATH";

impl Azure {
    pub(super) fn parse(place: &str, settings: &Settings) -> Result<Self, LocationError> {
        let Some((container, prefix)) = place.split_once(':') else {
            return Err(LocationError::repository(format!("has no colon after its container; write {FORM}")));
        };
        let container = path::bucket(container, FORM)?;
        let prefix = path::prefix(prefix)?;
        let Some(account) = settings.text("AZURE_ACCOUNT_NAME")? else {
            return Err(LocationError::new("AZURE_ACCOUNT_NAME", "is missing; write the storage account's name"));
        };
        let suffix = settings.get("AZURE_ENDPOINT_SUFFIX")?.unwrap_or("core.windows.net");
        let endpoint = format!("https://{account}.blob.{suffix}");
        let endpoint = Url::parse(&endpoint).ok().filter(|url| url.path() == "/" && url.username().is_empty());
        let endpoint = endpoint.ok_or_else(|| {
            let what = "makes no host name with AZURE_ENDPOINT_SUFFIX; write the account's name alone";
            LocationError::new("AZURE_ACCOUNT_NAME", what)
        })?;
        let ambient = "cannot be given in the Secret; label the mover's pod and service account for Azure's workload \
                       identity, which sets it in the pod, or use AZURE_ACCOUNT_KEY or AZURE_ACCOUNT_SAS";
        for key in ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"] {
            settings.refuse(key, ambient)?;
        }
        let credentials = match (settings.hidden("AZURE_ACCOUNT_KEY")?, settings.get("AZURE_ACCOUNT_SAS")?) {
            // restic prefers the key too.
            (Some(key), _) => AzureCredentials::Key(base64(key)?),
            (None, Some(token)) => AzureCredentials::Signature(Hidden(token.trim_start_matches('?').to_owned())),
            (None, None) => AzureCredentials::Ambient,
        };
        Ok(Self { endpoint, account, container, prefix, credentials })
    }
}

fn base64(key: Hidden) -> Result<Hidden, LocationError> {
    let good = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/' | b'=');
    if key.expose().len().is_multiple_of(4) && key.expose().bytes().all(good) {
        return Ok(key);
    }
    Err(LocationError::new("AZURE_ACCOUNT_KEY", "is not base64; copy the whole key, with the = at its end"))
}
