//! `train promote`: a model goes to the line only if it is no worse than the one there.

use super::pictures::PictureOptions;
use crate::commands::arguments::{share, threads};
use crate::commands::terminal::{note, say};
use crate::config::{DeviceChoice, Precision};
use crate::nn::{Checkpoint, CheckpointMeta};
use crate::train::{Evaluation, evaluate, write_beside};
use anyhow::{Context, bail};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Compare a new model with the current one on a golden set and, if it is no worse, write it into models/ with a
/// model card.
///
/// The golden set is a folder that no training has seen, or simulated test wafers. The new model is refused if
/// its IoU or PA is lower by more than --tolerance, if it finds fewer of the cracked cells or alarms on more of
/// the clean ones; that no picture is clean, so that alarms were not compared, is warned of. So are pictures of the
/// golden set that it or the current one has learnt from, or a model that they began with: also copies that
/// were saved anew. A model of the same name is kept as NAME.previous.safetensors, to be taken back.
///
/// A station works with the new model once its configuration names it (network.model) and it was restarted.
#[derive(Debug, clap::Args)]
pub struct TrainPromoteArgs {
    /// The new model, such as runs/NAME/best.safetensors
    #[arg(value_name = "NEW.safetensors")]
    new: PathBuf,
    /// The model on the line now
    #[arg(long, value_name = "FILE", required_unless_present = "first", conflicts_with = "first")]
    current: Option<PathBuf>,
    /// There is no current model to compare with; refused where --models has one of this name
    #[arg(long)]
    first: bool,
    /// Where models live
    #[arg(long, value_name = "DIR", default_value = "models")]
    models: PathBuf,
    /// How much worse IoU and PA may be
    #[arg(long, value_name = "SHARE", default_value_t = TOLERANCE, value_parser = share)]
    tolerance: f64,
    #[command(flatten)]
    pictures: PictureOptions,
    /// Where the networks run: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// CPU threads for the network; 0: as many as the machine has
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = threads)]
    threads: usize,
}

/// How much worse IoU and PA may be unless told otherwise.
const TOLERANCE: f64 = 0.005;

/// A model's file, read once: what is compared is what is promoted, whatever comes to lie in its place meanwhile.
struct Model {
    bytes: Vec<u8>,
    checkpoint: Checkpoint,
}

impl Model {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = read(path)?;
        let checkpoint = Checkpoint::load_bytes(&bytes, &path.display().to_string())?;
        Ok(Self { bytes, checkpoint })
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))
}

/// Makes the folder of the models, and sees that the comparison, which takes minutes, can end there.
fn writable(models: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(models).with_context(|| format!("--models {}: this folder cannot be made", models.display()))?;
    rustix::fs::access(models, rustix::fs::Access::WRITE_OK).with_context(|| format!("--models {}: cannot be written to", models.display()))
}

/// A model and how it did on the golden set.
struct Candidate {
    checkpoint: Checkpoint,
    found: Evaluation,
}

