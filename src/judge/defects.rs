use super::components::{Components, Sets};
use super::length::{CentreLine, measure};
use super::outline::Outline;
use super::rules::{CRACK, MISSING_CORNER};
use super::skeleton::Skeleton;
use crate::cell::{Defect, Mask, ProbabilityMap, RectMm, Squeeze};

/// Farthest that fragments are ever joined over, whatever the scale.
const MAX_JOIN_PX: f64 = 32.0;

/// The cracks in a mask, longest first: its 8-connected components, those no farther apart than
/// `join_gap_mm` at an end of one of them taken as one.
///
/// `map` gives the outline and the probabilities; without it the wafer fills the mask and every crack
/// is certain. Lengths are in millimetres of `mm_per_px` pixels, along the centre line with all
/// branches, joined gaps counted in; lengths, areas and the edge zone are the wafer's, also where it lies squeezed in the
/// map, whose pixels the places are. A crack is in the edge zone if a pixel of it lies less than
/// `edge_zone_mm` from the outline, measured along the line and across it.
pub fn defects(mask: &Mask, map: Option<&ProbabilityMap>, mm_per_px: f64, join_gap_mm: f64, edge_zone_mm: f64) -> Vec<Defect> {
    let components = Components::of(mask);
    if components.count == 0 {
        return Vec::new();
    }
    let mut skeleton = Skeleton::of(&components, mask.width_px(), mask.height_px());
    let squeeze = map.map_or_else(Squeeze::default, |map| *map.squeeze());
    let lines = centre_lines(&components, &mut skeleton, &squeeze);
    let (mut sets, gaps) = join(&components, &skeleton, &lines, &squeeze, join_gap_mm / mm_per_px);

    let outline = map.map_or_else(|| Outline::of_picture(mask), Outline::of_map);
    let mut parts: Vec<Part> = (0..components.count).map(|_| Part::default()).collect();
    for run in &components.runs {
        let margin_px = outline.margin_px(run.y, run.start, run.end, &squeeze);
        let probability = match map {
            Some(map) => map.line(run.y)[run.start..run.end].iter().map(|v| u64::from(*v)).sum::<u64>() as f64 / 255.0,
            None => (run.end - run.start) as f64,
        };
        let part = &mut parts[sets.find(run.component)];
        part.add_run(run.y, run.start, run.end, margin_px, probability);
        part.true_area_px += (run.end - run.start) as f64 * squeeze.area_px(run.y);
    }
    for (component, line) in lines.iter().enumerate() {
        parts[sets.find(component)].length_px += line.length_px;
    }
    for (component, gap_px) in gaps {
        parts[sets.find(component)].length_px += gap_px;
    }
    let cracks = parts.iter().filter(|part| part.area_px > 0);
    let mut cracks: Vec<Defect> = cracks.map(|part| part.defect(mm_per_px, edge_zone_mm)).collect();
    cracks.sort_by(|a, b| b.length_mm.total_cmp(&a.length_mm));
    cracks
}

/// Missing corners as defects: a point where the corner should be.
pub(super) fn missing_corners(map: &ProbabilityMap, mm_per_px: f64, corners: &[u8]) -> Vec<Defect> {
    let outline = Outline::of_map(map);
    let defect = |number: &u8| {
        let [left_mm, top_mm] = outline.corner_px(*number).map(|v| v as f64 * mm_per_px);
        Defect {
            length_mm: 0.0,
            area_mm2: 0.0,
            area_px: 0,
            bounds: RectMm { left_mm, top_mm, width_mm: 0.0, height_mm: 0.0 },
            centre_mm: [left_mm, top_mm],
            probability: 1.0,
            in_edge_zone: true,
            kind: MISSING_CORNER.into(),
        }
    };
    corners.iter().map(defect).collect()
}

fn centre_lines(components: &Components, skeleton: &mut Skeleton, squeeze: &Squeeze) -> Vec<CentreLine> {
    let mut pixels = vec![Vec::new(); components.count];
    for (run, next) in components.runs_with_next() {
        pixels[run.component].extend(skeleton.pixels_of(run, next).filter(|index| skeleton.is_centre(*index)));
    }
    pixels.iter_mut().map(|pixels| measure(skeleton, pixels, squeeze)).collect()
}

