//! A small shop to test with: the service on a fresh database, and short ways to say who registers.

use std::sync::Arc;

use huika_core::{Actor, Keyring};
use huika_db::{Db, outbox::Event as _};
use huika_members::{ExternalIdentity, MemberRegistered, Members, MembersError, RegisterMember, Registered};
use huika_testing::TestDb;

pub(crate) const PHONE: &str = "13800138000";

pub(crate) struct Shop {
    pub(crate) members: Members,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) db: Db,
    pub(crate) owner: Actor,
}

impl Shop {
    pub(crate) fn open(cx: &TestDb) -> Self {
        let keyring = Arc::new(Keyring::parse(&Keyring::generate(&cx.rng)).unwrap());
        let db = cx.db.clone().with_topics([MemberRegistered::TOPIC]);
        let members = Members::new(db.clone(), cx.ids.clone(), Arc::clone(&keyring));
        Self {
            members,
            keyring,
            db,
            owner: Actor::with_all_rights("opr_test"),
        }
    }

    /// Registers in a transaction of the caller, as imports do.
    pub(crate) async fn register_many(
        &self,
        commands: &[RegisterMember],
    ) -> Result<Vec<Result<Registered, MembersError>>, MembersError> {
        self.db
            .run_tx("test.register_many", |tx| {
                Box::pin(async move {
                    self.members
                        .register_many_in_tx(tx, &self.owner, commands.to_vec())
                        .await
                })
            })
            .await
    }
}

/// Somebody with a phone, a customer number of a web shop, or both; an empty text is none.
pub(crate) fn person(phone: &str, customer: &str) -> RegisterMember {
    RegisterMember {
        phone: (!phone.is_empty()).then(|| phone.parse().unwrap()),
        external: (!customer.is_empty()).then(|| external(customer)),
        nickname: None,
        channel: "store".parse().unwrap(),
        store_code: Some("SH-001".parse().unwrap()),
    }
}

pub(crate) fn external(customer: &str) -> ExternalIdentity {
    ExternalIdentity::try_new("online-retail", customer).unwrap()
}

/// The mainland number 1390000 and four digits.
pub(crate) fn phone(number: usize) -> String {
    format!("1390000{number:04}")
}

/// The stable code of a refusal.
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, MembersError>) -> &'static str {
    use huika_core::Refusal as _;
    result.unwrap_err().problem().code
}
