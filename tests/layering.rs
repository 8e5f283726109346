//! The table of who may use whom, read from the `use` lines; `ARCHITECTURE.md` draws it.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each room may use. A room that is not here may use nothing.
const MAY_USE: &[(&str, &[&str])] = &[
    ("auth", &["json"]),
    ("bucket", &["time"]),
    ("cli", &["auth", "config", "json", "net::clock", "node", "telemetry"]),
    ("config", &["auth", "telemetry"]),
    ("net", &["auth", "bucket", "words", "stun", "telemetry", "time", "turn"]),
    (
        "node",
        &[
            "auth",
            "bucket",
            "config",
            "http",
            "json",
            "net",
            "rng",
            "signal",
            "stun",
            "telemetry",
            "time",
            "turn",
        ],
    ),
    ("http", &["auth", "bucket", "json", "signal", "telemetry", "time"]),
    ("backplane", &["signal", "telemetry", "time"]),
    ("json", &[]),
    ("words", &[]),
    ("signal", &["auth", "bucket", "json", "words", "rng", "time"]),
    ("stun", &[]),
    ("telemetry", &[]),
    ("time", &[]),
    ("turn", &["auth", "bucket", "words", "rng", "stun", "time"]),
    ("main", &["cli"]),
    ("lib", &[]),
    ("rng", &[]),
];

/// Longest file in lines.
const LONGEST: usize = 900;

struct Source {
    /// Module path, as `turn::relay`; `turn` for `turn/mod.rs`.
    module: String,
    /// The file without what tests alone compile, comments and texts.
    code: String,
    lines: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(files.len() > 20, "{files:?}");
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let relative = path.strip_prefix(&root).unwrap().with_extension("");
            let parts: Vec<_> = relative.iter().map(|part| part.to_str().unwrap()).collect();
            let module = parts.join("::");
            let module = module.strip_suffix("::mod").unwrap_or(&module).to_owned();
            Source { module, code: code_of(&text), lines: text.lines().count() }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Leaves out comments and the test module at the end.
fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Returns every path that starts at `crate`, `self` or `super`, as a full module path, with groups opened.
fn paths(source: &Source, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in source.code.match_indices(start) {
            let boundary = source.code[..at].chars().next_back();
            let tail = &source.code[at + start.len()..];
            let whole = !boundary.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$');
            if whole {
                let base = match start {
                    "crate::" => String::new(),
                    "self::" => source.module.clone(),
                    _ => parent(&source.module),
                };
                open_groups(&base, tail, &mut found);
            }
        }
    }
    found.into_iter().map(|path| module_of(&path, modules)).filter(|path| !path.is_empty()).collect()
}

/// Follows one path, and each branch of a `{…}` in it.
fn open_groups(base: &str, tail: &str, found: &mut BTreeSet<String>) {
    let name: String = tail.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let (base, behind) = match name.as_str() {
        "" => (base.to_owned(), tail),
        "super" => (parent(base), &tail[5..]),
        _ => (join(base, &name), &tail[name.len()..]),
    };
    if let Some(group) =
        behind.strip_prefix("::{").or_else(|| behind.strip_prefix('{').filter(|_| name.is_empty()))
    {
        let mut depth = 0;
        let mut item = String::new();
        for c in group.chars() {
            match c {
                '}' if depth == 0 => break,
                ',' if depth == 0 => {
                    open_groups(&base, item.trim(), found);
                    item.clear();
                    continue;
                }
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            item.push(c);
        }
        open_groups(&base, item.trim(), found);
    } else if let Some(more) = behind.strip_prefix("::") {
        open_groups(&base, more, found);
    } else {
        found.insert(base);
    }
}

/// Cuts a path back to the module that it lies in.
fn module_of(path: &str, modules: &BTreeSet<String>) -> String {
    let mut path = path.to_owned();
    while !path.is_empty() && !modules.contains(&path) {
        path = parent(&path);
    }
    path
}

fn parent(module: &str) -> String {
    module.rsplit_once("::").map_or(String::new(), |(parent, _)| parent.to_owned())
}

fn join(base: &str, name: &str) -> String {
    if base.is_empty() { name.to_owned() } else { format!("{base}::{name}") }
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or_default()
}

/// Which file uses which.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let sources = sources();
    let modules: BTreeSet<String> = sources.iter().map(|source| source.module.clone()).collect();
    sources
        .iter()
        .map(|source| {
            let mut used = paths(source, &modules);
            if source.module == "main" {
                let names = source.code.split("turnpike::").skip(1);
                let names =
                    names.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
                used.extend(names.filter(|name: &String| modules.contains(name)));
            }
            used.remove(&source.module);
            (source.module.clone(), used)
        })
        .collect()
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    let mut wrong = Vec::new();
    for (module, used) in uses() {
        let allowed = MAY_USE.iter().find(|(name, _)| *name == room(&module)).map(|(_, allowed)| *allowed);
        let allowed = allowed.unwrap_or_else(|| panic!("{module} is in no room of the table"));
        for target in used {
            let inside = room(&target) == room(&module);
            if !inside
                && !allowed.iter().any(|name| target == *name || target.starts_with(&format!("{name}::")))
            {
                wrong.push(format!("{module} uses {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_two_files_know_each_other_in_a_circle() {
    let uses = uses();
    // What can be reached from a file must not lead back to it.
    for start in uses.keys() {
        let mut seen = BTreeSet::new();
        let mut next: Vec<(&String, Vec<&String>)> = vec![(start, vec![start])];
        while let Some((at, way)) = next.pop() {
            for target in &uses[at] {
                assert!(target != start, "a circle: {way:?} -> {start}");
                if seen.insert(target) {
                    next.push((target, way.iter().copied().chain([target]).collect()));
                }
            }
        }
    }
}

#[test]
fn foreign_types_stay_in_their_rooms() {
    for source in sources() {
        let names = |word: &str| {
            source.code.match_indices(word).any(|(at, _)| {
                let before = source.code[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
            })
        };
        assert!(!names("warp::") || room(&source.module) == "http", "{} names warp", source.module);
        let doctor = source.module.starts_with("cli::doctor");
        for foreign in ["turn::", "stun::", "webrtc_ice::", "webrtc_util::"] {
            assert!(!names(foreign) || doctor, "{} names {foreign}", source.module);
        }
    }
}

#[test]
fn clocks_are_read_in_one_file() {
    for source in sources() {
        let reads = ["Instant::now", "SystemTime::now", "clock_gettime"]
            .iter()
            .any(|name| source.code.contains(name));
        assert!(!reads || source.module == "net::clock", "{} reads a clock", source.module);
    }
}

#[test]
fn no_file_is_too_long_to_read() {
    for source in sources() {
        assert!(source.lines <= LONGEST, "{} has {} lines", source.module, source.lines);
    }
}

#[test]
fn groups_and_relative_paths_are_followed() {
    let modules = ["a", "a::b", "a::c", "d"].map(str::to_owned).into();
    let source = |code: &str| Source { module: "a::b".to_owned(), code: code.to_owned(), lines: 0 };
    let of = |code: &str| paths(&source(code), &modules).into_iter().collect::<Vec<_>>();
    assert_eq!(of("use crate::{a::{c::X, b::Y}, d::Z};"), ["a::b", "a::c", "d"]);
    assert_eq!(of("use super::c::X; fn f() { crate::d::g(); }"), ["a::c", "d"]);
    assert_eq!(of("use super::super::d::{self, X};"), ["d"]);
    assert_eq!(of("use other_crate::d::X;"), [] as [&str; 0]);
}
