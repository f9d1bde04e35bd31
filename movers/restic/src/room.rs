//! Memory that goes back to the kernel as soon as it is free.

/// What is as large is mapped apart from the heaps, always (mallopt(3), M_MMAP_THRESHOLD: 32 MiB at most). What is smaller is so only
/// until some of it was freed for the first time; then it becomes a hole in a heap, and what is needed next comes on top of it. Room
/// costs nothing until it is written to.
const APART: usize = 33 << 20;

/// How much of it is used at a time, for what becomes free part by part.
pub(crate) const PART: usize = 8 << 20;

/// Room for so many bytes, or more.
pub(crate) fn apart(bytes: usize) -> Vec<u8> {
    Vec::with_capacity(bytes.max(APART))
}
