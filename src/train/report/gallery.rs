//! The worst and the best validation pictures, each beside its label and what was found.

use crate::cell::ProbabilityMap;
use crate::measure::Counts;
use crate::train::{Inspected, Picture, TrainError};
use image::{ImageEncoder, RgbImage, codecs::png::PngEncoder};

/// Collects them during an evaluation.
#[derive(Debug)]
pub struct Gallery {
    threshold: f32,
    most: usize,
    worst: Vec<Shown>,
    best: Vec<Shown>,
}

/// One picture of a [`Gallery`].
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Name and, of a larger picture, the window that is shown.
    pub caption: String,
    /// Of the whole picture.
    pub counts: Counts,
    /// Picture, label and errors side by side.
    pub png: Vec<u8>,
}

/// Found crack pixels, false alarms and missed ones.
pub(super) const HIT: [u8; 3] = [64, 200, 120];
pub(super) const ALARM: [u8; 3] = [255, 140, 0];
pub(super) const MISS: [u8; 3] = [70, 130, 255];
/// Larger pictures are shown by the window of this side in which most is to be seen.
const WINDOW_PX: usize = 288;
const GAP_PX: usize = 6;

impl Gallery {
    /// Collects up to `most` of each.
    pub fn new(threshold: f32, most: usize) -> Self {
        Self { threshold, most, worst: Vec::new(), best: Vec::new() }
    }

    /// Looks at a picture.
    ///
    /// # Errors
    /// A picture that cannot be encoded.
    pub fn add(&mut self, inspected: &Inspected) -> Result<(), TrainError> {
        let picture = inspected.picture;
        let level = ProbabilityMap::level(self.threshold);
        let found = |x: usize, y: usize| inspected.values[y * picture.width_px + x] >= level;
        let mut counts = Counts::default();
        for y in 0..picture.height_px {
            for x in 0..picture.width_px {
                match (found(x, y), picture.truth.get(x, y)) {
                    (true, true) => counts.tp += 1,
                    (true, false) => counts.fp += 1,
                    (false, true) => counts.fn_ += 1,
                    (false, false) => {}
                }
            }
        }
        // By IoU; among those in which nothing is right, by the number of wrong pixels.
        let badness = |c: &Counts| (1.0 - c.iou(), c.fp + c.fn_);
        let cracked = counts.tp + counts.fn_ > 0;
        let worse = |shown: &Shown| badness(&counts) > badness(&shown.counts);
        let at_worst = self.worst.iter().position(worse).unwrap_or(self.worst.len());
        let at_best = self.best.iter().position(|shown| !worse(shown)).unwrap_or(self.best.len());
        let (in_worst, in_best) = (counts.fp + counts.fn_ > 0 && at_worst < self.most, cracked && counts.tp > 0 && at_best < self.most);
        if in_worst || in_best {
            let (left, top) = window(picture, &found);
            let whole = picture.width_px <= WINDOW_PX && picture.height_px <= WINDOW_PX;
            let caption = if whole { picture.name.clone() } else { format!("{}, {WINDOW_PX} px from ({left}, {top})", picture.name) };
            let shown = Shown { caption, counts, png: encode(&panel(picture, &found, left, top))? };
            if in_worst {
                self.worst.insert(at_worst, shown.clone());
                self.worst.truncate(self.most);
            }
            if in_best {
                self.best.insert(at_best, shown);
                self.best.truncate(self.most);
            }
        }
        Ok(())
    }

    /// The worst, the very worst first, and the best, the very best first, none of which is among the worst.
    pub fn finish(self) -> (Vec<Shown>, Vec<Shown>) {
        let best = self.best.into_iter().filter(|shown| !self.worst.contains(shown)).collect();
        (self.worst, best)
    }
}

/// Upper left corner of the window that shows most crack and alarm pixels.
fn window(picture: &Picture, found: &impl Fn(usize, usize) -> bool) -> (usize, usize) {
    const CELL: usize = 32;
    let (columns, lines) = (picture.width_px.div_ceil(CELL), picture.height_px.div_ceil(CELL));
    let mut weights = vec![0usize; columns * lines];
    for y in 0..picture.height_px {
        for x in 0..picture.width_px {
            // An error says more than a hit.
            let weight = match (found(x, y), picture.truth.get(x, y)) {
                (true, true) => 1,
                (false, false) => 0,
                _ => 2,
            };
            weights[y / CELL * columns + x / CELL] += weight;
        }
    }
    let span = WINDOW_PX / CELL;
    let sum = |left: usize, top: usize| -> usize {
        let line = |y: usize| weights[y * columns..(y + 1) * columns].iter().skip(left).take(span).sum::<usize>();
        (top..(top + span).min(lines)).map(line).sum()
    };
    let corners = (0..=lines.saturating_sub(span)).flat_map(|y| (0..=columns.saturating_sub(span)).map(move |x| (x, y)));
    let (left, top) = corners.max_by_key(|(x, y)| (sum(*x, *y), std::cmp::Reverse((*y, *x)))).unwrap_or((0, 0));
    let inside = |at: usize, extent: usize| (at * CELL).min(extent.saturating_sub(WINDOW_PX));
    (inside(left, picture.width_px), inside(top, picture.height_px))
}

