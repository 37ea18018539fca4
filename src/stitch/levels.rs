use super::StitchError;
use crate::config::{Belt, GapKind};
use std::sync::Arc;

/// Pixels side by side that must agree before they count, so that single noisy ones do not.
pub(super) const RUN_PX: usize = 4;

/// Where wafer begins and gap ends, on corrected pixels (65535 is white), with hysteresis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Levels {
    /// All ones for a bright gap: a pixel is turned into its negative before it is compared.
    negative: u16,
    edge: u16,
    gap: u16,
}

/// How much of a line is wafer, in pixels that begin a run of [`RUN_PX`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Solid {
    /// Beyond the edge level.
    pub edge_px: u32,
    /// Not yet back at the gap level.
    pub gap_px: u32,
}

impl Levels {
    pub fn new(lane: &Arc<str>, belt: &Belt) -> Result<Self, StitchError> {
        let bright = belt.gap == GapKind::Bright;
        let ordered = if bright { belt.edge_level <= belt.gap_level } else { belt.edge_level >= belt.gap_level };
        let within = [belt.edge_level, belt.gap_level].iter().all(|l| (0.0..=1.0).contains(l));
        if !ordered || !within {
            let (kind, order) = if bright { ("bright", "below") } else { ("dark", "above") };
            return Err(StitchError::Levels { lane: lane.clone(), edge: belt.edge_level, gap: belt.gap_level, kind, order });
        }
        Ok(Self::of(belt.gap, (belt.edge_level, belt.gap_level)))
    }

    /// The levels that hold where the belt tells none.
    pub fn usual(gap: GapKind) -> Self {
        Self::of(gap, gap.usual_levels())
    }

    fn of(gap: GapKind, (edge, back): (f32, f32)) -> Self {
        let negative = if gap == GapKind::Bright { u16::MAX } else { 0 };
        let level = |share: f32| (share * 65535.0).round() as u16 ^ negative;
        Self { negative, edge: level(edge), gap: level(back) }
    }

    /// Levels that tell a wafer of grey value `wafer` from a gap of `gap` (65535 is white).
    pub fn between(gap: u16, wafer: u16) -> Self {
        let negative = if gap > wafer { u16::MAX } else { 0 };
        let share = |tenths: i64| (i64::from(gap) + (i64::from(wafer) - i64::from(gap)) * tenths / 10) as u16 ^ negative;
        Self { negative, edge: share(4), gap: share(2) }
    }

    /// Edge and gap level as shares of white.
    pub fn shares(&self) -> (f32, f32) {
        let share = |level: u16| f32::from(level ^ self.negative) / 65535.0;
        (share(self.edge), share(self.gap))
    }

    /// The gap level as a grey value.
    pub fn gap_grey(&self) -> u16 {
        self.gap ^ self.negative
    }

    /// Whether a pixel is beyond the edge level.
    pub fn is_wafer(&self, pixel: u16) -> bool {
        (pixel ^ self.negative) > self.edge
    }

    /// Whether the gap is brighter than the wafer.
    pub fn bright_gap(&self) -> bool {
        self.negative != 0
    }

    /// Whether a line has a run of [`RUN_PX`] at the gap's level.
    pub fn has_gap(&self, line: &[u16]) -> bool {
        let is_gap = |pixel: &u16| (pixel ^ self.negative) <= self.gap;
        // Hardly any line has so many: few are looked at twice.
        line.iter().filter(|pixel| is_gap(pixel)).count() >= RUN_PX && line.windows(RUN_PX).any(|run| run.iter().all(is_gap))
    }

    /// Where three pixels from gap over an edge onto wafer are halfway up, counted from the first of
    /// them. The edge level itself would not do: it lies low, so it is crossed ahead of the edge.
    pub fn halfway(&self, [foot, edge, top]: [u16; 3]) -> f32 {
        let [foot, edge, top] = [foot, edge, top].map(|p| f32::from(p ^ self.negative));
        let half = 0.5 * (foot + top);
        let share = |from: f32, to: f32| if to > from { ((half - from) / (to - from)).clamp(0.0, 1.0) } else { 0.5 };
        if edge >= half { share(foot, edge) } else { 1.0 + share(edge, top) }
    }

    /// Counts a line's solid pixels.
    pub fn solid(&self, line: &[u16]) -> Solid {
        let n = line.len().saturating_sub(RUN_PX - 1);
        let (mut edge_px, mut gap_px) = (0u16, 0u16);
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| line.get(i..i + n).unwrap_or(&[]));
        for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
            let run = (a ^ self.negative).min(b ^ self.negative).min(c ^ self.negative).min(d ^ self.negative);
            edge_px += u16::from(run > self.edge);
            gap_px += u16::from(run > self.gap);
        }
        Solid { edge_px: edge_px.into(), gap_px: gap_px.into() }
    }

    /// First and last column of a line that belong to a run beyond the edge level.
    pub fn ends(&self, line: &[u16]) -> Option<(usize, usize)> {
        let solid = |run: &[u16]| run.iter().all(|p| self.is_wafer(*p));
        let first = line.windows(RUN_PX).position(solid)?;
        let last = line.windows(RUN_PX).rposition(solid)?;
        Some((first, last + RUN_PX - 1))
    }
}
