//! A configuration against the files it names, this build and this machine.

use super::recipes::{self, Use};
use super::setup::{COARSE_CAMERA, SHORT_LINES, ShortLines, calibration, coarse_camera, mm_per_px, short_lines, stitcher};
use crate::camera;
use crate::config::{CameraKind, DeviceChoice, GapKind, Lane, Network, Places, Precision, Problems, StationConfig};
use crate::inspect::{InspectError, check_pitch};
use crate::nn::{Checkpoint, NnError, unsuited};
use crate::stitch::{Calibration, StitchError};
use std::path::Path;

/// Checks a configuration and the files it names: model, recipes, calibrations, pictures. Reports everything that is wrong at
/// once; the configuration comes with it where the file is one, sound or not.
pub fn check(file: &Path) -> (Option<StationConfig>, Problems) {
    let (config, found) = StationConfig::read(file);
    let Some(config) = config else { return (None, found) };
    let mut check = Check { config: &config, places: Places::of(file), sound: !found.has_errors(), problems: found };
    check.all();
    let problems = check.problems;
    (Some(config), problems)
}

/// What is said of a precision in which the model does not run.
fn refined(precision: Precision, checkpoint: Option<&Checkpoint>) -> Option<String> {
    let shape = checkpoint?.meta.shape;
    let why = unsuited(precision, shape.architecture)?;
    Some(format!("is {precision}: {why}; {shape} runs in a finer one"))
}

const PREPARE: &str = "prepare the model with `train quantise`, or give \"bf16\"";
/// What to do about a precision that a network does not run in.
const FINER: &str = "give f32-grade, or take a U-Net";

struct Check<'a> {
    config: &'a StationConfig,
    places: Places,
    /// Whether the configuration itself is right; if not, what hangs on several of its values is not looked at.
    sound: bool,
    problems: Problems,
}

