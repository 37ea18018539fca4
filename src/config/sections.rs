//! The sections of a station's configuration as the rooms use them.

use super::precision::Precision;
use super::units::wafer_size_mm;
use std::path::PathBuf;
use std::sync::Arc;

/// `[station]`: who this is and where it keeps its things.
#[derive(Debug, Clone, PartialEq)]
pub struct Station {
    /// Name told in every message.
    pub name: String,
    /// Folder for the ledger; created if it is missing.
    pub data_dir: PathBuf,
    /// Days of verdicts the ledger keeps.
    pub keep_days: u32,
}

/// `[network]`: what looks for cracks.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Checkpoint, a self-describing safetensors file.
    pub model: PathBuf,
    /// Where it runs.
    pub device: DeviceChoice,
    /// CPU threads for the network.
    pub threads: Threads,
    /// How exactly it is computed where the lane's recipe does not say.
    pub precision: Precision,
}

/// CPU threads for the network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Threads {
    /// Their number; 0: one for each of `cpus`, or as many as the machine has.
    pub count: usize,
    /// The CPUs that they are kept on, one after the other; none: wherever the system puts them.
    pub cpus: Vec<usize>,
}

/// So many threads, wherever the system puts them.
impl From<usize> for Threads {
    fn from(count: usize) -> Self {
        Self { count, cpus: Vec::new() }
    }
}

/// Where the network runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device if this build and machine have one, else the CPU; says which.
    Auto,
    /// CUDA device N.
    Cuda(usize),
    /// The CPU.
    Cpu,
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl std::str::FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok())) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            (_, Some(ordinal)) => Ok(Self::Cuda(ordinal)),
            _ => Err("give auto, cpu or cuda:N with N from 0".into()),
        }
    }
}

/// `[publish]`: the ZeroMQ sockets.
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    /// Endpoint of the feed (XPUB), such as `tcp://127.0.0.1:5556`.
    pub feed: String,
    /// Endpoint of the request socket (ROUTER): bind an id, replay verdicts.
    pub requests: String,
    /// Messages kept for a slow subscriber before it loses some (it asks for a replay then).
    pub high_water_mark: u32,
    /// Seconds between two status messages of a lane.
    pub status_every_s: f64,
}

/// `[http]`: metrics, health and the operator's truth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Address to listen on.
    pub listen: std::net::SocketAddr,
}

/// `[review]`: the operator's truth and the running OII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Recent cells whose masks are kept in memory, for each lane.
    pub keep_cells: usize,
    /// Reviewed cells that the running IoU, PA and OII are taken over.
    pub window_cells: usize,
}

/// `[album]`: pictures of cells to learn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Album {
    /// Folder of the pictures and of the masks that people told.
    pub dir: PathBuf,
    /// Of cells that passed one in so many is kept; 0: none.
    pub passed_every: u64,
    /// Pictures that may wait for their truth; the oldest make room.
    pub unreviewed_max: usize,
}

/// `[[lane]]`: one camera and its corridor.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// Name, part of topics and metrics: letters, digits, `-` and `_`.
    pub name: Arc<str>,
    /// Rules and thresholds of the product.
    pub recipe: PathBuf,
    /// Dark, flat field and scale, as `hairline calibrate` writes them; absent: lines are not corrected, and
    /// `belt.mm_per_px` and `belt.mm_per_line` give the scale.
    pub calibration: Option<PathBuf>,
    /// Milliseconds from the trailing edge to the verdict; absent: no deadline (sources that can wait).
    pub deadline_ms: Option<f64>,
    /// Line blocks that may wait between camera and stitcher.
    pub queue_blocks: usize,
    /// Tile rows that may wait for the network.
    pub queue_rows: usize,
    /// The camera.
    pub camera: Camera,
    /// The product's shape.
    pub wafer: Wafer,
    /// How wafers lie on the belt and look against the gap.
    pub belt: Belt,
}