fn panel(picture: &Picture, found: &impl Fn(usize, usize) -> bool, left: usize, top: usize) -> RgbImage {
    let (width, height) = (WINDOW_PX.min(picture.width_px - left), WINDOW_PX.min(picture.height_px - top));
    let grey = stretched(picture, left, top, width, height);
    let mut panel = RgbImage::from_pixel((3 * width + 2 * GAP_PX) as u32, height as u32, image::Rgb([255; 3]));
    for y in 0..height {
        for x in 0..width {
            let (crack, alarm) = (picture.truth.get(left + x, top + y), found(left + x, top + y));
            let value = grey[y * width + x];
            let dark = value / 3;
            let errors = match (alarm, crack) {
                (true, true) => HIT,
                (true, false) => ALARM,
                (false, true) => MISS,
                (false, false) => [dark; 3],
            };
            let label = if crack { [255; 3] } else { [dark; 3] };
            for (column, colour) in [[value; 3], label, errors].into_iter().enumerate() {
                panel.put_pixel((column * (width + GAP_PX) + x) as u32, y as u32, image::Rgb(colour));
            }
        }
    }
    panel
}

/// A window's grey values, 8 bit, stretched from their 1st to their 99th percentile.
fn stretched(picture: &Picture, left: usize, top: usize, width: usize, height: usize) -> Vec<u8> {
    let line = |y: usize| &picture.pixels[(top + y) * picture.width_px + left..][..width];
    let mut inside: Vec<u16> = (0..height).flat_map(line).copied().filter(|v| *v > 0).collect();
    inside.sort_unstable();
    let percentile = |share: f64| inside.get((share * inside.len() as f64) as usize).copied().unwrap_or(0);
    let (low, high) = (f32::from(percentile(0.01)), f32::from(percentile(0.99)));
    let scale = 255.0 / (high - low).max(1.0);
    (0..height).flat_map(line).map(|v| ((f32::from(*v) - low) * scale).clamp(0.0, 255.0) as u8).collect()
}

fn encode(image: &RgbImage) -> Result<Vec<u8>, TrainError> {
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(image, image.width(), image.height(), image::ExtendedColorType::Rgb8)
        .map_err(|reason| TrainError::Data { path: "contact sheet".into(), problem: format!("cannot be kept as PNG: {reason}") })?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Mask;

    /// A picture with a crack of 10 px in its middle, of which `hits` are found, and `alarms` false ones beside.
    fn add(gallery: &mut Gallery, name: &str, side: usize, crack: bool, hits: usize, alarms: usize) {
        let mut truth = Mask::new(side, side);
        let mut values = vec![0u8; side * side];
        let y = side / 2;
        (0..10).filter(|_| crack).for_each(|x| truth.set(x, y, true));
        values[y * side..y * side + hits].fill(255);
        values[..alarms].fill(255);
        let picture = Picture::new(name.into(), side, vec![500; side * side], truth).unwrap();
        gallery.add(&Inspected { index: 0, picture: &picture, values: &values }).unwrap();
    }

    #[test]
    fn the_worst_and_the_best_are_kept_in_order() {
        let mut gallery = Gallery::new(0.5, 2);
        for (name, crack, hits, alarms) in [
            ("half", true, 5, 0),
            ("all", true, 10, 0),
            ("clean", false, 0, 0),
            ("alarmed", false, 0, 3),
            ("missed", true, 0, 0),
            ("most", true, 9, 0),
        ] {
            add(&mut gallery, name, 32, crack, hits, alarms);
        }
        let (worst, best) = gallery.finish();
        let names = |shown: Vec<Shown>| shown.into_iter().map(|s| s.caption).collect::<Vec<_>>();
        assert_eq!(names(worst), ["missed", "alarmed"]);
        assert_eq!(names(best), ["all", "most"]);
    }

    #[test]
    fn errors_have_their_colours_and_a_large_picture_is_shown_where_they_are() {
        let mut gallery = Gallery::new(0.5, 1);
        add(&mut gallery, "large", 640, true, 4, 0);
        let shown = gallery.finish().0.remove(0);
        assert!(shown.caption.starts_with("large, 288 px from (0, "), "{}", shown.caption);
        assert_eq!(shown.counts, Counts { tp: 4, fp: 0, fn_: 6 });
        let panel = image::load_from_memory(&shown.png).unwrap().into_rgb8();
        assert_eq!(panel.dimensions(), (3 * 288 + 12, 288));
        let count = |colour: [u8; 3]| panel.pixels().filter(|p| p.0 == colour).count();
        assert_eq!((count(HIT), count(MISS), count(ALARM)), (4, 6, 0));
    }
}
