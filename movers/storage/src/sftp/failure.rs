//! What a failure of SSH or SFTP means to a caller.

use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::StatusCode;

use crate::Kind;
use crate::remote::Failed;

/// What is kept of a text that a server has sent, in characters.
const LONGEST_TEXT: usize = 200;

/// A failure may pass if the connection is the reason; with a new one it is tried again.
impl From<russh::Error> for Failed {
    fn from(error: russh::Error) -> Self {
        match error {
            russh::Error::NoCommonAlgo { .. } => Self::lasting(Kind::Settings, error),
            russh::Error::IO(error) => Self::passing(error),
            russh::Error::Disconnect | russh::Error::HUP => Self::passing("the server ended the connection"),
            error => Self::passing(error),
        }
    }
}

pub(super) fn failed(error: SftpError) -> Failed {
    let SftpError::Status(status) = error else {
        return Failed::passing(error);
    };
    let said: String = status.error_message.chars().take(LONGEST_TEXT).flat_map(char::escape_debug).collect();
    let why = format!("the server says: {} ({said})", status.status_code);
    match status.status_code {
        StatusCode::NoSuchFile => Failed::lasting(Kind::NotFound, why),
        StatusCode::PermissionDenied => Failed::lasting(Kind::Denied, why),
        StatusCode::NoConnection | StatusCode::ConnectionLost => Failed::passing(why),
        StatusCode::Eof => Failed::lasting(Kind::Truncated, "it ends before what the server called its size"),
        // A file system's own failure: another attempt would meet it again.
        _ => Failed::lasting(Kind::Other, why),
    }
}
