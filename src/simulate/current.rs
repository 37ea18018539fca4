//! Where current flows in a cell, and so where it shines: finger by finger from the bus bars.

/// A place on one finger where current is fed in or held back.
#[derive(Debug, Clone, Copy)]
pub(super) enum Station {
    /// A bus bar from here to there (pixels); left and right contact, 0 = broken, 1 = sound.
    Bar { left_px: f32, right_px: f32, left: f32, right: f32 },
    /// A crack: this share of the current does not pass.
    Crack { at_px: f32, held: f32 },
}

impl Station {
    fn place(&self) -> f32 {
        match self {
            Self::Bar { left_px, .. } => *left_px,
            Self::Crack { at_px, .. } => *at_px,
        }
    }

    fn far_place(&self) -> f32 {
        match self {
            Self::Bar { right_px, .. } => *right_px,
            Self::Crack { at_px, .. } => *at_px,
        }
    }
}

/// How a finger shines at a distance from where it is fed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shine {
    /// Light of full current, grey levels.
    pub(super) main: f32,
    /// Light added right beside a bus bar.
    pub(super) glow: f32,
    /// Distance over which the glow falls to 1/e, pixels.
    pub(super) glow_px: f32,
    /// Distance over which the current falls to 1/e, pixels.
    pub(super) reach_px: f32,
    /// Distance over which the neighbours make up for a broken contact, to 1/e, pixels.
    pub(super) recovery_px: f32,
}

impl Shine {
    fn fed(contact: f32) -> Flow {
        Flow { main: 1.0, glow: contact, missing: 1.0 - contact }
    }

    /// What is left of a flow one pixel on.
    fn keep(&self) -> Flow {
        let keep = |px: f32| (-1.0 / px).exp();
        Flow { main: keep(self.reach_px), glow: keep(self.glow_px), missing: keep(self.recovery_px) }
    }

    fn level(&self, left: Flow, right: Flow) -> f32 {
        let share = |flow: Flow| (flow.main - flow.missing).max(0.0);
        self.main * (1.0 - (1.0 - share(left)) * (1.0 - share(right))) + self.glow * (left.glow + right.glow).min(1.2)
    }
}

/// Current in one direction, as shares of the full one.
#[derive(Debug, Clone, Copy)]
struct Flow {
    main: f32,
    glow: f32,
    /// What a broken contact takes off `main`.
    missing: f32,
}

impl Flow {
    const NONE: Self = Self { main: 0.0, glow: 0.0, missing: 0.0 };

    fn times(self, by: Self) -> Self {
        Self { main: self.main * by.main, glow: self.glow * by.glow, missing: self.missing * by.missing }
    }

    fn without(self, held: f32) -> Self {
        let passed = 1.0 - held;
        self.times(Self { main: passed, glow: passed, missing: passed })
    }
}

/// Fills one line with the light of its finger. `stations` may come in any order.
pub(super) fn shine(line: &mut [f32], stations: &mut [Station], how: &Shine) {
    stations.sort_by(|a, b| a.place().total_cmp(&b.place()));
    let side = line.len();
    let column = |place: f32| (place.ceil().max(0.0) as usize).min(side);
    let keep = how.keep();
    let mut from_left = vec![Flow::NONE; line.len()];
    let (mut flow, mut first) = (Flow::NONE, 0);
    let after = |station: &Station, flow: Flow| match station {
        Station::Bar { right, .. } => Shine::fed(*right),
        Station::Crack { held, .. } => flow.without(*held),
    };
    for station in stations.iter().map(Some).chain([None]) {
        let end = station.map_or(line.len(), |station| column(station.place()));
        for out in &mut from_left[first..end.max(first)] {
            *out = flow;
            flow = flow.times(keep);
        }
        first = end.max(first);
        flow = station.map_or(flow, |station| after(station, flow));
    }
    let (mut flow, mut end) = (Flow::NONE, line.len());
    let before = |station: &Station, flow: Flow| match station {
        Station::Bar { left, .. } => Shine::fed(*left),
        Station::Crack { held, .. } => flow.without(*held),
    };
    for station in stations.iter().rev().map(Some).chain([None]) {
        let first = station.map_or(0, |station| column(station.far_place())).min(end);
        for (value, left) in line[first..end].iter_mut().zip(&from_left[first..end]).rev() {
            *value = how.level(*left, flow);
            flow = flow.times(keep);
        }
        end = first;
        flow = station.map_or(flow, |station| before(station, flow));
    }
}
