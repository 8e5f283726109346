//! Keys of the HTTP API: what each may do, and how one is found.

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Operate the daemon.
    Admin,
    /// Mint TURN credentials.
    Mint,
    /// Speak into rooms.
    Publish,
    /// Read rooms and figures.
    Read,
    /// Mint join tokens.
    Token,
}

impl Scope {
    /// All of them, in alphabetical order of their labels.
    pub const ALL: &'static [Scope] = &[Scope::Admin, Scope::Mint, Scope::Publish, Scope::Read, Scope::Token];

    /// Returns the word of configuration and documents.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Scope::Admin => "admin",
            Scope::Mint => "mint",
            Scope::Publish => "publish",
            Scope::Read => "read",
            Scope::Token => "token",
        }
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// What a key may do that names nothing: all but `admin`.
    pub const USUAL: Scopes = Scopes(0b1_1110);
    /// Everything.
    pub const ALL: Scopes = Scopes(0b1_1111);

    /// Reads a list like `mint,token`; none if a word in it is no scope.
    #[must_use]
    pub fn parse(list: &str) -> Option<Scopes> {
        let bit = |word: &str| Scope::ALL.iter().find(|scope| scope.label() == word).map(|scope| bit(*scope));
        list.split(',').map(|word| bit(word.trim())).try_fold(0, |all, bit| Some(all | bit?)).map(Scopes)
    }

    /// Returns whether a scope is in the set.
    #[must_use]
    pub fn allow(self, scope: Scope) -> bool {
        self.0 & bit(scope) != 0
    }
}

fn bit(scope: Scope) -> u8 {
    1 << scope as u8
}

/// Which of the keys was shown, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyIndex(pub usize);

/// The keys that open the HTTP API; only their digests are kept.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys(Vec<([u8; 32], Scopes)>);

impl ApiKeys {
    /// Makes the set.
    pub fn new<'a>(keys: impl IntoIterator<Item = (&'a [u8], Scopes)>) -> ApiKeys {
        ApiKeys(keys.into_iter().map(|(key, scopes)| (digest(key), scopes)).collect())
    }

    /// Returns how many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether nothing is opened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Finds the key that was shown, in a time that tells nothing about the others.
    #[must_use]
    pub fn find(&self, shown: &[u8]) -> Option<(KeyIndex, Scopes)> {
        let shown = digest(shown);
        let mut found = u64::MAX;
        for (index, (digest, _)) in self.0.iter().enumerate() {
            let is_it: Choice = digest.ct_eq(&shown);
            found.conditional_assign(&(index as u64), is_it);
        }
        let index = usize::try_from(found).ok()?;
        self.0.get(index).map(|(_, scopes)| (KeyIndex(index), *scopes))
    }
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_scopes_are_all_but_admin() {
        for scope in Scope::ALL {
            assert!(Scopes::ALL.allow(*scope));
            assert_eq!(Scopes::USUAL.allow(*scope), *scope != Scope::Admin);
        }
        assert!(Scope::ALL.iter().map(|scope| scope.label()).is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn scopes_are_read_from_a_list() {
        let scopes = Scopes::parse("mint, read").unwrap();
        assert!(scopes.allow(Scope::Mint) && scopes.allow(Scope::Read) && !scopes.allow(Scope::Token));
        for bad in ["", "mint,", "all", "Mint"] {
            assert_eq!(Scopes::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_key_is_found_whole_or_not_at_all() {
        let keys = ApiKeys::new([(b"first".as_slice(), Scopes::USUAL), (b"second", Scopes::ALL)]);
        assert_eq!(keys.find(b"second"), Some((KeyIndex(1), Scopes::ALL)));
        for wrong in [b"".as_slice(), b"secon", b"second ", b"third"] {
            assert_eq!(keys.find(wrong), None);
        }
        assert_eq!(ApiKeys::default().find(b"first"), None);
        assert!(!format!("{keys:?}").contains("second"));
    }
}
