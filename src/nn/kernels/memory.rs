/// Lets the process keep the memory that it frees. For trainings: every step frees and takes hundreds of megabytes in
/// large pieces, and the allocator of the GNU C library would give each back to the system, which then hands it out
/// anew page by page; that took a fifth of a step.
///
/// Call it before the first tensor is made. Does nothing where another C library is used.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, value) in [(libc::M_MMAP_MAX, 0), (libc::M_TRIM_THRESHOLD, i32::MAX), (libc::M_TOP_PAD, 256 << 20)] {
        // SAFETY: sets one number of the allocator, under its own lock. Where it refuses, it stays as it was.
        unsafe { libc::mallopt(parameter, value) };
    }
}
