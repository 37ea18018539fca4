use super::manifest::{Entry, Manifest};
use super::pictures::{Encoded, decoded_pair, learnt_picture};
use super::split::{HeldBack, SplitPlan};
use super::told::crack_to_background;
use super::{Picture, Sampling, Set, Source};
use crate::train::TrainError;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::path::{Path, PathBuf};

/// Pictures with masks from a folder: `images/NAME.png` and `masks/NAME.png`, PNG, JPEG or TIFF, 8 or 16 bit.
///
/// Masks are thresholded at half. Pixels that are exactly 0 at a line's ends lie outside the wafer, and so does the rim of a
/// picture as large as a cell, as on the line.
/// Nothing is held in memory; pictures are read when they are needed.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    seed: u64,
    sampling: Sampling,
    training: Vec<Entry>,
    validation: Vec<Entry>,
    /// Indices into `training`.
    cracked: Vec<usize>,
    warnings: Vec<String>,
    digest: String,
}

impl Folder {
    /// Reads every file of the folder once, checks it, and splits by `plan`.
    ///
    /// # Errors
    /// Every fault names its file and what to do.
    pub fn open(root: &Path, plan: &SplitPlan, sampling: Sampling) -> Result<Self, TrainError> {
        let Manifest { entries, mut warnings, digest } = Manifest::read(root, plan)?;
        let to_learn_from = plan.held_back != HeldBack::Everything;
        if to_learn_from && entries.iter().all(|e| e.crack_px == 0) {
            let problem = "every mask is empty: there is no crack to learn; masks are white on crack, black elsewhere".to_owned();
            return Err(TrainError::Data { path: root.join("masks"), problem });
        }
        let (validation, training): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|e| e.set == Set::Validation);
        let cracked: Vec<usize> = (0..training.len()).filter(|i| training[*i].crack_px > 0).collect();
        if !training.is_empty() {
            one_class(root, &training, &cracked)?;
        }
        if validation.iter().all(|e| e.crack_px == 0) {
            let remedy = if to_learn_from { "use another --seed or a --split file" } else { "only false alarms are measured" };
            warnings.push(format!("no validation picture shows a crack: IoU and PA will tell nothing; {remedy}"));
        }
        Ok(Self { root: root.to_owned(), seed: plan.seed, sampling, training, validation, cracked, warnings, digest })
    }

    /// Number of pictures in a part of the data.
    pub fn len(&self, set: Set) -> usize {
        self.entries(set).len()
    }

    /// Whether a part of the data has no pictures.
    pub fn is_empty(&self, set: Set) -> bool {
        self.len(set) == 0
    }

    /// What is odd about the data, each with its file.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn entries(&self, set: Set) -> &[Entry] {
        match set {
            Set::Training => &self.training,
            Set::Validation => &self.validation,
        }
    }

    /// Picture `index` of a part of the data; they are counted round.
    ///
    /// # Errors
    /// A picture that cannot be read any more, or a part that has none.
    pub fn picture(&self, set: Set, index: usize) -> Result<Picture, TrainError> {
        let entries = self.entries(set);
        let none = || TrainError::Data { path: self.root.clone(), problem: format!("has no picture for {set:?}") };
        read(&self.root, entries.get(index % entries.len().max(1)).ok_or_else(none)?)
    }

    /// Entry number `turn` of rounds through `among`, each round in an order of its own.
    fn in_turn(&self, among: &[usize], stream: u64, turn: u64) -> usize {
        let round = turn / among.len() as u64;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ stream.rotate_right(8));
        rng.set_stream(round);
        let mut order = among.to_vec();
        order.shuffle(&mut rng);
        order[(turn % among.len() as u64) as usize]
    }
}

impl Source for Folder {
    /// Balanced, every second picture is a cracked one and the others are taken from all; uniform, all come in turn.
    fn training(&self, draw: u64) -> Result<Picture, TrainError> {
        let all: Vec<usize> = (0..self.training.len()).collect();
        let index = match self.sampling {
            Sampling::Uniform => self.in_turn(&all, 0, draw),
            Sampling::Balanced => {
                let cracked_turn = draw.is_multiple_of(2) && !self.cracked.is_empty();
                self.in_turn(if cracked_turn { &self.cracked } else { &all }, u64::from(cracked_turn), draw / 2)
            }
        };
        read(&self.root, &self.training[index])
    }

    fn validation(&self, index: usize) -> Result<Picture, TrainError> {
        self.picture(Set::Validation, index)
    }

    fn validation_count(&self) -> usize {
        self.validation.len()
    }

    fn training_count(&self) -> Option<usize> {
        Some(self.training.len())
    }

    fn cracked_share(&self) -> f64 {
        let share = self.cracked.len() as f64 / self.training.len().max(1) as f64;
        if self.sampling == Sampling::Balanced && share > 0.0 { 0.5 + 0.5 * share } else { share }
    }

    fn digest(&self) -> Result<String, TrainError> {
        Ok(self.digest.clone())
    }

    fn summary(&self) -> serde_json::Value {
        let part = |entries: &[Entry]| {
            let (crack, all) = entries.iter().fold((0, 0), |(crack, all), e| (crack + e.crack_px, all + e.all_px()));
            serde_json::json!({
                "pictures": entries.len(),
                "cracked": entries.iter().filter(|e| e.crack_px > 0).count(),
                "crack_to_background": crack_to_background(crack, all),
            })
        };
        serde_json::json!({
            "source": "folder",
            "folder": self.root.file_name().map(|n| n.to_string_lossy()),
            "training": part(&self.training),
            "validation": part(&self.validation),
        })
    }

    fn split_csv(&self) -> Option<String> {
        let part = |(entries, part): (&[Entry], &str)| entries.iter().map(|e| format!("{},{part}\n", e.name())).collect::<String>();
        Some([(self.training.as_slice(), "training"), (&self.validation, "validation")].map(part).concat())
    }

    fn manifest(&self) -> serde_json::Value {
        let entries: Vec<&Entry> = self.training.iter().chain(&self.validation).collect();
        serde_json::json!({ "digest": self.digest, "summary": self.summary(), "warnings": self.warnings, "pictures": entries })
    }
}

/// There must be something to tell apart.
fn one_class(root: &Path, training: &[Entry], cracked: &[usize]) -> Result<(), TrainError> {
    let problem = if cracked.is_empty() {
        "no training picture shows a crack (all cracked ones are held back for validation); use another --seed or a --split file"
    } else if training.iter().all(|e| e.all_crack) {
        "every pixel of every training mask is crack: there is nothing to tell it from; masks are white on crack, black elsewhere"
    } else {
        return Ok(());
    };
    Err(TrainError::Data { path: root.join("masks"), problem: problem.into() })
}

fn read(root: &Path, entry: &Entry) -> Result<Picture, TrainError> {
    let (path, mask) = (root.join(&entry.picture), root.join(&entry.mask));
    let (grey, truth) = decoded_pair(&Encoded::read(&path)?, &Encoded::read(&mask)?)?;
    learnt_picture(&path, grey, truth)
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "folder_split_tests.rs"]
mod split_tests;
