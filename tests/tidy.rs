//! Promise: the house rules hold: who imports whom, what stands in which room, and nothing is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lastbeat_tests::tools::repository;
use serde_json::Value;

/// A file longer than this is a redesign.
const FILE_MAX_LINES: usize = 800;

/// The kinds of file that people write here.
const WRITTEN: &[&str] =
    &["rs", "mjs", "js", "css", "html", "py", "toml", "yml", "yaml", "md", "json", "svg", ""];

/// What each crate may import of the others, and by which dependencies it may never be joined, unless a feature that
/// is off by default asks for them.
const WALLS: &[(&str, &[&str], &[&str])] = &[
    ("lastbeat-wire", &[], &["tokio", "axum", "hyper", "ureq", "rusqlite"]),
    ("lastbeat-engine", &[], &["tokio", "rusqlite", "serde", "serde_json", "jiff", "uuid"]),
    ("lastbeat", &["lastbeat-wire"], &["rusqlite", "axum", "hyper", "jiff"]),
    ("lastbeat-collector", &["lastbeat-engine", "lastbeat-wire", "lastbeat"], &["clap", "ureq"]),
    ("lastbeat-cli", &["lastbeat", "lastbeat-wire", "lastbeat-collector"], &["axum", "rusqlite"]),
    ("lastbeat-tests", &["lastbeat", "lastbeat-wire", "lastbeat-engine", "lastbeat-collector"], &[]),
];

/// What a package needs, and whether everybody who takes the package gets it: in its tests alone, or behind a
/// feature, it is not brought.
fn packages() -> BTreeMap<String, Vec<(String, bool)>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(repository())
        .output()
        .expect("cargo is there");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo answers in JSON");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            let needs = list(&package["dependencies"]);
            let brought = |need: &Value| need["kind"] != "dev" && need["optional"] != true;
            let needs = needs.iter().map(|need| (text(&need["name"]), brought(need)));
            (text(&package["name"]), needs.collect())
        })
        .collect()
}

/// Every file of the repository that people wrote, by its path from the root.
fn files() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(repository())
        .output()
        .expect("git is there");
    assert!(output.status.success(), "the house rules are checked in a git checkout");
    let mut files: Vec<PathBuf> = String::from_utf8_lossy(&output.stdout)
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .filter(|path| repository().join(path).is_file())
        .collect();
    files.sort();
    assert!(files.len() > 20, "{files:?}");
    files
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(repository().join(path)).unwrap_or_default()).into_owned()
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
}