/// Joins components over small gaps, the narrowest first. Returns who belongs together, and for each
/// gap that was bridged a component beside it and its length in pixels.
fn join(
    components: &Components,
    skeleton: &Skeleton,
    lines: &[CentreLine],
    squeeze: &Squeeze,
    join_gap_px: f64,
) -> (Sets, Vec<(usize, f64)>) {
    let mut sets = Sets::singles(components.count);
    let reach_px = join_gap_px.clamp(0.0, MAX_JOIN_PX);
    let mut gaps = Vec::new();
    for (component, line) in lines.iter().enumerate() {
        for (index, depth_px) in &line.ends {
            let [x, y] = skeleton.position(*index);
            let at = squeeze.place([x as f64, y as f64]);
            let radius = (depth_px + reach_px).floor() as usize;
            for other_y in y.saturating_sub(radius)..=y + radius {
                for other_x in x.saturating_sub(radius)..=x + radius {
                    let other_at = squeeze.place([other_x as f64, other_y as f64]);
                    let gap_px = (other_at[0] - at[0]).hypot(other_at[1] - at[1]) - depth_px;
                    if gap_px > reach_px {
                        continue;
                    }
                    if let Some(other) = components.at(other_x, other_y).filter(|other| *other != component) {
                        gaps.push((gap_px.max(0.0), component, other));
                    }
                }
            }
        }
    }
    gaps.sort_by(|a, b| a.0.total_cmp(&b.0));
    let bridged = gaps.into_iter().filter(|(_, a, b)| sets.unite(*a, *b)).map(|(gap_px, a, _)| (a, gap_px)).collect();
    (sets, bridged)
}

/// What is summed up over the pixels of one crack.
struct Part {
    area_px: u64,
    /// Where nothing were squeezed.
    true_area_px: f64,
    length_px: f64,
    left: usize,
    right: usize,
    top: usize,
    bottom: usize,
    sum_x: f64,
    sum_y: f64,
    probability: f64,
    margin_px: f64,
}

impl Default for Part {
    fn default() -> Self {
        Self {
            area_px: 0,
            true_area_px: 0.0,
            length_px: 0.0,
            left: usize::MAX,
            right: 0,
            top: usize::MAX,
            bottom: 0,
            sum_x: 0.0,
            sum_y: 0.0,
            probability: 0.0,
            margin_px: f64::INFINITY,
        }
    }
}

impl Part {
    fn add_run(&mut self, y: usize, start: usize, end: usize, margin_px: f64, probability: f64) {
        let pixels = (end - start) as f64;
        self.area_px += (end - start) as u64;
        self.left = self.left.min(start);
        self.right = self.right.max(end);
        self.top = self.top.min(y);
        self.bottom = self.bottom.max(y + 1);
        self.sum_x += pixels * (start + end) as f64 / 2.0;
        self.sum_y += pixels * (y as f64 + 0.5);
        self.probability += probability;
        self.margin_px = self.margin_px.min(margin_px);
    }

    fn defect(&self, mm_per_px: f64, edge_zone_mm: f64) -> Defect {
        let area_px = self.area_px as f64;
        Defect {
            length_mm: self.length_px * mm_per_px,
            area_mm2: self.true_area_px * mm_per_px * mm_per_px,
            area_px: self.area_px,
            bounds: RectMm {
                left_mm: self.left as f64 * mm_per_px,
                top_mm: self.top as f64 * mm_per_px,
                width_mm: (self.right - self.left) as f64 * mm_per_px,
                height_mm: (self.bottom - self.top) as f64 * mm_per_px,
            },
            centre_mm: [self.sum_x / area_px * mm_per_px, self.sum_y / area_px * mm_per_px],
            probability: self.probability / area_px,
            in_edge_zone: self.margin_px * mm_per_px < edge_zone_mm,
            kind: CRACK.into(),
        }
    }
}
