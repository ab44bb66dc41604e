//! What is committed under docs/generated/ is what the code says.

use huika_core::{Clock, Rng};

#[tokio::test]
async fn the_committed_documents_are_current() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/generated");
    let documents = huika::generated::documents(&Clock::system(), &Rng::system())
        .await
        .unwrap();
    for (name, text) in documents {
        let committed = std::fs::read_to_string(format!("{folder}/{name}")).unwrap_or_default();
        let hint =
            "run `cargo run -p huika -- openapi --write docs/generated`, read the difference, commit it";
        assert!(committed == text, "docs/generated/{name} is stale: {hint}");
    }
}

#[tokio::test]
async fn the_same_code_gives_the_same_documents() {
    let once = huika::generated::documents(&Clock::system(), &Rng::seeded(1))
        .await
        .unwrap();
    let again = huika::generated::documents(&Clock::system(), &Rng::seeded(2))
        .await
        .unwrap();
    assert_eq!(once, again);
}

#[test]
fn codes_of_problems_and_names_of_permissions_are_unique() {
    let mut codes: Vec<&str> = huika::compose::problem_kinds()
        .iter()
        .flat_map(|(_, kinds)| kinds.iter())
        .map(|kind| kind.code)
        .collect();
    codes.sort_unstable();
    // The ledger and orders stop in the same words.
    codes.dedup_by(|a, b| a == b && *a == "system.stopping");
    let repeated: Vec<_> = codes.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(repeated.is_empty(), "{repeated:?}");

    let mut names: Vec<&str> = huika::compose::permissions()
        .iter()
        .map(|permission| permission.name)
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
