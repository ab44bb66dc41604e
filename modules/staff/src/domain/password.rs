//! Passwords: how they are made, hashed and checked.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use huika_core::Rng;

use super::error::StaffError;

const SHORTEST_CHARS: usize = 12;
const LONGEST_CHARS: usize = 256;
const GENERATED_CHARS: usize = 20;
const SALT_BYTES: usize = 16;
/// Letters and digits that are not mistaken for others when they are read from a screen.
const ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// The hash that is checked for an address that nobody has, so that the answer takes as long as for one that
/// somebody has. Its password was thrown away.
pub(crate) const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5LWhhcy10aGlzIQ$iIc0VFbgqBGJYmt1v6YwyLbIo5X3WIFx0mXvAr2Z0TA";

/// Refuses what is too short to resist guessing or too long to be a password.
pub(crate) fn check(password: &str) -> Result<(), StaffError> {
    if (SHORTEST_CHARS..=LONGEST_CHARS).contains(&password.chars().count()) {
        Ok(())
    } else {
        Err(StaffError::PasswordUnsuitable {
            shortest: SHORTEST_CHARS,
            longest: LONGEST_CHARS,
        })
    }
}

/// A password for somebody who has none yet: 115 bits.
pub(crate) fn generate(rng: &Rng) -> String {
    let letter = |_| ALPHABET[rng.below(ALPHABET.len() as u64) as usize] as char;
    (0..GENERATED_CHARS).map(letter).collect()
}

/// Salt for one hash.
pub(crate) fn salt(rng: &Rng) -> [u8; SALT_BYTES] {
    rng.bytes()
}

/// Hashes with Argon2id (19 MiB, two passes). Slow by design: called where blocking is allowed.
pub(crate) fn hash(password: &str, salt: &[u8; SALT_BYTES]) -> Result<String, StaffError> {
    let hashed: Result<PasswordHash, _> =
        Argon2::default().hash_password_with_salt(password.as_bytes(), salt);
    hashed
        .map(|hash| hash.to_string())
        .map_err(|_| StaffError::HashingFailed)
}

/// Checks a password against a hash, under the parameters that the hash names. As slow as [`hash`].
pub(crate) fn fits(password: &str, hash: &str) -> Result<bool, StaffError> {
    let hash = PasswordHash::new(hash).map_err(|_| StaffError::SecretUnreadable)?;
    Ok(Argon2::default()
        .verify_password(password.as_bytes(), &hash)
        .is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_password_fits() {
        let hashed = hash("correct horse battery", &salt(&Rng::seeded(1))).unwrap();
        assert!(hashed.starts_with("$argon2id$"), "{hashed}");
        assert!(fits("correct horse battery", &hashed).unwrap());
        assert!(!fits("correct horse batterz", &hashed).unwrap());
        assert!(fits("any", "not a hash").is_err());
    }

    #[test]
    fn the_hash_of_nobody_costs_as_much_as_a_real_one() {
        let parameters = |hash: &str| hash.rsplitn(3, '$').last().map(str::to_owned);
        let real = hash("anything at all", &salt(&Rng::seeded(1))).unwrap();
        assert_eq!(parameters(NOBODY), parameters(&real));
        assert_eq!(NOBODY.len(), real.len());
        assert!(!fits("anything at all", NOBODY).unwrap());
    }

    #[test]
    fn generated_passwords_are_long_and_differ() {
        let rng = Rng::seeded(1);
        let (a, b) = (generate(&rng), generate(&rng));
        assert_ne!(a, b);
        assert_eq!(a.len(), GENERATED_CHARS);
        assert!(check(&a).is_ok() && check("short").is_err() && check(&"x".repeat(257)).is_err());
    }
}
