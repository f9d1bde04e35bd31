//! The Helm chart, as far as it can be judged without Helm: it has no manifests of its own, none is missing, and its values,
//! their schema and their table name the same. `make test-helm` renders and installs it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What kustomize installs and Helm makes itself.
const NAMESPACE: &str = "namespace.yaml";
/// What is installed on demand, by both.
const ON_DEMAND: &[&str] = &["network-policy.yaml", "monitoring/rules.yaml", "monitoring/servicemonitor.yaml"];

#[test]
fn every_manifest_is_in_the_chart_as_a_link_and_is_rendered() {
    let kustomization = yaml(&deploy().join("kustomization.yaml"));
    let installed = kustomization["resources"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    let mut wanted: BTreeSet<PathBuf> = installed
        .filter(|name| *name != NAMESPACE)
        .map(|name| if name == "../crds" { "../crds/crds.yaml" } else { name })
        .chain(ON_DEMAND.iter().copied())
        .map(|name| fs::canonicalize(deploy().join(name)).unwrap())
        .collect();
    let templates: String = files(&chart().join("templates")).iter().map(|path| read(path)).collect();
    for link in files(&chart().join("manifests")) {
        assert!(link.is_symlink(), "{}: a copy, which drifts", link.display());
        let name = link.file_name().unwrap().to_str().unwrap();
        assert!(wanted.remove(&fs::canonicalize(&link).unwrap()), "{name}: leads to no manifest");
        let rendered = [format!("(list $ \"{name}\")"), format!("\"manifests/{name}\"")];
        assert!(rendered.iter().any(|call| templates.contains(call)), "{name}: no template renders it");
    }
    assert!(wanted.is_empty(), "not in the chart: {wanted:?}");
}

#[test]
fn values_their_schema_and_their_table_name_the_same() {
    let schema: Value = serde_json::from_str(&read(&chart().join("values.schema.json"))).unwrap();
    let values = yaml(&chart().join("values.yaml"));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let problems: Vec<_> = validator.iter_errors(&values).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?}");
    let mut known = BTreeSet::new();
    collect_options(&schema, &schema, "", &mut known);
    let given = known.iter().filter(|name| values.pointer(&format!("/{}", name.replace('.', "/"))).is_some());
    assert_eq!(given.count(), known.len(), "values.yaml lacks some of {known:?}");
    let readme = read(&chart().join("README.md"));
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    let named: BTreeSet<String> =
        rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2)).map(str::to_owned).collect();
    assert_eq!(named, known);
}

#[test]
fn what_is_not_in_the_schema_is_refused_at_every_level() {
    fn walk(node: &Value, place: &str) {
        let Some(properties) = node.get("properties").and_then(Value::as_object) else { return };
        assert_eq!(node["additionalProperties"], false, "{place}");
        for (name, property) in properties {
            walk(property, &format!("{place}.{name}"));
        }
    }
    let schema: Value = serde_json::from_str(&read(&chart().join("values.schema.json"))).unwrap();
    walk(&schema, "");
    for (name, definition) in schema["definitions"].as_object().unwrap() {
        walk(definition, name);
    }
}

#[test]
fn the_chart_has_the_version_of_the_operator() {
    assert_eq!(yaml(&chart().join("Chart.yaml"))["version"], env!("CARGO_PKG_VERSION"));
}

/// The paths of what can be set. Objects of Kubernetes' own are one thing each.
fn collect_options(schema: &Value, node: &Value, place: &str, options: &mut BTreeSet<String>) {
    let node = match node["$ref"].as_str() {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')).unwrap(),
        None => node,
    };
    match node["properties"].as_object() {
        Some(properties) if place != "resources" => {
            for (name, property) in properties.iter().filter(|(name, _)| *name != "global") {
                let inner = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                collect_options(schema, property, &inner, options);
            }
        }
        _ => {
            options.insert(place.to_owned());
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let found: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!found.is_empty(), "{}", folder.display());
    found
}

fn yaml(path: &Path) -> Value {
    serde_yaml_ng::from_str(&read(path)).unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/doppel")
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}