impl Check<'_> {
    fn all(&mut self) {
        let config = self.config;
        self.folder("station.data_dir", &config.station.data_dir);
        if let Some(album) = &config.album {
            self.folder("album.dir", &album.dir);
        }
        let model = &config.network.model;
        let checkpoint = match is_named(model).then(|| Checkpoint::load(model)).transpose() {
            Ok(checkpoint) => checkpoint,
            Err(e) => {
                self.error("network.model", e.to_string(), "give the path of a checkpoint that `train fit` wrote");
                None
            }
        };
        if self.sound {
            self.network(checkpoint.as_ref());
        }
        for (i, lane) in config.lanes.iter().enumerate() {
            self.recipe(i, lane, checkpoint.as_ref());
            self.lane(&format!("lane[{i}]"), lane, checkpoint.as_ref());
        }
    }

    fn recipe(&mut self, index: usize, lane: &Lane, checkpoint: Option<&Checkpoint>) {
        if !is_named(&lane.recipe) {
            return;
        }
        let with = Use { lane: lane.name.clone(), mm_per_px: mm_per_px(lane), threshold: checkpoint.map(|c| c.meta.threshold) };
        match recipes::of_lane(self.config, index, lane, &with) {
            Ok((recipe, warnings)) => {
                self.problems.append(warnings);
                let Some(precision) = recipe.precision else { return };
                let line = || Places::of(&lane.recipe).line("precision");
                if let Some(e) = self.unprepared(precision, checkpoint) {
                    self.problems.error(&lane.recipe, line(), "precision", e.to_string(), PREPARE);
                }
                if let Some(what) = refined(precision, checkpoint) {
                    self.problems.warning(&lane.recipe, line(), "precision", what, FINER);
                }
            }
            Err(found) => self.problems.append(found),
        }
    }

    fn lane(&mut self, key: &str, lane: &Lane, checkpoint: Option<&Checkpoint>) {
        if (self.sound || names_source(&lane.camera.kind))
            && let Err(e) = camera::check(&lane.camera, &lane.wafer, &lane.belt)
        {
            self.error(format!("{key}.camera"), e.to_string(), "correct what this camera is made of");
        }
        match calibration(lane) {
            Ok(calibration) if self.sound => self.scale(key, lane, calibration.as_ref(), checkpoint),
            Ok(_) => {}
            Err(e) => self.error(format!("{key}.calibration"), e.to_string(), "run `hairline calibrate` for this camera"),
        }
    }

    /// The sizes of wafer and pixels against each other and against the model.
    fn scale(&mut self, key: &str, lane: &Lane, calibration: Option<&Calibration>, checkpoint: Option<&Checkpoint>) {
        match stitcher(lane, calibration) {
            Ok(stitcher) => match short_lines(lane, calibration, &stitcher) {
                Some(ShortLines { key: scale, what, every: true }) => self.error(format!("{key}.{scale}"), what, SHORT_LINES),
                Some(ShortLines { key: scale, what, every: false }) => self.warning(format!("{key}.{scale}"), what, SHORT_LINES),
                None => {}
            },
            Err(StitchError::ImplausibleScale { what, size_mm, pixels, unit, scale_mm, .. }) => {
                let scale = match (calibration, unit) {
                    (Some(_), _) => "calibration",
                    (None, "lines") => "belt.mm_per_line",
                    (None, _) => "belt.mm_per_px",
                };
                let told =
                    format!("gives {scale_mm} mm: a wafer {what} of {size_mm} mm would be {pixels:.0} camera {unit}, expected 64 to 20000");
                self.error(format!("{key}.{scale}"), told, "correct it, or the size under [lane.wafer]");
            }
            Err(e) => self.error(format!("{key}.belt"), e.to_string(), "correct [lane.belt]"),
        }
        if let Some(Err(InspectError::PixelPitch { model, min, max, found, .. })) =
            checkpoint.map(|c| check_pitch(&c.meta, &lane.name, mm_per_px(lane)))
        {
            let what = format!("gives {found:.3} mm per pixel, but the model {model:?} is good for {min:.3} to {max:.3}");
            self.error(format!("{key}.wafer"), what, "use a model trained for this wafer size");
        }
        if let Some((what, remedy)) = checkpoint.and_then(|c| other_light(&c.meta.name, lane.belt.gap)) {
            self.note(format!("{key}.belt.gap"), what, remedy);
        }
        if let Some((scale, what)) = checkpoint.and_then(|c| coarse_camera(lane, calibration, &c.meta)) {
            self.warning(format!("{key}.{scale}"), what, COARSE_CAMERA);
        }
    }

    /// Checks what `[network]` asks for against this build, this machine and the model.
    fn network(&mut self, checkpoint: Option<&Checkpoint>) {
        let Network { device, precision, threads, .. } = &self.config.network;
        if let DeviceChoice::Cuda(ordinal) = device
            && !cfg!(feature = "cuda")
        {
            let remedy = "build with `--features cudnn`, or give \"auto\" or \"cpu\"";
            self.error("network.device", format!("is cuda:{ordinal}, but this build has no CUDA"), remedy);
        }
        if let Some(e) = self.unprepared(*precision, checkpoint) {
            self.error("network.precision", e.to_string(), PREPARE);
        }
        if let Some(what) = refined(*precision, checkpoint) {
            self.warning("network.precision", what, FINER);
        }
        let here = std::thread::available_parallelism().map_or(usize::MAX, std::num::NonZero::get);
        if threads.cpus.len() > here {
            let what = format!("names {} CPUs, this machine gives {here}", threads.cpus.len());
            self.warning("network.cpus", what, "give numbers that `lscpu --extended` shows");
        }
    }

    /// What the model lacks for this precision, if it is one that its network runs in.
    fn unprepared(&self, precision: Precision, checkpoint: Option<&Checkpoint>) -> Option<NnError> {
        let wanted = self.sound && precision == Precision::Int8 && !matches!(self.config.network.device, DeviceChoice::Cuda(_));
        let meta = &checkpoint.filter(|_| wanted)?.meta;
        if unsuited(precision, meta.shape.architecture).is_some() { None } else { crate::nn::ranges(meta).err() }
    }

    /// A folder that is written to, or the one in which it would be made. Whether the station's own user may write it is for the
    /// start to see: who checks may be another.
    fn folder(&mut self, key: &str, dir: &Path) {
        let Some((there, found)) = dir.ancestors().find_map(|part| Some((part, part.metadata().ok()?))) else { return };
        if !found.is_dir() {
            self.error(key, format!("leads through {}, which is no folder", there.display()), "give another folder");
        } else if there == dir && rustix::fs::access(there, rustix::fs::Access::WRITE_OK).is_err() {
            let what = format!("cannot be used by this user: {} is not writable", there.display());
            let remedy = "make it writable for the user Hairline runs as (systemd: StateDirectory=), or set another folder";
            self.warning(key, what, remedy);
        }
    }

    fn error(&mut self, key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) {
        let key = key.into();
        self.problems.error(&self.config.file, self.places.line(&key), key, what, remedy);
    }

    fn note(&mut self, key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) {
        let key = key.into();
        self.problems.note(&self.config.file, self.places.line(&key), key, what, remedy);
    }

    fn warning(&mut self, key: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) {
        let key = key.into();
        self.problems.warning(&self.config.file, self.places.line(&key), key, what, remedy);
    }
}

/// A shipped model, by its name, on a belt that looks as under the other one's light: what is to be told, and what to do.
fn other_light(model: &str, gap: GapKind) -> Option<(String, String)> {
    const LASER: &str = "crack-unet8";
    const ELECTROLUMINESCENCE: &str = "crack-el-unet8";
    let (seen, light, other) = match (model, gap) {
        (LASER, GapKind::Dark) => ("is \"dark\", as in electroluminescence", "laser light", ELECTROLUMINESCENCE),
        (ELECTROLUMINESCENCE, GapKind::Bright) => ("is \"bright\", as in laser light", "electroluminescence", LASER),
        _ => return None,
    };
    Some((format!("{seen}; the model {model} is for {light}"), format!("name {other}.safetensors under network.model, or correct the gap")))
}

/// Whether the configuration gives this path.
fn is_named(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

/// Whether the configuration gives what a camera is made of.
fn names_source(kind: &CameraKind) -> bool {
    match kind {
        CameraKind::Files(files) => is_named(&files.path),
        CameraKind::Gstreamer(source) => !source.fragment.is_empty(),
        CameraKind::Gige(_) | CameraKind::Simulated(_) => false,
    }
}
