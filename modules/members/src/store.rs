//! The tables of members: the only SQL of this module.

use std::{
    collections::{BTreeMap, HashMap},
    str::FromStr,
};

use huika_core::{MemberId, Timestamp};
use huika_db::{
    DbError, Executor, Param, Row, Tx,
    dialect::{Insert, Update},
    params,
};

use crate::{
    MemberState,
    domain::{identity::IdentityName, member::MemberRecord},
};

/// Ids or names in one list of a query.
const LIST_ROWS: usize = 500;

/// The owners of those names that somebody has claimed.
pub(crate) async fn identity_owners(
    executor: &mut impl Executor,
    names: &[IdentityName],
) -> Result<HashMap<IdentityName, MemberId>, DbError> {
    let mut by_issuer: BTreeMap<(&'static str, &str), Vec<String>> = BTreeMap::new();
    for name in names {
        by_issuer
            .entry((name.kind, &name.issuer))
            .or_default()
            .push(name.subject.clone());
    }
    let mut owners = HashMap::new();
    for ((kind, issuer), subjects) in by_issuer {
        for subjects in subjects.chunks(LIST_ROWS) {
            let rows = executor
                .fetch_all(
                    "SELECT subject, member_id FROM members_identity WHERE kind = ? AND issuer = ? AND subject IN (??)",
                    params![kind, issuer, Param::Texts(subjects.to_vec())],
                )
                .await?;
            for row in rows {
                let name = IdentityName {
                    kind,
                    issuer: issuer.to_owned(),
                    subject: row.get("subject")?,
                };
                owners.insert(name, row.get("member_id")?);
            }
        }
    }
    Ok(owners)
}

/// Claims names in their fixed order.
///
/// # Errors
/// [`DbError::Stale`] when somebody else has one of them, which makes the transaction run again.
pub(crate) async fn identity_insert(
    tx: &mut Tx<'_>,
    mut claims: Vec<(IdentityName, MemberId)>,
    now: Timestamp,
) -> Result<(), DbError> {
    claims.sort_unstable();
    let expected = claims.len() as u64;
    let mut insert = Insert::into_table(
        "members_identity",
        &["kind", "issuer", "subject", "member_id", "claimed_at"],
    )
    .skip_existing();
    for (name, member_id) in claims {
        insert.push(params![name.kind, name.issuer, name.subject, member_id, now]);
    }
    if tx.insert(insert).await? == expected {
        Ok(())
    } else {
        Err(DbError::Stale("members_identity"))
    }
}

/// A row of `members_member` to insert, with the wrapped key of its personal data.
pub(crate) struct MemberRow<'a> {
    pub(crate) id: MemberId,
    pub(crate) card_number: &'a str,
    pub(crate) phone_sealed: Option<Vec<u8>>,
    pub(crate) nickname_sealed: Option<Vec<u8>>,
    pub(crate) channel: &'a str,
    pub(crate) store_code: Option<&'a str>,
    pub(crate) wrapped_key: Vec<u8>,
}

/// Inserts new members and their keys.
pub(crate) async fn member_insert(
    tx: &mut Tx<'_>,
    rows: Vec<MemberRow<'_>>,
    now: Timestamp,
) -> Result<(), DbError> {
    let mut members = Insert::into_table(
        "members_member",
        &[
            "member_id",
            "card_number",
            "state",
            "phone_sealed",
            "nickname_sealed",
            "channel",
            "store_code",
            "version",
            "registered_at",
            "updated_at",
        ],
    );
    let mut keys = Insert::into_table("members_key", &["member_id", "wrapped", "created_at"]);
    for row in rows {
        let state = MemberState::Normal.name();
        members.push(params![
            row.id,
            row.card_number,
            state,
            row.phone_sealed,
            row.nickname_sealed,
            row.channel,
            row.store_code,
            1_i64,
            now,
            now,
        ]);
        keys.push(params![row.id, row.wrapped_key, now]);
    }
    tx.insert(members).await?;
    tx.insert(keys).await?;
    Ok(())
}

