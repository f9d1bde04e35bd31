//! Whether to pack what is sent: decided anew every few MiB, from how fast the last ones went and what they waited for.
//!
//! Packing pays where the way to the peer is slower than the packer. A sender that mostly waits for its connection tries
//! it, and stays with it unless content that shrank goes no faster. Then the peer's disk was what it waited for: so a slow
//! receiver is told from a slow link without asking it. Content that does not shrink tells nothing; whoever packs soon
//! leaves it as it is (`push/tokens.rs`).

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
    /// How content went lately when it was sent as it is.
    raw: Rate,
    /// How it went when it was packed, in this trial.
    packed: Rate,
    /// Whether it was the connection that was waited for in the last window of content as it is. What the kernel takes in
    /// at once at the beginning makes one such window look fast: the next one tells.
    waited: bool,
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
    /// What content became on the wire.
    wire: u64,
}

/// How fast content goes, over several windows.
#[derive(Debug, Default)]
struct Rate {
    content: u64,
    wire: u64,
    micros: u64,
}

/// Content of one measurement: enough that it outlasts what the kernel buffers on the way (4 MiB for a socket, by
/// default).
const WINDOW: u64 = 4 << 20;
/// A rate is that of so much content. Buffers on the way empty in steps, which makes one window faster than the next by half.
const STEADY: u64 = 4 * WINDOW;
/// Less than zstd packs in a second on one core (`push/tokens.rs`). A link above it leaves too little to gain.
const FAST: u64 = 200_000_000;
/// A trial that brought nothing is not repeated before this many windows have passed: with the four that it takes, trials
/// are a sixteenth.
const REST: u32 = 60;
/// How fast the link is without packing is measured again, in one window, after this many.
const DOUBT: u32 = 16;
/// Content that is this many eighths of its packed length tells whether packing brings something: this many eighths of the
/// speed before, which is more than chance.
const SHORTER: u64 = 10;
const MORE: u64 = 9;

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        let window = Window { begin: now, stalled: Duration::ZERO, content: 0, wire: 0 };
        Self { mode: Mode::Raw, raw: Rate::default(), packed: Rate::default(), waited: false, rest: 0, window }
    }

    /// As if this mode had been decided on.
    #[cfg(test)]
    pub(crate) fn beginning_with(mode: Mode, now: Instant) -> Self {
        Self { mode, rest: REST, ..Self::new(now) }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// So much content was sent, as so many bytes. `clock` tells the time and how long was waited for the connection in all.
    pub(crate) fn sent(&mut self, content: u64, wire: u64, clock: impl FnOnce() -> (Instant, Duration)) {
        self.window.content += content;
        self.window.wire += wire;
        if self.window.content >= WINDOW {
            let (now, stalled) = clock();
            self.decide(now, stalled);
            self.window = Window { begin: now, stalled, content: 0, wire: 0 };
        }
    }

    fn decide(&mut self, now: Instant, stalled: Duration) {
        let elapsed = now.saturating_duration_since(self.window.begin);
        self.rest = self.rest.saturating_sub(1);
        match self.mode {
            Mode::Raw => {
                let mut this = Rate::default();
                this.add(&self.window, elapsed);
                let waits = stalled.saturating_sub(self.window.stalled) * 2 > elapsed && this.per_second() < FAST;
                if !self.waited {
                    self.raw = Rate::default();
                }
                self.raw.add(&self.window, elapsed);
                if self.rest == 0 && waits && self.waited {
                    (self.mode, self.packed, self.rest) = (Mode::Packed, Rate::default(), DOUBT);
                }
                self.waited = waits;
            }
            Mode::Packed => {
                self.packed.add(&self.window, elapsed);
                let known = self.packed.content >= STEADY;
                let gains = self.packed.per_second() * 8 >= self.raw.per_second().saturating_mul(MORE);
                if known && self.packed.shrank() && !gains {
                    (self.mode, self.rest) = (Mode::Raw, REST);
                } else if self.rest == 0 {
                    // How fast is the link now?
                    self.mode = Mode::Raw;
                }
            }
        }
    }
}

impl Rate {
    /// Adds a window, and forgets what was long ago.
    fn add(&mut self, window: &Window, elapsed: Duration) {
        if self.content >= 2 * STEADY {
            (self.content, self.wire, self.micros) = (self.content / 2, self.wire / 2, self.micros / 2);
        }
        self.content += window.content;
        self.wire += window.wire;
        self.micros += u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX / 4);
    }

    /// Bytes of content a second.
    fn per_second(&self) -> u64 {
        self.content.saturating_mul(1_000_000) / self.micros.max(1)
    }

    /// Whether content became so much shorter that a link would have shown it.
    fn shrank(&self) -> bool {
        self.content * 8 > self.wire * SHORTER
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

    /// Which part of so many windows was packed, in per cent. Buffers on the way empty in steps, as a real link's do.
    fn packed(windows: u64, world: impl Fn(u64) -> World) -> u64 {
        /// What windows take of the time that is due to them, in tenths.
        const STEPS: [u32; 3] = [7, 11, 12];
        let (mut now, mut stalled) = (Instant::now(), Duration::ZERO);
        let mut pace = Pace::new(now);
        let mut packed = 0;
        for (window, step) in (0..windows).zip(STEPS.into_iter().cycle()) {
            let World { link, store, shrinks } = world(window);
            let took = |bytes: u64, rate: u64| Duration::from_micros(bytes * 1_000_000 / rate);
            let (wire, busy) = match pace.mode() {
                Mode::Raw => (WINDOW, took(WINDOW, READER)),
                Mode::Packed => (WINDOW * 10 / shrinks, took(WINDOW, PACKER)),
            };
            packed += u64::from(pace.mode() == Mode::Packed);
            // What is slowest sets the pace; the rest of the time is spent waiting in a write.
            let takes = busy.max(took(wire, link).max(took(WINDOW, store)) * step / 10);
            now += takes;
            stalled += takes - busy;
            pace.sent(WINDOW, wire, || (now, stalled));
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
    fn a_link_that_changes_is_noticed() {
        let changes = |window: u64| if window < 100 { SLOW } else { 2 * GIGABYTE };
        let early = packed(100, |_| World { link: SLOW, store: GIGABYTE, shrinks: 20 });
        let all = packed(1000, |window| World { link: changes(window), store: 2 * GIGABYTE, shrinks: 20 });
        assert!(early > 85 && all < 15, "{early} {all}");
    }

    #[test]
    fn content_that_shrinks_now_and_then_is_packed_when_it_does() {
        let changes = |window: u64| if window % 200 < 100 { 10 } else { 30 };
        assert!(packed(1000, |window| World { link: SLOW, store: GIGABYTE, shrinks: changes(window) }) > 90);
        assert!(packed(1000, |window| World { link: GIGABYTE, store: 50_000_000, shrinks: changes(window) }) < 55);
    }
}
