use super::told::crack_to_background;
use super::{Picture, Source};
use crate::config::WaferKind;
use crate::simulate::{WaferSettings, wafer};
use crate::train::TrainError;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::OnceLock;

/// Which kinds of wafers are simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kinds {
    /// Laser transmission.
    Laser,
    /// Electroluminescence.
    Electroluminescence,
    /// Both in turn.
    Both,
}

impl Kinds {
    /// The kind of wafer `index`.
    pub fn of(self, index: u64) -> WaferKind {
        match self {
            Self::Laser => WaferKind::Laser,
            Self::Electroluminescence => WaferKind::Electroluminescence,
            Self::Both if index.is_multiple_of(2) => WaferKind::Laser,
            Self::Both => WaferKind::Electroluminescence,
        }
    }
}

/// What a simulated data set consists of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SimulatedSettings {
    /// Kinds of wafers.
    pub kinds: Kinds,
    /// Seed of the wafers.
    pub seed: u64,
    /// Share of training wafers that are cracked; half of the validation wafers are.
    pub cracked_share: f64,
    /// Number of validation wafers.
    pub validation_wafers: usize,
}

/// Wafers made as they are needed, never written anywhere: every training draw is a fresh one.
#[derive(Debug)]
pub struct Simulated {
    settings: SimulatedSettings,
    crack_to_background: OnceLock<Option<String>>,
}

impl Simulated {
    /// Validation wafers are numbered from here on, training ones from 0.
    const FIRST_VALIDATION: u64 = 1 << 40;
    /// Test wafers are numbered from here on: never trained on nor validated with, whatever the seed.
    const FIRST_TEST: u64 = 1 << 41;
    /// Wafers that `train synth` writes as pictures are numbered from here on: others than those above, whatever the seed.
    pub const FIRST_WRITTEN: u64 = 1 << 42;
    /// Validation wafers that the digest is taken over: what the simulator draws, changes them.
    const DIGEST_WAFERS: usize = 8;
    /// Validation wafers at most whose pixels of crack are counted.
    const RATIO_WAFERS: usize = 32;

    /// A simulated data set.
    ///
    /// # Errors
    /// [`TrainError::Setting`] without validation wafers or with a share that is none.
    pub fn new(settings: SimulatedSettings) -> Result<Self, TrainError> {
        if settings.validation_wafers == 0 {
            return Err(TrainError::Setting {
                name: "validation-wafers",
                problem: "0 wafers cannot tell how good a network is; take 16".into(),
            });
        }
        if !(0.0..=1.0).contains(&settings.cracked_share) {
            return Err(TrainError::Setting { name: "cracked-share", problem: format!("{} is no share; 0 to 1", settings.cracked_share) });
        }
        Ok(Self { settings, crack_to_background: OnceLock::new() })
    }

    /// Test wafer `index` of a seed, one of a series of which `cracked_share` have cracks.
    ///
    /// # Errors
    /// [`TrainError::Data`] where the simulator's picture and mask do not fit each other.
    pub fn test_wafer(kinds: Kinds, seed: u64, cracked_share: f64, index: u64) -> Result<Picture, TrainError> {
        numbered_wafer(kinds, seed, cracked_share, Self::FIRST_TEST + index)
    }

    /// Whether a validation wafer shows a crack, of the first 32.
    pub fn validation_shows_a_crack(&self) -> bool {
        self.ratio().is_some()
    }

    /// What it was told.
    fn told(&self) -> serde_json::Value {
        let SimulatedSettings { kinds, seed, cracked_share, validation_wafers } = self.settings;
        serde_json::json!({
            "source": "simulated wafers",
            "kinds": kinds,
            "seed": seed,
            "cracked_share": cracked_share,
            "validation_wafers": validation_wafers,
        })
    }

    fn ratio(&self) -> &Option<String> {
        self.crack_to_background.get_or_init(|| self.counted_ratio())
    }

    fn counted_ratio(&self) -> Option<String> {
        let wafers = (0..self.settings.validation_wafers.min(Self::RATIO_WAFERS)).map_while(|index| self.validation(index).ok());
        let add = |(crack, all), picture: Picture| (crack + picture.truth.count(), all + (picture.width_px * picture.height_px) as u64);
        let (crack, all) = wafers.fold((0, 0), add);
        crack_to_background(crack, all)
    }

    fn wafer(&self, cracked_share: f64, index: u64) -> Result<Picture, TrainError> {
        numbered_wafer(self.settings.kinds, self.settings.seed, cracked_share, index)
    }
}

fn numbered_wafer(kinds: Kinds, seed: u64, cracked_share: f64, index: u64) -> Result<Picture, TrainError> {
    let made = wafer(&WaferSettings { kind: kinds.of(index), seed, cracked_share, corner_px: None }, index);
    let pixels = made.pixels.iter().map(|v| u16::from(*v) * 257).collect();
    let name = format!("wafer {index}");
    let unfit = || TrainError::Data { path: PathBuf::from(&name), problem: "the simulator's picture and mask differ in size".into() };
    let mut picture = Picture::new(name.clone(), made.side_px, pixels, made.mask).ok_or_else(unfit)?;
    picture.leave_rim();
    picture.longest_crack_px = Some(made.cracks.iter().map(|crack| crack.length_px).fold(0.0, f64::max));
    Ok(picture)
}

impl Source for Simulated {
    fn training(&self, draw: u64) -> Result<Picture, TrainError> {
        self.wafer(self.settings.cracked_share, draw)
    }

    fn validation(&self, index: usize) -> Result<Picture, TrainError> {
        self.wafer(0.5, Self::FIRST_VALIDATION + index as u64)
    }

    fn validation_count(&self) -> usize {
        self.settings.validation_wafers
    }

    fn cracked_share(&self) -> f64 {
        self.settings.cracked_share
    }

    fn digest(&self) -> Result<String, TrainError> {
        let mut sum = Sha256::new();
        sum.update(self.told().to_string());
        for index in 0..Self::DIGEST_WAFERS {
            let picture = self.validation(index)?;
            picture.pixels.iter().for_each(|v| sum.update(v.to_le_bytes()));
            sum.update(picture.truth.bits());
        }
        Ok(hex::encode(sum.finalize()))
    }

    fn summary(&self) -> serde_json::Value {
        let mut summary = self.told();
        summary["crack_to_background"] = serde_json::json!(self.ratio());
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_validation_and_test_wafers_are_different_ones() {
        let settings = SimulatedSettings { kinds: Kinds::Laser, seed: 3, cracked_share: 0.75, validation_wafers: 1 };
        let source = Simulated::new(settings).unwrap();
        let (training, validation) = (source.training(0).unwrap(), source.validation(0).unwrap());
        let test = Simulated::test_wafer(Kinds::Laser, 3, 0.5, 0).unwrap();
        assert!(training.pixels != validation.pixels && validation.pixels != test.pixels && test.pixels != training.pixels);
        assert!(source.training(0).unwrap().pixels == training.pixels, "the same draw is the same wafer");
        assert_eq!(test.longest_crack_px.unwrap() > 0.0, test.truth.count() > 0);
    }

    #[test]
    fn both_kinds_come_in_turn() {
        assert_eq!([0, 1, 2].map(|i| Kinds::Both.of(i)), [WaferKind::Laser, WaferKind::Electroluminescence, WaferKind::Laser]);
    }

    #[test]
    fn no_validation_wafers_are_refused() {
        let settings = SimulatedSettings { kinds: Kinds::Laser, seed: 3, cracked_share: 0.75, validation_wafers: 0 };
        assert!(Simulated::new(settings).unwrap_err().to_string().contains("validation-wafers"));
    }
}