/// Runs the command.
pub fn run(args: TrainPromoteArgs) -> anyhow::Result<ExitCode> {
    let new = Model::read(&args.new).context("the new model")?;
    let current = args.current.as_deref().map(Model::read).transpose().context("--current")?;
    let name = new.checkpoint.meta.name.clone();
    if !CheckpointMeta::is_name(&name) {
        bail!(
            "{}: a model called {name:?} cannot become a file in {}; train or import it again with another --name",
            args.new.display(),
            args.models.display()
        );
    }
    let (model, card) = (args.models.join(format!("{name}.safetensors")), args.models.join(format!("{name}.md")));
    if args.first && model.exists() {
        bail!("--first: there is a model {name} already; compare with it by --current {}", model.display());
    }
    if let Some((path, current)) = args.current.as_deref().zip(current.as_ref())
        && model.exists()
        && current.bytes != read(&model)?
    {
        let (current, model) = (path.display(), model.display());
        bail!("--current {current}: the new model would take the place of another one, {model}; compare with that by --current {model}");
    }
    writable(&args.models)?;
    let golden = args.pictures.open()?;
    let learnt = [
        ("the model", golden.learnt_by("the new model", &args.new, &new.checkpoint.meta)),
        (
            "the current model",
            args.current
                .as_deref()
                .zip(current.as_ref())
                .map_or(Some(0), |(path, current)| golden.learnt_by("the current model", path, &current.checkpoint.meta)),
        ),
    ];
    let examine = |checkpoint: Checkpoint| -> anyhow::Result<Candidate> {
        let mut engine = crate::nn::engine(&checkpoint, args.device, Precision::default(), args.threads)?;
        let (normalisation, threshold) = (checkpoint.meta.normalisation, checkpoint.meta.threshold);
        let found = evaluate(engine.as_mut(), &normalisation, threshold, golden.count(), |i| golden.get(i), |_| Ok(()))?;
        Ok(Candidate { checkpoint, found })
    };
    let bytes = new.bytes;
    let new = examine(new.checkpoint).context("the new model")?;
    let current = current.map(|current| examine(current.checkpoint)).transpose().context("--current")?;
    let table = table(&new, current.as_ref());
    say!("{table}")?;
    if new.found.cracked == 0 {
        bail!("no picture shows a crack: a model that finds nothing would be perfect; add cracked cells to the golden set");
    }
    if new.found.detected == 0 {
        bail!("{}: not promoted: it finds none of {} cracked cells", args.new.display(), new.found.cracked);
    }
    if let Some(current) = &current {
        if current.checkpoint.digest == new.checkpoint.digest {
            bail!("{}: is the current model already", args.new.display());
        }
        if current.checkpoint.meta.quantisation.is_some() && new.checkpoint.meta.quantisation.is_none() {
            note!(
                "warning: the current model is prepared for int8, the new one is not: a station with precision = \"int8\" needs \
                 `train quantise` first"
            );
        }
        let reasons = worse(&new, current, args.tolerance);
        if !reasons.is_empty() {
            bail!("{}: not promoted: {}", args.new.display(), reasons.join("; "));
        }
    }
    if new.found.clean == 0 {
        note!("warning: no picture is clean: whether it alarms more often was not compared");
    }
    if model.exists() {
        let previous = args.models.join(format!("{name}.previous.safetensors"));
        write_beside(&previous, &read(&model)?)?;
    }
    let compared = Comparison { current: current.as_ref(), tolerance: args.tolerance, golden: golden.describe()?, learnt, table: &table };
    let written = model_card(&new, &compared);
    // The model first: a card must not tell of one that is not there.
    write_beside(&model, &bytes)?;
    write_beside(&card, written.as_bytes())?;
    say!("promoted: {} and {}", model.display(), card.display())?;
    let told = std::path::absolute(&model).unwrap_or(model);
    say!(
        "A station works with it once `model` under [network] of its configuration names {} and it was restarted \
         (systemctl restart hairline@NAME; a reload reads recipes only). A `threshold` in a recipe goes before the model's own, {}, with \
         which it was compared: remove it, or look at it again.",
        told.display(),
        new.checkpoint.meta.threshold
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Why the new model must not go to the line.
fn worse(new: &Candidate, current: &Candidate, tolerance: f64) -> Vec<String> {
    let counts = |c: &Candidate| c.found.pixels.counts(c.checkpoint.meta.threshold);
    let (ours, theirs) = (counts(new), counts(current));
    let mut reasons = Vec::new();
    for (what, ours, theirs) in [("IoU", ours.iou(), theirs.iou()), ("PA", ours.pa(), theirs.pa())] {
        if ours < theirs - tolerance {
            reasons.push(format!("its {what} is {ours:.3}, the current model's {theirs:.3}"));
        }
    }
    if new.found.detected < current.found.detected {
        reasons.push(format!("it finds {} cracked cells, the current model {}", new.found.detected, current.found.detected));
    }
    if new.found.alarmed > current.found.alarmed {
        reasons.push(format!("it alarms on {} clean cells, the current model on {}", new.found.alarmed, current.found.alarmed));
    }
    reasons
}

fn table(new: &Candidate, current: Option<&Candidate>) -> String {
    let mut table =
        String::from("| model | threshold | IoU | PA | OII | cracked cells found | clean cells alarmed |\n|---|---|---|---|---|---|---|\n");
    for (what, candidate) in [("new", Some(new)), ("current", current)] {
        let Some(Candidate { checkpoint, found }) = candidate else { continue };
        let (threshold, digest) = (checkpoint.meta.threshold, checkpoint.digest.get(..12).unwrap_or_default());
        let counts = found.pixels.counts(threshold);
        let Evaluation { cracked, detected, clean, alarmed, .. } = found;
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| {what}: {} ({digest}) | {threshold:.2} | {:.3} | {:.3} | {:+.3} | {detected} of {cracked} | {alarmed} of {clean} |",
            checkpoint.meta.name,
            counts.iou(),
            counts.pa(),
            counts.oii()
        );
    }
    table
}

/// What a model was compared with, and on what.
struct Comparison<'a> {
    current: Option<&'a Candidate>,
    tolerance: f64,
    golden: serde_json::Value,
    /// How many pictures of the golden set each model has learnt from, where that is known.
    learnt: [(&'static str, Option<usize>); 2],
    table: &'a str,
}

/// A row of the card for pictures that a model has learnt from, or that this is not known.
fn learnt_from((model, learnt): &(&str, Option<usize>)) -> String {
    let told = match learnt {
        Some(0) => return String::new(),
        Some(learnt) => learnt.to_string(),
        None => "not known".into(),
    };
    format!("| of it, pictures that {model} has learnt from | {told} |\n")
}

fn model_card(new: &Candidate, compared: &Comparison) -> String {
    let Comparison { current, tolerance, golden, learnt, table } = compared;
    let meta = &new.checkpoint.meta;
    let training = &meta.training;
    let told = |key: &str, value: &serde_json::Value| if value.is_null() { String::new() } else { format!("| {key} | {value} |\n") };
    let compared =
        current.map_or("nothing: it is the first".into(), |c| format!("{} (SHA-256 {})", c.checkpoint.meta.name, c.checkpoint.digest));
    let digest = if meta.data_digest.is_empty() { "not known" } else { &meta.data_digest };
    let unusual = |told: bool, line: String| if told { line } else { String::new() };
    [
        format!("# Model {}\n\n| | |\n|---|---|\n", meta.name),
        format!("| promoted | {} |\n", jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC")),
        format!("| SHA-256 | {} |\n| network | {} |\n", new.checkpoint.digest, meta.shape),
        format!("| good for | {} to {} mm a pixel |\n", meta.mm_per_px_min, meta.mm_per_px_max),
        told("loss", &training["loss"]),
        told("α", &training["parameters"]["alpha"]),
        told("steps", &training["steps"]),
        told("seed", &training["seed"]),
        told("training data", &training["data"]),
        told("int8", meta.quantisation.as_ref().map_or(&serde_json::Value::Null, |quantisation| &quantisation.report)),
        format!("| digest of the training data | {digest} |\n| compared with | {compared} |\n"),
        unusual(
            current.is_some() && *tolerance != TOLERANCE,
            format!("| tolerance of IoU and PA | {tolerance} instead of {TOLERANCE} |\n"),
        ),
        format!("| golden set | {golden} |\n"),
        unusual(new.found.clean == 0, "| of it, clean pictures | none: whether it alarms more often was not compared |\n".into()),
        learnt.iter().map(learnt_from).collect(),
        format!("\n{table}"),
    ]
    .concat()
}
