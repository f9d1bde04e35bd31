//! Objects in a bucket or a folder: whole objects with names like `data/3f/3f9a...`, written once, read whole or in part.
//!
//! An engine sees only [`Storage`]; how a service is reached, what is tried again and for how long is decided here.

#[cfg(feature = "remote")]
mod bucket;
#[cfg(any(test, feature = "double"))]
pub mod double;
mod error;
pub mod folder;
#[cfg(feature = "remote")]
pub mod location;
#[cfg(feature = "remote")]
mod remote;
#[cfg(feature = "remote")]
mod rest;
#[cfg(feature = "remote")]
mod sftp;
#[cfg(feature = "remote")]
mod swift;
#[cfg(feature = "remote")]
mod web;

pub use error::{Error, Kind};
#[cfg(feature = "remote")]
pub use remote::{Haste, Manners};

use bytes::Bytes;

/// The store at a location. Nothing is asked of it yet. Of servers only those are trusted whose certificate an authority in the
/// file `trusted` vouches for, in PEM; without one, those that the machine trusts.
///
/// # Errors
/// [`Kind::Settings`] if the file of certificates cannot be used.
#[cfg(feature = "remote")]
pub fn open(
    location: location::Location,
    trusted: Option<&std::path::Path>,
    manners: Manners,
) -> Result<Box<dyn Storage>, Error> {
    use bucket::{Bucket, Place};
    use location::Location;
    use remote::Remote;
    use rest::RestServer;
    use sftp::SftpServer;
    use swift::Container;
    use web::Web;
    let place = match location {
        Location::Folder(path) => return Ok(Box::new(folder::Folder::new(path))),
        Location::Rest(rest) => {
            let web = Web::new(trusted, &manners.proxies)?;
            return Ok(Box::new(Remote::new(RestServer::new(&rest, web)?, manners)?));
        }
        Location::Sftp(sftp) => return Ok(Box::new(Remote::new(SftpServer::new(sftp)?, manners)?)),
        Location::Swift(swift) => {
            let web = Web::new(trusted, &manners.proxies)?;
            return Ok(Box::new(Remote::new(Container::new(swift, web), manners)?));
        }
        Location::S3(s3) => Place::S3(s3),
        Location::Azure(azure) => Place::Azure(azure),
        Location::B2(b2) => Place::B2(b2),
        Location::Gcs(gcs) => Place::Gcs(gcs),
    };
    let web = Web::new(trusted, &manners.proxies)?;
    Ok(Box::new(Remote::new(Bucket::new(place, web), manners)?))
}

/// No object is read that is larger, in bytes: restic's packs have at most 128 MiB, and a store may lie.
pub const LARGEST_OBJECT: u64 = 256 << 20;

/// No listing is longer: that many packs of restic's are 64 TiB and more, and a store may go on for ever.
pub const MOST_OBJECTS: usize = 4_000_000;

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its whole name, the listed folder's included.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

/// A part of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The object's name.
    pub name: String,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Bytes.
    pub length: usize,
}

/// Where objects are kept. Names have `/` between their parts, none at the ends, and no part `.` or `..`.
///
/// All of these block, and are called from several threads at once. A failure that may pass was tried again before it is
/// returned.
pub trait Storage: Send + Sync {
    /// The whole content of an object.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is none of that name. One that is larger than [`LARGEST_OBJECT`] is not read.
    fn read(&self, name: &str) -> Result<Bytes, Error>;

    /// `length` bytes from `offset` on, never fewer.
    ///
    /// # Errors
    /// [`Kind::Truncated`] if the object ends before that.
    fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Bytes, Error>;

    /// Several parts of objects, each as [`Storage::read_range`] would have it and in their order. A store that is far away is asked
    /// for several at a time.
    fn read_ranges(&self, parts: &[Part]) -> Vec<Result<Bytes, Error>> {
        parts.iter().map(|part| self.read_range(&part.name, part.offset, part.length)).collect()
    }

    /// Keeps `content` under `name`: afterwards it is there whole, or not at all. What was there under that name is replaced.
    ///
    /// # Errors
    /// After any of them the object may be there all the same: an answer can be lost.
    fn write(&self, name: &str, content: Bytes) -> Result<(), Error>;

    /// Every object below a folder, in no order. A folder that is not there has none.
    ///
    /// # Errors
    /// A listing that could not be had to its end.
    fn list(&self, folder: &str) -> Result<Vec<Object>, Error>;

    /// Removes what writers that died have left behind below a folder, and what is no object; how many there were. Stores in
    /// which an object is there whole or not at all have nothing of the kind.
    ///
    /// # Errors
    /// What keeps it from being found or removed.
    fn sweep(&self, folder: &str) -> Result<usize, Error> {
        let _ = folder;
        Ok(0)
    }

    /// The object is gone afterwards; it is no error if it was not there.
    ///
    /// # Errors
    /// What keeps the object from being removed.
    fn remove(&self, name: &str) -> Result<(), Error>;
}
