//! Names of buckets, and paths within them.

use super::LocationError;

/// A path within a bucket in its shortest form: no slash at its ends, none twice. Empty for the bucket itself.
pub(super) fn prefix(path: &str) -> Result<String, LocationError> {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(LocationError::repository("has .. in its path; write the path without it"));
    }
    if parts.iter().any(|part| part.trim() != *part) {
        return Err(LocationError::repository("has a blank before or after a part of its path; remove it"));
    }
    Ok(parts.join("/"))
}

/// The name of a bucket or container, as far as all services agree on names.
pub(super) fn bucket(name: &str, form: &str) -> Result<String, LocationError> {
    if name.is_empty() {
        return Err(LocationError::repository(format!("has no bucket; write {form}")));
    }
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '$');
    if name.len() > 255 || !name.chars().all(good) || name.starts_with('.') {
        let what = format!("{name:?} is no name of a bucket; write {form}");
        return Err(LocationError::repository(what));
    }
    Ok(name.to_owned())
}
