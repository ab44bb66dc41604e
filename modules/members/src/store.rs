//! The tables of members: the only SQL of this module.

use std::{
    collections::{BTreeMap, HashMap},
    str::FromStr,
};

use huika_core::{Bilingual, Keyring, MemberId, Timestamp};
use huika_db::{
    DbError, Executor, Param, Row, Tx,
    dialect::{Insert, Update},
    params,
};

use crate::{
    Agreement, AgreementVersion, Attribution, CardNumber, Code, ConsentDecision, ConsentId, ConsentRecord,
    MemberState, Merge, MergeId, PersonalField, Purpose, Standing,
    domain::{
        identity::IdentityName,
        lookup::{Lookup, LookupKind},
        member::MemberRecord,
        merge::{Changes, MovedName},
    },
};

/// Ids or names in one list of a query.
const LIST_ROWS: usize = 500;

/// The owners of those names that somebody has claimed.
pub(crate) async fn identity_owners(
    executor: &mut impl Executor,
    names: &[IdentityName],
) -> Result<HashMap<IdentityName, MemberId>, DbError> {
    let mut by_issuer: BTreeMap<(&'static str, &str), HashMap<&str, &IdentityName>> = BTreeMap::new();
    for name in names {
        let subjects = by_issuer.entry((name.kind, &name.issuer)).or_default();
        subjects.extend(name.subjects.iter().map(|subject| (subject.text.as_str(), name)));
    }
    let mut owners = HashMap::new();
    for ((kind, issuer), named) in by_issuer {
        let subjects: Vec<String> = named.keys().map(|subject| (*subject).to_owned()).collect();
        for subjects in subjects.chunks(LIST_ROWS) {
            let rows = executor
                .fetch_all(
                    "SELECT subject, member_id FROM members_identity WHERE kind = ? AND issuer = ? AND subject IN (??)",
                    params![kind, issuer, Param::Texts(subjects.to_vec())],
                )
                .await?;
            for row in rows {
                let name = named.get(row.get::<String>("subject")?.as_str());
                let name = name.ok_or_else(|| DbError::corrupt("subject"))?;
                owners.insert((*name).clone(), row.get("member_id")?);
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
    claims: Vec<(IdentityName, MemberId)>,
    now: Timestamp,
) -> Result<(), DbError> {
    let mut rows = Vec::with_capacity(claims.len());
    for (name, member_id) in &claims {
        let subjects = name.subjects.iter();
        rows.extend(subjects.map(|subject| (name.kind, &name.issuer, subject, *member_id)));
    }
    rows.sort_unstable();
    let expected = rows.len() as u64;
    let mut insert = Insert::into_table(
        "members_identity",
        &[
            "kind",
            "issuer",
            "subject",
            "member_id",
            "claimed_at",
            "generation",
        ],
    )
    .skip_existing();
    for (kind, issuer, subject, member_id) in rows {
        let generation = i64::from(subject.generation);
        insert.push(params![kind, issuer, &subject.text, member_id, now, generation]);
    }
    if tx.insert(insert).await? == expected {
        Ok(())
    } else {
        Err(DbError::Stale("members_identity"))
    }
}

/// The names of one member as they are told to the member: which kinds, given by whom, since when.
pub(crate) async fn identities_of(
    executor: &mut impl Executor,
    id: MemberId,
) -> Result<Vec<serde_json::Value>, DbError> {
    let rows = executor
        .fetch_all(
            "SELECT kind, issuer, MIN(claimed_at) AS claimed_at FROM members_identity WHERE member_id = ? \
             GROUP BY kind, issuer ORDER BY kind, issuer",
            params![id],
        )
        .await?;
    let told = |row: &Row| {
        Ok(serde_json::json!({
            "kind": row.get::<String>("kind")?,
            "issuer": row.get::<String>("issuer")?,
            "claimed_at": row.get::<Timestamp>("claimed_at")?,
        }))
    };
    rows.iter().map(told).collect()
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

/// The members with these ids as they are at a moment; those that do not exist are missing.
pub(crate) async fn member_list(
    executor: &mut impl Executor,
    ids: &[MemberId],
    now: Timestamp,
) -> Result<Vec<MemberRecord>, DbError> {
    let mut records = Vec::with_capacity(ids.len());
    for ids in ids.chunks(LIST_ROWS) {
        let rows = executor
            .fetch_all(
                "SELECT m.member_id, m.card_number, m.state, m.phone_sealed, m.nickname_sealed, m.channel, \
                 m.store_code, m.version, m.registered_at, m.updated_at, m.merged_into, \
                 m.state_reason, m.state_actor, m.state_since, m.state_until, k.wrapped \
                 FROM members_member m LEFT JOIN members_key k ON k.member_id = m.member_id \
                 WHERE m.member_id IN (??)",
                params![id_list(ids)],
            )
            .await?;
        for row in rows {
            records.push(record(&row, now)?);
        }
    }
    Ok(records)
}

/// One member.
pub(crate) async fn member_find(
    executor: &mut impl Executor,
    id: MemberId,
    now: Timestamp,
) -> Result<Option<MemberRecord>, DbError> {
    Ok(member_list(executor, &[id], now).await?.pop())
}

/// The states of the members with these ids at a moment; those that do not exist are missing.
pub(crate) async fn member_states(
    executor: &mut impl Executor,
    ids: &[MemberId],
    now: Timestamp,
) -> Result<HashMap<MemberId, MemberState>, DbError> {
    let mut states = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(LIST_ROWS) {
        let rows = executor
            .fetch_all(
                "SELECT member_id, state, state_until FROM members_member WHERE member_id IN (??)",
                params![id_list(ids)],
            )
            .await?;
        for row in rows {
            let state: MemberState = parsed(&row, "state")?;
            states.insert(row.get("member_id")?, state.at(row.get("state_until")?, now));
        }
    }
    Ok(states)
}

/// When the members with these ids registered; those that do not exist are missing.
pub(crate) async fn member_registered(
    executor: &mut impl Executor,
    ids: &[MemberId],
) -> Result<HashMap<MemberId, Timestamp>, DbError> {
    let mut moments = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(LIST_ROWS) {
        let sql = "SELECT member_id, registered_at FROM members_member WHERE member_id IN (??)";
        for row in executor.fetch_all(sql, params![id_list(ids)]).await? {
            moments.insert(row.get("member_id")?, row.get("registered_at")?);
        }
    }
    Ok(moments)
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

/// Raises the versions of members who gained a name, each guarded by the version that was read: a name never
/// reaches a member who is being merged.
pub(crate) async fn member_touch_many(
    tx: &mut Tx<'_>,
    mut members: Vec<(MemberId, i64)>,
    now: Timestamp,
) -> Result<(), DbError> {
    members.sort_unstable();
    let mut update = Update::table(
        "members_member",
        &["version", "updated_at"],
        &["member_id", "version"],
    );
    for (id, version) in members {
        update.push(params![version + 1, now, id, version]);
    }
    tx.update(update).await
}

/// Who stands for the members with these ids, one step; those who stand alone are missing.
pub(crate) async fn member_winners(
    executor: &mut impl Executor,
    ids: &[MemberId],
) -> Result<HashMap<MemberId, MemberId>, DbError> {
    let mut winners = HashMap::new();
    for ids in ids.chunks(LIST_ROWS) {
        let rows = executor
            .fetch_all(
                "SELECT member_id, merged_into FROM members_member \
                 WHERE member_id IN (??) AND merged_into IS NOT NULL",
                params![id_list(ids)],
            )
            .await?;
        for row in rows {
            winners.insert(row.get("member_id")?, row.get("merged_into")?);
        }
    }
    Ok(winners)
}

/// The members who were merged into one member, one step.
pub(crate) async fn member_losers(
    executor: &mut impl Executor,
    id: MemberId,
) -> Result<Vec<MemberId>, DbError> {
    let sql = "SELECT member_id FROM members_member WHERE merged_into = ? ORDER BY member_id";
    let rows = executor.fetch_all(sql, params![id]).await?;
    rows.iter().map(|row| row.get("member_id")).collect()
}

/// What a merge and its undoing write of a member's own row.
pub(crate) struct MemberChange<'a> {
    pub(crate) id: MemberId,
    /// The version that was read.
    pub(crate) read_version: i64,
    pub(crate) version: i64,
    pub(crate) updated_at: Timestamp,
    pub(crate) state: &'a str,
    pub(crate) merged_into: Option<MemberId>,
    pub(crate) phone_sealed: Option<Vec<u8>>,
    pub(crate) nickname_sealed: Option<Vec<u8>>,
}

/// Writes a member's own row, guarded by the version that was read.
pub(crate) async fn member_update(tx: &mut Tx<'_>, change: MemberChange<'_>) -> Result<(), DbError> {
    let met = tx
        .execute(
            "UPDATE members_member SET version = ?, updated_at = ?, state = ?, merged_into = ?, phone_sealed = ?, \
             nickname_sealed = ? WHERE member_id = ? AND version = ?",
            params![
                change.version,
                change.updated_at,
                change.state,
                change.merged_into,
                change.phone_sealed,
                change.nickname_sealed,
                change.id,
                change.read_version,
            ],
        )
        .await?;
    if met == 1 {
        Ok(())
    } else {
        Err(DbError::Stale("members_member"))
    }
}

/// The keys of the names of one member, in the order in which names are claimed.
pub(crate) async fn identity_keys(
    executor: &mut impl Executor,
    id: MemberId,
) -> Result<Vec<MovedName>, DbError> {
    let rows = executor
        .fetch_all(
            "SELECT kind, issuer, subject FROM members_identity WHERE member_id = ? ORDER BY kind, issuer, subject",
            params![id],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(MovedName {
                kind: row.get("kind")?,
                issuer: row.get("issuer")?,
                subject: row.get("subject")?,
            })
        })
        .collect()
}

/// Gives names of one member to another.
///
/// # Errors
/// [`DbError::Stale`] when one of them belongs to somebody else by now.
pub(crate) async fn identity_move(
    tx: &mut Tx<'_>,
    names: &[MovedName],
    from: MemberId,
    to: MemberId,
) -> Result<(), DbError> {
    for name in names {
        let met = tx
            .execute(
                "UPDATE members_identity SET member_id = ? \
                 WHERE kind = ? AND issuer = ? AND subject = ? AND member_id = ?",
                params![to, &name.kind, &name.issuer, &name.subject, from],
            )
            .await?;
        if met != 1 {
            return Err(DbError::Stale("members_identity"));
        }
    }
    Ok(())
}

/// Gives what one member has of a name, under whichever index key, to another.
pub(crate) async fn identity_follow(
    tx: &mut Tx<'_>,
    name: &IdentityName,
    from: MemberId,
    to: MemberId,
) -> Result<(), DbError> {
    let subjects = name.subjects.iter().map(|subject| subject.text.clone()).collect();
    tx.execute(
        "UPDATE members_identity SET member_id = ? \
         WHERE kind = ? AND issuer = ? AND subject IN (??) AND member_id = ?",
        params![to, name.kind, &name.issuer, Param::Texts(subjects), from],
    )
    .await
    .map(drop)
}

/// Deletes everything that a member is found by.
pub(crate) async fn lookup_delete_all(tx: &mut Tx<'_>, id: MemberId) -> Result<(), DbError> {
    tx.execute("DELETE FROM members_lookup WHERE member_id = ?", params![id])
        .await
        .map(drop)
}

/// A merge as it is stored.
pub(crate) struct MergeRecord {
    pub(crate) merge: Merge,
    pub(crate) changes: Changes,
}

/// Inserts a merge.
pub(crate) async fn merge_insert(
    tx: &mut Tx<'_>,
    merge: &Merge,
    reason: &str,
    changes: &Changes,
) -> Result<(), DbError> {
    let changes = serde_json::to_string(changes).map_err(|_| DbError::corrupt("changes"))?;
    let mut insert = Insert::into_table(
        "members_merge",
        &[
            "member_id",
            "merge_id",
            "winner_id",
            "actor",
            "reason",
            "changes",
            "merged_at",
            "unmerged_at",
        ],
    );
    insert.push(params![
        merge.loser,
        merge.id,
        merge.winner,
        &merge.actor,
        reason,
        changes,
        merge.merged_at,
        None::<Timestamp>,
    ]);
    tx.insert(insert).await.map(drop)
}

/// The merge by which a member is a redirect.
pub(crate) async fn merge_open(
    executor: &mut impl Executor,
    loser: MemberId,
) -> Result<Option<MergeRecord>, DbError> {
    let row = executor
        .fetch_optional(
            "SELECT member_id, merge_id, winner_id, actor, changes, merged_at FROM members_merge \
             WHERE member_id = ? AND unmerged_at IS NULL",
            params![loser],
        )
        .await?;
    row.map(|row| {
        let changes: String = row.get("changes")?;
        Ok(MergeRecord {
            merge: Merge {
                id: row.get("merge_id")?,
                winner: row.get("winner_id")?,
                loser: row.get("member_id")?,
                merged_at: row.get("merged_at")?,
                actor: row.get("actor")?,
            },
            changes: serde_json::from_str(&changes).map_err(|_| DbError::corrupt("changes"))?,
        })
    })
    .transpose()
}

/// Notes that a merge was taken back.
pub(crate) async fn merge_close(tx: &mut Tx<'_>, merge: &Merge, now: Timestamp) -> Result<(), DbError> {
    let met = tx
        .execute(
            "UPDATE members_merge SET unmerged_at = ? WHERE member_id = ? AND merge_id = ? AND unmerged_at IS NULL",
            params![now, merge.loser, merge.id],
        )
        .await?;
    if met == 1 {
        Ok(())
    } else {
        Err(DbError::Stale("members_merge"))
    }
}

/// Stores a member's state, guarded by the version that was read.
pub(crate) async fn member_update_state(
    tx: &mut Tx<'_>,
    member: &MemberRecord,
    state: MemberState,
    standing: &Standing,
    now: Timestamp,
) -> Result<(), DbError> {
    let met = tx
        .execute(
            "UPDATE members_member SET state = ?, state_reason = ?, state_actor = ?, state_since = ?, state_until = ?, \
             version = ?, updated_at = ? WHERE member_id = ? AND version = ?",
            params![
                state.name(),
                standing.reason.as_ref(),
                standing.actor.as_ref(),
                standing.since,
                standing.until,
                member.version + 1,
                now,
                member.id,
                member.version,
            ],
        )
        .await?;
    if met == 1 {
        Ok(())
    } else {
        Err(DbError::Stale("members_member"))
    }
}

/// Destroys the personal data of one member: the key first of all, overwritten before it is deleted. The card number
/// becomes one that nobody has, which tells nothing of the old one.
pub(crate) async fn member_erase(
    tx: &mut Tx<'_>,
    member: &MemberRecord,
    card_number: &str,
    overwrite: Vec<u8>,
    now: Timestamp,
) -> Result<(), DbError> {
    let id = member.id;
    let met = tx
        .execute(
            "UPDATE members_member SET card_number = ?, phone_sealed = NULL, nickname_sealed = NULL, \
             state_reason = NULL, erased_at = ?, version = ?, updated_at = ? WHERE member_id = ? AND version = ?",
            params![card_number, now, member.version + 1, now, id, member.version],
        )
        .await?;
    if met != 1 {
        return Err(DbError::Stale("members_member"));
    }
    tx.execute(
        "UPDATE members_key SET wrapped = ? WHERE member_id = ?",
        params![overwrite, id],
    )
    .await?;
    for table in [
        "members_key",
        "members_personal",
        "members_lookup",
        "members_identity",
    ] {
        let sql = format!("DELETE FROM {table} WHERE member_id = ?");
        tx.execute(&sql, params![id]).await?;
    }
    Ok(())
}

/// Every merge in which one of the members was the redirect, taken back or not.
pub(crate) async fn merges_of(
    executor: &mut impl Executor,
    losers: &[MemberId],
) -> Result<Vec<(MemberId, MergeId, Changes)>, DbError> {
    let rows = executor
        .fetch_all(
            "SELECT member_id, merge_id, changes FROM members_merge WHERE member_id IN (??)",
            params![id_list(losers)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let changes: String = row.get("changes")?;
            let changes = serde_json::from_str(&changes).map_err(|_| DbError::corrupt("changes"))?;
            Ok((row.get("member_id")?, row.get("merge_id")?, changes))
        })
        .collect()
}

/// Stores what is still known of a merge.
pub(crate) async fn merge_update_changes(
    tx: &mut Tx<'_>,
    loser: MemberId,
    id: MergeId,
    changes: &Changes,
) -> Result<(), DbError> {
    let changes = serde_json::to_string(changes).map_err(|_| DbError::corrupt("changes"))?;
    tx.execute(
        "UPDATE members_merge SET changes = ? WHERE member_id = ? AND merge_id = ?",
        params![changes, loser, id],
    )
    .await
    .map(drop)
}

/// Members who left before a moment and are not erased, after one of them, in their order.
pub(crate) async fn members_closed_before(
    executor: &mut impl Executor,
    before: Timestamp,
    after: Option<MemberId>,
    limit: u32,
) -> Result<Vec<MemberId>, DbError> {
    let rows = executor
        .fetch_all(
            "SELECT member_id FROM members_member WHERE state = ? AND member_id > ? AND erased_at IS NULL \
             AND COALESCE(state_since, updated_at) <= ? ORDER BY member_id LIMIT ?",
            params![
                MemberState::Closed.name(),
                after.map_or(-1, MemberId::as_i64),
                before,
                i64::from(limit)
            ],
        )
        .await?;
    rows.iter().map(|row| row.get("member_id")).collect()
}

/// How far the work under a set of keys has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RotationRecord {
    pub(crate) target: String,
    pub(crate) last_member_id: i64,
    pub(crate) members_done: i64,
    pub(crate) started_at: Timestamp,
    pub(crate) finished_at: Option<Timestamp>,
}

/// Begins the work under a set of keys, unless it has begun.
pub(crate) async fn rotation_begin(tx: &mut Tx<'_>, target: &str, now: Timestamp) -> Result<(), DbError> {
    let columns = &[
        "target",
        "last_member_id",
        "members_done",
        "started_at",
        "finished_at",
    ];
    let mut insert = Insert::into_table("members_rotation", columns).skip_existing();
    insert.push(params![target, -1_i64, 0_i64, now, None::<Timestamp>]);
    tx.insert(insert).await.map(drop)
}

/// Every rotation so far, latest first.
pub(crate) async fn rotation_list(executor: &mut impl Executor) -> Result<Vec<RotationRecord>, DbError> {
    let rows = executor
        .fetch_all(
            "SELECT target, last_member_id, members_done, started_at, finished_at FROM members_rotation \
             ORDER BY started_at DESC, target DESC",
            params![],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(RotationRecord {
                target: row.get("target")?,
                last_member_id: row.get("last_member_id")?,
                members_done: row.get("members_done")?,
                started_at: row.get("started_at")?,
                finished_at: row.get("finished_at")?,
            })
        })
        .collect()
}

/// Moves a rotation on, guarded by where it was read: of two workers one does the members in between.
pub(crate) async fn rotation_advance(
    tx: &mut Tx<'_>,
    from: &RotationRecord,
    last: MemberId,
    done: usize,
) -> Result<(), DbError> {
    let met = tx
        .execute(
            "UPDATE members_rotation SET last_member_id = ?, members_done = members_done + ? \
             WHERE target = ? AND last_member_id = ?",
            params![last, done as i64, &from.target, from.last_member_id],
        )
        .await?;
    if met == 1 {
        Ok(())
    } else {
        Err(DbError::Stale("members_rotation"))
    }
}

/// Notes that no member is left.
pub(crate) async fn rotation_finish(tx: &mut Tx<'_>, target: &str, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE members_rotation SET finished_at = ? WHERE target = ? AND finished_at IS NULL";
    tx.execute(sql, params![now, target]).await.map(drop)
}

/// The ids of members after one of them, in their order.
pub(crate) async fn member_ids_after(
    executor: &mut impl Executor,
    after: i64,
    limit: u32,
) -> Result<Vec<MemberId>, DbError> {
    let sql = "SELECT member_id FROM members_member WHERE member_id > ? ORDER BY member_id LIMIT ?";
    let rows = executor.fetch_all(sql, params![after, i64::from(limit)]).await?;
    rows.iter().map(|row| row.get("member_id")).collect()
}

/// Stores a member's key under another master key, where it is still the one that was read: a key that was destroyed
/// meanwhile stays destroyed.
pub(crate) async fn key_rewrap(
    tx: &mut Tx<'_>,
    id: MemberId,
    old: &[u8],
    wrapped: Vec<u8>,
) -> Result<(), DbError> {
    let met = tx
        .execute(
            "UPDATE members_key SET wrapped = ? WHERE member_id = ? AND wrapped = ?",
            params![wrapped, id, old.to_vec()],
        )
        .await?;
    if met == 1 {
        Ok(())
    } else {
        Err(DbError::Stale("members_key"))
    }
}

/// Claims the names that a member has under further generations of index keys.
pub(crate) async fn identity_extend(
    tx: &mut Tx<'_>,
    name: &IdentityName,
    owner: MemberId,
    now: Timestamp,
) -> Result<(), DbError> {
    let mut insert = Insert::into_table(
        "members_identity",
        &[
            "kind",
            "issuer",
            "subject",
            "member_id",
            "claimed_at",
            "generation",
        ],
    )
    .skip_existing();
    for subject in &name.subjects {
        let generation = i64::from(subject.generation);
        insert.push(params![
            name.kind,
            &name.issuer,
            &subject.text,
            owner,
            now,
            generation
        ]);
    }
    tx.insert(insert).await.map(drop)
}

/// Raises a member's version, guarded by the version that was read: whatever belongs to the member is changed after
/// it, so that of two changes at once the second reads again. A nickname is stored with it where one is given.
pub(crate) async fn member_touch(
    tx: &mut Tx<'_>,
    member: &MemberRecord,
    nickname: Option<Vec<u8>>,
    now: Timestamp,
) -> Result<(), DbError> {
    let (next, id, version) = (member.version + 1, member.id, member.version);
    let met = match nickname {
        Some(sealed) => {
            tx.execute(
                "UPDATE members_member SET nickname_sealed = ?, version = ?, updated_at = ? \
                 WHERE member_id = ? AND version = ?",
                params![sealed, next, now, id, version],
            )
            .await?
        }
        None => {
            tx.execute(
                "UPDATE members_member SET version = ?, updated_at = ? WHERE member_id = ? AND version = ?",
                params![next, now, id, version],
            )
            .await?
        }
    };
    if met == 1 {
        Ok(())
    } else {
        Err(DbError::Stale("members_member"))
    }
}

/// Keeps a member's row as it is, guarded by the version that was read: nobody changes the member until the end of the
/// transaction.
pub(crate) async fn member_touch_same(tx: &mut Tx<'_>, member: &MemberRecord) -> Result<(), DbError> {
    let met = tx
        .execute(
            "UPDATE members_member SET version = ? WHERE member_id = ? AND version = ?",
            params![member.version, member.id, member.version],
        )
        .await?;
    if met == 1 {
        Ok(())
    } else {
        Err(DbError::Stale("members_member"))
    }
}

/// The sealed personal fields of one member.
pub(crate) async fn personal_list(
    executor: &mut impl Executor,
    id: MemberId,
) -> Result<BTreeMap<PersonalField, Vec<u8>>, DbError> {
    let rows = executor
        .fetch_all(
            "SELECT field, sealed FROM members_personal WHERE member_id = ?",
            params![id],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((parsed(row, "field")?, row.get("sealed")?)))
        .collect()
}

/// Inserts sealed personal fields.
pub(crate) async fn personal_insert(
    tx: &mut Tx<'_>,
    rows: Vec<(MemberId, PersonalField, Vec<u8>)>,
    now: Timestamp,
) -> Result<(), DbError> {
    let mut insert = Insert::into_table(
        "members_personal",
        &["member_id", "field", "sealed", "updated_at"],
    );
    for (id, field, sealed) in rows {
        insert.push(params![id, field.name(), sealed, now]);
    }
    tx.insert(insert).await.map(drop)
}

/// Deletes personal fields of one member.
pub(crate) async fn personal_delete(
    tx: &mut Tx<'_>,
    id: MemberId,
    fields: &[PersonalField],
) -> Result<(), DbError> {
    let names = fields.iter().map(|field| field.name().to_owned()).collect();
    let sql = "DELETE FROM members_personal WHERE member_id = ? AND field IN (??)";
    tx.execute(sql, params![id, Param::Texts(names)]).await.map(drop)
}

/// Inserts what members are found by, under each generation of index keys.
pub(crate) async fn lookup_insert(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    lookups: Vec<(MemberId, Lookup)>,
) -> Result<(), DbError> {
    let mut insert = Insert::into_table("members_lookup", &["member_id", "kind", "generation", "subject"]);
    for (id, lookup) in lookups {
        for index in lookup.kind.indexes(keyring, &lookup.text) {
            let generation = i64::from(index.generation);
            insert.push(params![id, lookup.kind.name(), generation, index.text]);
        }
    }
    tx.insert(insert).await.map(drop)
}

/// Deletes what one member is found by.
pub(crate) async fn lookup_delete(
    tx: &mut Tx<'_>,
    id: MemberId,
    kinds: impl IntoIterator<Item = LookupKind>,
) -> Result<(), DbError> {
    let names = kinds.into_iter().map(|kind| kind.name().to_owned()).collect();
    let sql = "DELETE FROM members_lookup WHERE member_id = ? AND kind IN (??)";
    tx.execute(sql, params![id, Param::Texts(names)]).await.map(drop)
}

/// The members that are found by something, after one of them, in their order.
pub(crate) async fn lookup_members(
    executor: &mut impl Executor,
    keyring: &Keyring,
    lookup: &Lookup,
    after: Option<MemberId>,
    limit: u32,
) -> Result<Vec<MemberId>, DbError> {
    let indexes = lookup.kind.indexes(keyring, &lookup.text);
    let subjects = indexes.into_iter().map(|index| index.text).collect();
    let after = after.map_or(-1, MemberId::as_i64);
    let rows = executor
        .fetch_all(
            "SELECT DISTINCT member_id FROM members_lookup \
             WHERE kind = ? AND subject IN (??) AND member_id > ? ORDER BY member_id LIMIT ?",
            params![
                lookup.kind.name(),
                Param::Texts(subjects),
                after,
                i64::from(limit)
            ],
        )
        .await?;
    rows.iter().map(|row| row.get("member_id")).collect()
}

/// Notes that a code was taken, and tells whether it is the first time. Codes of before a step are forgotten.
pub(crate) async fn code_use(
    tx: &mut Tx<'_>,
    id: MemberId,
    card: &CardNumber,
    step: i64,
    forget_before: i64,
    now: Timestamp,
) -> Result<bool, DbError> {
    let columns = &["member_id", "card_number", "step", "used_at"];
    let mut insert = Insert::into_table("members_code_use", columns).skip_existing();
    insert.push(params![id, card.as_str(), step, now]);
    let first = tx.insert(insert).await? == 1;
    let sql = "DELETE FROM members_code_use WHERE member_id = ? AND card_number = ? AND step < ?";
    tx.execute(sql, params![id, card.as_str(), forget_before]).await?;
    Ok(first)
}

/// Inserts decisions of members; `merge` where a merge brings them.
pub(crate) async fn consent_insert(
    tx: &mut Tx<'_>,
    rows: Vec<(MemberId, ConsentId, ConsentDecision)>,
    merge: Option<MergeId>,
    actor: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let mut insert = Insert::into_table(
        "members_consent",
        &[
            "member_id",
            "consent_id",
            "purpose",
            "granted",
            "agreement_code",
            "agreement_version",
            "merge_id",
            "actor",
            "decided_at",
        ],
    );
    for (member_id, id, decision) in rows {
        let agreement = decision.agreement.as_ref();
        insert.push(params![
            member_id,
            id,
            decision.purpose.name(),
            decision.granted,
            agreement.map(|agreement| agreement.code.as_str()),
            agreement.map(|agreement| agreement.version),
            merge,
            actor,
            now,
        ]);
    }
    tx.insert(insert).await.map(drop)
}

/// The decisions of members, of one purpose or of all, oldest first.
pub(crate) async fn consent_list(
    executor: &mut impl Executor,
    ids: &[MemberId],
    purpose: Option<Purpose>,
) -> Result<HashMap<MemberId, Vec<ConsentRecord>>, DbError> {
    let purposes = purpose.map_or_else(|| Purpose::ALL.to_vec(), |purpose| vec![purpose]);
    let purposes: Vec<String> = purposes.iter().map(|purpose| purpose.name().to_owned()).collect();
    let mut records: HashMap<MemberId, Vec<ConsentRecord>> = HashMap::new();
    for ids in ids.chunks(LIST_ROWS) {
        let rows = executor
            .fetch_all(
                "SELECT member_id, consent_id, purpose, granted, agreement_code, agreement_version, actor, decided_at \
                 FROM members_consent WHERE member_id IN (??) AND purpose IN (??) ORDER BY decided_at, consent_id",
                params![id_list(ids), Param::Texts(purposes.clone())],
            )
            .await?;
        for row in rows {
            let code: Option<String> = row.get("agreement_code")?;
            let version: Option<i64> = row.get("agreement_version")?;
            let code = code.map(|code| code.parse()).transpose();
            let code = code.map_err(|_| DbError::corrupt("agreement_code"))?;
            let record = ConsentRecord {
                id: row.get("consent_id")?,
                decision: ConsentDecision {
                    purpose: parsed(&row, "purpose")?,
                    granted: row.get("granted")?,
                    agreement: code
                        .zip(version)
                        .map(|(code, version)| AgreementVersion { code, version }),
                },
                actor: row.get("actor")?,
                decided_at: row.get("decided_at")?,
            };
            records.entry(row.get("member_id")?).or_default().push(record);
        }
    }
    Ok(records)
}

/// Takes back what a merge brought.
pub(crate) async fn consent_delete_of_merge(
    tx: &mut Tx<'_>,
    id: MemberId,
    merge: MergeId,
) -> Result<(), DbError> {
    let sql = "DELETE FROM members_consent WHERE member_id = ? AND merge_id = ?";
    tx.execute(sql, params![id, merge]).await.map(drop)
}

/// Inserts a version of an agreement.
///
/// # Errors
/// [`DbError::Stale`] when somebody else has published this version, which makes the transaction run again.
pub(crate) async fn agreement_insert(tx: &mut Tx<'_>, agreement: &Agreement) -> Result<(), DbError> {
    let columns = &[
        "code",
        "version",
        "title_zh",
        "title_en",
        "text_hash",
        "published_at",
    ];
    let mut insert = Insert::into_table("members_agreement", columns).skip_existing();
    insert.push(params![
        agreement.version.code.as_str(),
        agreement.version.version,
        &agreement.title.zh,
        &agreement.title.en,
        &agreement.text_hash,
        agreement.published_at,
    ]);
    if tx.insert(insert).await? == 1 {
        Ok(())
    } else {
        Err(DbError::Stale("members_agreement"))
    }
}

/// Every version of every agreement, by code and version.
pub(crate) async fn agreement_list(executor: &mut impl Executor) -> Result<Vec<Agreement>, DbError> {
    let rows = executor
        .fetch_all(
            "SELECT code, version, title_zh, title_en, text_hash, published_at FROM members_agreement \
             ORDER BY code, version",
            params![],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Agreement {
                version: AgreementVersion {
                    code: parsed(row, "code")?,
                    version: row.get("version")?,
                },
                title: Bilingual::new(row.get::<String>("title_zh")?, row.get::<String>("title_en")?),
                text_hash: row.get("text_hash")?,
                published_at: row.get("published_at")?,
            })
        })
        .collect()
}

