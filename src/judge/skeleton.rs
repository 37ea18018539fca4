use super::components::{Components, Run};

/// Offsets of the eight neighbours, clockwise from north: [dx, dy]. Even ones share a side.
const NEIGHBOURS: [[isize; 2]; 8] = [[0, -1], [1, -1], [1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1]];

/// Farthest that [`Skeleton::depth_px`] looks. What is thicker is no crack in any case.
const MAX_DEPTH_PX: isize = 64;

/// Largest hole in a crack that is the noise of a mask: the line around it would be measured on both its sides.
const MOST_HOLE_PX: usize = 4;

const CRACK: u8 = 1;
const CENTRE: u8 = 2;
const VISITED: u8 = 4;
const QUEUED: [u8; 2] = [8, 16];

/// A mask thinned to its centre lines, one pixel thin, with the topology of the mask without its smallest holes.
///
/// Thinning after Guo and Hall, "Parallel thinning with two-subiteration algorithms" (CACM 32, 1989),
/// algorithm A1; only pixels whose neighbourhood changed are looked at again, so that the work grows
/// with the mask's area, not with its thickness.
pub(super) struct Skeleton {
    /// One byte of flags a pixel, with a frame one pixel wide, so that every pixel has neighbours.
    flags: Vec<u8>,
    stride: usize,
    around: [isize; 8],
}

impl Skeleton {
    /// Thins a mask of `width_px` × `height_px` given by its runs.
    pub(super) fn of(components: &Components, width_px: usize, height_px: usize) -> Self {
        let stride = width_px + 2;
        let around = NEIGHBOURS.map(|[dx, dy]| dy * stride as isize + dx);
        let mut skeleton = Self { flags: vec![0; stride * (height_px + 2)], stride, around };
        let span = |run: &Run| {
            let start = skeleton.index(run.start, run.y);
            start..start + run.end - run.start
        };
        let spans: Vec<_> = components.runs.iter().map(span).collect();
        spans.iter().for_each(|span| skeleton.flags[span.clone()].fill(CRACK | CENTRE));
        let mut filled = Vec::new();
        for pair in spans.windows(2) {
            // Where the two are of different lines, the frame lies between them, which is no hole.
            if pair[1].start.saturating_sub(pair[0].end) <= MOST_HOLE_PX {
                filled.extend(skeleton.fill_hole(pair[0].end));
            }
        }
        skeleton.thin(spans.into_iter().flatten().chain(filled));
        skeleton
    }

    /// The crack's pixels from a run's beginning on: its own, and those of filled holes up to where the `next` run of the line begins.
    pub(super) fn pixels_of(&self, run: &Run, next: usize) -> impl Iterator<Item = usize> {
        let [start, end, next] = [run.start, run.end, next].map(|x| self.index(x, run.y));
        (start..end).chain((end..next).take_while(|index| self.flags[*index] & CRACK != 0))
    }

    /// Takes the hole that `index` lies in for crack, if it is one, and a small one; its pixels.
    fn fill_hole(&mut self, index: usize) -> Vec<usize> {
        if self.flags[index] & CRACK != 0 {
            return Vec::new();
        }
        let mut hole = vec![index];
        let mut seen = 0;
        while seen < hole.len() {
            for side in [0, 2, 4, 6] {
                let beside = self.step(hole[seen], side);
                // Outside the frame: it is open to the border.
                let Some(flags) = self.flags.get(beside) else { return Vec::new() };
                if flags & CRACK == 0 && !hole.contains(&beside) {
                    hole.push(beside);
                }
            }
            if hole.len() > MOST_HOLE_PX {
                return Vec::new();
            }
            seen += 1;
        }
        hole.iter().for_each(|index| self.flags[*index] |= CRACK | CENTRE);
        hole
    }

    /// Where pixel (`x`, `y`) is kept.
    pub(super) fn index(&self, x: usize, y: usize) -> usize {
        (y + 1) * self.stride + x + 1
    }

    /// The pixel that is kept at `index`.
    pub(super) fn position(&self, index: usize) -> [usize; 2] {
        [index % self.stride - 1, index / self.stride - 1]
    }

    /// The neighbour of `index` in direction `direction` (0 to 7, clockwise from north).
    pub(super) fn step(&self, index: usize, direction: usize) -> usize {
        index.wrapping_add_signed(self.around[direction])
    }

    pub(super) fn is_centre(&self, index: usize) -> bool {
        self.flags[index] & CENTRE != 0
    }

    /// Takes a pixel off the centre line.
    pub(super) fn erase(&mut self, index: usize) {
        self.flags[index] &= !CENTRE;
    }

    /// Marks a pixel; tells whether it was marked before.
    pub(super) fn visit(&mut self, index: usize) -> bool {
        let before = self.flags[index] & VISITED != 0;
        self.flags[index] |= VISITED;
        before
    }

