//! On which nodes a mover's pod may run: what the user says, and the node that its volumes demand.
//!
//! The node is named by itself (`metadata.name`), as DaemonSets do it, not by a label on it: that needs no right to read
//! nodes, and no label can be missing or shared.

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Toleration,
};

use super::BuildError;
use super::pod::parse;
use crate::model::step::MoverRun;

/// Affinity and tolerations.
pub(super) fn build(run: &MoverRun) -> Result<(Option<Affinity>, Option<Vec<Toleration>>), BuildError> {
    let given = parse::<Affinity>("moverAffinity", run.pod.affinity.as_ref())?;
    let Some(placement) = &run.placement else {
        return Ok((given, None));
    };
    let tolerations: Vec<Toleration> = placement
        .tolerations
        .iter()
        .map(|toleration| parse("tolerations of the pod that uses the volume", Some(toleration)))
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()?;
    Ok((Some(on_node(given.unwrap_or_default(), &placement.node)), Some(tolerations).filter(|list| !list.is_empty())))
}

/// The node, in every alternative that the user gives: a node has to fulfil one of them.
fn on_node(mut affinity: Affinity, node: &str) -> Affinity {
    let requirement = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let nodes = affinity.node_affinity.get_or_insert_with(NodeAffinity::default);
    let required = nodes.required_during_scheduling_ignored_during_execution.get_or_insert_with(NodeSelector::default);
    if required.node_selector_terms.is_empty() {
        required.node_selector_terms.push(NodeSelectorTerm::default());
    }
    for term in &mut required.node_selector_terms {
        term.match_fields.get_or_insert_default().push(requirement.clone());
    }
    affinity
}
