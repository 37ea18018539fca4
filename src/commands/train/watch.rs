use crate::commands::terminal::note;
use crate::measure::Counts;
use crate::train::{Entry, Evaluation, EventFile, FitSettings, Journal, LoggedEvaluation, Observer, Outcome, StepReport, TrainError};
use indicatif::{ProgressBar, ProgressStyle};

/// Prints, draws the bar and writes the log.
pub(super) struct Watch {
    journal: Journal,
    events: Option<EventFile>,
    bar: ProgressBar,
    /// The last one that was done.
    step: u64,
    /// All there will be.
    steps: u64,
    smooth_loss: Option<f64>,
    last: Option<Counts>,
}

impl Watch {
    const BAR_LENGTH: u64 = 10_000;

    pub fn new(journal: Journal, events: Option<EventFile>, settings: &FitSettings) -> Self {
        let bar = ProgressBar::new(Self::BAR_LENGTH);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent}% {elapsed} left {eta} | {msg}") {
            bar.set_style(style);
        }
        Self { journal, events, bar, step: 0, steps: settings.steps, smooth_loss: None, last: None }
    }

    /// Clears the bar and notes how the training ended.
    pub fn end(&mut self, outcome: &Result<Outcome, TrainError>) -> Result<(), TrainError> {
        self.bar.finish_and_clear();
        match outcome {
            Ok(outcome) => self.journal.write(&outcome.into()),
            Err(error) if error.is_divergence() => self.journal.write(&Entry::Warning { step: self.step, text: error.to_string() }),
            Err(_) => Ok(()),
        }
    }

    fn tell(&self, line: &str) {
        if self.bar.is_hidden() {
            note!("{line}");
        } else {
            self.bar.println(line);
        }
    }
}

impl Observer for Watch {
    fn step(&mut self, report: &StepReport) -> Result<(), TrainError> {
        self.journal.write(&report.into())?;
        self.step = report.step;
        if let Some(events) = &mut self.events {
            let StepReport { loss, learning_rate, gradient_norm, .. } = *report;
            events.scalars(
                report.step,
                &[("train/loss", loss), ("train/learning_rate", learning_rate), ("train/gradient_norm", gradient_norm)],
            )?;
        }
        let smooth = self.smooth_loss.map_or(report.loss, |old| 0.95 * old + 0.05 * report.loss);
        self.smooth_loss = Some(smooth);
        let step = if self.steps == u64::MAX { report.step.to_string() } else { format!("{}/{}", report.step, self.steps) };
        let quality = self.last.map_or(String::new(), |c| format!(" IoU {:.3} PA {:.3} OII {:+.3}", c.iou(), c.pa(), c.oii()));
        self.bar.set_position((report.progress * Self::BAR_LENGTH as f64) as u64);
        self.bar.set_message(format!("step {step} loss {smooth:.4}{quality}"));
        Ok(())
    }

    fn evaluated(&mut self, step: u64, counts: &Counts, evaluation: &Evaluation, best: bool) -> Result<(), TrainError> {
        self.journal.write(&Entry::Evaluation(LoggedEvaluation::of(step, counts, evaluation, best)))?;
        if let Some(events) = &mut self.events {
            let ratio = |part: u64, of: u64| if of == 0 { 0.0 } else { part as f64 / of as f64 };
            let Evaluation { cracked, detected, clean, alarmed, .. } = *evaluation;
            events.scalars(
                step,
                &[
                    ("validation/iou", counts.iou()),
                    ("validation/pa", counts.pa()),
                    ("validation/oii", counts.oii()),
                    ("validation/false_alarm_px", counts.fp as f64),
                    ("validation/missed_px", counts.fn_ as f64),
                    ("validation/cracked_cells_found", ratio(detected, cracked)),
                    ("validation/clean_cells_alarmed", ratio(alarmed, clean)),
                ],
            )?;
        }
        self.last = Some(*counts);
        let Evaluation { cracked, detected, clean, alarmed, .. } = evaluation;
        self.tell(&format!(
            "step {step:>6}  loss {}  IoU {:.3}  PA {:.3}  OII {:+.3}  cracked cells found {detected}/{cracked}, clean cells alarmed {alarmed}/{clean}{}",
            // None before the first step, nor where a training goes on with an evaluation.
            self.smooth_loss.map_or_else(|| "     –".into(), |loss| format!("{loss:.4}")),
            counts.iou(),
            counts.pa(),
            counts.oii(),
            if best { "  best" } else { "" },
        ));
        Ok(())
    }

    fn warned(&mut self, step: u64, warning: &str) -> Result<(), TrainError> {
        self.tell(&format!("warning: {warning}"));
        self.journal.write(&Entry::Warning { step, text: warning.to_owned() })
    }
}
