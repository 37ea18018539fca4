//! What a training learns from.

use super::FitOptions;
use crate::commands::terminal::note;
use crate::train::{Folder, Grouping, HeldBack, Set, Simulated, SimulatedSettings, Source, SplitPlan, Squares};
use anyhow::Context;
use regex::Regex;
use std::sync::Arc;

impl FitOptions {
    /// The data.
    pub(in crate::commands::train) fn source(&self) -> anyhow::Result<Arc<dyn Source>> {
        let whole = self.whole_source()?;
        let Some(side_px) = self.validation_crop else { return Ok(whole) };
        let squares = Squares::new(whole, side_px)?;
        note!("validating on {} squares of {side_px} px around their cracks", squares.validation_count());
        Ok(Arc::new(squares))
    }

    fn whole_source(&self) -> anyhow::Result<Arc<dyn Source>> {
        if let Some(root) = &self.data {
            let folder = Folder::open(root, &self.split_plan()?, self.sampling)?;
            folder.warnings().iter().for_each(|warning| note!("warning: {warning}"));
            note!("{} pictures to learn from, {} to validate with", folder.len(Set::Training), folder.len(Set::Validation));
            return Ok(Arc::new(folder));
        }
        let kinds = self.simulate.context("nothing to learn from: give --data DIR or --simulate KIND")?;
        let FitOptions { seed, cracked_share, validation_wafers, .. } = *self;
        let wafers = Simulated::new(SimulatedSettings { kinds, seed, cracked_share, validation_wafers })?;
        if !wafers.validation_shows_a_crack() {
            note!(
                "warning: no validation wafer shows a crack: IoU and PA will tell nothing; take more --validation-wafers or another --seed"
            );
        }
        Ok(Arc::new(wafers))
    }

    /// What [`source`](Self::source) depends on: options of the same key have the same data.
    pub(in crate::commands::train) fn data_key(&self) -> String {
        let FitOptions { data, simulate, split, folds, fold, groups, group_by, validation_share, sampling, seed, .. } = self;
        let FitOptions { cracked_share, validation_wafers, validation_crop, .. } = self;
        let validation = (validation_wafers, validation_crop);
        format!(
            "{:?}",
            (data, simulate, split, (folds, fold, validation_share), (groups, group_by), sampling, seed, cracked_share, validation)
        )
    }

    fn split_plan(&self) -> anyhow::Result<SplitPlan> {
        let held_back = match (&self.split, self.folds.zip(self.fold)) {
            (Some(file), _) => HeldBack::File(file.clone()),
            (None, Some((folds, fold))) => HeldBack::Fold { fold, folds },
            (None, None) => HeldBack::Share(self.validation_share),
        };
        let grouping = match (&self.groups, &self.group_by) {
            (Some(file), _) => Grouping::File(file.clone()),
            (None, Some(pattern)) => Grouping::Pattern(Regex::new(pattern).with_context(|| format!("--group-by {pattern}"))?),
            (None, None) => Grouping::None,
        };
        Ok(SplitPlan { held_back, grouping, seed: self.seed })
    }
}
