//! How good a network is, judged as on the line: whole tiles through the inspecting engine.

use super::{Picture, TrainError};
use crate::cell::{CELL_PX, MARGIN_PX, ProbabilityMap, SEEN_PX, Span, TILE_PX, TileRow};
use crate::measure::{Histogram, Means};
use crate::nn::{Engine, Normalisation};
use crossbeam_channel::bounded;
use rayon::prelude::*;
use std::sync::Arc;

/// What an evaluation found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluation {
    /// All pixels (micro).
    pub pixels: Histogram,
    /// Every picture the same.
    pub means: Means,
    /// Pictures that have a crack.
    pub cracked: u64,
    /// Cracked pictures in which at least [`EVIDENCE_PX`](Self::EVIDENCE_PX) of the crack's pixels were
    /// found (all of them, where it has fewer).
    pub detected: u64,
    /// Pictures without a crack.
    pub clean: u64,
    /// Clean pictures in which as many pixels were called crack.
    pub alarmed: u64,
}

impl Evaluation {
    /// Pixels that make a picture count as detected or alarmed. The recipe's rules are the judge's;
    /// this is a rough measure to watch a training by.
    pub const EVIDENCE_PX: u64 = 20;

    fn add(&mut self, picture: &Picture, values: &[u8], threshold: f32) {
        let mut pixels = Histogram::default();
        pixels.add(&picture.truth, values);
        let counts = pixels.counts(threshold);
        self.means.add(&counts);
        let crack_px = counts.tp + counts.fn_;
        if crack_px > 0 {
            self.cracked += 1;
            self.detected += u64::from(counts.tp >= Self::EVIDENCE_PX.min(crack_px));
        } else {
            self.clean += 1;
            self.alarmed += u64::from(counts.fp >= Self::EVIDENCE_PX);
        }
        self.pixels += &pixels;
    }
}

/// A picture that the network has looked at.
#[derive(Debug)]
pub struct Inspected<'a> {
    /// Its number in the evaluation.
    pub index: usize,
    /// The picture.
    pub picture: &'a Picture,
    /// Probabilities line by line, `round(255 p)`; 0 outside the outline.
    pub values: &'a [u8],
}

impl Inspected<'_> {
    /// The probabilities of a whole cell as the judge takes them; `None` for a picture of another size.
    pub fn map(&self) -> Option<ProbabilityMap> {
        let row = |row: usize| -> Option<Arc<[u8]>> { Some(self.values.get(row * TileRow::PIXELS..(row + 1) * TileRow::PIXELS)?.into()) };
        let spans = |row: usize| -> Option<Arc<[Span]>> { Some(self.picture.spans.get(row * TILE_PX..(row + 1) * TILE_PX)?.into()) };
        if (self.picture.width_px, self.picture.height_px) != (CELL_PX, CELL_PX) {
            return None;
        }
        ProbabilityMap::new([row(0)?, row(1)?, row(2)?], [spans(0)?, spans(1)?, spans(2)?])
    }
}

/// Crack probabilities of a picture of any size, as `round(255 p)`, 0 outside the outline.
///
/// The picture is tiled by 448 px squares, each shown with its margin and normalised by itself, as on the line; where its sides
/// are no multiples of 448 px the last tiles overlap the ones before. Smaller pictures are padded.
///
/// # Errors
/// What the engine says; [`TrainError::NoNumber`] where its answer is none.
pub fn inspect(engine: &mut dyn Engine, normalisation: &Normalisation, picture: &Picture) -> Result<Vec<u8>, TrainError> {
    let mut values = vec![0; picture.width_px * picture.height_px];
    for top in starts(picture.height_px) {
        inspect_row(engine, picture, top, &row_of_tiles(normalisation, picture, top), &mut values)?;
    }
    Ok(values)
}

/// The tiles of a picture's row that begins at line `top`, as the engine takes them.
fn row_of_tiles(normalisation: &Normalisation, picture: &Picture, top: usize) -> Vec<f32> {
    let columns = starts(picture.width_px);
    let mut tiles = vec![0.0; columns.len() * SEEN_PX * SEEN_PX];
    tiles.par_chunks_exact_mut(SEEN_PX * SEEN_PX).zip(&columns).for_each(|(tile, left)| {
        let (grey, spans) = picture.tile_seen(*left, top);
        normalisation.apply(&grey, SEEN_PX, &spans, tile);
    });
    tiles
}

