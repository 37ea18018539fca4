use crate::camera::CameraLink;
use crate::cell::CameraEvent;
use crate::commands::terminal::note;
use crate::config::{CameraKind, Lane, StationConfig};
use crate::stitch::calibrate::{Catch, Picture};
use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::BufRead;
use std::path::Path;
use std::time::Duration;

/// Silence after which the camera is said to give nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// The camera of a configured lane, asked for pictures one after the other.
pub(super) struct Stream {
    lane: Lane,
    link: CameraLink,
}

impl Stream {
    /// Starts the camera of lane `name` of the configuration.
    pub fn open(config: &Path, name: &str) -> anyhow::Result<Self> {
        let (config, _) = StationConfig::load_to_calibrate(config)?;
        let names: Vec<&str> = config.lanes.iter().map(|l| l.name.as_ref()).collect();
        let unknown = format!("--lane {name}: the configuration has {}", names.join(", "));
        let lane = config.lanes.iter().find(|l| l.name.as_ref() == name).context(unknown)?.clone();
        let link = CameraLink::start(&lane.name, &lane.camera, &lane.wafer, &lane.belt, lane.queue_blocks)?;
        Ok(Self { lane, link })
    }

    /// The id that the camera goes by, empty where it has none.
    pub fn camera_id(&self) -> String {
        match &self.lane.camera.kind {
            CameraKind::Gige(camera) => camera.id.clone(),
            _ => String::new(),
        }
    }

    /// Takes lines, whatever they show, once the person has done what is asked.
    pub fn lines(&mut self, ask: &str, lines: u32) -> anyhow::Result<Picture> {
        self.catch(ask, Catch::lines(lines as usize))
    }

    /// Takes the next whole wafer.
    pub fn wafer(&mut self, ask: &str) -> anyhow::Result<Picture> {
        // Where the scale is unknown, a fine one: more lines are let pass before a wafer is said not to end.
        let scale = self.lane.belt.mm_per_line.unwrap_or(0.02);
        let lines_max = (3.0 * self.lane.wafer.length_mm / scale).clamp(1000.0, 60_000.0) as usize;
        let catch = Catch::wafer(&self.lane.name, &self.lane.belt, lines_max)?;
        self.catch(ask, catch)
    }

    fn catch(&mut self, ask: &str, mut catch: Catch) -> anyhow::Result<Picture> {
        note!("{ask}, then press Enter.");
        std::io::stdin().lock().read_line(&mut String::new()).context("cannot read from the terminal")?;
        // What waited in the queue shows the time before.
        self.link.events().try_iter().for_each(drop);
        let progress = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {pos} lines")?);
        loop {
            let event = self.link.events().recv_timeout(SILENCE);
            let Ok(event) = event else { bail!("lane {}: no line for {} s; is the camera triggered?", self.lane.name, SILENCE.as_secs()) };
            match &event {
                CameraEvent::Block(block) => progress.inc(block.lines.into()),
                CameraEvent::Gone { reason, .. } => progress.println(format!("the camera is gone ({reason}), waiting for it")),
                CameraEvent::End => bail!("lane {}: the stream ended before the picture was whole", self.lane.name),
                _ => {}
            }
            if let Some(picture) = catch.push(&event)? {
                return Ok(picture);
            }
        }
    }
}
