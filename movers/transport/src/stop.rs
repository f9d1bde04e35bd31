//! One switch that ends every wait of a transfer.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Ends connecting, listening and every open connection at once, from any thread. Clones are the same switch.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    thrown: Condvar,
    tasks: Notify,
}

#[derive(Debug, Default)]
struct State {
    thrown: bool,
    /// The open connections; those that were closed since are forgotten whenever another one opens.
    sockets: Vec<Weak<TcpStream>>,
}

impl Stop {
    /// A switch that nobody has thrown.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Throws it: every wait that watches this switch ends now, with an error that says so.
    pub fn stop(&self) {
        let mut state = self.state();
        state.thrown = true;
        for socket in state.sockets.drain(..).filter_map(|socket| socket.upgrade()) {
            // It is gone already if this fails.
            let _ = socket.shutdown(Shutdown::Both);
        }
        drop(state);
        self.0.thrown.notify_all();
        self.0.tasks.notify_waiters();
    }

    /// Whether it was thrown.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.state().thrown
    }

    /// Waits this long, or until the switch is thrown. Says whether it was.
    #[must_use]
    pub fn wait(&self, duration: Duration) -> bool {
        let end = Instant::now() + duration;
        let mut state = self.state();
        while !state.thrown {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.0.thrown.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    pub(crate) async fn stopped(&self) {
        let mut waiter = std::pin::pin!(self.0.tasks.notified());
        // Listening before looking: a throw between the two would be missed.
        waiter.as_mut().enable();
        if !self.is_stopped() {
            waiter.await;
        }
    }

    pub(crate) fn watch(&self, socket: &Arc<TcpStream>) {
        let mut state = self.state();
        if state.thrown {
            let _ = socket.shutdown(Shutdown::Both);
        }
        state.sockets.retain(|socket| socket.strong_count() > 0);
        state.sockets.push(Arc::downgrade(socket));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_when_the_switch_is_thrown_and_not_before_its_time_otherwise() {
        let stop = Stop::new();
        assert!(!stop.wait(Duration::from_millis(5)));
        let thrower = stop.clone();
        let started = Instant::now();
        let thread = std::thread::spawn(move || thrower.stop());
        assert!(stop.wait(Duration::from_secs(60)));
        assert!(started.elapsed() < Duration::from_secs(30));
        thread.join().unwrap();
        assert!(stop.is_stopped());
    }
}
