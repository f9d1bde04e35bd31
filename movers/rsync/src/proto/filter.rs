//! The rules that a client sends with `--delete`: what is left out of the list, and so must not be deleted either.
//!
//! Only rules that exclude a plain name are understood; whatever else a peer asks for is refused by its text, for a rule
//! that is not heeded would delete what it protects.

use doppel_contract::Line;

use crate::proto::input::{Input, Malformed};

/// Names that are left alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    name: Vec<u8>,
    /// Only in the root.
    anchored: bool,
    /// Only directories.
    directories: bool,
}

/// A rule is not longer, and there are not more of them.
const MAX_RULE: usize = 4096;
const MAX_RULES: usize = 1000;

impl Filter {
    /// Leaves alone `name`, in the root only.
    #[must_use]
    pub fn root_entry(name: &[u8]) -> Self {
        Self { rules: vec![Rule { name: name.to_vec(), anchored: true, directories: false }] }
    }

    /// Reads rules up to their end.
    ///
    /// # Errors
    /// When one of them is not understood.
    pub fn read<I: Input>(input: &mut I) -> Result<Self, I::Error> {
        let mut rules = Vec::new();
        loop {
            let len = i32::from_le_bytes(input.array()?);
            if len == 0 {
                return Ok(Self { rules });
            }
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let text = input.sized("filter rule", len, MAX_RULE)?;
            let rule = Rule::parse(text).filter(|_| rules.len() < MAX_RULES);
            match rule {
                Some(rule) => rules.push(rule),
                None => {
                    let text = Line::from_bytes(text);
                    return Err(Malformed::unexpected(format!("the filter rule {text}, which is not supported")).into());
                }
            }
        }
    }

    /// Writes the rules and their end.
    pub fn write(&self, out: &mut Vec<u8>) {
        for rule in &self.rules {
            let text = [
                &b"- "[..],
                if rule.anchored { b"/" } else { b"" },
                &rule.name,
                if rule.directories { b"/" } else { b"" },
            ]
            .concat();
            out.extend(u32::try_from(text.len()).unwrap_or_default().to_le_bytes());
            out.extend_from_slice(&text);
        }
        out.extend([0; 4]);
    }

    /// Whether the entry `name` in the directory at `parent` (empty for the root) is left alone.
    #[must_use]
    pub fn protects(&self, parent: &[u8], name: &[u8], is_directory: bool) -> bool {
        self.rules.iter().any(|rule| {
            rule.name == name && (!rule.anchored || parent.is_empty()) && (!rule.directories || is_directory)
        })
    }
}

impl Rule {
    fn parse(text: &[u8]) -> Option<Self> {
        let pattern = text.strip_prefix(b"- ")?;
        let (anchored, pattern) = match pattern.strip_prefix(b"/") {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        let (directories, name) = match pattern.strip_suffix(b"/") {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        let plain = !name.is_empty() && !name.iter().any(|byte| b"/*?[\\".contains(byte));
        plain.then(|| Self { name: name.to_vec(), anchored, directories })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rules: &[&str]) -> Result<Filter, Malformed> {
        let mut bytes = Vec::new();
        for rule in rules {
            bytes.extend(u32::try_from(rule.len()).unwrap().to_le_bytes());
            bytes.extend(rule.bytes());
        }
        bytes.extend([0; 4]);
        Filter::read(&mut &bytes[..])
    }

    #[test]
    fn volsyncs_rule_protects_a_name_at_any_depth_and_ours_in_the_root_only() {
        let theirs = read(&["- lost+found"]).unwrap();
        assert!(theirs.protects(b"", b"lost+found", true) && theirs.protects(b"a/b", b"lost+found", false));
        let ours = read(&["- /lost+found"]).unwrap();
        assert!(ours.protects(b"", b"lost+found", true) && !ours.protects(b"a", b"lost+found", true));
        assert!(!ours.protects(b"", b"other", true));
        assert_eq!(ours, Filter::root_entry(b"lost+found"));
    }

    #[test]
    fn rules_that_are_not_heeded_are_refused() {
        for rule in ["- *.tmp", "+ a", "P a", "- a/b", "-/ a", "merge x", "- ", "- [a]", "-a"] {
            assert!(read(&[rule]).is_err(), "{rule}");
        }
        assert!(Filter::read(&mut &[0xff, 0xff, 0xff, 0xff][..]).is_err());
        assert!(Filter::read(&mut &[0xff, 0xff, 0xff, 0x7f][..]).is_err());
    }

    #[test]
    fn rules_come_back() {
        let filter = read(&["- lost+found", "- /x/", "- y"]).unwrap();
        let mut out = Vec::new();
        filter.write(&mut out);
        assert_eq!(Filter::read(&mut &out[..]).unwrap(), filter);
    }
}
