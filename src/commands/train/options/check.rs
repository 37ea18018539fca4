//! Whether what was asked for makes sense, before anything is written.

use super::{FitOptions, name_of};
use crate::commands::train::machine::MachineOptions;
use crate::loss::Loss;
use crate::nn::Architecture;
use crate::train::{Files, Source};
use candle_core::Device;
use std::path::Path;
use std::sync::Arc;

impl FitOptions {
    /// The data, where a training can be begun with these options; nothing is left behind where not. `name` is the model's unless the
    /// options tell one.
    pub(in crate::commands::train) fn try_out(&self, name: &str, machine: &MachineOptions) -> anyhow::Result<Arc<dyn Source>> {
        self.check(name, machine)?;
        self.source()
    }

    /// Whether a training can be begun with these options, its pictures aside.
    pub(in crate::commands::train) fn check(&self, name: &str, machine: &MachineOptions) -> anyhow::Result<()> {
        self.settings(Files::beside(Path::new("model")), name, machine)?.check()?;
        let shape = *self.network(&Device::Cpu)?.shape();
        // Image pooling, or the lowest level of a crop of 16 px, leaves one value a channel and picture, whose variance is none.
        let pools = matches!(shape.architecture, Architecture::PspNet | Architecture::DeepLabV3) || self.crop <= 16;
        anyhow::ensure!(!pools || self.batch > 1, "--batch 1: {shape} needs at least 2 crops in a batch to learn its statistics from");
        self.check_split()
    }

    /// Whether data that tell their own split, as those of `train augment` do, are split by it or as was asked for: dealt out anew,
    /// variants of one picture would be learnt from and validated with.
    fn check_split(&self) -> anyhow::Result<()> {
        let asked = self.split.is_some() || self.folds.is_some() || self.groups.is_some() || self.group_by.is_some();
        if let Some(split) = self.data.as_ref().filter(|_| !asked).map(|data| data.join("split.csv"))
            && split.exists()
        {
            anyhow::bail!("--data: tells its own split, which would not be kept; give --split {}, or move it away", split.display());
        }
        Ok(())
    }

    /// Whether a search for α makes sense.
    pub(in crate::commands::train) fn check_alpha(&self) -> anyhow::Result<()> {
        if !self.loss.has_alpha() {
            let losses = <Loss as clap::ValueEnum>::value_variants().iter();
            let others: Vec<String> = losses.filter(|loss| loss.has_alpha()).map(|loss| name_of(*loss)).collect();
            anyhow::bail!("--loss {}: has no alpha to search for; these have: {}", self.loss_name(), others.join(", "));
        }
        anyhow::ensure!(self.alpha.is_none(), "--alpha: is what the search looks for; leave it out");
        Ok(())
    }
}
