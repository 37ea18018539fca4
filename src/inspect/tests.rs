use super::*;
use crate::cell::CellId;
use crate::config::WaferKind;
use crate::simulate::{WaferSettings, wafer};

/// Says crack where the normalised value is above 0; not a number where it is white.
struct Bright;

impl Engine for Bright {
    fn logits(&mut self, tiles: &[f32], _: usize) -> Result<Vec<f32>, NnError> {
        Ok(tiles.iter().map(|v| if *v > 100.0 { f32::NAN } else { 9.0 * v.signum() }).collect())
    }

    fn pool(&self) -> Option<Arc<rayon::ThreadPool>> {
        rayon::ThreadPoolBuilder::new().num_threads(2).build().ok().map(Arc::new)
    }

    fn batch(&self) -> usize {
        3 * TILES_PER_SIDE
    }

    fn describe(&self) -> String {
        "bright is crack".into()
    }
}

/// Fails.
struct Broken;

impl Engine for Broken {
    fn logits(&mut self, _: &[f32], _: usize) -> Result<Vec<f32>, NnError> {
        Err(NnError::Threads("none left".into()))
    }

    fn describe(&self) -> String {
        "broken".into()
    }
}

/// Finds everything as likely as this.
pub(crate) struct Always(pub f32);

impl Engine for Always {
    fn logits(&mut self, tiles: &[f32], _: usize) -> Result<Vec<f32>, NnError> {
        Ok(vec![self.0; tiles.len()])
    }

    fn describe(&self) -> String {
        format!("always {}", self.0)
    }
}

/// An inspector of `engine`, which sees grey values around 0.
pub(crate) fn inspector(engine: impl Engine + 'static) -> Inspector {
    Inspector {
        info: InspectorInfo { name: "test".into(), digest: String::new(), threshold: 0.5, engine: engine.describe() },
        engine: Box::new(engine),
        normalisation: Normalisation::Fixed { mean: 0.5, std: 0.25 },
    }
}

/// A row with one pixel of `grey` at column `x` of its tenth line.
pub(crate) fn row(number: u64, x: usize, grey: u16) -> TileRow {
    let mut pixels = vec![1000u16; CELL_PX * CELL_PX];
    pixels[(TILE_PX + 10) * CELL_PX + x] = grey;
    let spans = vec![Span { start: 0, end: CELL_PX as u16 }; CELL_PX];
    let [_, middle, _] = TileRow::all_of(&CellId { lane: "A".into(), number }, &pixels, &spans);
    middle
}

#[test]
fn rows_of_batches_come_out_as_each_would_alone() {
    let columns = [100, 700, 1300, 50]; // more than go through at a time
    let rows: Vec<TileRow> = (1..).zip(columns).map(|(number, x)| row(number, x, 60_000)).collect();
    let together = inspector(Bright).inspect_all(&rows);
    assert_eq!(together.len(), rows.len());
    for (row, (together, x)) in rows.iter().zip(together.into_iter().zip(columns)) {
        let together = together.unwrap();
        assert_eq!(together.values[10 * CELL_PX + x], 255, "cell {}", row.cell);
        assert_eq!(together.values.iter().filter(|v| **v > 128).count(), 1);
        let alone = inspector(Bright).inspect(row).unwrap();
        assert!(alone.values == together.values && alone.cell == together.cell);
    }
}

#[test]
fn a_row_that_cannot_be_inspected_spoils_no_other() {
    let mut short = row(1, 100, 60_000);
    short.pixels = vec![0; 5].into();
    let mut infinite = inspector(Bright);
    infinite.normalisation = Normalisation::Fixed { mean: 0.0, std: 0.005 };
    let found = infinite.inspect_all(&[short, row(2, 5, 65_535), row(3, 5, 2000)]);
    assert!(matches!(found[0], Err(InspectError::RowSize { found: 5, .. })));
    assert!(matches!(&found[1], Err(InspectError::NotANumber { cell, row: 1 }) if cell.number == 2));
    assert!(found[2].is_ok());
}

#[test]
fn an_infinite_answer_is_no_verdict() {
    for logit in [f32::INFINITY, f32::NEG_INFINITY] {
        let found = inspector(Always(logit)).inspect(&row(1, 5, 9));
        assert!(matches!(found, Err(InspectError::NotANumber { .. })), "{logit}");
    }
}

#[test]
fn an_engine_that_fails_fails_for_every_row() {
    let found = inspector(Broken).inspect_all(&[row(1, 5, 9), row(2, 5, 9)]);
    assert!(found.iter().all(|result| result.as_ref().is_err_and(|e| e.to_string().contains("none left"))));
}

/// A straight crack 74 px (10 mm) long and two wide, along the line between places `at - 1` and `at`, across the belt or along it.
fn crack_found_px(inspector: &mut Inspector, number: u64, at: usize, across: bool) -> usize {
    let settings = WaferSettings { kind: WaferKind::Laser, seed: 1, cracked_share: 0.0, corner_px: Some(0) };
    let mut pixels: Vec<u16> = wafer(&settings, number).pixels.iter().map(|grey| u16::from(*grey) * 257).collect();
    let places: Vec<usize> = (640..714)
        .flat_map(|along| [at - 1, at].map(|beside| if across { beside * CELL_PX + along } else { along * CELL_PX + beside }))
        .collect();
    places.iter().for_each(|place| pixels[*place] = pixels[*place].saturating_sub(18 * 257));
    let spans = vec![Span { start: 0, end: CELL_PX as u16 }; CELL_PX];
    let rows = TileRow::all_of(&CellId { lane: "A".into(), number }, &pixels, &spans);
    let found: Vec<u8> = rows.iter().flat_map(|row| inspector.inspect(row).unwrap().values.to_vec()).collect();
    places.iter().filter(|place| found[**place] > 127).count()
}

#[test]
fn a_crack_along_a_border_of_tiles_is_found_as_one_within_a_tile() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/crack-unet8.safetensors");
    let mut inspector =
        Inspector::new(&Checkpoint::load(std::path::Path::new(model)).unwrap(), DeviceChoice::Cpu, Precision::F32Grade, 2).unwrap();
    for (number, border, across) in [(0, TILE_PX, false), (1, TILE_PX, true), (2, 2 * TILE_PX, false), (3, 2 * TILE_PX, true)] {
        let [within, on_border] = [border - 18, border].map(|at| crack_found_px(&mut inspector, number, at, across));
        assert!(within > 100 && on_border > within * 4 / 5, "wafer {number}: {on_border} px at {border}, {within} beside it");
    }
}
