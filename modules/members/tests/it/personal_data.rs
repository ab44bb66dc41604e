//! Personal data: unreadable in a dump, shown masked, revealed with a trace, gone with its key.

use data_encoding::HEXLOWER_PERMISSIVE;
use huika_core::{Actor, Keyring, MemberId, Rng};
use huika_db::{Engine, audit::list_audit, params};
use huika_members::{Identity, MemberState, Members, MembersError};
use huika_testing::TestDb;

use crate::shop::{PHONE, Shop, code, external, person, phone};

/// Every value of every column of every table, as bytes, with the column's name.
pub(crate) async fn dump(cx: &TestDb) -> Vec<(String, Vec<u8>)> {
    let engine = cx.db.engine();
    let columns = match engine {
        Engine::Sqlite => {
            "SELECT t.name AS tab, c.name AS col, c.type AS typ FROM sqlite_master t, pragma_table_info(t.name) c \
             WHERE t.type = 'table'"
        }
        Engine::Postgres => {
            "SELECT table_name::text AS tab, column_name::text AS col, data_type::text AS typ \
             FROM information_schema.columns WHERE table_schema = 'public'"
        }
        Engine::Mysql => {
            "SELECT table_name AS tab, column_name AS col, data_type AS typ \
             FROM information_schema.columns WHERE table_schema = DATABASE()"
        }
    };
    let mut values = Vec::new();
    for column in cx.fetch_all(columns).await {
        let text = |name: &str| column.get::<String>(name).unwrap();
        let (table, column, kind) = (text("tab"), text("col"), text("typ"));
        let hex = match engine {
            Engine::Sqlite => format!("hex({column})"),
            Engine::Postgres if kind == "bytea" => format!("encode({column}, 'hex')"),
            Engine::Postgres => format!("encode(convert_to({column}::text, 'UTF8'), 'hex')"),
            Engine::Mysql => format!("HEX(CAST({column} AS BINARY))"),
        };
        let sql = format!("SELECT {hex} AS hex FROM {table} WHERE {column} IS NOT NULL");
        for row in cx.fetch_all(&sql).await {
            let bytes = HEXLOWER_PERMISSIVE
                .decode(row.get::<String>("hex").unwrap().as_bytes())
                .unwrap();
            values.push((format!("{table}.{column}"), bytes));
        }
    }
    values
}

