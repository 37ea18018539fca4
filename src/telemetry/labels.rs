//! What the metrics are told in, and the names that stand for it as labels.

/// Where a cell's time goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Lines to tile rows.
    Stitch,
    /// Waiting for the network.
    Wait,
    /// The network.
    Inspect,
    /// Mask to verdict.
    Judge,
    /// Verdict onto the disk.
    Record,
    /// Verdict onto the wire.
    Publish,
    /// From the trailing edge to the published verdict: what the deadline limits.
    Total,
}

impl Stage {
    /// Every stage, in the order a cell passes them.
    pub const ALL: [Self; 7] = [Self::Stitch, Self::Wait, Self::Inspect, Self::Judge, Self::Record, Self::Publish, Self::Total];

    /// Its name as a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stitch => "stitch",
            Self::Wait => "wait",
            Self::Inspect => "inspect",
            Self::Judge => "judge",
            Self::Record => "record",
            Self::Publish => "publish",
            Self::Total => "total",
        }
    }
}

/// A bounded queue of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Line blocks between camera and stitcher.
    Blocks,
    /// Tile rows before the network.
    Rows,
    /// Probability rows before the judge.
    Masks,
}

impl Queue {
    /// Its name as a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Rows => "rows",
            Self::Masks => "masks",
        }
    }
}

/// A socket that others send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// The HTTP server.
    Http,
    /// The ZeroMQ request socket.
    Requests,
}

impl Socket {
    /// Its name as a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Requests => "requests",
        }
    }
}

/// What the metrics tell about the model in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelLabels {
    /// Its name.
    pub name: String,
    /// Digest of the checkpoint.
    pub digest: String,
    /// What runs it, and where, in words, such as `U-Net, base width 8, bilinear upsampling on the CPU, int8 (vnni), 4 threads`.
    pub device: String,
    /// Its architecture, in words, such as `U-Net, base width 16, bilinear upsampling`.
    pub shape: String,
}

/// Sums of a lane since the start, for the page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LaneTotals {
    /// Cells passed.
    pub pass: u64,
    /// Cells rejected.
    pub reject: u64,
    /// Cells held.
    pub hold: u64,
    /// The reasons of those, with how many each has.
    pub holds: Vec<(&'static str, u64)>,
    /// Lines lost.
    pub lines_lost: u64,
    /// Whether the camera is there.
    pub camera_connected: bool,
    /// Whether lines come and no wafer has been seen for long.
    pub no_wafer: bool,
    /// Whether no gap is seen between wafers.
    pub no_gap: bool,
}
