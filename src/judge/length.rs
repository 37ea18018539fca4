use super::skeleton::Skeleton;
use crate::cell::Squeeze;
use std::collections::HashSet;

/// Pixels on either side that a centre line is averaged over.
const SMOOTHING_PX: usize = 3;

/// How far a spur may run along the crack, by how far it may stand out of it.
const LONGEST_SPUR: f64 = 3.0;

/// How far a spur may stand out of a hairline, and at the end of one, whose length it would take with it.
const LEAST_PX: f64 = 2.5;
const LEAST_AT_END_PX: f64 = 1.5;

/// The centre line of one component, measured.
#[derive(Debug, Default)]
pub(super) struct CentreLine {
    /// Length with all branches, pixels, as if nothing were squeezed.
    pub length_px: f64,
    /// Its ends: where it is kept in the skeleton, and how deep in the crack it lies, pixels.
    pub ends: Vec<(usize, f64)>,
}

/// A piece of centre line between two pixels that are no plain links of it (ends, junctions).
struct Chain<'a> {
    pixels: &'a [usize],
    closed: bool,
}

/// Measures the centre line that `pixels` (the centre pixels of one component) make up.
///
/// The line is cut into chains at ends and junctions, each chain is smoothed by a moving average over
/// 7 pixels with its ends kept in place, and the lengths of the resulting polylines are added: counting
/// steps of 1 and √2 instead would measure a straight line up to 8 % too long, depending on its angle
/// (Vossepoel and Smeulders, 1982). At each end the distance from there to the crack's border is added,
/// because thinning takes away about half a width. Branches that hardly leave the crack's own width are
/// the thinning's doing and are removed first, from `skeleton` and from `pixels`.
pub(super) fn measure(skeleton: &mut Skeleton, pixels: &mut Vec<usize>, squeeze: &Squeeze) -> CentreLine {
    prune(skeleton, pixels);
    let mut line = CentreLine::default();
    for index in pixels.iter() {
        let reach = skeleton.links(*index).count_ones();
        if reach <= 1 {
            let depth_px = skeleton.depth_px(*index);
            // A lone pixel is both ends of its line.
            line.length_px += (depth_px - 0.5) * if reach == 0 { 2.0 } else { 1.0 };
            line.ends.push((*index, depth_px));
        }
    }
    let mut smooth = Vec::new();
    for_each_chain(skeleton, pixels, |skeleton, chain| line.length_px += smoothed_length_px(skeleton, &chain, squeeze, &mut smooth));
    line
}

/// Removes the spurs, the shortest first, until there are none: without its own spurs a branch may turn out to be one.
fn prune(skeleton: &mut Skeleton, pixels: &mut Vec<usize>) {
    loop {
        let mut branches: Vec<_> = pixels.iter().filter_map(|index| short_branch(skeleton, *index)).collect();
        branches.sort_by_key(Vec::len);
        let doubtful: HashSet<usize> = branches.iter().flat_map(|branch| &branch[..branch.len() - 1]).copied().collect();
        let mut erased = Vec::new();
        for branch in &branches {
            if is_spur(skeleton, branch, &doubtful) {
                let spur = &branch[..branch.len() - 1];
                spur.iter().for_each(|index| skeleton.erase(*index));
                erased.extend_from_slice(spur);
            }
        }
        if erased.is_empty() {
            return;
        }
        skeleton.thin_beside(&erased);
        pixels.retain(|index| skeleton.is_centre(*index));
    }
}

/// How far a spur may stand out of a crack: about the crack's width, at least `least_px`.
fn most_px(depth_px: f64, least_px: f64) -> f64 {
    (1.2 * depth_px).max(least_px)
}

/// The branch from `end` to its junction, in this order, where it is one and no longer than a spur.
fn short_branch(skeleton: &Skeleton, end: usize) -> Option<Vec<usize>> {
    let mut links = skeleton.links(end);
    if links.count_ones() != 1 {
        return None;
    }
    let mut branch = vec![end];
    loop {
        let direction = links.trailing_zeros() as usize;
        let index = skeleton.step(branch[branch.len() - 1], direction);
        branch.push(index);
        let back = (direction + 4) % 8;
        links = skeleton.links(index) & !(1 << back);
        match links.count_ones() {
            0 => return None,
            1 => {}
            _ => return (branch.len() as f64 <= LONGEST_SPUR * most_px(skeleton.depth_px(index), LEAST_PX)).then_some(branch),
        }
    }
}

