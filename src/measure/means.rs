use super::Counts;

/// Means of the indices over pictures, each picture counting the same however many crack pixels it has.
///
/// Adding up [`Counts`] instead gives the micro average, in which long cracks weigh more.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Means {
    pictures: u64,
    nothing_to_find: u64,
    cracked: u64,
    called: u64,
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
        self.oii += counts.oii();
        self.f1 += counts.f1();
        if counts.tp + counts.fn_ > 0 {
            self.cracked += 1;
            self.pa += counts.pa();
        }
        if counts.tp + counts.fp > 0 {
            self.called += 1;
            self.precision += counts.precision();
        }
    }

    /// Pictures added.
    pub fn pictures(&self) -> u64 {
        self.pictures
    }

    /// Thereof those without a crack in which nothing was found either: in IoU and F1 they count as 1 (with the OII as 0), so that
    /// many of them lift the means even of a model that finds nothing.
    pub fn nothing_to_find(&self) -> u64 {
        self.nothing_to_find
    }

    /// Those in which something was called crack, rightly or not.
    pub fn called(&self) -> u64 {
        self.called
    }

    /// Mean of [`Counts::iou`]; as all means, 0 of no pictures.
    pub fn iou(&self) -> f64 {
        mean(self.iou, self.pictures)
    }

    /// Mean of [`Counts::pa`] over the pictures with a crack.
    pub fn pa(&self) -> f64 {
        mean(self.pa, self.cracked)
    }

    /// Mean of [`Counts::oii`].
    pub fn oii(&self) -> f64 {
        mean(self.oii, self.pictures)
    }

    /// Mean of [`Counts::precision`] over the pictures in which something was [`called`](Self::called) crack.
    pub fn precision(&self) -> f64 {
        mean(self.precision, self.called)
    }

    /// Mean of [`Counts::f1`].
    pub fn f1(&self) -> f64 {
        mean(self.f1, self.pictures)
    }
}

fn mean(sum: f64, pictures: u64) -> f64 {
    if pictures == 0 { 0.0 } else { sum / pictures as f64 }
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

    #[test]
    fn recall_is_of_pictures_with_cracks_and_precision_of_those_with_something_called_so() {
        let half = Counts { tp: 10, fp: 10, fn_: 30 };
        let (missed, alarm) = (Counts { fn_: 10, ..Counts::default() }, Counts { fp: 10, ..Counts::default() });
        let all = means(&[half, missed, alarm, Counts::default()]);
        assert_eq!((all.pa(), all.precision(), all.called()), (0.25 / 2.0, 0.5 / 2.0, 2));
        let silent = means(&[missed, Counts::default()]);
        assert_eq!((silent.pa(), silent.precision(), silent.called()), (0.0, 0.0, 0));
    }
}
