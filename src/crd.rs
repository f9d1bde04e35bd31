//! The CRDs of both kinds, as `doppel crds` prints them and `crds/` holds them.
//!
//! The schema is what `crate::api` derives, brought into the form that an API server takes and that VolSync's CRDs have:
//! no `nullable` and no `default`, quantities as a number or text, integers within their type, and the topology of the lists and maps of Kubernetes'
//! own types, which tells server-side apply what belongs together. Texts of Kubernetes' own types are cut down to their
//! first sentence: a CRD must fit, whole, into the annotation that a client-side `kubectl apply` keeps (256 KiB).

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::api::destination::ReplicationDestination;
use crate::api::source::ReplicationSource;

/// Why the CRDs could not be rendered. All of them are faults of this program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The schema is not one that the type of a CRD can hold.
    #[error("rendering a CRD as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The CRD could not be written as YAML.
    #[error("rendering a CRD as YAML: {0}")]
    Yaml(#[from] serde_yaml_ng::Error),
}

/// The largest number that an `int64` of the schema takes. Limits are floating point: it is the largest integer up to which a
/// double holds each. One nearer to 2^63 would come back from the API server with other digits, and `kubectl apply` would never
/// find the CRD unchanged.
pub(crate) const MOST_INT64: i64 = (1 << 53) - 1;

/// Both CRDs as one YAML stream.
///
/// # Errors
/// See [`Error`].
pub fn yaml() -> Result<String, Error> {
    let mut stream = String::new();
    for definition in definitions()? {
        stream.push_str("---\n");
        stream.push_str(&serde_yaml_ng::to_string(&definition)?);
    }
    Ok(stream)
}

/// Both CRDs: ReplicationSource, then ReplicationDestination.
///
/// # Errors
/// See [`Error`].
pub fn definitions() -> Result<[Value; 2], Error> {
    Ok([definition(&ReplicationSource::crd())?, definition(&ReplicationDestination::crd())?])
}

fn definition(derived: &CustomResourceDefinition) -> Result<Value, Error> {
    let mut definition = serde_json::to_value(derived)?;
    if let Some(root) = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        shape(root, Place { name: "", foreign: false });
        add_type_and_metadata(root);
    }
    Ok(definition)
}

/// Where in a schema a node is.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The name of the property that this node is the schema of; the items of a list have the list's name.
    name: &'a str,
    /// Whether the node is part of one of Kubernetes' own types.
    foreign: bool,
}

/// Properties that hold Kubernetes' own types.
const FOREIGN: &[&str] = &[
    "moverSecurityContext",
    "moverResources",
    "moverAffinity",
    "secret",
    "nfs",
    "persistentVolumeClaim",
    "conditions",
    "latestImage",
];

/// Objects of Kubernetes' own types that make sense only as a whole (`+structType=atomic` in its API).
const ATOMIC: &[&str] =
    &["labelSelector", "namespaceSelector", "preference", "nodeSelectorTerms", "latestImage", NODE_SELECTOR];

/// The one name that is an object in nodeAffinity, a NodeSelector, and a list in podAffinity.
const NODE_SELECTOR: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// VolSync's pattern of a quantity (controller-gen's, for `resource.Quantity`).
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

fn shape(node: &mut Value, place: Place<'_>) {
    let Some(schema) = node.as_object_mut() else { return };
    let foreign = place.foreign || FOREIGN.contains(&place.name);
    for unwanted in ["nullable", "default", "title"] {
        schema.remove(unwanted);
    }
    for limit in ["minimum", "maximum"] {
        // Kubernetes' type of a schema holds limits as floating point; 65535 reads better than 65535.0.
        if let Some(whole) = schema.get(limit).and_then(Value::as_f64).and_then(|limit| format!("{limit}").parse().ok())
        {
            schema.insert(limit.into(), Value::Number(whole));
        }
    }
    bound_integer(schema);
    bound_time(schema, place.name);
    shape_description(schema, place.foreign);
    if schema.contains_key("x-kubernetes-int-or-string") {
        schema.insert("anyOf".into(), json!([{"type": "integer"}, {"type": "string"}]));
        schema.insert("pattern".into(), QUANTITY.into());
    }
    if foreign {
        shape_topology(schema, place.name);
    }
    if place.name == "conditions" && schema.contains_key("properties") {
        shape_condition(schema);
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, property) in properties.iter_mut() {
            shape(property, Place { name, foreign });
        }
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(inner) {
            shape(inner, Place { name: place.name, foreign });
        }
    }
}

