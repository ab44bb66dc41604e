//! What a person and a program learn when something is refused: a stable code, a status, and words in
//! Chinese and English that say what to do next.

use serde::Serialize;

/// One kind of problem, as listed in `docs/generated/errors.md`.
#[derive(Debug, Clone, Copy)]
pub struct ProblemKind {
    /// Stable for ever: `area.reason`.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The English text, with `{parameters}`.
    pub en: &'static str,
    /// The Chinese text, with `{parameters}`.
    pub zh: &'static str,
}

/// A field of the input that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldProblem {
    /// Where, as a path such as `lines[2].quantity`.
    pub field: String,
    /// What is wrong, in English.
    pub en: String,
    /// What is wrong, in Chinese.
    pub zh: String,
}

/// A problem that occurred, ready to be sent as RFC 9457 Problem JSON.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The stable code.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The text in English, parameters filled in.
    pub en: String,
    /// The text in Chinese, parameters filled in.
    pub zh: String,
    /// The parameters by name, for programs.
    pub params: Vec<(&'static str, String)>,
    /// The wrong fields, where the input was refused.
    pub fields: Vec<FieldProblem>,
    /// When to try again, in seconds.
    pub retry_after_seconds: Option<u32>,
}

impl Problem {
    /// A problem without parameters.
    pub fn new(kind: &ProblemKind) -> Self {
        Self {
            code: kind.code,
            status: kind.status,
            en: kind.en.to_owned(),
            zh: kind.zh.to_owned(),
            params: Vec::new(),
            fields: Vec::new(),
            retry_after_seconds: None,
        }
    }
}

/// An error of a module: expected refusals and wrapped failures. Made by [`crate::problems!`].
pub trait Refusal: std::error::Error + Send + Sync + 'static {
    /// The problem as the outside sees it.
    fn problem(&self) -> Problem;
}

/// Declares a module's error enum: each variant with its status, code and texts, in one place.
///
/// Variants under `from` wrap the error of a crate below and answer with that error's problem. The list of
/// all kinds is the associated constant `KINDS`, from which the documents are generated.
#[macro_export]
macro_rules! problems {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $(
                $(#[$variant_meta:meta])*
                [$status:literal $code:literal]
                $variant:ident $({ $($(#[$field_meta:meta])* $field:ident : $type:ty),+ $(,)? })?
                en $en:literal
                zh $zh:literal;
            )*
        }
        $(from {
            $($(#[$inner_meta:meta])* $wrapper:ident($inner:ty)),* $(,)?
        })?
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        #[allow(missing_docs, reason = "the texts say what the parameters are")]
        $vis enum $name {
            $($(#[$variant_meta])* $variant $({ $($(#[$field_meta])* $field: $type),+ })?,)*
            $($($(#[$inner_meta])* $wrapper($inner),)*)?
        }

        impl $name {
            /// Every kind of problem that this crate adds.
            $vis const KINDS: &'static [$crate::ProblemKind] = &[
                $($crate::ProblemKind { code: $code, status: $status, en: $en, zh: $zh },)*
            ];
        }

        impl ::std::fmt::Display for $name {
            #[allow(unused_variables, reason = "a text need not use every parameter")]
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                match self {
                    $(Self::$variant $({ $($field),+ })? => write!(f, $en),)*
                    $($(Self::$wrapper(inner) => ::std::fmt::Display::fmt(inner, f),)*)?
                }
            }
        }

        impl ::std::error::Error for $name {
            fn source(&self) -> Option<&(dyn ::std::error::Error + 'static)> {
                #[allow(unreachable_patterns, reason = "some enums wrap nothing")]
                match self {
                    $($(Self::$wrapper(inner) => Some(inner),)*)?
                    _ => None,
                }
            }
        }

        impl $crate::Refusal for $name {
            #[allow(unused_variables, reason = "a text need not use every parameter")]
            fn problem(&self) -> $crate::Problem {
                match self {
                    $(Self::$variant $({ $($field),+ })? => $crate::Problem {
                        code: $code,
                        status: $status,
                        en: format!($en),
                        zh: format!($zh),
                        params: vec![$($((stringify!($field), $field.to_string())),+)?],
                        fields: Vec::new(),
                        retry_after_seconds: None,
                    },)*
                    $($(Self::$wrapper(inner) => $crate::Refusal::problem(inner),)*)?
                }
            }
        }

        $($(
            impl From<$inner> for $name {
                fn from(inner: $inner) -> Self {
                    Self::$wrapper(inner)
                }
            }
        )*)?
    };
}

#[cfg(test)]
mod tests {
    use super::Refusal;

    problems! {
        /// An example.
        enum Inner {
            /// Out of stock.
            [409 "cup.empty"]
            Empty { left: i64 }
            en "Only {left} left: order less."
            zh "仅剩 {left}，请减少数量。";
        }
    }
    problems! {
        /// A wrapper.
        enum Outer {
            /// Closed.
            [403 "cafe.closed"]
            Closed
            en "The café is closed."
            zh "已打烊。";
        }
        from {
            /// From the cups.
            Cup(Inner)
        }
    }

    #[test]
    fn problems_carry_code_status_and_both_texts() {
        let problem = Outer::from(Inner::Empty { left: 3 }).problem();
        assert_eq!((problem.code, problem.status), ("cup.empty", 409));
        assert_eq!(problem.zh, "仅剩 3，请减少数量。");
        assert_eq!(problem.params, [("left", "3".to_owned())]);
        assert_eq!(Outer::Closed.to_string(), "The café is closed.");
        assert_eq!(Outer::KINDS.len() + Inner::KINDS.len(), 2);
    }
}
