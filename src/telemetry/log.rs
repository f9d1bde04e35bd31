//! Logs: one JSON object a line on standard output.

use tracing_subscriber::EnvFilter;

/// Why logs cannot be written as asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("--log: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// There is another logger already.
    #[error("logs were started twice: {0}")]
    Started(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts the logs with this filter.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(filter: &str) -> Result<(), LogError> {
    use tracing_subscriber::util::SubscriberInitExt as _;
    let filter: EnvFilter = filter.parse()?;
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).finish().try_init()?;
    Ok(())
}
