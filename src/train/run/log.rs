use crate::measure::Counts;
use crate::train::{Evaluation, TrainError};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::path::Path;

/// A line of `log.jsonl`. A figure that is not a number is written as `null`; one that an earlier version did not write is read as
/// not a number, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Entry {
    /// It begins.
    Start {
        /// What it was told.
        settings: Value,
    },
    /// It goes on.
    Resume {
        /// After this one.
        step: u64,
    },
    /// One step.
    Step(LoggedStep),
    /// One evaluation.
    Evaluation(LoggedEvaluation),
    /// What the user should know.
    Warning {
        /// When it was found.
        step: u64,
        /// In words.
        text: String,
    },
    /// It ended.
    End {
        /// Steps done.
        steps: u64,
        /// Time taken.
        elapsed_s: f64,
        /// Thereof waiting for data.
        waited_s: f64,
        /// Whether it was stopped before its end.
        stopped: bool,
    },
    /// What another version wrote.
    #[serde(other)]
    Unknown,
}

/// A step, as it is logged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LoggedStep {
    /// Its number, from 1.
    pub step: u64,
    /// The batch's loss before the step.
    #[serde(default = "nan", deserialize_with = "or_nan")]
    pub loss: f64,
    /// The step's.
    #[serde(default = "nan", deserialize_with = "or_nan")]
    pub learning_rate: f64,
    /// Before clipping.
    #[serde(default = "nan", deserialize_with = "or_nan")]
    pub gradient_norm: f64,
    /// Since training began.
    #[serde(default = "nan", deserialize_with = "or_nan")]
    pub elapsed_s: f64,
    /// For this step's batch.
    #[serde(default = "nan", deserialize_with = "or_nan")]
    pub waited_s: f64,
}

/// An evaluation, as it is logged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LoggedEvaluation {
    /// After which it was made.
    pub step: u64,
    /// Of all pixels.
    #[serde(default = "nan", deserialize_with = "or_nan")]
    pub iou: f64,
    /// Of all pixels.
    #[serde(default = "nan", deserialize_with = "or_nan")]
    pub pa: f64,
    /// Of all pixels.
    #[serde(default = "nan", deserialize_with = "or_nan")]
    pub oii: f64,
    /// Mean over pictures; trainings of earlier versions do not tell it.
    #[serde(default)]
    pub mean_iou: Option<f64>,
    /// Crack pixels that were found.
    #[serde(default)]
    pub tp: u64,
    /// Pixels that were taken for crack.
    #[serde(default)]
    pub fp: u64,
    /// Crack pixels that were missed.
    #[serde(default, rename = "fn")]
    pub fn_: u64,
    /// Whether it was the best so far.
    #[serde(default)]
    pub best: bool,
    /// Cells with cracks.
    #[serde(default)]
    pub cracked: u64,
    /// How many of them were found.
    #[serde(default)]
    pub detected: u64,
    /// Cells without.
    #[serde(default)]
    pub clean: u64,
    /// How many of them were alarmed.
    #[serde(default)]
    pub alarmed: u64,
}

impl LoggedEvaluation {
    /// Of the counts at the threshold and all that was found.
    pub fn of(step: u64, counts: &Counts, evaluation: &Evaluation, best: bool) -> Self {
        let Evaluation { means, cracked, detected, clean, alarmed, .. } = evaluation;
        Self {
            step,
            iou: counts.iou(),
            pa: counts.pa(),
            oii: counts.oii(),
            mean_iou: Some(means.iou()),
            tp: counts.tp,
            fp: counts.fp,
            fn_: counts.fn_,
            best,
            cracked: *cracked,
            detected: *detected,
            clean: *clean,
            alarmed: *alarmed,
        }
    }
}

/// All that a training has logged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log(pub(in crate::train) Vec<Entry>);

