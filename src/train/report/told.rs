//! What a training was told, and what it took where it was told nothing.

use super::{flat, text};
use crate::train::FitSettings;
use serde_json::{Map, Value, json};

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
    let mut options = options.clone();
    if let Some(fields) = options.as_object_mut() {
        let told = fields.clone();
        fields.retain(|option, _| acts(option, &told));
    }
    let not_told = taken.into_iter().filter(|(option, _)| options[option].is_null());
    let mut rows = flat(&options);
    rows.extend(not_told.map(|(option, value)| (option.replace('_', " "), format!("{value} (by default)"))));
    rows.sort();
    rows
}

/// Whether an option has had any effect, with what else was told.
fn acts(option: &str, told: &Map<String, Value>) -> bool {
    let is_told = |other: &str| told.get(other).is_some_and(|value| !value.is_null());
    let is = |other: &str, word: &str| told.get(other).is_none_or(|value| value == word);
    match option {
        "prior" => !is_told("init"),
        "validation_share" => is_told("data") && !is_told("split") && !is_told("folds"),
        "validation_wafers" | "cracked_share" => is_told("simulate"),
        "momentum" | "no_nesterov" => is("optimiser", "sgd"),
        "decay_steps" | "decay_factor" => is("schedule", "step"),
        _ => true,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::fit::tests::settings;

    #[test]
    fn options_that_others_made_idle_are_not_told() {
        let shown = |more: Value| {
            let mut options = json!({
                "data": "lot7", "simulate": null, "init": null, "split": null, "folds": null, "optimiser": "sgd", "schedule": "poly",
                "prior": 0.01, "validation_share": 0.2, "validation_wafers": 16, "cracked_share": 0.75, "momentum": 0.9,
                "decay_steps": 2,
            });
            let (fields, more) = (options.as_object_mut().unwrap(), more.as_object().unwrap());
            fields.extend(more.clone());
            settings_table(&options, &settings(std::path::Path::new("run"), 1)).into_iter().map(|row| row.0).collect::<Vec<_>>()
        };
        let has = |rows: &[String], option: &str| rows.iter().any(|row| row == option);
        let plain = shown(json!({}));
        assert!(["prior", "validation share", "momentum"].iter().all(|option| has(&plain, option)), "{plain:?}");
        assert!(["validation wafers", "cracked share", "decay steps"].iter().all(|option| !has(&plain, option)), "{plain:?}");
        for (more, idle) in [
            (json!({ "init": "crack.safetensors" }), "prior"),
            (json!({ "split": "split.csv" }), "validation share"),
            (json!({ "folds": 5 }), "validation share"),
            (json!({ "optimiser": "adam_w" }), "momentum"),
        ] {
            assert!(!has(&shown(more), idle), "{idle}");
        }
        assert!(has(&shown(json!({ "schedule": "step" })), "decay steps"));
    }
}
