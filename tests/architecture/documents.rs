//! The documents name files, commands and parts that exist.

use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENTS: &[&str] = &[
    "README.md",
    "CONTRIBUTING.md",
    "ARCHITECTURE.md",
    "docs/volsync-differences.md",
    "docs/acceptance.md",
    "docs/network.md",
    "docs/kubectl.md",
    "charts/doppel/README.md",
];

#[test]
fn every_link_leads_to_a_file() {
    for document in DOCUMENTS {
        let text = read(document);
        for target in links(&text).filter(|target| !target.contains("://")) {
            assert!(root().join(document).with_file_name(target).exists(), "{document}: {target}");
        }
    }
}

#[test]
fn every_path_in_a_table_is_there() {
    for document in DOCUMENTS {
        let text = read(document);
        let named: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).flat_map(paths).collect();
        for path in named {
            let exists = [path.to_owned(), format!("{path}.rs")].iter().any(|path| root().join(path).exists());
            assert!(exists, "{document}: {path}");
        }
    }
}

#[test]
fn every_make_target_exists() {
    let makefile = read("Makefile");
    for document in DOCUMENTS {
        let text = read(document);
        for target in text.split("make ").skip(1).filter_map(|rest| rest.split([' ', '`', '\n']).next()) {
            let is_one = makefile.lines().any(|line| line.starts_with(&format!("{target}:")));
            // "make claims from", "make sure" are English.
            let is_command = text.contains(&format!("`make {target}")) || text.contains(&format!("    make {target}"));
            assert!(is_one || !is_command, "{document}: make {target}");
        }
    }
}

/// A difference, or an acceptance case, that no test holds is a promise only.
#[test]
fn every_test_that_a_difference_or_an_acceptance_case_names_exists() {
    let mut sources = String::new();
    for folder in ["src", "tests", "movers"] {
        collect(&root().join(folder), &mut sources);
    }
    let text = read("docs/volsync-differences.md") + &read("docs/acceptance.md");
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| VolSync"));
    for row in rows {
        let named: Vec<_> = row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test: {row}");
        for test in named {
            let written = [format!("fn {test}()"), format!("func {test}(t *testing.T)")];
            assert!(written.iter().any(|test| sources.contains(test)), "no such test: {test}");
        }
    }
}

fn collect(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "go") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// Two pages: a map that is longer is not read.
#[test]
fn the_map_is_short() {
    assert!(read("ARCHITECTURE.md").lines().count() <= 100);
}

#[test]
fn the_readers_of_this_test_find_what_they_look_for() {
    assert_eq!(links("see [a](b/c.md) and [d](https://e)").collect::<Vec<_>>(), ["b/c.md", "https://e"]);
    assert_eq!(paths("| `src/api`, `report` | `deploy/` | `a b/c` |").collect::<Vec<_>>(), ["src/api", "deploy/"]);
}

fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// What stands between backticks, is one word, and holds a slash.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|word| {
        let begins =
            ["src/", "movers/", "tests/", "deploy/", "crds/", "docs/"].iter().any(|part| word.starts_with(part));
        begins && !word.contains(' ')
    })
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
