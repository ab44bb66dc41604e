//! Dependencies go one way: kernel < integrations < modules < apps. Cargo keeps crates from
//! using what they do not name; this keeps them from naming what they must not use.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Who may use whom inside the kernel.
const KERNEL: [(&str, &[&str]); 5] = [
    ("huika-core", &[]),
    ("huika-db", &["huika-core"]),
    ("huika-ledger", &["huika-core", "huika-db"]),
    ("huika-http", &["huika-core", "huika-db"]),
    ("huika-testing", &["huika-core", "huika-db"]),
];
/// Which other modules a module may use.
const MODULES: [(&str, &[&str]); 5] = [
    ("huika-staff", &[]),
    ("huika-members", &[]),
    ("huika-loyalty", &["huika-members"]),
    ("huika-orders", &["huika-loyalty", "huika-members"]),
    ("huika-behavior", &["huika-members"]),
];
/// For tests alone.
const TESTING: &str = "huika-testing";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Room {
    Kernel,
    Integrations,
    Modules,
    Apps,
}

fn room_of(package: &Package) -> Room {
    let folder = package.manifest_path.parent().unwrap();
    match folder.parent().unwrap().file_name().unwrap() {
        "kernel" => Room::Kernel,
        "integrations" => Room::Integrations,
        "modules" => Room::Modules,
        _ if folder.ends_with("bench") => Room::Apps,
        "apps" => Room::Apps,
        other => panic!("{} lies in no room: {other}", package.name),
    }
}

fn allowed(table: &[(&str, &[&str])], from: &str, to: &str) -> bool {
    let row = table.iter().find(|(name, _)| *name == from);
    let (_, others) =
        row.unwrap_or_else(|| panic!("{from} is new: add it to this test and to ARCHITECTURE.md"));
    others.contains(&to)
}

fn refuse(from: &Package, to: &Package, kind: DependencyKind) -> Option<&'static str> {
    let (from_room, to_room) = (room_of(from), room_of(to));
    if to.name == TESTING {
        return (kind != DependencyKind::Development).then_some("is for tests alone");
    }
    if to_room == Room::Apps {
        return Some("lies in apps, on which nothing depends");
    }
    if from_room < to_room {
        return Some("lies above");
    }
    let inside = match from_room {
        _ if from_room != to_room => true,
        Room::Kernel => allowed(&KERNEL, &from.name, &to.name),
        Room::Modules => allowed(&MODULES, &from.name, &to.name),
        Room::Integrations | Room::Apps => false,
    };
    (!inside).then_some("is not among the edges that ARCHITECTURE.md allows")
}

#[test]
fn dependencies_go_one_way() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let metadata = MetadataCommand::new()
        .manifest_path(manifest)
        .no_deps()
        .exec()
        .unwrap();
    let packages = metadata.workspace_packages();
    let mut edges = BTreeSet::new();
    let mut wrong = Vec::new();
    for from in &packages {
        for dependency in &from.dependencies {
            let Some(to) = packages.iter().find(|package| *package.name == dependency.name) else {
                continue;
            };
            edges.insert((from.name.to_string(), to.name.to_string()));
            if let Some(why) = refuse(from, to, dependency.kind) {
                wrong.push(format!(
                    "{} -> {} ({:?}): it {why}",
                    from.name, to.name, dependency.kind
                ));
            }
        }
    }
    assert!(edges.len() > 20, "only {} edges were seen", edges.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
