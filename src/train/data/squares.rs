use super::{Picture, Source};
use crate::train::TrainError;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};

/// Data whose validation pictures are cut to squares around their cracks, as the paper's (Table 2); a picture without a crack
/// gives one from its middle. What is learnt from stays as it is.
pub struct Squares {
    whole: Arc<dyn Source>,
    side_px: usize,
    squares: Vec<Square>,
    crack_px: usize,
    all_px: usize,
    /// The picture that a square was cut from last, and its number: the next one is often of the same.
    last: Mutex<Option<(usize, Arc<Picture>)>>,
}

/// A square of a validation picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Square {
    picture: usize,
    left: usize,
    top: usize,
}

impl Squares {
    /// Looks through the validation pictures of `whole` and chooses the squares, `side_px` wide: for each picture as many as the
    /// smallest rectangle around its cracks needs, evenly over it, without those that show no crack.
    ///
    /// # Errors
    /// A side of 0, or a picture that cannot be read.
    pub fn new(whole: Arc<dyn Source>, side_px: usize) -> Result<Self, TrainError> {
        if side_px == 0 {
            return Err(TrainError::Setting { name: "validation-crop", problem: "0 px show nothing; 224 are usual".into() });
        }
        let (mut squares, mut crack_px, mut all_px) = (Vec::new(), 0, 0);
        for index in 0..whole.validation_count() {
            let picture = whole.validation(index)?;
            for (left, top) in around_cracks(&picture, side_px) {
                let cut = picture.window(left, top, side_px);
                crack_px += cut.truth.count() as usize;
                all_px += cut.pixels.len();
                squares.push(Square { picture: index, left, top });
            }
        }
        Ok(Self { whole, side_px, squares, crack_px, all_px, last: Mutex::default() })
    }

    fn picture(&self, index: usize) -> Result<Arc<Picture>, TrainError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((number, picture)) if *number == index => Ok(picture.clone()),
            _ => {
                let picture = Arc::new(self.whole.validation(index)?);
                *last = Some((index, picture.clone()));
                Ok(picture)
            }
        }
    }
}

/// Left and top of the squares around a picture's cracks.
fn around_cracks(picture: &Picture, side_px: usize) -> Vec<(usize, usize)> {
    let cracks = picture.crack_pixels();
    let extent = |of: fn(&(usize, usize)) -> usize, size: usize| {
        let positions = || cracks.iter().map(of);
        let (first, end) = positions().min().zip(positions().max()).map_or((size / 2, size / 2 + 1), |(first, last)| (first, last + 1));
        let count = (end - first).div_ceil(side_px);
        // The middle of each part, less half a side, within the picture.
        let start = move |part: usize| {
            let middle = first + (end - first) * (2 * part + 1) / (2 * count);
            middle.saturating_sub(side_px / 2).min(size.saturating_sub(side_px))
        };
        (0..count).map(start).collect::<Vec<_>>()
    };
    let (lefts, tops) = (extent(|at| at.0, picture.width_px), extent(|at| at.1, picture.height_px));
    let within = |at: usize, start: usize| (start..start + side_px).contains(&at);
    let shows = |(left, top): &(usize, usize)| cracks.is_empty() || cracks.iter().any(|(x, y)| within(*x, *left) && within(*y, *top));
    tops.iter().flat_map(|top| lefts.iter().map(|left| (*left, *top))).filter(shows).collect()
}

impl Source for Squares {
    fn training(&self, draw: u64) -> Result<Picture, TrainError> {
        self.whole.training(draw)
    }

    fn validation(&self, index: usize) -> Result<Picture, TrainError> {
        let Square { picture, left, top } = self.squares[index];
        Ok(self.picture(picture)?.window(left, top, self.side_px))
    }

    fn validation_count(&self) -> usize {
        self.squares.len()
    }

    fn training_count(&self) -> Option<usize> {
        self.whole.training_count()
    }

    fn cracked_share(&self) -> f64 {
        self.whole.cracked_share()
    }

    fn digest(&self) -> Result<String, TrainError> {
        self.whole.digest()
    }

    fn summary(&self) -> serde_json::Value {
        let mut summary = self.whole.summary();
        summary["validation_squares"] = json!({
            "side_px": self.side_px,
            "squares": self.squares.len(),
            "crack_to_background": super::told::crack_to_background(self.crack_px as u64, self.all_px as u64),
        });
        summary
    }

    fn manifest(&self) -> serde_json::Value {
        match self.whole.manifest() {
            mut manifest if manifest.get("summary").is_some() => {
                manifest["summary"] = self.summary();
                manifest
            }
            _ => self.summary(),
        }
    }

    fn split_csv(&self) -> Option<String> {
        self.whole.split_csv()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Mask;

    fn picture(width_px: usize, height_px: usize, cracks: &[(usize, usize)]) -> Picture {
        let mut truth = Mask::new(width_px, height_px);
        cracks.iter().for_each(|(x, y)| truth.set(*x, *y, true));
        let pixels = (0..width_px * height_px).map(|i| 1 + (i % 60_000) as u16).collect();
        Picture::new("p".into(), width_px, pixels, truth).unwrap()
    }

    #[test]
    fn squares_lie_around_the_cracks_within_the_picture_and_as_many_as_they_need() {
        for (cracks, want) in [
            (&[(150, 140), (159, 149)][..], &[(105, 95)][..]),
            (&[(0, 0)], &[(0, 0)]),
            (&[(299, 249)], &[(200, 150)]),
            // 250 px high: three squares, one above the other.
            (&[(150, 0), (150, 120), (150, 249)], &[(100, 0), (100, 75), (100, 150)]),
            // Two cracks in corners: the rectangle around both needs nine squares, seven of which would show none.
            (&[(0, 0), (299, 249)], &[(0, 0), (200, 150)]),
            (&[], &[(100, 75)]),
        ] {
            assert_eq!(around_cracks(&picture(300, 250, cracks), 100), want, "{cracks:?}");
        }
        assert_eq!(around_cracks(&picture(60, 250, &[(10, 200)]), 100), [(0, 150)], "narrower than a square");
    }

    proptest::proptest! {
        #[test]
        fn every_crack_pixel_is_in_a_square(
            (width, height, side) in (1usize..90, 1usize..90, 1usize..50),
            seeds in proptest::collection::vec((0usize..90, 0usize..90), 1..6),
        ) {
            let cracks: Vec<_> = seeds.into_iter().map(|(x, y)| (x % width, y % height)).collect();
            let squares = around_cracks(&picture(width, height, &cracks), side);
            for (x, y) in cracks {
                let within = |at: usize, start: usize| (start..start + side).contains(&at);
                proptest::prop_assert!(squares.iter().any(|(left, top)| within(x, *left) && within(y, *top)), "{x} {y} {squares:?}");
            }
        }
    }

    #[test]
    fn a_window_is_a_picture_of_its_own_and_ends_where_the_picture_does() {
        let whole = picture(30, 20, &[(25, 15), (3, 3)]);
        let cut = whole.window(20, 10, 16);
        assert_eq!((cut.width_px, cut.height_px, cut.truth.count()), (10, 10, 1));
        assert!(cut.truth.get(5, 5) && cut.pixels[0] == whole.pixels[10 * 30 + 20]);
        assert_eq!((cut.spans[0].start, cut.spans[0].end), (0, 10));
    }
}
