//! What a training was told, and what it took where it was told nothing.

use super::{flat, text};
use crate::train::FitSettings;
use serde_json::{Value, json};

/// The options of a run folder with the values of those that were left out.
pub(super) fn settings_table(options: &Value, settings: &FitSettings) -> Vec<(String, String)> {
    let numbers = settings.objective.parameters();
    let steps = if settings.steps == u64::MAX { "as many as there was time for".to_owned() } else { settings.steps.to_string() };
    let eval_every = settings.eval_every.map_or(format!("{} evaluations in all", FitSettings::EVALUATIONS), |steps| steps.to_string());
    let taken = [
        ("name", settings.name.clone()),
        ("alpha", text(&json!(numbers.alpha))),
        ("omega", text(&json!(numbers.omega))),
        ("gamma", text(&json!(numbers.gamma))),
        ("gamma_reg", text(&json!(numbers.gamma_reg))),
        ("lambda", text(&json!(numbers.lambda))),
        ("steps", steps),
        ("eval_every", eval_every),
    ];
    let not_told = taken.into_iter().filter(|(option, _)| options[option].is_null());
    let mut rows = flat(options);
    rows.extend(not_told.map(|(option, value)| (option.replace('_', " "), format!("{value} (by default)"))));
    rows.sort();
    rows
}

/// Where it was trained; of a training that was resumed, where it ended.
pub(super) fn machine_table(settings: &FitSettings) -> Vec<(String, String)> {
    let threads = match settings.threads {
        0 => std::thread::available_parallelism().map_or("as many as the machine has".to_owned(), |all| format!("{all}, all")),
        told => told.to_string(),
    };
    let rows = [("device", settings.engine_device.to_string()), ("threads", threads), ("workers", settings.workers.to_string())];
    rows.map(|(what, value)| (what.to_owned(), value)).into()
}

/// What the curves' horizontal axis counts.
pub(super) struct Pace {
    pub unit: &'static str,
    /// Steps in one of them.
    pub steps: f64,
}

impl Pace {
    /// Epochs where the training was told so many, else steps.
    pub fn of(options: &Value, settings: &FitSettings) -> Self {
        match options["epochs"].as_u64() {
            Some(epochs) if epochs > 0 => Self { unit: "epoch", steps: settings.steps as f64 / epochs as f64 },
            _ => Self { unit: "step", steps: 1.0 },
        }
    }
}
