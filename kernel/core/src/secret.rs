//! Encryption of personal data and secrets: AES-256-GCM under envelope keys, and blind indexes to find
//! what is encrypted.
//!
//! The [`Keyring`] holds master keys and index keys, both in generations; it comes from a key file or a secret
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
#[error("the key file holds lines `index:BASE64`, `index2:BASE64` … and `1:BASE64` … of 32 bytes each: {0}")]
pub struct InvalidKeyring(String);

/// The master keys and the keys of blind indexes, each by generation.
pub struct Keyring {
    masters: BTreeMap<u32, Key>,
    indexes: BTreeMap<u32, Key>,
}

/// A blind index and the generation of the key that made it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlindIndex {
    /// The text to be stored and found.
    pub text: String,
    /// The generation of the key.
    pub generation: u32,
}

impl Keyring {
    /// The text of a fresh key file.
    pub fn generate(rng: &Rng) -> Zeroizing<String> {
        let line = || Zeroizing::new(BASE64.encode(&*Zeroizing::new(rng.bytes::<KEY_BYTES>())));
        Zeroizing::new(format!("index:{}\n1:{}\n", *line(), *line()))
    }

    /// Reads a key file. The highest generation encrypts and indexes, every generation decrypts and finds. The line
    /// `index:` is the first generation of index keys, `index2:` the second.
    ///
    /// # Errors
    /// When a line has another form or stands there twice, or every index key or every master key is missing.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyring> {
        let (mut masters, mut indexes) = (BTreeMap::new(), BTreeMap::new());
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
            let (keys, number) = match name.strip_prefix("index") {
                Some("") => (&mut indexes, "1"),
                Some("1") => return Err(invalid("the first index key is called index, without a number")),
                Some(number) => (&mut indexes, number),
                None => (&mut masters, name),
            };
            let generation: u32 = number
                .parse()
                .map_err(|_| invalid("a generation is not a number"))?;
            if keys.insert(generation, key).is_some() {
                return Err(invalid("a generation stands there twice"));
            }
        }
        if masters.is_empty() || indexes.is_empty() {
            return Err(InvalidKeyring(
                "the index key or the master key is missing".into(),
            ));
        }
        Ok(Self { masters, indexes })
    }

    /// Encrypts a secret of the installation, such as the secret of an API client.
    pub fn seal(&self, rng: &Rng, context: &str, plain: &[u8]) -> Vec<u8> {
        let (generation, key) = newest(&self.masters);
        seal(key, generation, rng, context, plain)
    }

    /// Decrypts what [`Keyring::seal`] made, with the version that it names.
    ///
    /// # Errors
    /// When the key is missing, the bytes were altered or the context is another one.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
        let generation = Self::generation_of(sealed).ok_or(CannotOpen)?;
        let key = self.masters.get(&generation).ok_or(CannotOpen)?;
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
    /// the key. `context` separates kinds, so that a phone and a name never match. Made with the newest key.
    pub fn blind_index(&self, context: &str, value: &str) -> String {
        index_text(newest(&self.indexes).1, context, value)
    }

    /// The same under every index key, newest first: until all rows are written anew, a value may be stored under an
    /// older one.
    pub fn blind_indexes(&self, context: &str, value: &str) -> Vec<BlindIndex> {
        let newest_first = self.indexes.iter().rev();
        newest_first
            .map(|(generation, key)| BlindIndex {
                text: index_text(key, context, value),
                generation: *generation,
            })
            .collect()
    }

    /// The generation of the master key that encrypts now.
    pub fn master_generation(&self) -> u32 {
        newest(&self.masters).0
    }

    /// The generations of the index keys, newest first.
    pub fn index_generations(&self) -> Vec<u32> {
        self.indexes.keys().rev().copied().collect()
    }

    /// The generation of the master key that something was encrypted with.
    pub fn generation_of(sealed: &[u8]) -> Option<u32> {
        let bytes = sealed.get(1..5)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    }

    /// A key for something that every process must derive alike, such as codes of cards. It changes with the index
    /// key, so the caller says of which generation it is.
    pub fn derived_key(&self, context: &str, generation: u32) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
        let key = self.indexes.get(&generation)?;
        Some(Zeroizing::new(mac(&**key, &[b"derived\0", context.as_bytes()])))
    }
}

/// A keyring has a key of each kind: [`Keyring::parse`] refuses one without.
fn newest(keys: &BTreeMap<u32, Key>) -> (u32, &Key) {
    match keys.last_key_value() {
        Some((generation, key)) => (*generation, key),
        None => unreachable!("a keyring has a key of each kind"),
    }
}

fn index_text(key: &Key, context: &str, value: &str) -> String {
    HEXLOWER.encode(&mac(&**key, &[context.as_bytes(), b"\0", value.as_bytes()]))
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (masters, indexes) = (self.masters.keys(), self.indexes.keys());
        write!(f, "Keyring(masters {masters:?}, indexes {indexes:?})")
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
    fn a_new_index_key_is_used_at_once_and_the_old_one_still_finds() {
        let rng = Rng::seeded(3);
        let text = Keyring::generate(&rng);
        let before = keyring(&text);
        let second = BASE64.encode(&rng.bytes::<KEY_BYTES>());
        let after = keyring(&format!("{}index2:{second}\n", *text));
        let old = before.blind_index("phone", "+8613800138000");
        let both = after.blind_indexes("phone", "+8613800138000");
        let generations: Vec<u32> = both.iter().map(|index| index.generation).collect();
        assert_eq!((generations, after.index_generations()), (vec![2, 1], vec![2, 1]));
        assert_eq!(both[0].text, after.blind_index("phone", "+8613800138000"));
        assert_eq!(both[1].text, old);
        assert_ne!(both[0].text, old);
        assert_eq!(before.derived_key("card", 1), after.derived_key("card", 1));
        assert_ne!(after.derived_key("card", 1), after.derived_key("card", 2));
        assert_eq!(before.derived_key("card", 2), None);
    }

    #[test]
    fn incomplete_and_ambiguous_key_files_are_refused() {
        let key = BASE64.encode(&[7; KEY_BYTES]);
        let one_of_each = format!("index:{key}\n1:{key}\n");
        assert!(Keyring::parse(&one_of_each).is_ok());
        for text in ["", "index:AAAA", "1:notbase64!", "no colon"] {
            assert!(Keyring::parse(text).is_err(), "{text}");
        }
        for line in ["index", "index1", "1", "indexed", "index-2", "x"] {
            let text = format!("{one_of_each}{line}:{key}\n");
            assert!(Keyring::parse(&text).is_err(), "{line}");
        }
    }
}
