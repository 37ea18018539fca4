use std::sync::Arc;

/// Why a stitcher cannot be set up.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StitchError {
    /// Nothing says how large a camera pixel is.
    #[error(
        "lane {lane}: the scale of the camera is unknown; give `calibration` (written by `hairline calibrate`), or `belt.mm_per_px` and `belt.mm_per_line`"
    )]
    NoScale {
        /// The lane.
        lane: Arc<str>,
    },
    /// The wafer would be absurdly large or small in camera pixels.
    #[error(
        "lane {lane}: a wafer {what} of {size_mm} mm is {pixels:.0} camera {unit} at {scale_mm} mm each, expected 64 to 20000; correct the scale or `wafer`"
    )]
    ImplausibleScale {
        /// The lane.
        lane: Arc<str>,
        /// `width` or `length`.
        what: &'static str,
        /// The wafer's size, mm.
        size_mm: f64,
        /// The same in camera pixels or lines.
        pixels: f64,
        /// `pixels` or `lines`.
        unit: &'static str,
        /// The scale, mm.
        scale_mm: f64,
    },
    /// Edge and gap level do not leave a hysteresis of the right sign.
    #[error(
        "lane {lane}: `belt.edge_level` {edge} and `belt.gap_level` {gap} do not fit a {kind} gap; the edge level must lie {order} the gap level, both between 0 and 1"
    )]
    Levels {
        /// The lane.
        lane: Arc<str>,
        /// Edge level, share of white.
        edge: f32,
        /// Gap level, share of white.
        gap: f32,
        /// `dark` or `bright`.
        kind: &'static str,
        /// `above` or `below`.
        order: &'static str,
    },
}