/// The columns in which a text stands.
fn columns_with(dump: &[(String, Vec<u8>)], text: &str) -> Vec<String> {
    let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let mut columns: Vec<String> = dump
        .iter()
        .filter(|(_, bytes)| holds(bytes))
        .map(|(column, _)| column.clone())
        .collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

huika_testing::db_test! { migrations = huika_members::migrations,
    async fn a_dump_of_the_database_holds_no_phone_and_no_nickname(cx) {
        let shop = Shop::open(&cx);
        for at in 0..50 {
            let mut command = person(&phone(at), &at.to_string());
            command.nickname = Some("王小明".parse().unwrap());
            shop.members.register(&shop.owner, command).await.unwrap();
        }
        // A system whose customer numbers are phones, a phone that comes later, and everything that is recorded.
        let member = shop.members.register(&shop.owner, person("", PHONE)).await.unwrap().member.unwrap();
        shop.members.register(&shop.owner, person(PHONE, PHONE)).await.unwrap();
        shop.members.reveal_phone(&shop.owner, member.id).await.unwrap();
        let reason = format!("{PHONE} called about {PHONE}, 11010519491231002X").parse().unwrap();
        shop.members.set_state(&shop.owner, member.id, MemberState::Frozen, &reason).await.unwrap();

        let dump = dump(&cx).await;
        for digits in [PHONE, "13900000", "王小明", "11010519491231002"] {
            assert_eq!(columns_with(&dump, digits), Vec::<String>::new(), "{digits}");
        }
        // The dump is no empty one: what is public stands where it belongs.
        assert_eq!(
            columns_with(&dump, member.card_number.as_str()),
            ["kernel_outbox.payload", "members_identity.subject", "members_member.card_number"]
        );
        assert!(columns_with(&dump, "138****8000").contains(&"kernel_audit.detail".to_owned()));
    }

    async fn revealing_a_phone_needs_its_permission_and_leaves_a_trace(cx) {
        let shop = Shop::open(&cx);
        let member = shop.members.register(&shop.owner, person(PHONE, "")).await.unwrap().member.unwrap();
        let reader = Actor::with_rights("opr_reader", ["members.read".to_owned()]);
        assert_eq!(code(shop.members.reveal_phone(&reader, member.id).await), "access.denied");
        let reveals = async || {
            let mut entries = list_audit(&mut &cx.db, None, 10).await.unwrap();
            entries.retain(|entry| entry.action != "members.register");
            entries
        };
        assert_eq!(reveals().await, []);

        let adviser = Actor::with_rights("opr_adviser", ["members.reveal".to_owned()]);
        assert_eq!(shop.members.reveal_phone(&adviser, member.id).await.unwrap().reveal(), "+8613800138000");
        let entries = reveals().await;
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].actor.as_str(), entries[0].action.as_str()), ("opr_adviser", "members.reveal"));
        assert_eq!(entries[0].subject, member.id.to_string());
        assert_eq!(entries[0].detail, serde_json::json!({"field": "phone"}));
    }

    async fn what_was_never_known_cannot_be_revealed(cx) {
        let shop = Shop::open(&cx);
        let member = shop.members.register(&shop.owner, person("", "17850")).await.unwrap().member.unwrap();
        assert_eq!(code(shop.members.reveal_phone(&shop.owner, member.id).await), "members.phone_unknown");
        let nobody = shop.members.reveal_phone(&shop.owner, MemberId::from_i64(42)).await;
        assert!(matches!(nobody, Err(MembersError::NotFound)));
    }

    async fn without_the_key_the_personal_data_is_gone_and_the_member_stays(cx) {
        let shop = Shop::open(&cx);
        let mut command = person(PHONE, "17850");
        command.nickname = Some("小明".parse().unwrap());
        let member = shop.members.register(&shop.owner, command).await.unwrap().member.unwrap();
        cx.execute("DELETE FROM members_key WHERE member_id = ?", params![member.id]).await;

        let erased = shop.members.find(&shop.owner, member.id).await.unwrap();
        assert_eq!((&erased.phone_masked, &erased.nickname), (&None, &None));
        assert_eq!(erased.card_number, member.card_number);
        assert_eq!(code(shop.members.reveal_phone(&shop.owner, member.id).await), "members.erased");
        // No new phone is written beside the lost one.
        let other = shop.members.register(&shop.owner, person("13900139000", "17850")).await;
        assert_eq!(code(other), "members.erased");
    }

    async fn another_key_file_opens_nothing_and_says_so(cx) {
        let shop = Shop::open(&cx);
        let member = shop.members.register(&shop.owner, person(PHONE, "17850")).await.unwrap().member.unwrap();
        let other = Keyring::parse(&Keyring::generate(&Rng::seeded(99))).unwrap();
        let members = Members::new(cx.db.clone(), cx.ids.clone(), other.into());
        assert_eq!(code(members.find(&shop.owner, member.id).await), "members.keys_missing");
        // Without the index key nobody is even found, save by the card.
        let by_phone = Identity::Phone(PHONE.parse().unwrap());
        assert_eq!(code(members.find_by_identity(&shop.owner, &by_phone).await), "members.not_found");
        let by_number = Identity::External(external("17850"));
        assert_eq!(code(members.find_by_identity(&shop.owner, &by_number).await), "members.not_found");
        let by_card = Identity::Card(member.card_number);
        assert_eq!(code(members.find_by_identity(&shop.owner, &by_card).await), "members.keys_missing");
    }
}
