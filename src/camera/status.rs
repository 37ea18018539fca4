use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// A camera's counters, for metrics and status messages; written by its threads, read by anyone.
#[derive(Debug, Default)]
pub struct CameraStatus {
    blocks: AtomicU64,
    lines: AtomicU64,
    lines_lost: AtomicU64,
    reconnects: AtomicU64,
    connected: AtomicBool,
    has_caps: AtomicBool,
}

impl CameraStatus {
    /// Line blocks delivered since the start.
    pub fn blocks(&self) -> u64 {
        self.blocks.load(Relaxed)
    }

    /// Lines delivered since the start.
    pub fn lines(&self) -> u64 {
        self.lines.load(Relaxed)
    }

    /// Lines lost since the start, whatever the cause.
    pub fn lines_lost(&self) -> u64 {
        self.lines_lost.load(Relaxed)
    }

    /// Times that the camera was gone and came back.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Relaxed)
    }

    /// Whether the camera is there. A standing belt does not change this.
    pub fn connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    /// Whether the camera's pixel format and width have been seen, that is, a first block has come.
    pub fn has_caps(&self) -> bool {
        self.has_caps.load(Relaxed)
    }

    pub(super) fn count_block(&self, lines: u32) {
        self.blocks.fetch_add(1, Relaxed);
        self.lines.fetch_add(lines.into(), Relaxed);
    }

    pub(super) fn count_lost(&self, lines: u64) {
        self.lines_lost.fetch_add(lines, Relaxed);
    }

    pub(super) fn count_reconnect(&self) {
        self.reconnects.fetch_add(1, Relaxed);
    }

    pub(super) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Relaxed);
    }

    pub(super) fn set_has_caps(&self) {
        self.has_caps.store(true, Relaxed);
    }
}
