//! Rotating codes: shown by a member's card, taken by a till once.

use huika_core::{Actor, MemberId, Timestamp};
use zeroize::Zeroizing;

use crate::{
    CardNumber, Identity, MemberAction, MemberView, Members, MembersError,
    domain::code::{STEP_MS, ShownCode, code_of, day_key, day_of, step_of},
    permission, store,
};

/// Steps after which a code that was taken cannot come again and its row may go.
const KEEP_STEPS: i64 = 4;

/// A code to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardCode {
    /// 25 digits.
    pub code: String,
    /// When the next one is due. A till takes this one for thirty seconds more.
    pub expires_at: Timestamp,
}

/// The key by which a till checks codes of one UTC day without a network. `Debug` hides it.
pub struct CardKey {
    /// The key.
    pub key: Zeroizing<[u8; 32]>,
    /// From when on codes are made with it.
    pub valid_from: Timestamp,
    /// Until when.
    pub valid_until: Timestamp,
}

impl std::fmt::Debug for CardKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CardKey({})", self.valid_from)
    }
}

impl Members {
    /// The code that a member's card shows now.
    ///
    /// # Errors
    /// [`MembersError::NotFound`], [`MembersError::StateBlocks`].
    pub async fn card_code(&self, actor: &Actor, id: MemberId) -> Result<CardCode, MembersError> {
        actor.authorize(&permission::ISSUE_CODE)?;
        let now = self.now();
        let view = self.load_view(id).await?;
        view.state.require(MemberAction::LogIn)?;
        let step = step_of(now);
        let key = self.newest_day_key(day_of(step))?;
        Ok(CardCode {
            code: code_of(&key, &view.card_number, step),
            expires_at: Timestamp::from_millis((step + 1) * STEP_MS),
        })
    }

    /// Takes a code and tells whose it is. Each code counts once: whoever shows a picture of it comes too late.
    ///
    /// # Errors
    /// [`MembersError::CodeUnreadable`], [`MembersError::CodeExpired`], [`MembersError::CodeUsed`],
    /// [`MembersError::NotFound`].
    pub async fn verify_card_code(&self, actor: &Actor, text: &str) -> Result<MemberView, MembersError> {
        actor.authorize(&permission::VERIFY_CODE)?;
        let now = self.now();
        let shown = ShownCode::parse(text)?;
        let step = shown.check(&self.keyring, now)?;
        let card: &CardNumber = &shown.card;
        let name = &Identity::Card(card.clone()).name(&self.keyring);
        self.db
            .run_tx("members.verify_card_code", |tx| {
                Box::pin(async move {
                    let owners = store::identity_owners(tx, std::slice::from_ref(name)).await?;
                    let id = owners.get(name).copied().ok_or(MembersError::NotFound)?;
                    if !store::code_use(tx, id, card, step, step - KEEP_STEPS, now).await? {
                        return Err(MembersError::CodeUsed);
                    }
                    let member = store::member_find(tx, id, now)
                        .await?
                        .ok_or(MembersError::NotFound)?;
                    member.view(&self.keyring)
                })
            })
            .await
    }

    /// The key by which a till checks codes of today without a network.
    ///
    /// # Errors
    /// When the actor lacks the permission.
    pub fn card_key(&self, actor: &Actor) -> Result<CardKey, MembersError> {
        actor.authorize(&permission::CARD_KEY)?;
        let day = day_of(step_of(self.now()));
        let start = |day: i64| Timestamp::from_millis(day * 24 * 60 * 60 * 1_000);
        Ok(CardKey {
            key: self.newest_day_key(day)?,
            valid_from: start(day),
            valid_until: start(day + 1),
        })
    }

    fn newest_day_key(&self, day: i64) -> Result<Zeroizing<[u8; 32]>, MembersError> {
        let newest = self.keyring.index_generations().first().copied();
        newest
            .and_then(|generation| day_key(&self.keyring, day, generation))
            .ok_or(MembersError::KeysMissing)
    }
}