/// Puts the probabilities of a row of tiles into those of the whole picture.
fn inspect_row(engine: &mut dyn Engine, picture: &Picture, top: usize, tiles: &[f32], values: &mut [u8]) -> Result<(), TrainError> {
    let (columns, batch) = (starts(picture.width_px), engine.batch());
    for (columns, tiles) in columns.chunks(batch).zip(tiles.chunks(batch * SEEN_PX * SEEN_PX)) {
        let found = engine.probabilities(columns.len(), &mut |to| to.copy_from_slice(tiles))?;
        if found.sound.contains(&false) {
            return Err(TrainError::NoNumber { picture: picture.name.clone() });
        }
        for (tile, left) in found.values.chunks_exact(SEEN_PX * SEEN_PX).zip(columns) {
            let lines = tile.chunks_exact(SEEN_PX).skip(MARGIN_PX).take(TILE_PX);
            for (y, line) in lines.enumerate().take(picture.height_px - top) {
                let span = picture.spans[top + y];
                let target = &mut values[(top + y) * picture.width_px..][..picture.width_px];
                let (start, end) = (usize::from(span.start).max(*left), usize::from(span.end).min(left + TILE_PX));
                if start < end {
                    target[start..end].copy_from_slice(&line[MARGIN_PX + start - left..][..end - start]);
                }
            }
        }
    }
    Ok(())
}

fn starts(extent: usize) -> Vec<usize> {
    (0..extent.div_ceil(TILE_PX)).map(|i| (i * TILE_PX).min(extent.saturating_sub(TILE_PX))).collect()
}

