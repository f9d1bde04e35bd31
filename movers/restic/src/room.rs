//! Memory that goes back to the kernel as soon as it is free, and memory that does not.

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

/// Makes the allocator keep what becomes free, for work that needs room of the same sizes again and again: to have the kernel map it
/// anew each time takes a twentieth of a restore. Once something of this size was freed, all that is smaller comes from the heaps
/// (as above), and their ends go back only when twice as much is free there.
pub(crate) fn recycle() {
    const LARGEST: usize = (32 << 20) - (64 << 10);
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGEST)));
}
