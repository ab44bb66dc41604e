//! Roles: what operators may do.

use huika_testing::db_test;
use serde_json::{Value, json};

use crate::rig::Node;

const PATH: &str = "/api/admin/v1/roles";

db_test! { migrations = huika_staff::migrations,
    async fn a_role_permits_until_it_is_changed_or_retired(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let role = node.role(&token, &["staff.read_stores"]).await;
        let (_, clerk) = node.operator(&token, "clerk@example.com", json!({ "roles": [role] })).await;
        let may = async |path: &str| node.get(path, &clerk).await.status;
        assert_eq!((may("/api/admin/v1/stores").await, may("/api/admin/v1/operators").await), (200, 403));

        let body = json!({ "name": "人事", "permissions": ["staff.read_operators", "staff.read_operators"] });
        let changed = node.put(&format!("{PATH}/{role}"), &token, body).await;
        assert_eq!(changed.body["permissions"], json!(["staff.read_operators"]));
        assert_eq!((may("/api/admin/v1/stores").await, may("/api/admin/v1/operators").await), (403, 200));

        for _ in 0..2 {
            assert_eq!(node.delete(&format!("{PATH}/{role}"), &token).await.status, 204);
        }
        assert_eq!(may("/api/admin/v1/operators").await, 403);
        let retired = node.put(&format!("{PATH}/{role}"), &token, json!({ "name": "x", "permissions": [] })).await;
        assert_eq!((retired.status, retired.code().as_str()), (404, "staff.role_missing"));
        let given = json!({ "email": "b@example.com", "display_name": "b", "access": { "roles": [role] } });
        assert_eq!(node.post("/api/admin/v1/invitations", &token, given).await.code(), "staff.role_unknown");
        let list = node.get(PATH, &token).await;
        assert_eq!((list.text("/items/0/id"), &list.body["items"][0]["is_active"]), (role, &json!(false)));
        let audited = "SELECT COUNT(*) AS n FROM kernel_audit WHERE action LIKE 'staff.%_role'";
        assert_eq!(cx.count(audited).await, 3, "made, changed, retired once");
    }

    async fn nobody_makes_or_changes_a_role_beyond_their_own_rights(cx) {
        let node = Node::with_owner(&cx).await;
        let token = node.token().await;
        let rights = ["staff.manage_roles", "staff.read_operators"];
        let role = node.role(&token, &rights).await;
        let more = node.role(&token, &["staff.manage_stores"]).await;
        let (_, manager) = node.operator(&token, "manager@example.com", json!({ "roles": [role] })).await;
        let body = |permissions: Value| json!({ "name": "x", "permissions": permissions });
        for (what, answer, expected) in [
            ("make more", node.post(PATH, &manager, body(json!(["staff.manage_stores"]))).await, "access.denied"),
            ("make unknown", node.post(PATH, &manager, body(json!(["coupons.fly"]))).await, "staff.permission_unknown"),
            ("add to own", node.put(&format!("{PATH}/{role}"), &manager, body(json!(["staff.manage_stores"]))).await, "access.denied"),
            ("take from more", node.put(&format!("{PATH}/{more}"), &manager, body(json!([]))).await, "access.denied"),
            ("retire more", node.delete(&format!("{PATH}/{more}"), &manager).await, "access.denied"),
            ("unknown", node.delete(&format!("{PATH}/rol_0000000000001"), &manager).await, "staff.role_missing"),
            ("make less", node.post(PATH, &manager, body(json!(["staff.read_operators"]))).await, "201"),
        ] {
            assert_eq!(answer.code(), expected, "{what}");
        }
    }
}
