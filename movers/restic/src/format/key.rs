//! Key files: a repository's master key, encrypted under a password (design.rst, "Keys, Encryption and MAC").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use scrypt::Params;
use serde::{Deserialize, Serialize};

use crate::format::Malformed;
use crate::format::crypto::{Forged, Key, KeyBytes, NONCE};
use crate::format::time::Time;

/// Bytes of a salt.
pub(crate) const SALT: usize = 64;
/// scrypt takes `128 * N * r` bytes, and work in proportion to `p` times that. Whoever can write to the store chooses
/// these. restic makes keys that take 60 MiB at most, rustic 128, and a mover has little more.
const MOST_MEMORY: u64 = 128 << 20;
const MOST_WORK: u64 = 4 << 30;

/// A key file, as JSON in the clear. The first three are for people.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeyFile {
    pub(crate) created: Time,
    #[serde(default)]
    pub(crate) username: String,
    #[serde(default)]
    pub(crate) hostname: String,
    kdf: String,
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
    salt: String,
    data: String,
}

/// What a key file did not open for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Closed {
    /// It was made for another password.
    Password,
    /// It is no key file of restic, or asks for more than is given.
    Malformed(Malformed),
}

impl From<Malformed> for Closed {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// The master key as the key file has it, encrypted.
#[derive(Serialize, Deserialize)]
struct Master {
    mac: Mac,
    encrypt: String,
}

#[derive(Serialize, Deserialize)]
struct Mac {
    k: String,
    r: String,
}

/// Random bytes that a new key takes.
pub(crate) struct Randomness {
    pub(crate) master: KeyBytes,
    pub(crate) salt: [u8; SALT],
    pub(crate) nonce: [u8; NONCE],
}

impl KeyFile {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, Malformed> {
        Ok(serde_json::from_slice(json)?)
    }

    /// The repository's key, if `password` is the one that this file was made for.
    pub(crate) fn open(&self, password: &[u8]) -> Result<Key, Closed> {
        if self.kdf != "scrypt" {
            return Err(Malformed::new(format!("an unknown key derivation function, {}", self.kdf)).into());
        }
        let params = match u8::try_from(self.n.trailing_zeros()) {
            Ok(log_n) if self.n.is_power_of_two() && self.memory() <= MOST_MEMORY && self.work() <= MOST_WORK => {
                Params::new(log_n, self.r, self.p).ok()
            }
            _ => None,
        };
        let bad = || {
            let Self { n, r, p, .. } = self;
            Malformed::new(format!("scrypt with N = {n}, r = {r}, p = {p} takes too much, or is none"))
        };
        let params = params.ok_or_else(bad)?;
        let salt = decode(&self.salt, "salt")?;
        if salt.len() != SALT {
            return Err(Malformed::new(format!("a salt of {} bytes instead of {SALT}", salt.len())).into());
        }
        let user = derive(password, &salt, &params)?;
        let mut data = decode(&self.data, "data")?;
        let json = user.open(&mut data).map_err(|Forged| Closed::Password)?;
        Ok(parse_master(json)?)
    }

    /// Bytes that it takes to open this file.
    fn memory(&self) -> u64 {
        self.n.saturating_mul(self.r.into()).saturating_mul(128)
    }

    /// Bytes that are mixed to open this file.
    pub(crate) fn work(&self) -> u64 {
        self.memory().saturating_mul(self.p.into())
    }

