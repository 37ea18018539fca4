use super::{InspectError, Inspector, ModelInfo};
use crate::cell::{ProbabilityRow, TileRow};
use crate::config::{Network, Precision};
use crate::nn::Checkpoint;
use std::collections::BTreeMap;

/// One model, made ready in each precision that the recipes of a station ask for.
pub struct Inspectors {
    /// The station's own precision.
    usual: Inspector,
    others: BTreeMap<Precision, Inspector>,
}

impl Inspectors {
    /// Makes the checkpoint's network ready as `network` says, and in those of `precisions` that are others.
    ///
    /// # Errors
    /// See [`Inspector::new`].
    pub fn new(checkpoint: &Checkpoint, network: &Network, precisions: impl IntoIterator<Item = Precision>) -> Result<Self, InspectError> {
        let ready = |precision| Inspector::new(checkpoint, network.device, precision, network.threads.clone());
        let usual = ready(network.precision)?;
        let mut others = BTreeMap::new();
        for precision in precisions {
            if precision != network.precision && !others.contains_key(&precision) {
                others.insert(precision, ready(precision)?);
            }
        }
        Ok(Self { usual, others })
    }

    /// Which model this is, and all that runs it.
    pub fn info(&self) -> ModelInfo {
        let mut info = self.usual.info().clone();
        for other in self.others.values() {
            info.engine = format!("{}; {}", info.engine, other.info().engine);
        }
        info
    }

    /// See [`Inspector::check_pitch`].
    pub fn check_pitch(&self, lane: &str, mm_per_px: f64) -> Result<(), InspectError> {
        self.usual.check_pitch(lane, mm_per_px)
    }

    /// See [`Inspector::batch`].
    pub fn batch(&self) -> usize {
        self.usual.batch()
    }

    /// See [`Inspector::warm_up`].
    pub fn warm_up(&mut self) -> Result<(), InspectError> {
        self.usual.warm_up()?;
        self.others.values_mut().try_for_each(Inspector::warm_up)
    }

    /// As [`Inspector::inspect_all`], each row in its precision: the station's own where it names none.
    pub fn inspect_all(&mut self, rows: &[(Option<Precision>, &TileRow)]) -> Vec<Result<ProbabilityRow, InspectError>> {
        let asked: Vec<_> = rows.iter().map(|(precision, _)| precision.filter(|other| self.others.contains_key(other))).collect();
        let others = self.others.iter_mut().map(|(precision, inspector)| (Some(*precision), inspector));
        let mut results = Vec::with_capacity(rows.len());
        for (precision, inspector) in std::iter::once((None, &mut self.usual)).chain(others) {
            let own: Vec<usize> = (0..rows.len()).filter(|i| asked[*i] == precision).collect();
            let found = inspector.inspect_all(own.iter().map(|i| rows[*i].1));
            results.extend(own.into_iter().zip(found));
        }
        results.sort_by_key(|(i, _)| *i);
        results.into_iter().map(|(_, result)| result).collect()
    }
}

/// Without other precisions.
impl From<Inspector> for Inspectors {
    fn from(usual: Inspector) -> Self {
        Self { usual, others: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::tests::{inspector, row};
    use crate::nn::{Engine, NnError};

    /// Finds everything as likely as this.
    struct Always(f32);

    impl Engine for Always {
        fn logits(&mut self, tiles: &[f32], _: usize) -> Result<Vec<f32>, NnError> {
            Ok(vec![self.0; tiles.len()])
        }

        fn describe(&self) -> String {
            format!("always {}", self.0)
        }
    }

    #[test]
    fn each_row_is_inspected_in_the_precision_it_asks_for() {
        let others = BTreeMap::from([(Precision::Bf16, inspector(Always(9.0))), (Precision::Int8, inspector(Always(-9.0)))]);
        let mut inspectors = Inspectors { others, ..inspector(Always(0.0)).into() };
        let asked = [Some(Precision::Int8), None, Some(Precision::Bf16), Some(Precision::F32), Some(Precision::Int8)];
        let rows: Vec<TileRow> = (1..).zip(asked).map(|(number, _)| row(number, 5, 9)).collect();
        let results = inspectors.inspect_all(&asked.into_iter().zip(&rows).collect::<Vec<_>>());
        let found: Vec<_> = results.into_iter().map(|r| r.map(|r| (r.cell.number, r.values[50_000])).unwrap()).collect();
        assert_eq!(found, [(1, 0), (2, 128), (3, 255), (4, 128), (5, 0)]);
    }
}
