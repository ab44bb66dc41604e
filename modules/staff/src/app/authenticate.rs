//! Who sent a request: from memory where it can be, from the database otherwise.

use std::sync::Arc;

use huika_core::{Actor, Timestamp};

use crate::{
    ApiClientId, SignedText, Staff, StaffError,
    domain::{
        api_client::{SigningClient, secret_context},
        session::{Session, TokenHash},
        signature::{Signature, check_timestamp},
    },
    store,
};

impl Staff {
    /// The operator whose session a token is. Using the session prolongs it.
    pub(crate) async fn authenticate_session(&self, token: &str) -> Result<Actor, StaffError> {
        let (now, token_hash) = (self.clock().now(), TokenHash::of(token));
        let session = match self.0.sessions.get(&token_hash, now) {
            Some(session) => session,
            None => self.load_session(token_hash, now).await?,
        };
        if session.is_valid(now) {
            Ok(session.actor.clone())
        } else {
            Err(StaffError::SessionInvalid)
        }
    }

    async fn load_session(&self, token_hash: TokenHash, now: Timestamp) -> Result<Arc<Session>, StaffError> {
        let generation = self.0.sessions.generation();
        let found = store::session_find(&mut self.db(), token_hash).await?;
        let Some(mut session) = found.filter(|session| session.is_valid(now)) else {
            self.0.sessions.remove(&token_hash);
            return Err(StaffError::SessionInvalid);
        };
        if let Some(end) = session.prolonged(now) {
            let prolonged_before = session.expires_at;
            self.db()
                .run_tx("staff.prolong_session", |tx| {
                    Box::pin(store::session_prolong(tx, token_hash, prolonged_before, end))
                })
                .await?;
            session.expires_at = end;
        }
        let session = Arc::new(session);
        self.0
            .sessions
            .insert(generation, token_hash, Arc::clone(&session), now);
        Ok(session)
    }

    /// The client that signed a text. Each timestamp and nonce is taken once.
    pub(crate) async fn authenticate_signature(
        &self,
        client_id: ApiClientId,
        text: &SignedText<'_>,
        timestamp_s: i64,
        signature: &Signature,
    ) -> Result<Actor, StaffError> {
        let now = self.clock().now();
        check_timestamp(timestamp_s, now)?;
        let client = self.client(client_id, now).await?;
        // Every secret is tried, so that the time tells nothing.
        let fits = client
            .secrets(now)
            .fold(false, |fits, secret| fits | text.is_signed_by(secret, signature));
        if !fits {
            return Err(StaffError::SignatureInvalid);
        }
        // Last, so that only the client itself can use up its nonces.
        self.0
            .nonces
            .claim(client_id, text.nonce, timestamp_s, now)
            .await?;
        Ok(client.actor.clone())
    }

    /// What can be known of a signature before the body: its timestamp holds, and there is such a client.
    pub(crate) async fn screen_signature(
        &self,
        client_id: ApiClientId,
        timestamp_s: i64,
    ) -> Result<(), StaffError> {
        let now = self.clock().now();
        check_timestamp(timestamp_s, now)?;
        self.client(client_id, now).await.map(drop)
    }

    async fn client(&self, id: ApiClientId, now: Timestamp) -> Result<Arc<SigningClient>, StaffError> {
        match self.0.clients.get(&id, now) {
            Some(client) => Ok(client),
            None => self.load_client(id, now).await,
        }
    }

    async fn load_client(&self, id: ApiClientId, now: Timestamp) -> Result<Arc<SigningClient>, StaffError> {
        let generation = self.0.clients.generation();
        let Some(stored) = store::api_client_find_active(&mut self.db(), id).await? else {
            self.0.clients.remove(&id);
            return Err(StaffError::SignatureInvalid);
        };
        let open = |sealed: &[u8]| {
            let opened = self.0.keyring.open(&secret_context(id), sealed);
            opened.map_err(|_| StaffError::SecretUnreadable)
        };
        let previous = stored.previous.filter(|(_, until)| now < *until);
        let client = Arc::new(SigningClient {
            actor: Actor::with_rights(id, stored.permissions).within(stored.stores),
            secret: open(&stored.sealed)?,
            previous: previous
                .map(|(sealed, until)| Ok::<_, StaffError>((open(&sealed)?, until)))
                .transpose()?,
        });
        self.0.clients.insert(generation, id, Arc::clone(&client), now);
        Ok(client)
    }
}
