//! `explain`: what one object does, what it waits for, what failed, what it is made of, and what to do next.
//!
//! It only reads. Of a key's Secret it asks for the metadata alone, so its content never gets here.

mod advice;
mod child;
mod facts;
mod page;

use std::io::Write as _;

use jiff::Timestamp;

use crate::args::Which;
use crate::cluster::Cluster;
use crate::error::Error;
use crate::object::Object;
use crate::state;

/// Runs it.
pub(crate) async fn run(cluster: &Cluster, namespace: &str, which: &Which) -> Result<(), Error> {
    let object = cluster.find(namespace, which.name(), which.kind()).await?;
    let facts = facts::gather(cluster, object).await;
    write!(std::io::stdout().lock(), "{}", page::render(&facts, Timestamp::now()))?;
    Ok(())
}

/// What an object waits for or suffers from, and what to do first, for whoever waited for it in vain.
pub(crate) async fn why(cluster: &Cluster, object: Object) -> String {
    let facts = facts::gather(cluster, object).await;
    let state = state::of(&facts.object);
    let first = advice::of(&facts, &state).into_iter().next().filter(|first| *first != state.message);
    [Some(state.message), first].into_iter().flatten().collect::<Vec<_>>().join("; ")
}