/// `[lane.camera]`: what every camera has.
#[derive(Debug, Clone, PartialEq)]
pub struct Camera {
    /// Which kind and its own settings.
    pub kind: CameraKind,
    /// Lines a second; absent: as fast as possible (only sources that can wait).
    pub line_rate_hz: Option<f64>,
    /// Lines in a block.
    pub block_lines: u32,
    /// Seconds without a frame after which the belt is said to stand.
    pub idle_after_s: f64,
}

impl Camera {
    /// Whether the source can be made to wait (files, simulated): it then never loses anything.
    pub fn can_wait(&self) -> bool {
        matches!(self.kind, CameraKind::Files(_) | CameraKind::Simulated(_))
    }
}

/// The kinds of camera.
#[derive(Debug, Clone, PartialEq)]
pub enum CameraKind {
    /// `kind = "gige"`: GigE Vision.
    Gige(GigeCamera),
    /// `kind = "files"`: pictures or a recording.
    Files(FilesCamera),
    /// `kind = "simulated"`: procedural wafers.
    Simulated(SimulatedCamera),
    /// `kind = "gstreamer"`: any source fragment.
    Gstreamer(GstreamerCamera),
}

impl CameraKind {
    /// The kind's name in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gige(_) => "gige",
            Self::Files(_) => "files",
            Self::Simulated(_) => "simulated",
            Self::Gstreamer(_) => "gstreamer",
        }
    }
}

/// A GigE Vision camera.
#[derive(Debug, Clone, PartialEq)]
pub struct GigeCamera {
    /// Its id or IP address, as `arv-tool` lists it, such as `Aravis-Fake-GV01`.
    pub id: String,
    /// Line width to ask for; absent: as the camera is set.
    pub width_px: Option<u32>,
    /// GenICam pixel format to ask for (`Mono8`, `Mono10`, `Mono12`, `Mono16`); absent: as it is set.
    pub pixel_format: Option<String>,
    /// GenICam features, set in this order before acquisition, so that a selector can come before what it selects, more than
    /// once if need be; `true`/`false`, numbers or strings, executed as commands where the value is `"execute"`.
    pub features: Vec<(String, FeatureValue)>,
    /// Stream buffers (frames) that the receiver owns.
    pub buffers: u32,
    /// First pause before a reconnect, ms; doubles up to `reconnect_max_ms`.
    pub reconnect_first_ms: u64,
    /// Longest pause between reconnects, ms.
    pub reconnect_max_ms: u64,
    /// Chunk of every frame that holds the belt encoder's count, such as `EncoderValue`; absent: none.
    pub encoder_chunk: Option<String>,
    /// Use a packet socket where the process may (CAP_NET_RAW); faster, loses nothing.
    pub packet_socket: bool,
}

/// The value of a GenICam feature.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(untagged, expecting = "it holds a value that is no text, number, true or false")]
pub enum FeatureValue {
    /// A boolean feature.
    Bool(bool),
    /// An integer feature (given to float features as well).
    Integer(i64),
    /// A float feature.
    Float(f64),
    /// An enumeration or string feature, or `"execute"` for a command.
    Text(String),
}

/// Pictures or a recording, replayed as line blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct FilesCamera {
    /// A folder of pictures (PNG, JPEG, TIFF; in the order of their names), or one picture:
    /// one file of consecutive lines.
    pub path: PathBuf,
    /// Pictures are whole cells (a gap is put between them) rather than consecutive lines.
    pub whole_cells: bool,
    /// Width of the line a whole cell is laid into; absent: the widest picture + 10 %.
    pub width_px: Option<u32>,
    /// Side, in camera pixels, to which the longer side of every whole-cell picture is scaled; absent: as it is.
    pub cell_px: Option<u32>,
    /// Lines of gap between whole cells.
    pub gap_lines: u32,
    /// Grey level of the gap, 0 to 1; absent: as the belt's gap looks.
    pub gap_level: Option<f32>,
    /// Start again from the first picture after the last one, this many rounds; 0: for ever.
    pub rounds: u32,
}

