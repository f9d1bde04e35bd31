//! An object in the hands of a pass.

use kube::ResourceExt;
use kube::api::{Api, PostParams};

use super::Context;
use super::interpret::Kind;
use crate::apply::FIELD_MANAGER;
use crate::model::status::Status;

/// An object whose status a pass writes.
pub(super) struct Held<'a, K> {
    context: &'a Context,
    api: Api<K>,
    object: K,
    /// Whether the API server has the status that is in here.
    is_written: bool,
}

impl<'a, K: Kind> Held<'a, K> {
    pub(super) fn new(context: &'a Context, object: K) -> Self {
        let api = Api::namespaced(context.client.clone(), &object.namespace().unwrap_or_default());
        Self { context, api, object, is_written: true }
    }

    pub(super) fn object(&self) -> &K {
        &self.object
    }

    /// A synchronization begins. Nobody else knows before that is written.
    pub(super) fn begin(&mut self, status: Status) {
        self.object.set_status(status);
        self.is_written = false;
    }

    /// Writes the status if it is not there yet.
    pub(super) async fn write(&mut self, new: Status) -> kube::Result<()> {
        let there = self.object.status();
        let is_there = self.is_written && self.object.has_status() && there == self.observed(new.clone());
        if is_there { Ok(()) } else { self.claim(new).await }
    }

    /// Writes the status whether or not it is there. The object's resourceVersion goes along: a conflict means that the wish or the
    /// status is not what this pass saw. Who does not get one is the only one to act on it.
    pub(super) async fn claim(&mut self, new: Status) -> kube::Result<()> {
        let mut next = self.object.clone();
        next.set_status(self.observed(new));
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        self.object = self.api.replace_status(&next.name_any(), &parameters, &next).await?;
        self.is_written = true;
        self.context.applier.own().note(&self.object);
        K::left(&self.context.left).put(&self.object);
        Ok(())
    }

    fn observed(&self, status: Status) -> Status {
        Status { observed_generation: self.object.meta().generation, ..status }
    }
}
