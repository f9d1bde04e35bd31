//! Failures of every crate below, in the words of the contract.

use doppel_contract::{Fault, Line, Retry, Verdict};
use doppel_transport::stream::StreamError;

/// Why a run, an attempt or a connection failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    pub(crate) retry: Retry,
    pub(crate) message: Line,
}

impl Failure {
    pub(crate) fn new(fault: Fault, retry: Retry, message: impl AsRef<str>) -> Self {
        Self { fault, retry, message: Line::new(message) }
    }

    pub(crate) fn verdict(self) -> Verdict {
        let Self { fault, retry, message } = self;
        Verdict::Failed { fault, retry, message }
    }
}

impl From<&doppel_transport::error::Error> for Failure {
    fn from(error: &doppel_transport::error::Error) -> Self {
        Self::new(error.fault(), error.retry(), error.to_string())
    }
}

impl From<&doppel_rsync::error::Error> for Failure {
    fn from(error: &doppel_rsync::error::Error) -> Self {
        // The engine sees a broken stream only; the stream knows how it broke.
        match StreamError::of(error) {
            Some(cause) => Self::new(cause.fault(), cause.retry(), format!("the transfer broke off: {cause}")),
            None => Self::new(error.fault(), error.retry(), error.to_string()),
        }
    }
}

impl From<&doppel_block::error::Error> for Failure {
    fn from(error: &doppel_block::error::Error) -> Self {
        match StreamError::of(error) {
            Some(cause) => Self::new(cause.fault(), cause.retry(), format!("the transfer broke off: {cause}")),
            None => Self::new(error.fault(), error.retry(), error.to_string()),
        }
    }
}

impl From<doppel_block::device::OpenError> for Failure {
    fn from(error: doppel_block::device::OpenError) -> Self {
        use doppel_block::device::OpenError;
        let retry = match error {
            OpenError::InUse { .. } => Retry::Later,
            OpenError::Refused { .. } | OpenError::NoDevice { .. } => Retry::AfterChange,
        };
        Self::new(Fault::Volume, retry, error.to_string())
    }
}

impl From<doppel_transport::address::AddressError> for Failure {
    fn from(error: doppel_transport::address::AddressError) -> Self {
        Self::new(Fault::User, Retry::AfterChange, error.to_string())
    }
}

impl From<doppel_transport::keys::KeyFileError> for Failure {
    fn from(error: doppel_transport::keys::KeyFileError) -> Self {
        Self::new(Fault::User, Retry::AfterChange, error.to_string())
    }
}

impl From<doppel_volume::tree::OpenError> for Failure {
    fn from(error: doppel_volume::tree::OpenError) -> Self {
        Self::new(Fault::Volume, Retry::AfterChange, error.to_string())
    }
}
