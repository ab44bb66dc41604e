//! Encryption of personal data and secrets: AES-256-GCM under envelope keys, and blind indexes to find
//! what is encrypted.
//!
//! The [`Keyring`] holds versioned master keys and one index key; it comes from a key file or a secret
//! store, never from the database. A [`DataKey`] encrypts what belongs to one member and is stored wrapped
//! by a master key: destroying it erases the member. A context string is bound to every ciphertext, so that
//! one cannot be moved to another row or column.

use std::{collections::BTreeMap, fmt};

use aes_gcm::{
    Aes256Gcm, KeyInit as _,
    aead::{Aead as _, Payload},
};
use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::Rng;

const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 12;
const KEY_BYTES: usize = 32;
/// Format, key version, nonce.
const HEADER_BYTES: usize = 1 + 4 + NONCE_BYTES;

type Key = Zeroizing<[u8; KEY_BYTES]>;

/// A secret cannot be read: the key is missing or destroyed, or the bytes were altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the encrypted data cannot be opened with the keys at hand")]
pub struct CannotOpen;

/// The key file is not in the expected form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key file holds lines `index:BASE64` and `1:BASE64` of 32 bytes each: {0}")]
pub struct InvalidKeyring(String);

/// The master keys by version, and the key of blind indexes.
pub struct Keyring {
    masters: BTreeMap<u32, Key>,
    index: Key,
}

impl Keyring {
    /// The text of a fresh key file.
    pub fn generate(rng: &Rng) -> Zeroizing<String> {
        let line = || Zeroizing::new(BASE64.encode(&*Zeroizing::new(rng.bytes::<KEY_BYTES>())));
        Zeroizing::new(format!("index:{}\n1:{}\n", *line(), *line()))
    }

    /// Reads a key file. The highest version encrypts, every version decrypts.
    ///
    /// # Errors
    /// When a line has another form, or the index key or every master key is missing.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyring> {
        let mut masters = BTreeMap::new();
        let mut index = None;
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let invalid = |why: &str| InvalidKeyring(why.to_owned());
            let (name, key) = line
                .split_once(':')
                .ok_or_else(|| invalid("a line has no colon"))?;
            let bytes = Zeroizing::new(
                BASE64
                    .decode(key.trim().as_bytes())
                    .map_err(|_| invalid("a key is not Base64"))?,
            );
            let key: Key = Zeroizing::new(
                bytes
                    .as_slice()
                    .try_into()
                    .map_err(|_| invalid("a key has not 32 bytes"))?,
            );
            if name == "index" {
                index = Some(key);
            } else {
                let version = name.parse().map_err(|_| invalid("a version is not a number"))?;
                masters.insert(version, key);
            }
        }
        match index {
            Some(index) if !masters.is_empty() => Ok(Self { masters, index }),
            _ => Err(InvalidKeyring(
                "the index key or the master key is missing".into(),
            )),
        }
    }

    /// Encrypts a secret of the installation, such as the secret of an API client.
    pub fn seal(&self, rng: &Rng, context: &str, plain: &[u8]) -> Vec<u8> {
        let (version, key) = self.current();
        seal(key, version, rng, context, plain)
    }

    /// Decrypts what [`Keyring::seal`] made, with the version that it names.
    ///
    /// # Errors
    /// When the key is missing, the bytes were altered or the context is another one.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
        let version = sealed
            .get(1..5)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(CannotOpen)?;
        let key = self.masters.get(&u32::from_be_bytes(version)).ok_or(CannotOpen)?;
        open(key, context, sealed)
    }

    /// Makes a data key: the key itself and its wrapped form, which is what is stored.
    pub fn new_data_key(&self, rng: &Rng, context: &str) -> (DataKey, Vec<u8>) {
        let key: Key = Zeroizing::new(rng.bytes());
        let wrapped = self.seal(rng, context, &*key);
        (DataKey(key), wrapped)
    }

    /// Unwraps a data key.
    ///
    /// # Errors
    /// As [`Keyring::open`].
    pub fn open_data_key(&self, context: &str, wrapped: &[u8]) -> Result<DataKey, CannotOpen> {
        let bytes = self.open(context, wrapped)?;
        bytes
            .as_slice()
            .try_into()
            .map(|key| DataKey(Zeroizing::new(key)))
            .map_err(|_| CannotOpen)
    }

    /// The text under which an encrypted value is found: the same for the same value, and useless without
    /// the key. `context` separates kinds, so that a phone and a name never match.
    pub fn blind_index(&self, context: &str, value: &str) -> String {
        HEXLOWER.encode(&mac(&*self.index, &[context.as_bytes(), b"\0", value.as_bytes()]))
    }

    fn current(&self) -> (u32, &Key) {
        self.masters
            .last_key_value()
            .map_or_else(|| (0, &self.index), |(version, key)| (*version, key))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring(versions {:?})", self.masters.keys())
    }
}