/// Simulated wafers under a simulated camera.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedCamera {
    /// What passes.
    pub wafer: WaferKind,
    /// Seed of everything random: the same seed gives the same lines.
    pub seed: u64,
    /// Wafers to show; 0: for ever.
    pub wafers: u64,
    /// Share of wafers with a crack, 0 to 1.
    pub cracked_share: f64,
    /// Width of the sensor's line in pixels.
    pub width_px: u32,
    /// Lines of gap between wafers.
    pub gap_lines: u32,
    /// Every wafer lies turned by up to this angle.
    pub skew_deg_max: f64,
    /// Lose lines in the middle of these wafers (counted from 1): `[[wafer, lines], …]`.
    pub lose_lines: Vec<(u64, u32)>,
}

impl SimulatedCamera {
    /// Share of the line's width that a wafer's longer side takes, where `belt.mm_per_px` tells no other.
    pub const WAFER_SHARE: f64 = 0.92;
}

/// The looks of simulated wafers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaferKind {
    /// Laser transmission: even texture, no bus bars.
    Laser,
    /// Electroluminescence-like: bus bars, fingers, inactive areas.
    Electroluminescence,
}

/// Any GStreamer source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GstreamerCamera {
    /// Fragment in the notation of `gst-launch-1.0`, ending in raw grey video (GRAY8 or GRAY16_LE). One that is live to
    /// GStreamer is started again when its stream ends; the end of any other, such as a recording, is its lane's.
    pub fragment: String,
    /// Significant bits of GRAY16_LE.
    pub bits: u8,
}

/// `[lane.wafer]`: the product's shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Wafer {
    /// Size across the belt, mm.
    pub width_mm: f64,
    /// Size along the belt, mm.
    pub length_mm: f64,
    /// Legs of the cut corners of pseudo-square wafers, mm, clockwise from leading left; 0: a whole corner.
    pub corners_mm: [f64; 4],
    /// How far a measured size may be off, mm.
    pub tolerance_mm: f64,
}

impl Wafer {
    /// A wafer of a named format (`M6`, `M10`, `G12`), full square; `None` for an unknown name.
    pub fn of_format(name: &str) -> Option<Self> {
        let side = wafer_size_mm(name)?;
        Some(Self { width_mm: side, length_mm: side, corners_mm: [0.0; 4], tolerance_mm: 2.0 })
    }
}

/// Whether the belt is darker or brighter than the wafer where none lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapKind {
    /// The gap is darker (electroluminescence, reflection).
    Dark,
    /// The gap is brighter (laser transmission).
    Bright,
}

impl GapKind {
    /// Edge and gap level, shares of white, where the belt tells no others.
    pub const fn usual_levels(self) -> (f32, f32) {
        match self {
            Self::Dark => (0.08, 0.055),
            Self::Bright => (0.93, 0.955),
        }
    }

    /// Grey of such a gap where a camera draws it, share of white.
    pub const fn drawn_level(self) -> f32 {
        match self {
            Self::Dark => 0.03,
            Self::Bright => 0.98,
        }
    }

    /// The same of 8 bits.
    pub fn drawn_grey(self) -> u8 {
        (self.drawn_level() * 255.0).round() as u8
    }
}

/// `[lane.belt]`: how wafers lie and look against the gap.
#[derive(Debug, Clone, PartialEq)]
pub struct Belt {
    /// Dark or bright gap.
    pub gap: GapKind,
    /// A pixel is wafer when it is beyond this share of white (dark gap: above; bright gap: below).
    pub edge_level: f32,
    /// The same with hysteresis: back to gap only beyond this level (dark gap: below it, bright gap: above).
    pub gap_level: f32,
    /// Consecutive lines that must agree before an edge counts.
    pub edge_lines: u32,
    /// Largest skew that is corrected, degrees.
    pub skew_deg_max: f64,
    /// Noise from pixel to pixel that a cell's picture may have, share of its mean grey: cracks hide in more.
    pub noise_share_max: f64,
    /// Millimetres a pixel across the belt, where no calibration tells it.
    pub mm_per_px: Option<f64>,
    /// Millimetres a line along the belt, where no calibration tells it.
    pub mm_per_line: Option<f64>,
}