/// An API server takes any whole number for an `int32`. One beyond it would be no `i32`, and a single such object would
/// stop the watch on all of them. (VolSync's own types cannot hold it either, so no manifest is lost.)
fn bound_integer(schema: &mut Map<String, Value>) {
    let (least, most) = match schema.get("format").and_then(Value::as_str) {
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        Some("int64") => (-MOST_INT64, MOST_INT64),
        _ => return,
    };
    schema.entry("minimum").or_insert_with(|| least.into());
    schema.entry("maximum").or_insert_with(|| most.into());
}

/// What an API server takes for a time goes beyond RFC 3339 (offsets of 99 hours), beyond nanoseconds and beyond what jiff holds. For the reason
/// above, times are held to what is one. VolSync's own cannot hold the rest either.
fn bound_time(schema: &mut Map<String, Value>, name: &str) {
    const TIME: &str = r"^[0-8]\d{3}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$";
    // In the API's types that one is text.
    if schema.get("format").is_some_and(|format| format == "date-time") && name != "restoreAsOf" {
        schema.insert("pattern".into(), TIME.into());
    }
}

/// Lines of the source become running text; texts that are not ours are cut after their first sentence.
fn shape_description(schema: &mut Map<String, Value>, foreign: bool) {
    let Some(Value::String(description)) = schema.get_mut("description") else { return };
    let text = description.split_whitespace().collect::<Vec<_>>().join(" ");
    *description = if foreign { first_sentence(&text).to_owned() } else { text };
}

fn first_sentence(text: &str) -> &str {
    // "e.g." and "i.e." end no sentence; what follows one begins with a capital letter.
    let end = text.match_indices(". ").find(|(at, _)| {
        let (before, after) = (text.get(..*at).unwrap_or_default(), text.get(at + 2..).unwrap_or_default());
        !before.ends_with("e.g") && !before.ends_with("i.e") && after.starts_with(|c: char| c.is_uppercase())
    });
    match end {
        Some((at, _)) => text.get(..=at).unwrap_or(text),
        None => text,
    }
}

/// What server-side apply treats as one, as in Kubernetes' own API.
fn shape_topology(schema: &mut Map<String, Value>, name: &str) {
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    // VolSync's lists of conditions carry no list type, which is the same as an atomic one.
    match (kind, name) {
        ("array", "claims") => {
            schema.insert("x-kubernetes-list-type".into(), "map".into());
            schema.insert("x-kubernetes-list-map-keys".into(), json!(["name"]));
        }
        ("array", name) if name != "conditions" => {
            schema.insert("x-kubernetes-list-type".into(), "atomic".into());
        }
        ("object", NODE_SELECTOR) if !is_node_selector(schema) => {}
        ("object", name) if ATOMIC.contains(&name) => {
            schema.insert("x-kubernetes-map-type".into(), "atomic".into());
        }
        _ => {}
    }
}

/// The items of podAffinity's list share the name of nodeAffinity's object.
fn is_node_selector(schema: &Map<String, Value>) -> bool {
    schema.get("properties").is_some_and(|properties| properties.get("nodeSelectorTerms").is_some())
}

/// The limits that Kubernetes sets to a condition, which are marks on its Go type and no part of its OpenAPI.
fn shape_condition(schema: &mut Map<String, Value>) {
    let limits = json!({
        "message": {"maxLength": 32768},
        "observedGeneration": {"minimum": 0},
        "reason": {"minLength": 1, "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
        "status": {"enum": ["True", "False", "Unknown"]},
        "type": {
            "maxLength": 316,
            "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
        },
    });
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    let Value::Object(limits) = limits else { return };
    for (name, limits) in limits {
        if let (Some(Value::Object(property)), Value::Object(limits)) = (properties.get_mut(&name), limits) {
            property.extend(limits);
        }
    }
}

/// `kubectl explain` shows these three only where the schema has them.
fn add_type_and_metadata(root: &mut Value) {
    let Some(root) = root.as_object_mut() else { return };
    root.remove("required");
    if let Some(properties) = root.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(
            "apiVersion".into(),
            json!({"type": "string", "description": "The version of the schema that this object is written in."}),
        );
        properties.insert("kind".into(), json!({"type": "string", "description": "The kind of this object."}));
        properties.insert("metadata".into(), json!({"type": "object"}));
    }
}
