//! Sets of parameters by name.

use std::fmt;

/// A name with wild cards: `*` stands for any characters, `features.*` for all that begins so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern of this text.
    pub fn new(text: impl Into<String>) -> Pattern {
        Pattern(text.into())
    }

    /// Whether the whole name fits.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Pattern {
        Pattern::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        let fits = |pattern: &str, name| Pattern::new(pattern).matches(name);
        assert!(fits("head.weight", "head.weight") && !fits("head.weight", "head.weights"));
        assert!(fits("features.*", "features.0.weight") && !fits("features.*", "head.features.0"));
        assert!(fits("*.bias", "a.bias") && !fits("*.bias", "a.bias.b"));
        assert!(fits("a*b*c", "a1b2c") && !fits("a*b*c", "a1c2b"));
        assert!(fits("*", "") && !fits("ab*ba", "aba"), "parts do not overlap");
    }
}
