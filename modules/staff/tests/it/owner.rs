//! The owner is made once, at first run.

use huika_core::Actor;
use huika_db::audit::list_audit;
use huika_staff::StaffError;
use huika_testing::{TestDb, db_test};

use crate::rig::{EMAIL, Node, PASSWORD};

db_test! { migrations = huika_staff::migrations,
    async fn sixteen_nodes_that_start_together_make_one_owner(cx) {
        let nodes: Vec<Node> = (0..16).map(|_| Node::new(&cx)).collect();
        // Each is configured with another address, so that only the seat decides.
        let made = futures::future::join_all(nodes.iter().enumerate().map(|(number, node)| async move {
            node.staff.ensure_owner(&format!("owner{number}@example.com"), None).await.unwrap()
        }))
        .await;
        let made: Vec<_> = made.into_iter().flatten().collect();
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].password.len(), 20);
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM staff_operator").await, 1);
        // The password that was shown is the one that works.
        assert_eq!(nodes[0].log_in(&made[0].email, &made[0].password).await.status, 201);
        assert_eq!(audited(&cx).await, ["staff.log_in", "staff.create_owner"]);
    }

    async fn a_second_start_changes_nothing(cx) {
        let node = Node::with_owner(&cx).await;
        assert_eq!(node.staff.ensure_owner("other@example.com", Some("another password".into())).await.unwrap(), None);
        assert_eq!(node.log_in(EMAIL, PASSWORD).await.status, 201);
        assert_eq!(node.log_in("other@example.com", "another password").await.status, 401);
    }

    async fn a_new_password_ends_the_old_one_and_its_sessions(cx) {
        let node = Node::with_owner(&cx).await;
        let actor = Actor::system("owner");
        let token = node.token().await;
        assert_eq!(node.me(&token).await.status, 200);
        // Somebody guessed until the address was locked.
        for _ in 0..10 {
            node.log_in(EMAIL, "wrong password").await;
        }
        assert_eq!(node.log_in(EMAIL, PASSWORD).await.status, 429);

        let password = node.staff.new_password();
        assert!(node.staff.reset_owner_password(&actor, password.clone()).await.unwrap());
        assert_eq!(node.me(&token).await.status, 401);
        assert_eq!(node.log_in(EMAIL, PASSWORD).await.status, 401);
        assert_eq!(node.log_in(EMAIL, &password).await.status, 201);
        assert_eq!(audited(&cx).await[..3], ["staff.log_in", "staff.log_in_refused", "staff.reset_owner_password"]);

        let refused = node.staff.reset_owner_password(&actor, "short".into()).await;
        assert!(matches!(refused, Err(StaffError::PasswordUnsuitable { .. })));
    }

    /// Checking a password takes tens of milliseconds, in which it may be replaced.
    async fn no_session_of_an_old_password_outlives_a_new_one(cx) {
        let node = Node::with_owner(&cx).await;
        let log_ins = futures::future::join_all((0..4).map(|_| node.log_in(EMAIL, PASSWORD)));
        let actor = Actor::system("owner");
        let reset = node.staff.reset_owner_password(&actor, node.staff.new_password());
        let (log_ins, reset) = futures::join!(log_ins, reset);
        assert!(reset.unwrap());
        for answer in log_ins {
            match answer.status {
                201 => assert_eq!(node.me(&answer.text("/token")).await.status, 401),
                status => assert_eq!(status, 401, "{}", answer.body),
            }
        }
    }

    async fn before_there_is_an_owner_there_is_no_password_to_reset(cx) {
        let staff = Node::new(&cx).staff;
        assert_eq!(staff.first_owner().await.unwrap(), None);
        let actor = Actor::system("owner");
        assert!(!staff.reset_owner_password(&actor, staff.new_password()).await.unwrap());
    }

    async fn an_owner_needs_an_address_and_a_password_worth_the_name(cx) {
        let staff = Node::new(&cx).staff;
        let refused = staff.ensure_owner("owner", None).await;
        assert!(matches!(refused, Err(StaffError::EmailInvalid)));
        let refused = staff.ensure_owner(EMAIL, Some("admin".into())).await;
        assert!(matches!(refused, Err(StaffError::PasswordUnsuitable { .. })));
        assert_eq!(cx.count("SELECT COUNT(*) AS n FROM staff_first_owner").await, 0);
    }
}

/// What was done, latest first.
async fn audited(cx: &TestDb) -> Vec<String> {
    let entries = list_audit(&mut &cx.db, None, 100).await.unwrap();
    entries.into_iter().map(|entry| entry.action).collect()
}