/// Evaluates `count` pictures and shows each to `each`. Returns what was found, cells counted at `threshold`.
///
/// A thread of their own makes pictures and their tiles ahead of the engine, a row of tiles in hand and one in the queue.
///
/// # Errors
/// What the pictures, the engine or `each` say.
pub fn evaluate(
    engine: &mut dyn Engine,
    normalisation: &Normalisation,
    threshold: f32,
    count: usize,
    picture: impl Fn(usize) -> Result<Picture, TrainError> + Sync,
    mut each: impl FnMut(&Inspected) -> Result<(), TrainError>,
) -> Result<Evaluation, TrainError> {
    const NAME: &str = "validation";
    std::thread::scope(|scope| {
        let (sender, rows) = bounded(1);
        let picture = &picture;
        let ahead = move || {
            for index in 0..count {
                let sent = match picture(index).map(Arc::new) {
                    Ok(picture) => starts(picture.height_px)
                        .into_iter()
                        .try_for_each(|top| sender.send(Ok((picture.clone(), top, row_of_tiles(normalisation, &picture, top))))),
                    Err(fault) => sender.send(Err(fault)),
                };
                // The engine's side has given up.
                if sent.is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name(NAME.into())
            .spawn_scoped(scope, ahead)
            .map_err(TrainError::file(NAME.as_ref(), "cannot start this thread"))?;
        let mut evaluation = Evaluation::default();
        let (mut index, mut values) = (0, Vec::new());
        for row in rows {
            let (picture, top, tiles): (Arc<Picture>, usize, Vec<f32>) = row?;
            if top == 0 {
                values = vec![0; picture.width_px * picture.height_px];
            }
            inspect_row(engine, &picture, top, &tiles, &mut values)?;
            if top + TILE_PX >= picture.height_px {
                evaluation.add(&picture, &values, threshold);
                each(&Inspected { index, picture: &picture, values: &values })?;
                index += 1;
            }
        }
        Ok(evaluation)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::album::{Album, Page};
    use crate::cell::{CellId, Mask, VerdictKind};
    use crate::config::{DeviceChoice, Precision};
    use crate::inspect::Inspector;
    use crate::measure::Counts;
    use crate::nn::{Architecture, Checkpoint, CheckpointMeta, Network, NetworkShape, Upsampling};
    use crate::train::{Folder, HeldBack, Sampling, Set, SplitPlan};
    use candle_core::Device;

    /// Says crack where the normalised value is above 0.
    struct Bright;

    impl Engine for Bright {
        fn logits(&mut self, tiles: &[f32], _count: usize) -> Result<Vec<f32>, crate::nn::NnError> {
            Ok(tiles.iter().map(|v| if *v > 0.0 { 9.0 } else { -9.0 }).collect())
        }

        fn describe(&self) -> String {
            "bright is crack".into()
        }
    }

    fn picture(width_px: usize, height_px: usize) -> Picture {
        let mut truth = Mask::new(width_px, height_px);
        let mut pixels = vec![1000u16; width_px * height_px];
        for i in 0..width_px.min(height_px) {
            truth.set(i, i, true);
            pixels[i * width_px + i] = 9000;
        }
        Picture::new("p".into(), width_px, pixels, truth).unwrap()
    }

    #[test]
    fn pictures_of_any_size_are_covered_by_tiles_exactly() {
        for (width, height) in [(1344, 448), (500, 900), (100, 60)] {
            let picture = picture(width, height);
            let values = inspect(&mut Bright, &Normalisation::Tile, &picture).unwrap();
            let mut pixels = Histogram::default();
            pixels.add(&picture.truth, &values);
            let crack_px = width.min(height) as u64;
            assert_eq!(pixels.counts(0.5), Counts { tp: crack_px, fp: 0, fn_: 0 }, "{width}x{height}");
        }
    }

    #[test]
    fn what_the_album_keeps_of_a_cell_is_judged_as_the_line_judged_it() {
        let dir = tempfile::tempdir().unwrap();
        let shape = NetworkShape { architecture: Architecture::UNet, base_width: 2, upsampling: Upsampling::Bilinear };
        let network = Network::new(&shape, 3, &Device::Cpu).unwrap();
        let (meta, tensors) = (CheckpointMeta::of(shape, "small"), network.tensors().unwrap());
        let checkpoint = Checkpoint { meta, tensors, digest: String::new() };
        // Askew: its outline moves from line to line.
        let cell = CellId { lane: "A".into(), number: 1 };
        let pixels: Vec<u16> = (0..CELL_PX * CELL_PX).map(|i| 20_000 + (i * 31) as u16 % 977 * 20).collect();
        let start = |y: usize| 20 + (y / 40) as u16;
        let spans: Vec<Span> = (0..CELL_PX).map(|y| Span { start: start(y), end: start(y) + 1280 }).collect();
        let rows = TileRow::all_of(&cell, &pixels, &spans);
        let mut inspector = Inspector::new(&checkpoint, DeviceChoice::Cpu, Precision::F32, 1).unwrap();
        let values = rows.each_ref().map(|row| inspector.inspect(row).unwrap().values);
        let threshold = checkpoint.meta.threshold;
        let found = ProbabilityMap::new(values, rows.each_ref().map(|row| row.spans.clone())).unwrap().mask(threshold);
        assert!(found.count() > 1000, "{}", found.count());

        let settings = crate::config::Album { dir: dir.path().to_owned(), passed_every: 0, unreviewed_max: 1 };
        let (album, thread) = Album::open(&settings, |_| (), |_| panic!("the disk took everything")).unwrap();
        let (found, rows) = (Arc::new(found), rows.map(|row| (row.pixels, row.spans)));
        album.keep(Page { cell: cell.clone(), unix_ns: 0, disposition: VerdictKind::Reject.into(), rows, found: found.clone() });
        assert_eq!(album.tell(album.name_of(&cell).unwrap(), found.clone()), crate::album::Told::Kept);
        album.close();
        thread.join().unwrap();

        let plan = SplitPlan { held_back: HeldBack::Everything, ..SplitPlan::share(0.5, 1) };
        let folder = Folder::open(dir.path(), &plan, Sampling::Uniform).unwrap();
        let mut engine = crate::nn::engine(&checkpoint, DeviceChoice::Cpu, Precision::F32, 1).unwrap();
        let picture = |index| folder.picture(Set::Validation, index);
        let judged = evaluate(engine.as_mut(), &checkpoint.meta.normalisation, threshold, 1, picture, |_| Ok(())).unwrap();
        assert_eq!(judged.pixels.counts(threshold), Counts { tp: found.count(), fp: 0, fn_: 0 });
    }

    #[test]
    fn rows_made_ahead_are_put_together_to_the_pictures_that_inspection_sees() {
        let sizes = [(500, 900), (448, 448), (100, 60), (900, 1400)];
        let source = |index: usize| Ok(picture(sizes[index].0, sizes[index].1));
        let mut seen = Vec::new();
        let mut note = |inspected: &Inspected| {
            seen.push((inspected.index, inspected.values.to_vec()));
            Ok(())
        };
        let found = evaluate(&mut Bright, &Normalisation::Tile, 0.5, sizes.len(), source, &mut note).unwrap();
        let alone = |(width, height)| inspect(&mut Bright, &Normalisation::Tile, &picture(width, height)).unwrap();
        assert!(seen == sizes.map(alone).into_iter().enumerate().collect::<Vec<_>>());
        assert_eq!(found.pixels.counts(0.5), Counts { tp: 500 + 448 + 60 + 900, fp: 0, fn_: 0 });
    }

    /// Knows nothing.
    struct Lost;

    impl Engine for Lost {
        fn logits(&mut self, tiles: &[f32], _count: usize) -> Result<Vec<f32>, crate::nn::NnError> {
            Ok(vec![f32::NAN; tiles.len()])
        }

        fn describe(&self) -> String {
            "lost".into()
        }
    }

    #[test]
    fn an_answer_that_is_no_number_is_no_clean_picture() {
        let error = inspect(&mut Lost, &Normalisation::Tile, &picture(448, 448)).unwrap_err().to_string();
        assert!(error.contains("not a number") && error.starts_with('p'), "{error}");
    }

    #[test]
    fn cells_are_counted_and_an_error_of_the_source_ends_it() {
        let source = |index: usize| match index {
            0 => Ok(picture(448, 448)),
            1 => Picture::new("clean".into(), 448, vec![5; 448 * 448], Mask::new(448, 448)).ok_or(TrainError::Worker("no picture".into())),
            _ => Err(TrainError::Worker("stop".into())),
        };
        let mut seen = Vec::new();
        let mut note = |inspected: &Inspected| {
            seen.push(inspected.picture.name.clone());
            Ok(())
        };
        let found = evaluate(&mut Bright, &Normalisation::Tile, 0.5, 2, source, &mut note).unwrap();
        assert_eq!((found.cracked, found.detected, found.clean, found.alarmed), (1, 1, 1, 0));
        assert_eq!(seen, ["p", "clean"]);
        assert!(evaluate(&mut Bright, &Normalisation::Tile, 0.5, 3, source, |_| Ok(())).is_err());
    }
}
