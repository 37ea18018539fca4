use super::Counts;

/// Means of the indices over pictures, each picture counting the same however many crack pixels it has.
///
/// Adding up [`Counts`] instead gives the micro average, in which long cracks weigh more.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Means {
    pictures: u64,
    nothing_to_find: u64,
    iou: f64,
    pa: f64,
    oii: f64,
    precision: f64,
    f1: f64,
}

impl Means {
    /// Adds a picture.
    pub fn add(&mut self, counts: &Counts) {
        self.pictures += 1;
        self.nothing_to_find += u64::from(counts.tp + counts.fp + counts.fn_ == 0);
        self.iou += counts.iou();
        self.pa += counts.pa();
        self.oii += counts.oii();
        self.precision += counts.precision();
        self.f1 += counts.f1();
    }

    /// Pictures added.
    pub fn pictures(&self) -> u64 {
        self.pictures
    }

    /// Thereof those without a crack in which nothing was found either: they count as 1 (with the OII as 0), so that many of
    /// them lift the means even of a model that finds nothing.
    pub fn nothing_to_find(&self) -> u64 {
        self.nothing_to_find
    }

    /// Mean of [`Counts::iou`]; as all means, 0 of no pictures.
    pub fn iou(&self) -> f64 {
        self.mean(self.iou)
    }

    /// Mean of [`Counts::pa`].
    pub fn pa(&self) -> f64 {
        self.mean(self.pa)
    }

    /// Mean of [`Counts::oii`].
    pub fn oii(&self) -> f64 {
        self.mean(self.oii)
    }

    /// Mean of [`Counts::precision`].
    pub fn precision(&self) -> f64 {
        self.mean(self.precision)
    }

    /// Mean of [`Counts::f1`].
    pub fn f1(&self) -> f64 {
        self.mean(self.f1)
    }

    fn mean(&self, sum: f64) -> f64 {
        if self.pictures == 0 { 0.0 } else { sum / self.pictures as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(pictures: &[Counts]) -> Means {
        let mut means = Means::default();
        pictures.iter().for_each(|counts| means.add(counts));
        means
    }

    #[test]
    fn pictures_count_alike_and_not_by_their_pixels() {
        let long = Counts { tp: 900, fp: 50, fn_: 50 };
        let missed = Counts { tp: 0, fp: 0, fn_: 10 };
        let both = means(&[long, missed]);
        assert_eq!(both.pictures(), 2);
        assert!((both.iou() - 0.45).abs() < 1e-12 && (both.f1() - 0.5 * long.f1()).abs() < 1e-12);
        assert!((both.oii() - 0.5 * missed.oii()).abs() < 1e-12);
        let mut micro = long;
        micro += missed;
        assert!(micro.iou() > 0.85);
        assert_eq!(Means::default().iou(), 0.0);
        let passed = means(&[missed, Counts::default(), Counts { fp: 1, ..Counts::default() }]);
        assert_eq!((passed.pictures(), passed.nothing_to_find()), (3, 1));
    }
}
