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

use crate::error::{Action, Error, What};
use crate::object::{Kind, Object};

/// What a terminal's user waits for a connection before wondering; kube's own limit is half a minute.
const CONNECT: Duration = Duration::from_secs(10);

/// The field manager of what this program writes.
pub(crate) const MANAGER: &str = "kubectl-doppel";

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

    /// The one object of this name.
    pub(crate) async fn find(&self, namespace: &str, name: &str, kind: Option<Kind>) -> Result<Object, Error> {
        let mut found = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|one| kind.is_none_or(|wanted| wanted == *one)) {
            found.extend(self.get(namespace, name, kind).await?);
        }
        let second = found.pop();
        match (found.pop(), second) {
            (Some(_), Some(_)) => Err(Error::Ambiguous { namespace: namespace.to_owned(), name: name.to_owned() }),
            (None, Some(object)) => Ok(object),
            (_, None) => Err(self.missing(namespace, name, kind).await),
        }
    }

    /// This object, if there is one.
    pub(crate) async fn get(&self, namespace: &str, name: &str, kind: Kind) -> Result<Option<Object>, Error> {
        let got = match kind {
            Kind::Source => self.api::<ReplicationSource>(namespace).get_opt(name).await.map(|got| got.map(Into::into)),
            Kind::Destination => {
                self.api::<ReplicationDestination>(namespace).get_opt(name).await.map(|got| got.map(Into::into))
            }
        };
        got.map_err(|error| self.error("get", What::Replications(kind), namespace, error))
    }

    /// A failed call in a namespace, in words.
    pub(crate) fn error(&self, verb: &'static str, what: What, namespace: &str, error: kube::Error) -> Error {
        Error::of_call(Action { verb, what, scope: Scope::Namespace(namespace.to_owned()) }, &self.context, error)
    }

    /// A failed list of one of the API's kinds, in words.
    fn list_error(&self, kind: Kind, scope: &Scope, error: kube::Error) -> Error {
        let what = What::Replications(kind);
        Error::of_call(Action { verb: "list", what, scope: scope.clone() }, &self.context, error)
    }

    /// A name that no object has there.
    pub(crate) fn nothing_of(&self, name: &str, scope: Scope) -> Error {
        Error::NotFound {
            what: "ReplicationSource or ReplicationDestination".to_owned(),
            name: name.to_owned(),
            scope,
            context: self.context.clone(),
            remedy: "see kubectl doppel status -A".to_owned(),
        }
    }

    /// Why there is no such object: a wrong name or kind, or an API that is not installed, which looks the same to a get.
    async fn missing(&self, namespace: &str, name: &str, kind: Option<Kind>) -> Error {
        let all = match self.list(&Scope::Namespace(namespace.to_owned()), None).await {
            Ok(all) => all,
            Err(error @ Error::NotInstalled { .. }) => return error,
            Err(_) => Vec::new(),
        };
        let scope = Scope::Namespace(namespace.to_owned());
        let other = all.iter().find(|object| object.name == name).map(|object| object.kind);
        let (Some(wanted), Some(other)) = (kind, other) else {
            return self.nothing_of(name, scope);
        };
        Error::NotFound {
            what: wanted.to_string(),
            name: name.to_owned(),
            scope,
            context: self.context.clone(),
            remedy: format!("there is a {other} of that name: leave out --kind, or say --kind {}", other.short()),
        }
    }
}
