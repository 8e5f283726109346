//! Lists of named reasons: one word each for logs, metrics and tests.

/// Makes an enum of reasons with their labels.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them, in alphabetical order of their labels.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// Returns the word that logs, metrics and tests use.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self {
                    $($name::$variant => $label,)*
                }
            }
        }
    };
}

pub(crate) use reasons;
