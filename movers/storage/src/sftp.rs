//! A folder on a server of SSH, by SFTP (draft-ietf-secsh-filexfer-02, and OpenSSH's extensions in its file PROTOCOL), laid out
//! as restic lays out its own.
//!
//! All operations share one connection. What fails because of it is `passing`; the next attempt makes a new one.

mod failure;
mod files;
mod identity;
mod known_hosts;
mod session;

use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Mutex;

pub(crate) use identity::private_key;
pub(crate) use known_hosts::KnownHosts;

use crate::folder::{UNFINISHED, random};
use crate::location::Sftp;
use crate::remote::{Failed, Service};
use crate::{Error, Kind, Object};
use files::{Files, Modes};
use identity::Identity;
use session::Session;

/// A server, and a folder on it.
pub(crate) struct SftpServer {
    place: Sftp,
    identity: Arc<Identity>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: Option<Arc<Files>>,
    /// Paths of unfinished files that connections left behind when they broke.
    left_behind: Vec<String>,
}

impl SftpServer {
    pub(crate) fn new(place: Sftp) -> Result<Self, Error> {
        let identity = Arc::new(Identity::of(&place)?);
        Ok(Self { place, identity, state: Mutex::default() })
    }

    fn path(&self, name: &str) -> String {
        match (self.place.path.as_str(), name) {
            (root, "") => root.to_owned(),
            (".", name) => name.to_owned(),
            (root, name) => format!("{}/{name}", root.trim_end_matches('/')),
        }
    }

    /// The connection that there is, or a new one: whoever needs it first makes it for all.
    async fn files(&self) -> Result<Arc<Files>, Failed> {
        let mut state = self.state.lock().await;
        if let Some(files) = state.files.as_ref().filter(|files| !files.session.is_lost()) {
            return Ok(Arc::clone(files));
        }
        let session = Session::open(&self.place, &self.identity).await?;
        let modes = Modes::of(&session, &self.path("config")).await?;
        let files = Arc::new(Files { session, modes });
        for path in mem::take(&mut state.left_behind) {
            // The server may have done it, or it may do it later: it still holds the connection before.
            let _ = files.remove(&path).await;
        }
        state.files = Some(Arc::clone(&files));
        Ok(files)
    }

    /// Works with the connection, and gives it up if it may be the reason that something failed.
    async fn with<T>(&self, work: impl AsyncFnOnce(&Arc<Files>) -> Result<T, Failed>) -> Result<T, Failed> {
        let files = self.files().await?;
        let done = work(&files).await;
        if done.as_ref().is_err_and(|failed| failed.passing) {
            let mut state = self.state.lock().await;
            if state.files.as_ref().is_some_and(|current| Arc::ptr_eq(current, &files)) {
                state.files = None;
            }
        }
        done
    }
}

impl Service for SftpServer {
    async fn read(&self, name: &str) -> Result<Bytes, Failed> {
        self.with(async |files| files.read(&self.path(name)).await).await
    }

    async fn read_range(&self, name: &str, offset: u64, length: usize) -> Result<Bytes, Failed> {
        self.with(async |files| files.read_range(name, &self.path(name), offset, length).await).await
    }

    async fn write(&self, name: &str, content: Bytes) -> Result<(), Failed> {
        let path = self.path(name);
        let chance = random().map_err(|error| Failed::lasting(Kind::Other, error))?;
        let unfinished = format!("{path}{UNFINISHED}{chance:016x}");
        let written = self
            .with(async |files| {
                let written = files.write(&unfinished, &path, &content).await;
                if written.as_ref().is_err_and(|failed| !failed.passing) {
                    let _ = files.remove(&unfinished).await;
                }
                written
            })
            .await;
        if written.as_ref().is_err_and(|failed| failed.passing) {
            self.state.lock().await.left_behind.push(unfinished);
        }
        written
    }

    async fn list(&self, folder: &str, found: &mut Vec<Object>) -> Result<(), Failed> {
        *found = self.with(async |files| files.list(folder, |name| self.path(name)).await).await?;
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<(), Failed> {
        match self.with(async |files| files.remove(&self.path(name)).await).await {
            Err(failed) if failed.kind == Kind::NotFound => Ok(()),
            removed => removed,
        }
    }
}
