//! Personal data under the member's own key (S1-81). Whoever destroys the key erases the member.

use huika_core::{DataKey, Keyring, MemberId, Rng};

use super::{
    member::Nickname,
    profile::{PersonalField, PersonalValue},
};
use crate::{MembersError, PhoneNumber};

/// The key of one member's personal data. The member's id is bound to the key and to every value, so that
/// neither can be moved to another row, nor a value to another column.
pub(crate) struct MemberKey {
    member_id: MemberId,
    key: DataKey,
}

impl MemberKey {
    /// Makes a key: the key itself and its wrapped form, which is what is stored.
    pub(crate) fn generate(keyring: &Keyring, rng: &Rng, member_id: MemberId) -> (Self, Vec<u8>) {
        let (key, wrapped) = keyring.new_data_key(rng, &key_context(member_id));
        (Self { member_id, key }, wrapped)
    }

    /// Unwraps a stored key.
    pub(crate) fn open(keyring: &Keyring, member_id: MemberId, wrapped: &[u8]) -> Result<Self, MembersError> {
        let key = keyring
            .open_data_key(&key_context(member_id), wrapped)
            .map_err(|_| MembersError::KeysMissing)?;
        Ok(Self { member_id, key })
    }

    /// A stored key, wrapped by the newest master key.
    pub(crate) fn rewrap(
        keyring: &Keyring,
        rng: &Rng,
        member_id: MemberId,
        wrapped: &[u8],
    ) -> Result<Vec<u8>, MembersError> {
        let context = key_context(member_id);
        let key = keyring
            .open(&context, wrapped)
            .map_err(|_| MembersError::KeysMissing)?;
        Ok(keyring.seal(rng, &context, &key))
    }

    pub(crate) fn seal_phone(&self, rng: &Rng, phone: &PhoneNumber) -> Vec<u8> {
        self.key
            .seal(rng, &self.context("phone"), phone.reveal().as_bytes())
    }

    pub(crate) fn open_phone(&self, sealed: &[u8]) -> Result<PhoneNumber, MembersError> {
        self.open_text("phone", sealed)?.parse()
    }

    pub(crate) fn seal_nickname(&self, rng: &Rng, nickname: &Nickname) -> Vec<u8> {
        self.key
            .seal(rng, &self.context("nickname"), nickname.as_str().as_bytes())
    }

    pub(crate) fn open_nickname(&self, sealed: &[u8]) -> Result<Nickname, MembersError> {
        self.open_text("nickname", sealed)?.parse()
    }

    pub(crate) fn seal_value(&self, rng: &Rng, value: &PersonalValue) -> Vec<u8> {
        self.seal_text(rng, "members_personal", value.field().name(), value.reveal())
    }

    pub(crate) fn seal_guardian(&self, rng: &Rng, phone: &PhoneNumber) -> Vec<u8> {
        self.seal_text(rng, "members_guardian", "phone", phone.reveal())
    }

    pub(crate) fn open_value(
        &self,
        field: PersonalField,
        sealed: &[u8],
    ) -> Result<PersonalValue, MembersError> {
        let text = self.open_bound("members_personal", field.name(), sealed)?;
        Ok(PersonalValue::stored(field, text))
    }

    /// Encrypts a text of another table. `name` tells the value among those of the member in the table.
    pub(crate) fn seal_text(&self, rng: &Rng, table: &str, name: &str, text: &str) -> Vec<u8> {
        let context = format!("{table}/{name}/{}", self.member_id);
        self.key.seal(rng, &context, text.as_bytes())
    }

    /// Decrypts what [`MemberKey::seal_text`] made.
    pub(crate) fn open_bound(&self, table: &str, name: &str, sealed: &[u8]) -> Result<String, MembersError> {
        let context = format!("{table}/{name}/{}", self.member_id);
        let opened = self
            .key
            .open(&context, sealed)
            .map_err(|_| MembersError::KeysMissing)?;
        String::from_utf8(opened.to_vec()).map_err(|_| MembersError::KeysMissing)
    }

    fn open_text(&self, column: &str, sealed: &[u8]) -> Result<String, MembersError> {
        let opened = self
            .key
            .open(&self.context(column), sealed)
            .map_err(|_| MembersError::KeysMissing)?;
        String::from_utf8(opened.to_vec()).map_err(|_| MembersError::KeysMissing)
    }

    fn context(&self, column: &str) -> String {
        format!("members_member/{column}/{}", self.member_id)
    }
}

fn key_context(member_id: MemberId) -> String {
    format!("members_key/{member_id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_open_for_their_own_member_and_column_alone() {
        let rng = Rng::seeded(3);
        let keyring = Keyring::parse(&Keyring::generate(&rng)).unwrap();
        let (anna, ben) = (MemberId::from_i64(1), MemberId::from_i64(2));
        let (key, wrapped) = MemberKey::generate(&keyring, &rng, anna);
        let phone: PhoneNumber = "13800138000".parse().unwrap();
        let sealed = key.seal_phone(&rng, &phone);

        let opened = MemberKey::open(&keyring, anna, &wrapped).unwrap();
        assert_eq!(opened.open_phone(&sealed).unwrap(), phone);
        assert!(opened.open_nickname(&sealed).is_err());
        assert!(MemberKey::open(&keyring, ben, &wrapped).is_err());
        let other_keyring = Keyring::parse(&Keyring::generate(&rng)).unwrap();
        assert!(matches!(
            MemberKey::open(&other_keyring, anna, &wrapped),
            Err(MembersError::KeysMissing)
        ));
    }
}
