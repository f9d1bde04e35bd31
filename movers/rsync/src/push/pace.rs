//! Whether to pack what is sent: decided anew every few MiB, from how fast the last ones went and what they waited for.
//!
//! Packing pays where the way to the peer is slower than the packer. A sender that mostly waits for its connection tries
//! it, and stays with it if content then goes faster. If the peer's disk was what it waited for, it does not: so a slow
//! receiver is told from a slow link without asking it.

use std::time::{Duration, Instant};

/// Whether to pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Content is sent as it is.
    Raw,
    /// Content is packed.
    Packed,
}

/// Decides.
#[derive(Debug)]
pub(crate) struct Pace {
    mode: Mode,
    /// How fast content went when it was last sent as it is, in bytes a second.
    raw: u64,
    /// How many windows to go before the other mode is tried.
    rest: u32,
    window: Window,
}

/// What is measured together.
#[derive(Debug)]
struct Window {
    begin: Instant,
    /// How long had been waited for the connection when it began.
    stalled: Duration,
    content: u64,
}

/// Content of one measurement: enough that it outlasts what the kernel buffers on the way (4 MiB for a socket, by
/// default).
const WINDOW: u64 = 4 << 20;
/// Half of what zstd packs in a second on one core at its fastest level. A link above it leaves too little to gain.
const FAST: u64 = 200_000_000;
/// A trial that brought nothing is not repeated before this many windows have passed; a mode that brings something is
/// doubted as seldom. Trials cost at most a seventeenth.
const REST: u32 = 16;

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        let window = Window { begin: now, stalled: Duration::ZERO, content: 0 };
        Self { mode: Mode::Raw, raw: 0, rest: 0, window }
    }

    /// As if this mode had been decided on.
    #[cfg(test)]
    pub(crate) fn beginning_with(mode: Mode, now: Instant) -> Self {
        Self { mode, rest: REST, ..Self::new(now) }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// So much content was sent. `clock` tells the time and how long was waited for the connection in all.
    pub(crate) fn sent(&mut self, content: u64, clock: impl FnOnce() -> (Instant, Duration)) {
        self.window.content += content;
        if self.window.content >= WINDOW {
            let (now, stalled) = clock();
            let Window { begin, stalled: before, content } = self.window;
            self.decide(content, now.saturating_duration_since(begin), stalled.saturating_sub(before));
            self.window = Window { begin: now, stalled, content: 0 };
        }
    }

    fn decide(&mut self, content: u64, elapsed: Duration, stalled: Duration) {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX).max(1);
        let rate = content.saturating_mul(1_000_000) / micros;
        let rested = self.rest == 0;
        self.rest = self.rest.saturating_sub(1);
        match self.mode {
            Mode::Raw => {
                self.raw = rate;
                if rested && stalled * 2 > elapsed && rate < FAST {
                    (self.mode, self.rest) = (Mode::Packed, REST);
                }
            }
            // An eighth is more than chance, and less than what text gains.
            Mode::Packed if rate < self.raw + self.raw / 8 => (self.mode, self.rest) = (Mode::Raw, REST),
            // How fast is the link now?
            Mode::Packed if rested => self.mode = Mode::Raw,
            Mode::Packed => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A way to a peer, and what its content is like.
    struct World {
        /// Bytes a second that the link carries, and that the peer stores.
        link: u64,
        store: u64,
        /// How many times shorter content gets by packing, in tenths.
        shrinks: u64,
    }

    const PACKER: u64 = 400_000_000;
    const READER: u64 = 2_000_000_000;

    /// Which part of so many windows was packed, in per cent.
    fn packed(windows: u64, world: impl Fn(u64) -> World) -> u64 {
        let (mut now, mut stalled) = (Instant::now(), Duration::ZERO);
        let mut pace = Pace::new(now);
        let mut packed = 0;
        for window in 0..windows {
            let World { link, store, shrinks } = world(window);
            let took = |bytes: u64, rate: u64| Duration::from_micros(bytes * 1_000_000 / rate);
            let (wire, busy) = match pace.mode() {
                Mode::Raw => (WINDOW, took(WINDOW, READER)),
                Mode::Packed => (WINDOW * 10 / shrinks, took(WINDOW, PACKER)),
            };
            packed += u64::from(pace.mode() == Mode::Packed);
            // What is slowest sets the pace; the rest of the time is spent waiting in a write.
            let takes = busy.max(took(wire, link)).max(took(WINDOW, store));
            now += takes;
            stalled += takes - busy;
            pace.sent(WINDOW, || (now, stalled));
        }
        packed * 100 / windows
    }

    const GIGABYTE: u64 = 1_000_000_000;
    const SLOW: u64 = 12_500_000;

    #[test]
    fn a_slow_link_gets_packed_content() {
        assert!(packed(1000, |_| World { link: SLOW, store: GIGABYTE, shrinks: 20 }) > 90);
    }

    #[test]
    fn a_fast_link_gets_content_as_it_is() {
        assert_eq!(packed(1000, |_| World { link: GIGABYTE, store: GIGABYTE, shrinks: 20 }), 0);
    }

    #[test]
    fn a_slow_disk_at_the_other_end_is_no_slow_link() {
        assert!(packed(1000, |_| World { link: GIGABYTE, store: 50_000_000, shrinks: 20 }) < 7);
    }

    #[test]
    fn what_does_not_shrink_is_soon_sent_as_it_is() {
        assert!(packed(1000, |_| World { link: SLOW, store: GIGABYTE, shrinks: 10 }) < 7);
    }

    #[test]
    fn a_link_that_changes_is_noticed() {
        let changes = |window: u64| if window < 100 { SLOW } else { 2 * GIGABYTE };
        let early = packed(100, |_| World { link: SLOW, store: GIGABYTE, shrinks: 20 });
        let all = packed(1000, |window| World { link: changes(window), store: 2 * GIGABYTE, shrinks: 20 });
        assert!(early > 85 && all < 15, "{early} {all}");
    }

    #[test]
    fn content_that_changes_is_noticed() {
        let changes = |window: u64| if window % 200 < 100 { 10 } else { 30 };
        let part = packed(1000, |window| World { link: SLOW, store: GIGABYTE, shrinks: changes(window) });
        assert!((35..60).contains(&part), "{part}");
    }
}
