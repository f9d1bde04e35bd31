//! The Service in front of a destination's mover.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{map, metadata};
use crate::model::replication::{Lifetime, Owner};
use crate::model::step::NewService;

/// The Service, as it should be.
#[must_use]
pub fn build(owner: &Owner, new: &NewService) -> Service {
    let mut metadata = metadata(owner, &new.name, Lifetime::Kept);
    metadata.annotations = Some(map(&new.listen.annotations));
    let (port_name, port) = new.port;
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(new.listen.service_type.clone()),
            selector: Some(map(&new.selector)),
            ports: Some(vec![ServicePort {
                name: Some(port_name.to_owned()),
                port: i32::from(port),
                target_port: Some(IntOrString::Int(i32::from(port))),
                protocol: Some("TCP".to_owned()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
