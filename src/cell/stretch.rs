//! Grey values for the eye.

/// How the grey values of a cell, 16 bits each, are spread over the 8 that are shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stretch {
    low: u16,
    scale: f32,
}

impl Stretch {
    /// What the darkest pixels within the outline are shown as: outside nothing is to be seen.
    const DARK: f32 = 10.0;
    const BRIGHT: f32 = 245.0;
    /// Share of the values that may be darker than that, or brighter: cracks, and the edge beside a bright gap, are fewer.
    const BEYOND: f64 = 0.01;

    /// From the darkest of the values within the outline, which are above 0, to the brightest.
    pub fn of(values: impl Iterator<Item = u16>) -> Self {
        let mut inside: Vec<u16> = values.step_by(17).filter(|v| *v > 0).collect();
        inside.sort_unstable();
        let at = |share: f64| inside.get((inside.len() as f64 * share) as usize).copied();
        let (low, high) = (at(Self::BEYOND).unwrap_or(0), at(1.0 - Self::BEYOND).unwrap_or(u16::MAX));
        Self { low, scale: (Self::BRIGHT - Self::DARK) / f32::from((high - low).max(1)) }
    }

    /// What a value is shown as: 0 outside the outline, elsewhere more.
    pub fn shown(&self, value: u16) -> u8 {
        let shown = Self::DARK + (f32::from(value) - f32::from(self.low)) * self.scale;
        if value == 0 { 0 } else { shown.clamp(1.0, 255.0) as u8 }
    }
}