/// The members with these ids; those that do not exist are missing.
pub(crate) async fn member_list(
    executor: &mut impl Executor,
    ids: &[MemberId],
) -> Result<Vec<MemberRecord>, DbError> {
    let mut records = Vec::with_capacity(ids.len());
    for ids in ids.chunks(LIST_ROWS) {
        let rows = executor
            .fetch_all(
                "SELECT m.member_id, m.card_number, m.state, m.phone_sealed, m.nickname_sealed, m.channel, \
                 m.store_code, m.version, m.registered_at, k.wrapped \
                 FROM members_member m LEFT JOIN members_key k ON k.member_id = m.member_id \
                 WHERE m.member_id IN (??)",
                params![id_list(ids)],
            )
            .await?;
        for row in rows {
            records.push(record(&row)?);
        }
    }
    Ok(records)
}

/// One member.
pub(crate) async fn member_find(
    executor: &mut impl Executor,
    id: MemberId,
) -> Result<Option<MemberRecord>, DbError> {
    Ok(member_list(executor, &[id]).await?.pop())
}

/// The states of the members with these ids; those that do not exist are missing.
pub(crate) async fn member_states(
    executor: &mut impl Executor,
    ids: &[MemberId],
) -> Result<HashMap<MemberId, MemberState>, DbError> {
    let mut states = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(LIST_ROWS) {
        let rows = executor
            .fetch_all(
                "SELECT member_id, state FROM members_member WHERE member_id IN (??)",
                params![id_list(ids)],
            )
            .await?;
        for row in rows {
            states.insert(row.get("member_id")?, parsed(&row, "state")?);
        }
    }
    Ok(states)
}

/// Stores the phones of members who had none, each guarded by the version that was read.
pub(crate) async fn member_update_phone(
    tx: &mut Tx<'_>,
    mut phones: Vec<(MemberId, i64, Vec<u8>)>,
    now: Timestamp,
) -> Result<(), DbError> {
    phones.sort_unstable_by_key(|(id, ..)| *id);
    let mut update = Update::table(
        "members_member",
        &["phone_sealed", "version", "updated_at"],
        &["member_id", "version"],
    );
    for (id, version, sealed) in phones {
        update.push(params![sealed, version + 1, now, id, version]);
    }
    tx.update(update).await
}

/// Stores a member's state, guarded by the version that was read.
pub(crate) async fn member_update_state(
    tx: &mut Tx<'_>,
    member: &MemberRecord,
    state: MemberState,
    now: Timestamp,
) -> Result<(), DbError> {
    let mut update = Update::table(
        "members_member",
        &["state", "version", "updated_at"],
        &["member_id", "version"],
    );
    update.push(params![
        state.name(),
        member.version + 1,
        now,
        member.id,
        member.version
    ]);
    tx.update(update).await
}

fn id_list(ids: &[MemberId]) -> Param {
    Param::Ints(ids.iter().map(|id| id.as_i64()).collect())
}

fn record(row: &Row) -> Result<MemberRecord, DbError> {
    let store_code: Option<String> = row.get("store_code")?;
    Ok(MemberRecord {
        id: row.get("member_id")?,
        card_number: parsed(row, "card_number")?,
        state: parsed(row, "state")?,
        phone_sealed: row.get("phone_sealed")?,
        nickname_sealed: row.get("nickname_sealed")?,
        channel: parsed(row, "channel")?,
        store_code: store_code
            .map(|code| code.parse())
            .transpose()
            .map_err(|_| DbError::corrupt("store_code"))?,
        version: row.get("version")?,
        registered_at: row.get("registered_at")?,
        wrapped_key: row.get("wrapped")?,
    })
}

fn parsed<T: FromStr>(row: &Row, column: &str) -> Result<T, DbError> {
    row.get::<String>(column)?
        .parse()
        .map_err(|_| DbError::corrupt(column))
}

pub(crate) async fn member_count(executor: &mut impl Executor) -> Result<i64, DbError> {
    executor
        .fetch_one("SELECT COUNT(*) AS members FROM members_member", params![])
        .await?
        .get("members")
}
