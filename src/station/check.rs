//! A configuration against the files it names, this build and this machine.

use super::setup::{calibration, load_checkpoint, mm_per_px, stitcher};
use crate::config::{DeviceChoice, Network, Precision, Problems, StationConfig};
use crate::nn::Checkpoint;

/// Checks a validated configuration against the files it names: model, recipes and calibrations.
/// Reports everything that is wrong at once.
pub fn check(config: &StationConfig) -> Problems {
    let mut problems = Problems::default();
    let remedy_model = "give the path of a checkpoint that `train fit` wrote";
    let inspector = match load_checkpoint(&config.network.model) {
        Ok(checkpoint) => Some(checkpoint),
        Err(e) => {
            problems.error(&config.file, None, "network.model", e.to_string(), remedy_model);
            None
        }
    };
    check_network(config, inspector.as_ref(), &mut problems);
    for (i, lane) in config.lanes.iter().enumerate() {
        match crate::judge::Recipe::load(&lane.recipe) {
            Ok((_, warnings)) => problems.append(warnings),
            Err(found) => problems.append(found),
        }
        if let Err(e) = crate::camera::check(&lane.camera) {
            problems.error(&config.file, None, format!("lane[{i}].camera"), e.to_string(), "correct what this camera is made of");
        }
        if let Err(e) = calibration(lane).and_then(|c| stitcher(lane, c.as_ref())) {
            problems.error(&config.file, None, format!("lane[{i}].calibration"), e.to_string(), "run `hairline calibrate` for this camera");
        }
        if let Some(meta) = inspector.as_ref().map(|c| &c.meta)
            && !(meta.mm_per_px_min..=meta.mm_per_px_max).contains(&mm_per_px(lane))
        {
            let what = format!(
                "gives {:.3} mm per pixel, but the model {:?} is good for {:.3} to {:.3}",
                mm_per_px(lane),
                meta.name,
                meta.mm_per_px_min,
                meta.mm_per_px_max
            );
            problems.error(&config.file, None, format!("lane[{i}].wafer"), what, "use a model trained for this wafer size");
        }
    }
    problems
}

/// Checks what `[network]` asks for against this build, this machine and the model.
fn check_network(config: &StationConfig, checkpoint: Option<&Checkpoint>, problems: &mut Problems) {
    let Network { device, precision, threads, .. } = &config.network;
    if let DeviceChoice::Cuda(ordinal) = device
        && !cfg!(feature = "cuda")
    {
        let remedy = "build with `--features cudnn`, or give \"auto\" or \"cpu\"";
        problems.error(&config.file, None, "network.device", format!("is cuda:{ordinal}, but this build has no CUDA"), remedy);
    }
    if *precision == Precision::Int8
        && !matches!(device, DeviceChoice::Cuda(_))
        && let Some(Err(e)) = checkpoint.map(|checkpoint| crate::nn::ranges(&checkpoint.meta))
    {
        problems.error(&config.file, None, "network.precision", e.to_string(), "prepare the model with `train quantise`, or give \"bf16\"");
    }
    let here = std::thread::available_parallelism().map_or(usize::MAX, std::num::NonZero::get);
    if threads.cpus.len() > here {
        let what = format!("names {} CPUs, this machine gives {here}", threads.cpus.len());
        problems.warning(&config.file, None, "network.cpus", what, "give numbers that `lscpu --extended` shows");
    }
}
