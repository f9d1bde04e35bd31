//! The file `config` (design.rst, "Repository Format").

use serde::{Deserialize, Serialize};

use crate::format::Malformed;
use crate::format::id::Id;
use crate::format::polynomial::Polynomial;

/// A version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Nothing is compressed.
    V1,
    /// With compression; since restic 0.14.
    V2,
}

impl Version {
    fn number(self) -> u32 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// What a repository says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) version: Version,
    pub(crate) id: String,
    pub(crate) polynomial: Polynomial,
}

#[derive(Serialize, Deserialize)]
struct Json {
    version: u32,
    id: String,
    chunker_polynomial: String,
}

/// Why a `config` is not one that we know.
#[derive(Debug)]
pub(crate) enum Unknown {
    /// Another version of the format.
    Version(u32),
    /// None of them.
    Malformed(Malformed),
}

impl Config {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, Unknown> {
        let Json { version, id, chunker_polynomial } =
            serde_json::from_slice(json).map_err(|error| Unknown::Malformed(error.into()))?;
        let version = match version {
            1 => Version::V1,
            2 => Version::V2,
            other => return Err(Unknown::Version(other)),
        };
        let polynomial = Polynomial::parse(&chunker_polynomial).map_err(Unknown::Malformed)?;
        Ok(Self { version, id, polynomial })
    }

    /// A new repository's, of random bytes.
    pub(crate) fn new(version: Version, id: [u8; Id::LEN], polynomial: Polynomial) -> Self {
        Self { version, id: Id::from_bytes(id).to_string(), polynomial }
    }

    pub(crate) fn to_json(&self) -> Result<Vec<u8>, Malformed> {
        let Self { version, id, polynomial } = self;
        let json =
            Json { version: version.number(), id: id.clone(), chunker_polynomial: format!("{:x}", polynomial.bits()) };
        Ok(serde_json::to_vec(&json)?)
    }
}
