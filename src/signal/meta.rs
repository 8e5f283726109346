//! `meta`: an object that clients patch (RFC 7396) and whose `$` keys are the server's.

use std::collections::BTreeMap;

use crate::json::{self, Member, Value};

/// A JSON value whose objects are open to merging; all else stays as it was written.
enum Tree {
    Object(BTreeMap<Box<str>, Node>),
    Leaf(Box<str>),
}

struct Node {
    /// Key as it was written, quotes included.
    raw_key: Box<str>,
    /// Place among its siblings.
    place: usize,
    tree: Tree,
}

/// Returns whether a client may write an object: no key begins with `$`.
pub(super) fn is_clients(value: Value<'_>) -> bool {
    value.members().is_some_and(|members| members.iter().all(|member| !member.key.starts_with('$')))
}

/// Returns what a joining member's `meta` is: the token's members as `$` keys, then the client's own.
pub(super) fn joined(client: Option<&str>, token: &str) -> String {
    let mut out = String::from("{");
    if let Ok(members) = json::members(token) {
        for Member { key, value, .. } in members {
            if out.len() > 1 {
                out.push(',');
            }
            json::push_string(&mut out, &format!("${key}"));
            out.push(':');
            out.push_str(&value.text());
        }
    }
    let own = client.and_then(|text| text.strip_prefix('{')?.strip_suffix('}')).unwrap_or_default();
    if out.len() > 1 && !own.is_empty() {
        out.push(',');
    }
    out.push_str(own);
    out.push('}');
    out
}

/// Applies a merge patch (RFC 7396 §2) to an object. Both are good JSON.
pub(super) fn merged(target: &str, patch: &str) -> String {
    let mut tree = read(target);
    merge(&mut tree, patch);
    let mut out = String::with_capacity(target.len() + patch.len());
    write(&tree, &mut out);
    out
}

// Recursion is bounded by `json::MAX_DEPTH`, which every text was held to.
fn read(text: &str) -> Tree {
    let Some(members) = text.starts_with('{').then(|| json::members(text).ok()).flatten() else {
        return Tree::Leaf(text.into());
    };
    let nodes = members.into_iter().enumerate().map(|(place, member)| {
        let tree = read(&member.value.text());
        (member.key.into(), Node { raw_key: member.raw_key.into(), place, tree })
    });
    Tree::Object(nodes.collect())
}

fn merge(target: &mut Tree, patch: &str) {
    let Some(members) = patch.starts_with('{').then(|| json::members(patch).ok()).flatten() else {
        *target = Tree::Leaf(patch.into());
        return;
    };
    if let Tree::Leaf(_) = target {
        *target = Tree::Object(BTreeMap::new());
    }
    let Tree::Object(nodes) = target else { return };
    let mut next_place = nodes.values().map(|node| node.place + 1).max().unwrap_or(0);
    for member in members {
        if member.value.is_null() {
            nodes.remove(member.key.as_ref());
            continue;
        }
        let node = nodes.entry(member.key.into()).or_insert_with(|| {
            next_place += 1;
            let tree = Tree::Leaf("null".into());
            Node { raw_key: member.raw_key.into(), place: next_place, tree }
        });
        merge(&mut node.tree, &member.value.text());
    }
}

fn write(tree: &Tree, out: &mut String) {
    match tree {
        Tree::Leaf(text) => out.push_str(text),
        Tree::Object(nodes) => {
            let mut nodes: Vec<_> = nodes.values().collect();
            nodes.sort_by_key(|node| node.place);
            out.push('{');
            for (index, node) in nodes.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&node.raw_key);
                out.push(':');
                write(&node.tree, out);
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_merge_as_rfc_7396_appendix_a_shows() {
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r"{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            (r#"{"a":"foo"}"#, r#"{"a":{"b":null,"c":1}}"#, r#"{"a":{"c":1}}"#),
            (r"{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merged(target, patch), result, "{target} {patch}");
        }
    }

    #[test]
    fn what_is_not_patched_stays_digit_for_digit() {
        assert_eq!(
            merged(r#"{"n":1.0e+2,"\u0061":"\u00e4"}"#, r#"{"a":2.50}"#),
            r#"{"n":1.0e+2,"\u0061":2.50}"#
        );
    }

    #[test]
    fn the_tokens_members_become_dollar_keys() {
        assert_eq!(
            joined(Some(r#"{"a":1}"#), r#"{"name":"Ann","x\"":2}"#),
            r#"{"$name":"Ann","$x\"":2,"a":1}"#
        );
        assert_eq!(joined(None, ""), "{}");
        assert_eq!(joined(Some("{}"), r#"{"n":1}"#), r#"{"$n":1}"#);
        assert_eq!(joined(Some(r#"{"a":1}"#), ""), r#"{"a":1}"#);
    }
}
