//! `docs/conformance.md` names every line of the checklist once, and tests that exist and name the line.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A line of the ledger.
struct Row {
    id: String,
    state: String,
    why: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn checklist() -> Vec<String> {
    let text = fs::read_to_string(root().join("tests/vectors/checklist-ids.txt")).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn ledger() -> Vec<Row> {
    let text = fs::read_to_string(root().join("docs/conformance.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| T-"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        Row { id: cells[0].to_owned(), state: cells[1].to_owned(), why: cells[2].to_owned() }
    })
    .collect()
}

/// Every test function of the package with the ids that its comments and its name cite.
fn tests() -> BTreeMap<String, BTreeSet<String>> {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    collect(&root().join("tests"), &mut files);
    let mut tests = BTreeMap::new();
    for path in files {
        let relative = path.strip_prefix(root()).unwrap().with_extension("");
        let parts: Vec<&str> = relative.iter().skip(1).map(|part| part.to_str().unwrap()).collect();
        let module = parts.join("::");
        let module =
            module.strip_suffix("::mod").or_else(|| module.strip_suffix("::main")).unwrap_or(&module);
        read(module, &fs::read_to_string(&path).unwrap(), &mut tests);
    }
    tests
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("node_modules") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read(module: &str, text: &str, tests: &mut BTreeMap<String, BTreeSet<String>>) {
    let (mut announced, mut current) = (false, None);
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            announced = true;
        } else if let Some(rest) = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn ")) {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let name = format!("{module}::{name}");
            current = announced.then(|| name.clone());
            if announced {
                tests.insert(name, BTreeSet::new());
            }
            announced = false;
        } else if let Some(name) = current.as_ref().filter(|_| line.starts_with("//")) {
            tests.get_mut(name).unwrap().extend(cited(line));
        }
    }
}

/// Returns the ids in a comment.
fn cited(line: &str) -> Vec<String> {
    let words = line.split(|c: char| c.is_whitespace() || ",:;()`".contains(c));
    words.filter(|word| word.starts_with("T-")).map(|word| word.trim_end_matches('.').to_owned()).collect()
}

/// Returns what stands in backticks.
fn named(why: &str) -> Vec<&str> {
    why.split('`').skip(1).step_by(2).collect()
}

/// Whether a test cites an id in a comment, or in its name as `t_7065_3_1_01_…`.
fn shows(test: &str, ids: &BTreeSet<String>, id: &str) -> bool {
    let spelled = id.to_lowercase().replace(['-', '.'], "_");
    ids.contains(id) || test.rsplit("::").next().is_some_and(|name| name.starts_with(&spelled))
}

#[test]
fn every_line_of_the_checklist_stands_once() {
    let mut rows: Vec<String> = ledger().into_iter().map(|row| row.id).collect();
    let mut ids = checklist();
    assert_eq!(ids.len(), 283);
    rows.sort();
    ids.sort();
    assert_eq!(rows, ids);
}

#[test]
fn every_state_says_what_it_has_to() {
    for Row { id, state, why } in ledger() {
        match state.as_str() {
            "done" => assert!(!named(&why).is_empty(), "{id} is shown by nothing"),
            "planned" | "refused" => assert!(!why.is_empty(), "{id} does not say why"),
            other => panic!("{id} is {other}"),
        }
    }
}

#[test]
fn every_named_test_exists_and_names_its_line() {
    let tests = tests();
    for Row { id, state, why } in ledger() {
        for name in named(&why) {
            if name.contains('/') {
                assert!(root().join(name).is_file(), "{id}: {name} is no file");
            } else {
                let ids = tests.get(name).unwrap_or_else(|| panic!("{id}: {name} is no test"));
                assert!(state != "done" || shows(name, ids, &id), "{name} does not name {id}");
            }
        }
    }
}

#[test]
fn every_line_that_a_test_names_is_in_the_checklist() {
    let known: BTreeSet<String> = checklist().into_iter().collect();
    for (test, ids) in tests() {
        let strange: Vec<_> = ids.difference(&known).collect();
        assert!(strange.is_empty(), "{test} names {strange:?}");
    }
}