/// Whether a branch, given from its end to its junction, ends outside the crack's width around the rest of the centre line by less than
/// about that width. The rest is not the junction alone, since along a crack at a low angle to the grid a spur runs beside the line; nor
/// are it the pixels of branches that are `doubtful` themselves: a crack with teeth like a comb's would be eaten one by one.
fn is_spur(skeleton: &Skeleton, branch: &[usize], doubtful: &HashSet<usize>) -> bool {
    let (end, junction) = (branch[0], branch[branch.len() - 1]);
    let least_px = match skeleton.links(junction).count_ones() {
        // What is left of a line when all else was its spurs stays.
        0 | 1 => return false,
        // With its junction's other spurs gone it is an end of the line.
        2 => LEAST_AT_END_PX,
        _ => LEAST_PX,
    };
    let end_px = skeleton.depth_px(end);
    around(skeleton, branch).into_iter().filter(|near| !doubtful.contains(near)).any(|near| {
        let [dx, dy] = between(skeleton.position(near), skeleton.position(end));
        let depth_px = skeleton.depth_px(near);
        dx.hypot(dy) + end_px - depth_px < most_px(depth_px, least_px)
    })
}

/// The centre line on both sides of a branch's junction, about as far as the branch is long.
fn around(skeleton: &Skeleton, branch: &[usize]) -> Vec<usize> {
    let mut line = vec![branch[branch.len() - 1]];
    let mut seen = 0;
    while seen < line.len() && line.len() <= 2 * branch.len() {
        for direction in directions(skeleton.links(line[seen])) {
            let index = skeleton.step(line[seen], direction);
            if !branch.contains(&index) && !line.contains(&index) {
                line.push(index);
            }
        }
        seen += 1;
    }
    line
}

/// Calls `f` with every chain once: those between ends and junctions, then the closed ones.
fn for_each_chain(skeleton: &mut Skeleton, pixels: &[usize], mut f: impl FnMut(&Skeleton, Chain)) {
    let mut chain = Vec::new();
    for start in pixels.iter().copied() {
        let links = skeleton.links(start);
        if links.count_ones() == 2 {
            continue;
        }
        for direction in directions(links) {
            chain.clear();
            chain.push(start);
            if walk(skeleton, &mut chain, direction) {
                f(skeleton, Chain { pixels: &chain, closed: false });
            }
        }
    }
    for start in pixels.iter().copied() {
        let Some(direction) = directions(skeleton.links(start)).next() else { continue };
        if skeleton.links(start).count_ones() == 2 && !skeleton.visit(start) {
            chain.clear();
            chain.push(start);
            walk(skeleton, &mut chain, direction);
            f(skeleton, Chain { pixels: &chain, closed: true });
        }
    }
    for index in pixels {
        skeleton.forget_visit(*index);
    }
}

/// Follows the centre line from the chain's only pixel to the next end or junction, or around to its
/// beginning. False where the chain was walked before, from its other side.
fn walk(skeleton: &mut Skeleton, chain: &mut Vec<usize>, mut direction: usize) -> bool {
    let start = chain[0];
    loop {
        let index = skeleton.step(chain[chain.len() - 1], direction);
        if index == start {
            chain.push(index);
            return true;
        }
        let links = skeleton.links(index);
        if links.count_ones() != 2 {
            chain.push(index);
            return chain.len() > 2 || start < index;
        }
        if skeleton.visit(index) {
            return false;
        }
        chain.push(index);
        let back = (direction + 4) % 8;
        match directions(links).find(|onward| *onward != back) {
            Some(onward) => direction = onward,
            None => return true,
        }
    }
}

fn directions(links: u8) -> impl Iterator<Item = usize> {
    (0..8).filter(move |direction| links & (1 << direction) != 0)
}

fn smoothed_length_px(skeleton: &Skeleton, chain: &Chain, squeeze: &Squeeze, points: &mut Vec<[f64; 2]>) -> f64 {
    points.clear();
    points.extend(chain.pixels.iter().map(|index| squeeze.place(skeleton.position(*index).map(|v| v as f64))));
    let last = points.len() - 1;
    let smooth = |i: usize| {
        let reach = if chain.closed { SMOOTHING_PX } else { SMOOTHING_PX.min(i).min(last - i) };
        let mut mean = [0.0; 2];
        for k in 0..=2 * reach {
            // A closed chain's last point is its first.
            let at = if chain.closed { (i + last * SMOOTHING_PX + k - reach) % last } else { i + k - reach };
            mean = [mean[0] + points[at][0], mean[1] + points[at][1]];
        }
        mean.map(|sum| sum / (2 * reach + 1) as f64)
    };
    let mut length_px = 0.0;
    let mut from = smooth(0);
    for i in 1..=last {
        let to = smooth(i);
        length_px += (to[0] - from[0]).hypot(to[1] - from[1]);
        from = to;
    }
    length_px
}

fn between(a: [usize; 2], b: [usize; 2]) -> [f64; 2] {
    [b[0] as f64 - a[0] as f64, b[1] as f64 - a[1] as f64]
}