    /// A new key file for `password`, and the key in it.
    pub(crate) fn create(password: &[u8], random: &Randomness, created: Time) -> Result<(Self, Key), Malformed> {
        // What restic's calibration comes to on most machines: 32 MiB and a tenth of a second.
        let (log_n, r, p) = (15, 8, 1);
        let params = Params::new(log_n, r, p).map_err(|_| Malformed::new("scrypt's parameters"))?;
        let user = derive(password, &random.salt, &params)?;
        let part = |range| STANDARD.encode(random.master.get(range).unwrap_or_default());
        let master = Master { mac: Mac { k: part(32..48), r: part(48..64) }, encrypt: part(0..32) };
        let mut data = Vec::new();
        user.seal(random.nonce, &serde_json::to_vec(&master)?, &mut data);
        let file = Self {
            created,
            username: String::new(),
            hostname: String::new(),
            kdf: "scrypt".to_owned(),
            n: 1 << log_n,
            r,
            p,
            salt: STANDARD.encode(random.salt),
            data: STANDARD.encode(data),
        };
        Ok((file, Key::new(&random.master)))
    }
}

/// The master key, as it is in a key file beneath the password's encryption.
pub(crate) fn parse_master(json: &[u8]) -> Result<Key, Malformed> {
    let master: Master = serde_json::from_slice(json)?;
    let mut bytes = [0; 64];
    let parts = [(&master.encrypt, 0..32), (&master.mac.k, 32..48), (&master.mac.r, 48..64)];
    for (text, range) in parts {
        let part = decode(text, "master key")?;
        let place = bytes.get_mut(range).unwrap_or_default();
        if part.len() != place.len() || part.iter().all(|byte| *byte == 0) {
            return Err(Malformed::new("a master key of another size, or of zeros"));
        }
        place.copy_from_slice(&part);
    }
    Ok(Key::new(&bytes))
}

fn derive(password: &[u8], salt: &[u8], params: &Params) -> Result<Key, Malformed> {
    let mut bytes = [0; 64];
    scrypt::scrypt(password, salt, params, &mut bytes).map_err(|_| Malformed::new("scrypt's parameters"))?;
    Ok(Key::new(&bytes))
}

fn decode(text: &str, what: &str) -> Result<Vec<u8>, Malformed> {
    STANDARD.decode(text).map_err(|error| Malformed::new(format!("its {what} is not base64: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::config::{Config, Version};

    const CREATED: &str = "2026-11-29T12:00:00Z";

    fn random() -> Randomness {
        Randomness { master: [3; 64], salt: [5; SALT], nonce: [7; NONCE] }
    }

    /// Made by restic 0.14 with the password "geheim".
    const OF_RESTIC: &str = r#"{"created":"2026-11-29T12:52:48.720322609Z","username":"root","hostname":"vm","kdf":"scrypt","N":32768,"r":8,"p":4,"salt":"UZMWKtYXRKWrXGpqgurv4+qtcVYwvXnyCkH1T3DXdDotZw7jaMTv8ASRxSTzYfrmY0gIoolHP/SS+hQwq3azgQ==","data":"dVh8/1PL2bqZ2czSD0ogbwkoZzJ9WmCbfg/1wKdsS26BsxFvEvoYAAIiLetmqmSDrmfiW5lkNlgHDPKrvILCisZcIpW8y81esXMlPw/2iJ0VwS4J1hp5stj71M1UepYbDyqOJe6sVB3V5HiuSMzdm/iuNXFWcg/u5Pl6gNwqwj8XI5HkzMwtnaFaRufX6dxj4aAwN+d4ytDETNGtRII4UQ=="}"#;
    /// The `config` beside it, in base64.
    const ITS_CONFIG: &str = "4Iw37Qk6Jfw4p+kZk7n1EIPjPO9y2FGYLxvVj04O0/57++vy48REq/U5ImxfRbmpvtX2iXswGAGNQI4e51LoK3G8uQCYygF/9u2KakOpZj1PJ+gkJbgZq4kjg33ojUISUyqiOc6I+BuBUPBTTL3a2sOd0boky1i0yFr/CrxQCoNh8z2Zkajww1iYM7apO8c0Kk6ZmMcjyqkqRto=";

    #[test]
    fn a_key_file_of_restic_opens_its_repository() {
        let file = KeyFile::parse(OF_RESTIC.as_bytes()).unwrap();
        assert_eq!(file.open(b"geheimer").err(), Some(Closed::Password));
        let key = file.open(b"geheim").ok().unwrap();
        let mut config = STANDARD.decode(ITS_CONFIG).unwrap();
        let config = Config::parse(key.open(&mut config).unwrap()).unwrap();
        assert_eq!(config.version, Version::V2);
        assert_eq!(config.id, "612e6c23f849ae5b3602671b5e2a0f06f108c33a550ceb317762796db0a12973");
        assert_eq!(config.polynomial.bits(), 0x002d_66fc_54a7_84c7);
    }

    #[test]
    fn a_key_file_opens_for_its_password_alone() {
        let (file, key) = KeyFile::create(b"right", &random(), Time::parse(CREATED).unwrap()).unwrap();
        let file = KeyFile::parse(&serde_json::to_vec(&file).unwrap()).unwrap();
        let mut sealed = Vec::new();
        key.seal([1; NONCE], b"content", &mut sealed);
        assert_eq!(file.open(b"right").ok().unwrap().open(&mut sealed).unwrap(), b"content");
        assert_eq!(file.open(b"wrong").err(), Some(Closed::Password));
    }

    #[test]
    fn a_key_file_cannot_ask_for_more_than_is_given() {
        let (file, _) = KeyFile::create(b"right", &random(), Time::parse(CREATED).unwrap()).unwrap();
        for (n, r, p) in [
            (1 << 40, 8, 1),
            (1 << 18, 8, 1),
            (3, 8, 1),
            (0, 8, 1),
            (1 << 15, 0, 1),
            (1 << 15, 8, 0),
            (1 << 15, 8, 1 << 20),
        ] {
            let file = KeyFile {
                n,
                r,
                p,
                salt: file.salt.clone(),
                data: file.data.clone(),
                ..KeyFile::parse(&serde_json::to_vec(&file).unwrap()).unwrap()
            };
            assert!(matches!(file.open(b"right"), Err(Closed::Malformed(_))), "{n} {r} {p}");
        }
    }
}