/// The key of one member's personal data.
pub struct DataKey(Key);

impl DataKey {
    /// Encrypts one value.
    pub fn seal(&self, rng: &Rng, context: &str, plain: &[u8]) -> Vec<u8> {
        seal(&self.0, 0, rng, context, plain)
    }

    /// Decrypts one value.
    ///
    /// # Errors
    /// When the bytes were altered or the context is another one.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
        open(&self.0, context, sealed)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey")
    }
}

/// HMAC-SHA-256 over the parts as one message.
pub fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // HMAC takes a key of any length: the error cannot occur, and the empty key is never a fallback.
    let mut mac = match <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC accepts keys of every length"),
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn seal(key: &Key, version: u32, rng: &Rng, context: &str, plain: &[u8]) -> Vec<u8> {
    let nonce: [u8; NONCE_BYTES] = rng.bytes();
    let payload = Payload {
        msg: plain,
        aad: context.as_bytes(),
    };
    let cipher = match Aes256Gcm::new(&(**key).into()).encrypt(&nonce.into(), payload) {
        Ok(cipher) => cipher,
        Err(_) => unreachable!("AES-GCM refuses only messages above 64 GiB"),
    };
    let mut sealed = Vec::with_capacity(HEADER_BYTES + cipher.len());
    sealed.push(FORMAT);
    sealed.extend(version.to_be_bytes());
    sealed.extend(nonce);
    sealed.extend(cipher);
    sealed
}

fn open(key: &Key, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
    let (header, cipher) = sealed.split_at_checked(HEADER_BYTES).ok_or(CannotOpen)?;
    if header[0] != FORMAT {
        return Err(CannotOpen);
    }
    let nonce: [u8; NONCE_BYTES] = header[5..].try_into().map_err(|_| CannotOpen)?;
    Aes256Gcm::new(&(**key).into())
        .decrypt(
            &nonce.into(),
            Payload {
                msg: cipher,
                aad: context.as_bytes(),
            },
        )
        .map(Zeroizing::new)
        .map_err(|_| CannotOpen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(text: &str) -> Keyring {
        Keyring::parse(text).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_only_in_its_context_and_unaltered() {
        let rng = Rng::seeded(1);
        let keys = keyring(&Keyring::generate(&rng));
        let (data_key, wrapped) = keys.new_data_key(&rng, "member/1");
        let sealed = data_key.seal(&rng, "phone", b"13800138000");
        let opened = keys
            .open_data_key("member/1", &wrapped)
            .unwrap()
            .open("phone", &sealed)
            .unwrap();
        assert_eq!(&*opened, b"13800138000");
        assert!(keys.open_data_key("member/2", &wrapped).is_err());
        assert!(data_key.open("name", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            // The version of a data key is not used, everything else is authenticated.
            assert!(
                (1..5).contains(&at) || data_key.open("phone", &altered).is_err(),
                "byte {at}"
            );
        }
    }

    #[test]
    fn old_versions_open_after_a_rotation_and_indexes_stay() {
        let rng = Rng::seeded(2);
        let text = Keyring::generate(&rng);
        let before = keyring(&text);
        let sealed = before.seal(&rng, "client", b"secret");
        let second = Keyring::generate(&rng).replace("1:", "2:");
        let second = second.lines().find(|line| line.starts_with("2:")).unwrap();
        let after = keyring(&format!("{}{second}\n", *text));
        assert_eq!(&*after.open("client", &sealed).unwrap(), b"secret");
        assert_eq!(after.seal(&rng, "client", b"x")[4], 2);
        assert_eq!(
            before.blind_index("phone", "+8613800138000"),
            after.blind_index("phone", "+8613800138000")
        );
        assert_ne!(before.blind_index("phone", "1"), before.blind_index("name", "1"));
    }

    #[test]
    fn incomplete_key_files_are_refused() {
        for text in ["", "index:AAAA", "1:notbase64!", "no colon"] {
            assert!(Keyring::parse(text).is_err(), "{text}");
        }
    }
}
