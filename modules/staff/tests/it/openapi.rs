//! The routes as they are described.

use huika_http::api_description;
use huika_staff::http;
use huika_testing::TestDb;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;

use crate::rig::Node;

#[tokio::test]
async fn every_route_declares_its_answers_and_only_two_are_open() {
    let cx = TestDb::sqlite().await;
    let staff = Node::new(&cx).staff;
    let api = OpenApiRouter::with_openapi(api_description("0.0.0"))
        .merge(http::public_router(staff.clone()))
        .merge(http::router(staff));
    let api = serde_json::to_value(api.into_openapi()).unwrap();
    let mut seen = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let good = operation["responses"]
                .as_object()
                .unwrap()
                .keys()
                .find(|status| status.starts_with('2'))
                .unwrap();
            let open = operation["security"] == json!([{}]);
            assert!(open || operation["security"] == Value::Null, "{path}");
            assert_eq!(operation["tags"], json!(["staff"]), "{path}");
            let problem =
                &operation["responses"]["503"]["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(problem, "#/components/schemas/ProblemBody", "{path}");
            seen.push(format!(
                "{method} {path} {good}{}",
                if open { " open" } else { "" }
            ));
        }
    }
    assert_eq!(
        seen,
        [
            "get /api/admin/v1/api-clients 200",
            "post /api/admin/v1/api-clients 201",
            "delete /api/admin/v1/api-clients/{client_id} 204",
            "put /api/admin/v1/api-clients/{client_id}/access 200",
            "delete /api/admin/v1/api-clients/{client_id}/old-secret 204",
            "post /api/admin/v1/api-clients/{client_id}/rotate 200",
            "get /api/admin/v1/invitations 200",
            "post /api/admin/v1/invitations 201",
            "post /api/admin/v1/invitations/accept 201 open",
            "delete /api/admin/v1/invitations/{invitation_id} 200",
            "get /api/admin/v1/operators 200",
            "get /api/admin/v1/operators/me 200",
            "put /api/admin/v1/operators/me/password 204",
            "post /api/admin/v1/operators/me/second-factor 201",
            "post /api/admin/v1/operators/me/second-factor/confirm 200",
            "post /api/admin/v1/operators/me/second-factor/remove 204",
            "get /api/admin/v1/operators/me/sessions 200",
            "delete /api/admin/v1/operators/me/sessions/{session_id} 204",
            "put /api/admin/v1/operators/{operator_id}/access 200",
            "post /api/admin/v1/operators/{operator_id}/restore 200",
            "delete /api/admin/v1/operators/{operator_id}/second-factor 204",
            "get /api/admin/v1/operators/{operator_id}/sessions 200",
            "delete /api/admin/v1/operators/{operator_id}/sessions/{session_id} 204",
            "post /api/admin/v1/operators/{operator_id}/suspend 200",
            "get /api/admin/v1/roles 200",
            "post /api/admin/v1/roles 201",
            "delete /api/admin/v1/roles/{role_id} 204",
            "put /api/admin/v1/roles/{role_id} 200",
            "post /api/admin/v1/sessions 201 open",
            "delete /api/admin/v1/sessions/current 204",
            "get /api/admin/v1/stores 200",
            "post /api/admin/v1/stores 201",
            "put /api/admin/v1/stores/{code} 200",
            "post /api/admin/v1/stores/{code}/close 200",
        ]
    );
}
