//! Two volumes, entry by entry, as VolSync's own acceptance tests compare them: contents, targets of links, and of every entry
//! name, type, owner, group and mode. Not their roots, and not `lost+found`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What there is to say about an entry apart from a file's content.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// Type and permissions.
    mode: u32,
    owner: (u32, u32),
    /// Of a symbolic link.
    target: Option<PathBuf>,
}

/// Each difference in words; none when both trees are equal.
pub(super) fn differences(one: &Path, other: &Path) -> Vec<String> {
    let (entries, others) = (read(one), read(other));
    let mut found = Vec::new();
    for (path, entry) in &entries {
        match others.get(path) {
            None => found.push(format!("{}: only in the first", path.display())),
            Some(counterpart) if counterpart != entry => {
                found.push(format!("{}: {entry:?} and {counterpart:?}", path.display()));
            }
            Some(_)
                if has_content(entry) && fs::read(one.join(path)).unwrap() != fs::read(other.join(path)).unwrap() =>
            {
                found.push(format!("{}: contents", path.display()));
            }
            Some(_) => {}
        }
    }
    let added = others.keys().filter(|path| !entries.contains_key(*path));
    found.extend(added.map(|path| format!("{}: only in the second", path.display())));
    found
}

/// How many entries are beneath a directory.
pub(super) fn count(root: &Path) -> usize {
    read(root).len()
}

fn has_content(entry: &Entry) -> bool {
    const TYPE: u32 = 0o170_000;
    const REGULAR: u32 = 0o100_000;
    entry.mode & TYPE == REGULAR
}

fn read(root: &Path) -> BTreeMap<PathBuf, Entry> {
    let mut entries = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for item in fs::read_dir(&directory).unwrap() {
            let path = item.unwrap().path();
            if path.file_name().is_some_and(|name| name == "lost+found") {
                continue;
            }
            let metadata = fs::symlink_metadata(&path).unwrap();
            let target = metadata.is_symlink().then(|| fs::read_link(&path).unwrap());
            let entry = Entry { mode: metadata.mode(), owner: (metadata.uid(), metadata.gid()), target };
            entries.insert(path.strip_prefix(root).unwrap().to_owned(), entry);
            if metadata.is_dir() {
                directories.push(path);
            }
        }
    }
    entries
}

/// A way in which a volume changes, and the path at which that is noticed.
type Change<'a> = (&'a str, &'a dyn Fn(&Path));

/// A comparison that notices nothing would let every test pass that relies on it.
#[test]
fn every_kind_of_difference_between_two_volumes_is_noticed() {
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};

    let fill = |root: &Path| {
        fs::create_dir_all(root.join("dir/lost+found")).unwrap();
        fs::write(root.join("dir/file"), "content").unwrap();
        symlink("../file", root.join("dir/link")).unwrap();
    };
    let remove = |path: &Path| fs::remove_file(path).unwrap();
    let changes: [Change<'_>; 9] = [
        ("", &|root| fs::write(root.join("dir/lost+found/file"), "").unwrap()),
        ("dir/file", &|root| fs::write(root.join("dir/file"), "CONTENT").unwrap()),
        ("dir/file", &|root| fs::set_permissions(root.join("dir/file"), PermissionsExt::from_mode(0o600)).unwrap()),
        ("dir/file", &|root| remove(&root.join("dir/file"))),
        ("added", &|root| fs::write(root.join("added"), "").unwrap()),
        ("dir/link", &|root| lchown(root.join("dir/link"), Some(1234), None).unwrap()),
        ("dir", &|root| lchown(root.join("dir"), None, Some(5678)).unwrap()),
        ("dir/link", &|root| {
            remove(&root.join("dir/link"));
            symlink("../other", root.join("dir/link")).unwrap();
        }),
        ("dir/link", &|root| {
            remove(&root.join("dir/link"));
            fs::write(root.join("dir/link"), "../file").unwrap();
        }),
    ];
    for (expected, change) in changes {
        let trees = tempfile::tempdir().unwrap();
        let (one, other) = (trees.path().join("one"), trees.path().join("other"));
        fill(&one);
        fill(&other);
        assert_eq!(differences(&one, &other), [""; 0]);
        change(&other);
        let found = differences(&one, &other);
        let named: Vec<_> = found.iter().filter_map(|text| text.split(':').next()).collect();
        assert_eq!(named, if expected.is_empty() { vec![] } else { vec![expected] }, "{found:?}");
    }
}