    pub(super) fn forget_visit(&mut self, index: usize) {
        self.flags[index] &= !VISITED;
    }

    /// Directions in which the centre line goes on from `index`, as bits. A diagonal counts only where
    /// no neighbour that shares a side leads the same way, so that every step is taken once.
    pub(super) fn links(&self, index: usize) -> u8 {
        let near = self.neighbourhood(index);
        let sides = near & 0b0101_0101;
        sides | (near & 0b1010_1010 & !sides.rotate_left(1) & !sides.rotate_right(1))
    }

    /// Distance from a crack pixel's centre to that of the nearest pixel that is no crack, in pixels.
    pub(super) fn depth_px(&self, index: usize) -> f64 {
        let [x, y] = self.position(index).map(|v| v as isize + 1);
        let (stride, lines) = (self.stride as isize, (self.flags.len() / self.stride) as isize);
        let is_crack =
            |x: isize, y: isize| (0..stride).contains(&x) && (0..lines).contains(&y) && self.flags[(y * stride + x) as usize] & CRACK != 0;
        let mut nearest = MAX_DEPTH_PX * MAX_DEPTH_PX;
        let mut radius = 1;
        while radius * radius < nearest {
            for along in -radius..=radius {
                let sides = [(along, -radius), (along, radius), (-radius, along), (radius, along)];
                if sides.iter().any(|(dx, dy)| !is_crack(x + dx, y + dy)) {
                    nearest = nearest.min(radius * radius + along * along);
                }
            }
            radius += 1;
        }
        (nearest as f64).sqrt()
    }

    fn neighbourhood(&self, index: usize) -> u8 {
        let bits = (0..8).map(|d| u8::from(self.is_centre(self.step(index, d))) << d);
        bits.fold(0, |all, bit| all | bit)
    }

    /// Thins the centre line anew beside pixels that were taken off it.
    pub(super) fn thin_beside(&mut self, erased: &[usize]) {
        let beside = erased.iter().flat_map(|index| (0..8).map(|direction| self.step(*index, direction)));
        let beside: Vec<_> = beside.filter(|index| self.is_centre(*index)).collect();
        self.thin(beside);
    }

    fn thin(&mut self, pixels: impl IntoIterator<Item = usize>) {
        let mut queues = [Vec::new(), Vec::new()];
        for index in pixels {
            if self.neighbourhood(index) != 0xff {
                self.enqueue(index, &mut queues);
            }
        }
        let mut doomed = Vec::new();
        while !queues[0].is_empty() || !queues[1].is_empty() {
            for half in 0..2 {
                for index in queues[half].drain(..) {
                    self.flags[index] &= !QUEUED[half];
                    if self.is_centre(index) && DELETABLE[usize::from(self.neighbourhood(index))] & (1 << half) != 0 {
                        doomed.push(index);
                    }
                }
                for index in &doomed {
                    self.erase(*index);
                }
                for index in doomed.drain(..) {
                    for direction in 0..8 {
                        let neighbour = self.step(index, direction);
                        if self.is_centre(neighbour) {
                            self.enqueue(neighbour, &mut queues);
                        }
                    }
                }
            }
        }
    }

    fn enqueue(&mut self, index: usize, queues: &mut [Vec<usize>; 2]) {
        for (queue, flag) in queues.iter_mut().zip(QUEUED) {
            if self.flags[index] & flag == 0 {
                self.flags[index] |= flag;
                queue.push(index);
            }
        }
    }
}

/// For each neighbourhood, in which of the two subiterations (bits) its pixel is removed.
static DELETABLE: [u8; 256] = deletable();

const fn deletable() -> [u8; 256] {
    let mut table = [0; 256];
    let mut near = 0;
    while near < 256 {
        table[near] = deletable_in(near, 0) | deletable_in(near, 4) << 1;
        near += 1;
    }
    table
}

/// Whether a pixel with neighbourhood `near` is removed in the subiteration that spares the side `turn`
/// directions on from west: 1 or 0.
const fn deletable_in(near: usize, turn: usize) -> u8 {
    let (mut crossings, mut pairs, mut other_pairs) = (0, 0, 0);
    let mut side = 0;
    while side < 8 {
        let (here, next, last) = (bit(near, side), bit(near, side + 1), bit(near, side + 7));
        crossings += (1 - here) & (next | bit(near, side + 2));
        pairs += last | here;
        other_pairs += here | next;
        side += 2;
    }
    let neighbours = if pairs < other_pairs { pairs } else { other_pairs };
    let spared = (bit(near, turn + 4) | bit(near, turn + 5) | (1 - bit(near, turn + 7))) & bit(near, turn + 6);
    (crossings == 1 && neighbours >= 2 && neighbours <= 3 && spared == 0) as u8
}

const fn bit(near: usize, direction: usize) -> usize {
    (near >> (direction % 8)) & 1
}
