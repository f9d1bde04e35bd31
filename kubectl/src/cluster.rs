//! READ: contexts, the clusters behind them, and the objects in those. Every failed call becomes words.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use doppel::api::destination::ReplicationDestination;
use doppel::api::source::ReplicationSource;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Resource};

use crate::error::{Action, Error};
use crate::object::{Kind, Object};

/// What a terminal's user waits for a connection before wondering; kube's own limit is half a minute.
const CONNECT: Duration = Duration::from_secs(10);

/// The contexts of a kubeconfig.
#[derive(Debug)]
pub(crate) struct Contexts(Kubeconfig);

impl Contexts {
    /// Those of this file, or of where kubectl would look.
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, Error> {
        let read = path.map_or_else(Kubeconfig::read, Kubeconfig::read_from);
        read.map(Self).map_err(|error| Error::Kubeconfig(crate::text::one_line(&error.to_string())))
    }

    /// Their names, as the file has them.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.contexts.iter().map(|context| context.name.clone()).collect()
    }

    /// A client for this context, or for the current one.
    pub(crate) async fn connect(&self, name: Option<&str>) -> Result<Cluster, Error> {
        let name = match name.or(self.0.current_context.as_deref()).filter(|name| !name.is_empty()) {
            Some(name) => name.to_owned(),
            None => return Err(Error::Kubeconfig("it has no current context, and --context names none".to_owned())),
        };
        if !self.0.contexts.iter().any(|context| context.name == name) {
            let known = match self.names() {
                names if names.is_empty() => "none".to_owned(),
                names => names.join(", "),
            };
            return Err(Error::UnknownContext { name, known });
        }
        let options = KubeConfigOptions { context: Some(name.clone()), ..KubeConfigOptions::default() };
        let config = kube::Config::from_custom_kubeconfig(self.0.clone(), &options).await;
        let wrong =
            |error: &dyn std::error::Error| Error::Kubeconfig(format!("context {name:?}: {error}").replace('\n', " "));
        let mut config = config.map_err(|error| wrong(&error))?;
        config.connect_timeout = Some(CONNECT);
        let namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(|error| wrong(&error))?;
        Ok(Cluster { client, context: name, namespace })
    }
}

/// A cluster, seen through one context.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    /// The context's name.
    pub(crate) context: String,
    /// The context's own namespace.
    pub(crate) namespace: String,
}

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    Everywhere,
    Namespace(String),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere => f.write_str("in all namespaces"),
            Self::Namespace(namespace) => write!(f, "in namespace {namespace:?}"),
        }
    }
}

impl Cluster {
    /// Objects of a kind in a namespace.
    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Objects of a kind where to look.
    pub(crate) fn scoped<K>(&self, scope: &Scope) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match scope {
            Scope::Everywhere => Api::all(self.client.clone()),
            Scope::Namespace(namespace) => self.api(namespace),
        }
    }

    /// All objects of both kinds, of this name where one is given.
    pub(crate) async fn list(&self, scope: &Scope, name: Option<&str>) -> Result<Vec<Object>, Error> {
        let params = name
            .map_or_else(ListParams::default, |name| ListParams::default().fields(&format!("metadata.name={name}")));
        let (sources, destinations) = futures::try_join!(
            async {
                let list = self.scoped::<ReplicationSource>(scope).list(&params).await;
                list.map_err(|error| self.list_error(Kind::Source, scope, error))
            },
            async {
                let list = self.scoped::<ReplicationDestination>(scope).list(&params).await;
                list.map_err(|error| self.list_error(Kind::Destination, scope, error))
            }
        )?;
        let sources = sources.items.into_iter().map(Object::from);
        let mut objects: Vec<Object> = sources.chain(destinations.items.into_iter().map(Object::from)).collect();
        objects.sort_by(|a, b| (&a.namespace, a.kind, &a.name).cmp(&(&b.namespace, b.kind, &b.name)));
        Ok(objects)
    }

    /// A failed list, in words.
    fn list_error(&self, kind: Kind, scope: &Scope, error: kube::Error) -> Error {
        Error::of_call(Action { kind, scope: scope.clone() }, &self.context, error)
    }
}
