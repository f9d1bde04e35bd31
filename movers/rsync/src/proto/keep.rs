//! What of an entry beside its content a session keeps.

/// What is kept of each entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// Symbolic links (`-l`).
    pub links: bool,
    /// Hard links (`-H`).
    pub hard_links: bool,
    /// Owners (`-o`).
    pub owner: bool,
    /// Groups (`-g`).
    pub group: bool,
    /// Devices, pipes and sockets (`-D`).
    pub specials: bool,
    /// Times (`-t`).
    pub times: bool,
    /// Permissions (`-p`).
    pub permissions: bool,
    /// Access control lists (`-A`).
    pub acls: bool,
    /// Extended attributes (`-X`).
    pub xattrs: bool,
}

impl Keep {
    /// Everything that our client sends.
    pub const ALL: Self = Self {
        links: true,
        hard_links: true,
        owner: true,
        group: true,
        specials: true,
        times: true,
        permissions: true,
        acls: true,
        xattrs: true,
    };
}

/// What a daemon may refuse to keep without a loss of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// Access control lists (`-A`).
    Acls,
    /// Extended attributes (`-X`).
    Xattrs,
}

impl Extra {
    /// The extra that a daemon speaks of when it refuses arguments (its configuration says `refuse options`, or it was
    /// built without).
    #[must_use]
    pub fn named_in(text: &str) -> Option<Self> {
        let names = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if names(&["--xattrs", "(-X)", "extended attributes"]) {
            Some(Self::Xattrs)
        } else if names(&["--acls", "(-A)", "ACLs"]) {
            Some(Self::Acls)
        } else {
            None
        }
    }

    /// What people call it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Acls => "access control lists",
            Self::Xattrs => "extended attributes",
        }
    }
}

impl Keep {
    /// Whether this is kept.
    #[must_use]
    pub fn has(&self, extra: Extra) -> bool {
        match extra {
            Extra::Acls => self.acls,
            Extra::Xattrs => self.xattrs,
        }
    }

    /// All but this.
    #[must_use]
    pub fn without(self, extra: Extra) -> Self {
        match extra {
            Extra::Acls => Self { acls: false, ..self },
            Extra::Xattrs => Self { xattrs: false, ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_daemon_does_not_take_is_known_by_its_words() {
        for (text, extra) in [
            ("The server is configured to refuse --xattrs (-X)", Some(Extra::Xattrs)),
            ("The server is configured to refuse --acls (-A)", Some(Extra::Acls)),
            ("The server is configured to refuse --delete", None),
            ("@ERROR: access denied", None),
        ] {
            assert_eq!(Extra::named_in(text), extra, "{text}");
        }
        let keep = Keep::ALL.without(Extra::Acls);
        assert!(!keep.has(Extra::Acls) && keep.has(Extra::Xattrs) && !keep.without(Extra::Xattrs).xattrs);
    }
}