impl Log {
    /// All entries of a log; a last line that was cut off by a power failure is left out.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be read.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        Ok(Self(lines(path)?.into_iter().map(|(_, entry)| entry).collect()))
    }

    /// Its steps.
    pub fn steps(&self) -> impl DoubleEndedIterator<Item = &LoggedStep> {
        self.0.iter().filter_map(|entry| if let Entry::Step(step) = entry { Some(step) } else { None })
    }

    /// Its evaluations.
    pub fn evaluations(&self) -> impl DoubleEndedIterator<Item = &LoggedEvaluation> {
        self.0.iter().filter_map(|entry| if let Entry::Evaluation(evaluation) = entry { Some(evaluation) } else { None })
    }

    /// Step and text of what it warned of.
    pub fn warnings(&self) -> impl Iterator<Item = (u64, &str)> {
        self.0.iter().filter_map(|entry| if let Entry::Warning { step, text } = entry { Some((*step, text.as_str())) } else { None })
    }

    /// The first evaluation that reached half of the last one's IoU: how early a training became convincing (the
    /// paper's Fig. 11). `None` where the last found nothing: any step has half of that.
    pub fn step_of_half_the_final_iou(&self) -> Option<u64> {
        let last = self.evaluations().next_back().filter(|last| last.iou > 0.0)?;
        self.evaluations().find(|evaluation| evaluation.iou >= last.iou / 2.0).map(|evaluation| evaluation.step)
    }
}

impl Entry {
    /// Whether it tells of what came after `step`, or of an end that was none.
    pub(super) fn is_after(&self, step: u64) -> bool {
        match self {
            Self::Start { .. } | Self::Unknown => false,
            Self::End { .. } => true,
            Self::Resume { step: of } | Self::Warning { step: of, .. } => *of > step,
            Self::Step(of) => of.step > step,
            Self::Evaluation(of) => of.step > step,
        }
    }
}

/// The lines of a log and what they say, up to the first that is none.
pub(super) fn lines(path: &Path) -> Result<Vec<(String, Entry)>, TrainError> {
    let text = std::fs::read_to_string(path).map_err(TrainError::file(path, "cannot read the training log"))?;
    Ok(text.lines().map_while(|line| Some((line.to_owned(), serde_json::from_str(line).ok()?))).collect())
}

fn nan() -> f64 {
    f64::NAN
}

fn or_nan<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_and_what_other_versions_write_ends_no_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let step = LoggedStep { step: 1, loss: f64::INFINITY, learning_rate: 0.1, gradient_norm: f64::NAN, elapsed_s: 1.0, waited_s: 0.5 };
        let lines = [
            r#"{"event":"holiday","step":1}"#.to_owned(),
            serde_json::to_string(&Entry::Step(step)).unwrap(),
            r#"{"event":"evaluation","step":2,"iou":0.5,"pa":0.7,"oii":null,"tp":3,"fp":4,"fn":5,"best":true}"#.to_owned(),
            r#"{"event":"evaluation","st"#.to_owned(),
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let log = Log::read(&path).unwrap();
        let read = log.steps().next().unwrap();
        assert!(read.loss.is_nan() && read.gradient_norm.is_nan() && (read.step, read.waited_s) == (1, 0.5));
        let evaluations: Vec<_> = log.evaluations().collect();
        assert_eq!(evaluations.len(), 1);
        assert!(evaluations[0].oii.is_nan() && evaluations[0].mean_iou.is_none() && (evaluations[0].fn_, evaluations[0].best) == (5, true));
    }

    #[test]
    fn half_of_the_final_iou_is_reached_early_or_not_at_all() {
        let log = |ious: &[(u64, f64)]| {
            let entry = |(step, iou): &(u64, f64)| serde_json::json!({ "event": "evaluation", "step": step, "iou": iou });
            Log(ious.iter().map(|evaluation| serde_json::from_value(entry(evaluation)).unwrap()).collect())
        };
        assert_eq!(log(&[(10, 0.1), (20, 0.45), (30, 0.4), (40, 0.8)]).step_of_half_the_final_iou(), Some(20));
        assert_eq!(log(&[(10, 0.1), (20, 0.0)]).step_of_half_the_final_iou(), None);
        assert_eq!(log(&[]).step_of_half_the_final_iou(), None);
    }
}