/// The Rust files below `folder`, without what is only compiled for tests, and without comments.
fn code(folder: &str) -> Vec<(PathBuf, String)> {
    let is_code =
        |path: &PathBuf| path.starts_with(folder) && extension(path) == "rs" && !path.ends_with("tests.rs");
    let found: Vec<_> = files().into_iter().filter(is_code).collect();
    assert!(!found.is_empty(), "a rule about {folder} would hold of nothing");
    found
        .into_iter()
        .map(|path| {
            let text = read(&path);
            let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let lines = shipped.lines().filter(|line| !line.trim_start().starts_with("//"));
            (path, lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

#[test]
fn a_crate_imports_only_what_its_place_in_the_house_allows() {
    let packages = packages();
    let built: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    let planned: BTreeSet<&str> = WALLS.iter().map(|(name, _, _)| *name).collect();
    assert_eq!(built, planned, "a crate came or went: say here whom it may know");
    for (name, allowed, never) in WALLS {
        for (need, shipped) in &packages[*name] {
            let ours = planned.contains(need.as_str());
            assert!(!ours || allowed.contains(&need.as_str()), "{name} must not know {need}");
            assert!(!shipped || !never.contains(&need.as_str()), "{name} must not bring {need}");
            assert_ne!(need, "lastbeat-tests", "{name} imports the tests");
        }
    }
    let engine: Vec<_> = packages["lastbeat-engine"].iter().filter(|(_, shipped)| *shipped).collect();
    assert!(engine.is_empty(), "the engine is free of everything: {engine:?}");
}

/// All that a worker compiles which takes the client with these features, by name.
fn compiled_with(features: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package=lastbeat", "--edges=normal", "--prefix=none", "--format={p}", "--offline"])
        .args(features)
        .current_dir(repository())
        .output()
        .expect("cargo is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    lines.lines().filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

#[test]
fn a_worker_that_serves_nothing_compiles_no_server() {
    let (without, with) = (compiled_with(&[]), compiled_with(&["--features=axum"]));
    for name in ["axum", "hyper", "hyper-util", "tower", "tokio-tungstenite"] {
        assert!(with.contains(name), "{name} is not what the feature brings: {with:?}");
        assert!(!without.contains(name), "every worker compiles {name}");
    }
}

#[test]
fn the_engine_has_no_clock_no_files_no_threads() {
    // By whatever way it is named: `std::fs`, or `fs` in a group.
    const FORBIDDEN: [&str; 8] = ["time", "fs", "env", "thread", "net", "process", "os", "io"];
    for (path, text) in code("crates/lastbeat-engine/src") {
        assert!(!text.contains("extern crate"), "{} has another name for std", path.display());
        for named in text.split("std::").skip(1) {
            let group = named.strip_prefix('{').map(|group| group.split('}').next().unwrap_or_default());
            let names = group.map_or_else(|| vec![named], |group| group.split(',').collect());
            for name in names.iter().map(|name| name.trim_start()) {
                let first = name.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                assert!(!FORBIDDEN.contains(&first), "{} uses std::{first}", path.display());
            }
        }
    }
}

#[test]
fn sql_stands_in_the_journal_alone() {
    for (path, text) in code("crates") {
        if path.starts_with("crates/lastbeat-collector/src/journal") {
            continue;
        }
        for word in ["SELECT ", "INSERT INTO", "CREATE TABLE", "DELETE FROM", "PRAGMA", "rusqlite"] {
            assert!(!text.contains(word), "{} speaks SQL: {word}", path.display());
        }
    }
}

#[test]
fn the_collector_spawns_in_its_assembly_alone() {
    for (path, text) in code("crates/lastbeat-collector/src") {
        let spawns = [".spawn(", "::spawn(", "spawn_blocking(", "thread::Builder", ".spawn_on("];
        if path.ends_with("assembly.rs") {
            assert!(spawns.iter().any(|word| text.contains(word)), "the assembly spawns nothing?");
            continue;
        }
        for word in spawns {
            assert!(!text.contains(word), "{} spawns: {word}", path.display());
        }
    }
}

#[test]
fn the_collector_reads_the_time_in_its_clock_alone() {
    for (path, text) in code("crates/lastbeat-collector/src") {
        if path.ends_with("clock.rs") {
            continue;
        }
        for word in ["SystemTime::now", "Timestamp::now", "Zoned::now", "clock_gettime"] {
            assert!(!text.contains(word), "{} has a clock of its own: {word}", path.display());
        }
    }
}

#[test]
fn no_file_of_the_page_is_forgotten() {
    let all = files();
    let users: Vec<(PathBuf, String)> = all
        .iter()
        .filter(|path| matches!(extension(path), "rs" | "html" | "mjs" | "js" | "css"))
        .map(|path| (path.clone(), read(path)))
        .collect();
    for path in all.iter().filter(|path| path.starts_with("web")) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // Found and run by name.
        if name.ends_with(".test.mjs") {
            continue;
        }
        let from_templates = path.strip_prefix("web/templates").ok().and_then(Path::to_str);
        let wanted = from_templates.unwrap_or(name);
        let used = users.iter().any(|(user, text)| user != path && text.contains(wanted));
        assert!(used, "nobody uses {}", path.display());
    }
}

#[test]
fn no_file_is_too_long_to_be_read() {
    for path in
        files().iter().filter(|path| matches!(extension(path), "rs" | "mjs" | "js" | "css" | "html" | "py"))
    {
        let lines = read(path).lines().count();
        assert!(lines <= FILE_MAX_LINES, "{} has {lines} lines", path.display());
    }
}

#[test]
fn the_repository_stands_alone() {
    // Put together here, so that this file does not hold them.
    let registries = ["registry.npm", "pypi", "static.crates"].iter().zip(["js.org", ".org", ".io"]);
    let mut banned: Vec<String> = registries.map(|(a, b)| format!("{a}{b}")).collect();
    // What lies beside the repository on somebody's disk.
    banned.push(["..", "/shared"].concat());
    // The paths of the machine that runs this, wherever that is.
    banned.push(format!("{}/", repository().display()));
    banned.extend(std::env::var("HOME").ok().filter(|home| home.len() > 1).map(|home| format!("{home}/")));
    for path in files().iter().filter(|path| WRITTEN.contains(&extension(path))) {
        let text = read(path);
        for word in &banned {
            assert!(!text.contains(word), "{} holds {word}: true on one machine only", path.display());
        }
    }
}

#[test]
fn every_test_file_is_run() {
    let manifest = read(Path::new("tests/Cargo.toml"));
    for path in
        files().iter().filter(|path| path.parent() == Some(Path::new("tests")) && extension(path) == "rs")
    {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        assert!(manifest.contains(&format!("path = \"{name}\"")), "{name} is in no [[test]]");
    }
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let words = ["TO", "FIX", "XX"].iter().zip(["DO", "ME", "X"]).map(|(a, b)| format!("{a}{b}"));
    let words: Vec<String> = words.collect();
    // What takes minutes is run by hand; what is run by nobody is left for later.
    let campaigns = read(Path::new("tests/campaign"));
    for path in files().iter().filter(|path| matches!(extension(path), "rs" | "mjs" | "js" | "css" | "html"))
    {
        let text = read(path);
        for word in &words {
            assert!(!text.contains(word.as_str()), "{} says {word}", path.display());
        }
        let skip = ["#[", "ignore"].concat();
        for skipped in text.split(&skip).skip(1) {
            let name =
                skipped.split("fn ").nth(1).and_then(|rest| rest.split('(').next()).unwrap_or_default();
            let runs = campaigns.contains(&format!("--exact {name} "));
            assert!(runs, "{} skips {name}, which no campaign runs", path.display());
        }
    }
}

#[test]
fn every_function_that_the_client_shows_is_used_by_an_example_a_test_or_another_crate() {
    let shown = code("crates/lastbeat/src");
    let users: String = files()
        .iter()
        .filter(|path| extension(path) == "rs" && !path.starts_with("crates/lastbeat/src"))
        .map(|path| read(path))
        .collect();
    let words: BTreeSet<&str> = users
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .collect();
    let mut seen = 0;
    for (path, text) in &shown {
        for line in text.lines().map(str::trim_start).filter(|line| line.starts_with("pub ")) {
            let Some((_, rest)) = line.split_once("fn ") else { continue };
            let name =
                rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
            seen += 1;
            assert!(words.contains(name), "{} shows {name}, which nobody outside of it uses", path.display());
        }
    }
    assert!(seen > 40, "{seen} functions are shown");
}
