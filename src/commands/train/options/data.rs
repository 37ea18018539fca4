//! What a training learns from.

use super::FitOptions;
use crate::commands::terminal::note;
use crate::nn::Checkpoint;
use crate::train::{Folder, Grouping, HeldBack, Learnt, RunFolder, Set, Simulated, SimulatedSettings, Source, SplitPlan, Squares};
use anyhow::Context;
use regex::Regex;
use std::sync::Arc;

impl FitOptions {
    /// The data of a new training.
    pub(in crate::commands::train) fn source(&self) -> anyhow::Result<Arc<dyn Source>> {
        let learnt = || Learnt::by(self.init.as_ref()?, &Checkpoint::load(self.init.as_ref()?).ok()?.meta).ok()?;
        self.source_by(&SplitPlan { learnt: learnt().unwrap_or_default(), ..self.split_plan()? })
    }

    /// The data of a training that was begun, in the parts that its run folder tells. Where these do not fit any more they are dealt out
    /// anew, so that what has changed can be told.
    pub(in crate::commands::train) fn source_of(&self, run: &RunFolder) -> anyhow::Result<Arc<dyn Source>> {
        let split = run.path("split.csv");
        if !split.exists() {
            return self.source();
        }
        self.source_by(&SplitPlan { held_back: HeldBack::File(split), ..self.split_plan()? }).or_else(|_| self.source())
    }

    fn source_by(&self, plan: &SplitPlan) -> anyhow::Result<Arc<dyn Source>> {
        let whole = self.whole_source(plan)?;
        let Some(side_px) = self.validation_crop else { return Ok(whole) };
        let squares = Squares::new(whole, side_px)?;
        note!("validating on {} squares of {side_px} px around their cracks", squares.validation_count());
        Ok(Arc::new(squares))
    }

    fn whole_source(&self, plan: &SplitPlan) -> anyhow::Result<Arc<dyn Source>> {
        if let Some(root) = &self.data {
            let folder = Folder::open(root, plan, self.sampling)?;
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
        let FitOptions { init, cracked_share, validation_wafers, validation_crop, .. } = self;
        let (dealt, validation) = ((init, folds, fold, validation_share), (validation_wafers, validation_crop));
        format!("{:?}", (data, simulate, split, dealt, (groups, group_by), sampling, seed, cracked_share, validation))
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
        Ok(SplitPlan { held_back, grouping, seed: self.seed, learnt: Learnt::default() })
    }
}