/// Stores guardians' consents; a member's earlier one is replaced.
pub(crate) async fn guardian_put(
    tx: &mut Tx<'_>,
    rows: Vec<(MemberId, Vec<u8>)>,
    actor: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<MemberId> = rows.iter().map(|(id, _)| *id).collect();
    tx.execute(
        "DELETE FROM members_guardian WHERE member_id IN (??)",
        params![id_list(&ids)],
    )
    .await?;
    let columns = &["member_id", "phone_sealed", "actor", "consented_at"];
    let mut insert = Insert::into_table("members_guardian", columns);
    for (id, sealed) in rows {
        insert.push(params![id, sealed, actor, now]);
    }
    tx.insert(insert).await.map(drop)
}

/// Whether a guardian has consented for a member.
pub(crate) async fn guardian_exists(executor: &mut impl Executor, id: MemberId) -> Result<bool, DbError> {
    let sql = "SELECT member_id FROM members_guardian WHERE member_id = ?";
    Ok(executor.fetch_optional(sql, params![id]).await?.is_some())
}

/// Inserts how people came to be members.
pub(crate) async fn attribution_insert(
    tx: &mut Tx<'_>,
    rows: Vec<(MemberId, &Attribution)>,
) -> Result<(), DbError> {
    let columns = &["member_id", "scene", "staff_code", "inviter_id"];
    let mut insert = Insert::into_table("members_attribution", columns);
    for (id, attribution) in rows {
        let code = |code: &Option<Code>| code.as_ref().map(|code| code.as_str().to_owned());
        insert.push(params![
            id,
            code(&attribution.scene),
            code(&attribution.staff_code),
            attribution.inviter
        ]);
    }
    tx.insert(insert).await.map(drop)
}

