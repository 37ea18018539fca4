//! The pictures that `train eval`, `train promote` and `train quantise` look at.

use super::learnt::learnt_by;
use crate::commands::arguments::share;
use crate::commands::terminal::note;
use crate::nn::CheckpointMeta;
use crate::train::{Folder, HeldBack, Kinds, Picture, Sampling, Set, Simulated, Source, SplitPlan, Squares, TrainError};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which pictures a finished model is looked at with.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["data", "simulate"])))]
pub struct PictureOptions {
    /// Folder with images/ and masks/, as for `train fit`: whole cells scaled to 1344 px for the longer side
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Of --data, the validation part only, as this file of lines `picture,training` or `picture,validation`
    /// tells it (a run folder has one: split.csv) [default: all its pictures]
    #[arg(long, value_name = "FILE.csv", requires = "data")]
    split: Option<PathBuf>,
    /// Simulated wafers, never those that a training has seen, whatever its seed
    #[arg(long, value_name = "KIND")]
    simulate: Option<Kinds>,
    /// Number of simulated wafers
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = wafers, conflicts_with = "data")]
    wafers: usize,
    /// Seed of the simulated wafers
    #[arg(long, default_value_t = 2, conflicts_with = "data")]
    seed: u64,
    /// Share of simulated wafers that are cracked
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = share, conflicts_with = "data")]
    cracked_share: f64,
}

/// The pictures of [`PictureOptions`].
pub(super) struct Pictures {
    options: PictureOptions,
    /// A folder, whose validation part is looked at; none where wafers are simulated.
    folder: Option<Arc<dyn Source>>,
}

/// A number of wafers; of none every model is perfect.
fn wafers(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|count| (1..=1_000_000).contains(count)).ok_or_else(|| "must be a whole number, 1 to 1000000".to_owned())
}

impl PictureOptions {
    /// Reads and checks a folder; wafers are drawn as they are asked for.
    pub(super) fn open(&self) -> Result<Pictures, TrainError> {
        let open = |root: &PathBuf| -> Result<Arc<dyn Source>, TrainError> {
            let held_back = self.split.clone().map_or(HeldBack::Everything, HeldBack::File);
            let plan = SplitPlan { held_back, ..SplitPlan::share(0.5, 0) };
            let folder = Folder::open(root, &plan, Sampling::Uniform)?;
            folder.warnings().iter().for_each(|warning| note!("warning: {warning}"));
            Ok(Arc::new(folder))
        };
        Ok(Pictures { options: self.clone(), folder: self.data.as_ref().map(open).transpose()? })
    }
}

impl Pictures {
    /// Squares of this side around the cracks of a folder's pictures in place of these; simulated wafers stay whole.
    pub(super) fn around_cracks(self, side_px: usize) -> Result<Self, TrainError> {
        let Some(whole) = self.folder else { return Ok(self) };
        let squares = Squares::new(whole, side_px)?;
        note!("{} squares of {side_px} px around their cracks", squares.validation_count());
        Ok(Self { folder: Some(Arc::new(squares)), ..self })
    }

    pub(super) fn count(&self) -> usize {
        self.folder.as_ref().map_or(self.options.wafers, |folder| folder.validation_count())
    }

    pub(super) fn get(&self, index: usize) -> Result<Picture, TrainError> {
        let PictureOptions { simulate, seed, cracked_share, .. } = self.options;
        match &self.folder {
            Some(folder) => folder.validation(index),
            None => Simulated::test_wafer(simulate.unwrap_or(Kinds::Both), seed, cracked_share, index as u64),
        }
    }

    /// How many of them a model has learnt from, which is warned of; of simulated wafers none. `None` where that is not known.
    pub(super) fn learnt_by(&self, what: &str, model: &Path, meta: &CheckpointMeta) -> Option<usize> {
        let Some(folder) = &self.folder else { return Some(0) };
        let known = learnt_by(what, model, meta);
        let learnt = known.count_of(&folder.manifest(), Set::Validation);
        if learnt > 0 {
            note!("warning: {what} has learnt from {learnt} of these {} pictures, which flatters it", self.count());
        }
        (learnt > 0 || known.is_all()).then_some(learnt)
    }

    /// What they are, for people.
    pub(super) fn describe(&self) -> Result<serde_json::Value, TrainError> {
        let PictureOptions { simulate, wafers, seed, cracked_share, .. } = self.options;
        Ok(match &self.folder {
            Some(folder) => {
                let summary = folder.summary();
                let mut told =
                    json!({ "folder": summary["folder"], "pictures": summary["validation"]["pictures"], "digest": folder.digest()? });
                if let Some(squares) = summary.get("validation_squares") {
                    told["validation_squares"] = squares.clone();
                }
                told
            }
            None => json!({ "simulated": simulate, "wafers": wafers, "seed": seed, "cracked_share": cracked_share }),
        })
    }
}
