//! Values as typed, with their origin, in layers: command line over environment over file.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use crate::config::mistake::Origin;

/// One value as typed.
#[derive(Clone)]
pub struct RawValue {
    pub text: Zeroizing<String>,
    pub origin: Origin,
}

impl RawValue {
    pub fn new(text: impl Into<String>, origin: Origin) -> RawValue {
        RawValue { text: Zeroizing::new(text.into()), origin }
    }
}

/// The values of one source by flag name; an empty list is a value too.
#[derive(Clone, Default)]
pub struct Layer(pub BTreeMap<&'static str, Vec<RawValue>>);

/// All layers, the one that wins first.
#[derive(Clone, Default)]
pub struct Raw(pub Vec<Layer>);

impl Raw {
    /// Returns the values of a flag that win, `None` where no layer names it.
    pub fn winning(&self, name: &str) -> Option<&[RawValue]> {
        self.0.iter().find_map(|layer| layer.0.get(name)).map(Vec::as_slice)
    }

    /// Returns the values of a flag that a higher layer hides; they are checked all the same.
    pub fn hidden(&self, name: &str) -> impl Iterator<Item = &RawValue> {
        self.0.iter().filter_map(move |layer| layer.0.get(name)).skip(1).flatten()
    }

    /// Returns the place to blame for a flag: where it was given first, else the flag itself.
    pub fn origin(&self, name: &'static str) -> Origin {
        match self.winning(name).and_then(<[RawValue]>::first) {
            Some(value) => value.origin.clone(),
            None => Origin::Unset(name),
        }
    }
}