/// How a person came to be a member.
pub(crate) async fn attribution_find(
    executor: &mut impl Executor,
    id: MemberId,
) -> Result<Attribution, DbError> {
    let sql = "SELECT scene, staff_code, inviter_id FROM members_attribution WHERE member_id = ?";
    let Some(row) = executor.fetch_optional(sql, params![id]).await? else {
        return Ok(Attribution::default());
    };
    let code = |column: &str| {
        let text: Option<String> = row.get(column)?;
        let code = text.map(|text| text.parse::<Code>()).transpose();
        code.map_err(|_| DbError::corrupt(column))
    };
    Ok(Attribution {
        scene: code("scene")?,
        staff_code: code("staff_code")?,
        inviter: row.get("inviter_id")?,
    })
}

/// Notes that something happened in a member's life, and tells whether it is the first time.
pub(crate) async fn milestone_insert(
    tx: &mut Tx<'_>,
    id: MemberId,
    name: &str,
    now: Timestamp,
) -> Result<bool, DbError> {
    let mut insert =
        Insert::into_table("members_milestone", &["member_id", "name", "reached_at"]).skip_existing();
    insert.push(params![id, name, now]);
    Ok(tx.insert(insert).await? == 1)
}

fn id_list(ids: &[MemberId]) -> Param {
    Param::Ints(ids.iter().map(|id| id.as_i64()).collect())
}

fn record(row: &Row, now: Timestamp) -> Result<MemberRecord, DbError> {
    let state: MemberState = parsed(row, "state")?;
    let standing = Standing {
        reason: row.get("state_reason")?,
        actor: row.get("state_actor")?,
        since: row.get("state_since")?,
        until: row.get("state_until")?,
    };
    let store_code: Option<String> = row.get("store_code")?;
    Ok(MemberRecord {
        id: row.get("member_id")?,
        card_number: parsed(row, "card_number")?,
        state: state.at(standing.until, now),
        standing,
        phone_sealed: row.get("phone_sealed")?,
        nickname_sealed: row.get("nickname_sealed")?,
        channel: parsed(row, "channel")?,
        store_code: store_code
            .map(|code| code.parse())
            .transpose()
            .map_err(|_| DbError::corrupt("store_code"))?,
        version: row.get("version")?,
        registered_at: row.get("registered_at")?,
        updated_at: row.get("updated_at")?,
        merged_into: row.get("merged_into")?,
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
