//! The example file and the program know the same settings.

use huika::config::{Config, Flags, Surroundings};

const EXAMPLE: &str = include_str!("../../huika.example.toml");

#[test]
fn the_example_file_names_every_setting_with_its_default() {
    let folder = tempfile::tempdir().unwrap();
    let load = |text: &str| {
        let path = folder.path().join("huika.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path), &Surroundings::default(), &Flags::default()).unwrap()
    };
    assert_eq!(load(EXAMPLE), Config::default());

    // Settings without a default are commented out; with them the example knows all.
    let complete = EXAMPLE
        .replace("# public_url", "public_url")
        .replace("# url", "url")
        .replace("# listen", "listen");
    let config = load(&complete);
    assert!(
        config.server.public_url.is_some() && config.redis.url.is_some() && config.worker.listen.is_some()
    );
    let table: toml::Table = complete.parse().unwrap();
    let mut named: Vec<String> = Vec::new();
    for (section, value) in &table {
        match value.as_table() {
            Some(settings) => named.extend(settings.keys().map(|key| format!("{section}.{key}"))),
            None => named.push(section.clone()),
        }
    }
    named.sort();
    let mut known = Config::paths();
    known.sort();
    assert_eq!(named, known);
}
