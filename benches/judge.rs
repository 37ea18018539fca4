//! What judging one cell costs: clean, with typical cracks, with many specks, and gone mad.

use criterion::{Criterion, criterion_group, criterion_main};
use hairline::cell::{CELL_PX, ProbabilityMap, Span, TILE_PX};
use hairline::judge::{Recipe, judge};
use std::hint::black_box;
use std::sync::Arc;

struct Cell(Vec<u8>);

impl Cell {
    fn clean() -> Self {
        Self(vec![3; CELL_PX * CELL_PX])
    }

    /// A wavy crack about 4 px wide with a softer fringe.
    fn crack(mut self, from: [f64; 2], angle: f64, length_px: f64) -> Self {
        for i in 0..(2.0 * length_px) as usize {
            let along = i as f64 / 2.0;
            let across = 12.0 * (along / 40.0).sin();
            let (sin, cos) = angle.sin_cos();
            let (x, y) = (from[0] + along * cos - across * sin, from[1] + along * sin + across * cos);
            for (dx, dy) in (-3i32..=3).flat_map(|dy| (-3i32..=3).map(move |dx| (dx, dy))) {
                let value = (270.0 - 70.0 * f64::from(dx * dx + dy * dy).sqrt()).clamp(0.0, 255.0) as u8;
                let (x, y) = ((x as i32 + dx) as usize % CELL_PX, (y as i32 + dy) as usize % CELL_PX);
                self.0[y * CELL_PX + x] = self.0[y * CELL_PX + x].max(value);
            }
        }
        self
    }

    fn noise(mut self, one_in: u32) -> Self {
        let mut state = 1u64;
        for value in &mut self.0 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            if ((state >> 33) as u32).is_multiple_of(one_in) {
                *value = 220;
            }
        }
        self
    }

    fn map(&self) -> ProbabilityMap {
        let spans: Arc<[Span]> = vec![Span { start: 2, end: CELL_PX as u16 - 2 }; TILE_PX].into();
        let rows = [0, 1, 2].map(|row| Arc::from(&self.0[row * TILE_PX * CELL_PX..(row + 1) * TILE_PX * CELL_PX]));
        ProbabilityMap::new(rows, [spans.clone(), spans.clone(), spans]).expect("three whole rows")
    }
}

fn benchmark(c: &mut Criterion) {
    let cracked = || Cell::clean().crack([200.0, 300.0], 0.6, 700.0).crack([900.0, 100.0], 1.9, 400.0).crack([600.0, 900.0], 0.1, 300.0);
    let cells = [
        ("clean", Cell::clean()),
        ("cracks", cracked()),
        ("cracks and specks", cracked().noise(3000)),
        ("gone mad", Cell::clean().noise(2)),
    ];
    let recipe = Recipe::default();
    for (name, cell) in cells {
        let map = cell.map();
        c.bench_function(&format!("judge {name}"), |b| b.iter(|| judge(black_box(&map), 0.1354, &[], 0.5, &recipe)));
    }
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
