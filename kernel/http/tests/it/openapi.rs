//! The description declares every status and leads nowhere.

use serde_json::Value;

use crate::app::app;

fn description() -> Value {
    serde_json::to_value(app().1).unwrap()
}

/// Every `$ref` below a value.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                found.push(target.clone());
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let api = description();
    let mut found = Vec::new();
    references(&api, &mut found);
    assert!(!found.is_empty());
    for target in found {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(api.pointer(pointer).is_some(), "{target} is not there");
    }
}

#[test]
fn every_route_declares_every_problem() {
    let api = description();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for status in [
                "400", "401", "403", "404", "405", "409", "413", "415", "422", "429", "500", "503",
            ] {
                let response = &operation["responses"][status]["content"]["application/problem+json"];
                assert_eq!(
                    response["schema"]["$ref"], "#/components/schemas/ProblemBody",
                    "{method} {path} {status}"
                );
            }
        }
    }
}

#[test]
fn parameters_and_security_are_described_once_and_rightly() {
    let api = description();
    assert_eq!(api["info"]["version"], "1.2.3");
    let parameters = |path: &str, method: &str| {
        let operation = &api["paths"][path][method];
        let list = operation["parameters"].as_array().unwrap();
        list.iter()
            .map(|p| {
                (
                    p["name"].as_str().unwrap().to_owned(),
                    p["in"].as_str().unwrap().to_owned(),
                    p["required"] == true,
                )
            })
            .collect::<Vec<_>>()
    };
    let row = |name: &str, place: &str, required| (name.to_owned(), place.to_owned(), required);
    assert_eq!(
        parameters("/api/open/v1/cups", "post"),
        [row("Idempotency-Key", "header", true)]
    );
    assert_eq!(
        parameters("/api/open/v1/cups", "get"),
        [row("cursor", "query", false), row("limit", "query", false)]
    );
    assert_eq!(
        parameters("/api/open/v1/cups/{cup_id}", "get"),
        [row("cup_id", "path", true)]
    );
    assert_eq!(
        parameters("/api/open/v1/cups/{cup_id}/saucers/{number}", "get"),
        [row("cup_id", "path", true), row("number", "path", true)]
    );
    assert_eq!(api["security"][0], serde_json::json!({"session": []}));
    assert_eq!(api["security"][1].as_object().unwrap().len(), 4);
    let page = &api["components"]["schemas"]["Page_CupBody"];
    assert_eq!(page["required"], serde_json::json!(["items", "next_cursor"]));
}
