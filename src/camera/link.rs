use super::feed::Feed;
use super::outbox::Outbox;
use super::pipeline::Conduit;
use super::receiver::{Ending, Offsets, Receiver, Traits};
use super::thread::spawn;
use super::{CameraError, files, fragment, gige, simulated};
use crate::cell::CameraEvent;
use crate::config::{Belt, Camera, CameraKind, Wafer};
use crate::stop::{Stop, Stopped, Stopper};
use crossbeam_channel::bounded;
use std::thread::JoinHandle;
use std::time::Duration;

/// A running camera: the owner of its threads and its pipeline.
///
/// Dropping it stops them; [`stop`](Self::stop) says so more clearly.
pub struct CameraLink {
    events: crossbeam_channel::Receiver<CameraEvent>,
    stopper: Option<Stopper>,
    thread: Option<JoinHandle<()>>,
}

/// What feeds a pipeline, on a thread of its own; returns when it has no more or is told to stop.
type Feeding = Box<dyn FnOnce(Feed, Stop) -> Result<(), Stopped> + Send>;

/// Where a camera's frames come from.
enum Source {
    Fed(Feeding),
    Fragment(String),
}

impl CameraLink {
    /// Starts the camera of a lane.
    ///
    /// At most `queue_blocks` events wait for the line. When they do, sources that can wait wait;
    /// live ones lose lines, exactly counted, with [`LossCause::Overload`](crate::cell::LossCause).
    /// A GigE camera that does not answer yet, or a pipeline that does not start for want of its device, is no error: it is told
    /// as [`CameraEvent::Gone`] and tried again.
    ///
    /// # Errors
    /// [`CameraError`] for whatever waiting does not mend: settings that the camera refuses,
    /// pictures that cannot be used, a pipeline that cannot be made.
    pub fn start(lane: &str, camera: &Camera, wafer: &Wafer, belt: &Belt, queue_blocks: usize) -> Result<Self, CameraError> {
        let (stopper, stop) = Stop::pair();
        let (source, bits) = match &camera.kind {
            CameraKind::Gige(settings) => {
                let feeder = gige::Feeder::start(settings, camera.block_lines)?;
                (Source::Fed(Box::new(move |feed, stop| feeder.run(feed, &stop))), 16)
            }
            CameraKind::Files(settings) => {
                let replay = files::Replay::open(lane, settings, belt.gap, camera.line_rate_hz, camera.block_lines)?;
                (Source::Fed(Box::new(move |feed, stop| replay.run(feed, stop))), 16)
            }
            CameraKind::Simulated(settings) => {
                let line = simulated::Line::new(lane, settings, camera, wafer, belt)?;
                (Source::Fed(Box::new(move |feed, stop| line.run(feed, stop))), 16)
            }
            CameraKind::Gstreamer(settings) => (Source::Fragment(settings.fragment.clone()), settings.bits),
        };
        let name = lane.to_owned();
        let stops = stop.clone();
        let (run, offsets): (Box<dyn FnOnce(Receiver) + Send>, _) = match source {
            Source::Fed(feeding) => {
                let (conduit, source) = Conduit::fed()?;
                let feed = Feed::new(source);
                (Box::new(move |receiver| receive_fed(&name, conduit, feeding, feed, receiver, stops)), Offsets::Lines)
            }
            Source::Fragment(fragment) => {
                let first = Conduit::of_fragment(&fragment)?;
                (Box::new(move |mut receiver| _ = fragment::run(first, &fragment, &mut receiver, &stops)), Offsets::Frames)
            }
        };
        // Whether a fragment's source is, shows when it is started: by the camera's thread, since a source may hang in it.
        let live = matches!(camera.kind, CameraKind::Gige(_));
        let idle_after = Duration::try_from_secs_f64(camera.idle_after_s).ok().filter(|_| !camera.can_wait());
        let traits = Traits {
            offsets,
            line_period_ns: camera.line_rate_hz.filter(|rate| *rate > 0.0).map_or(0.0, |rate| 1e9 / rate),
            bits,
            idle_after,
        };
        let (sender, events) = bounded(queue_blocks.max(1));
        let outbox = Outbox::new(sender, stop.clone(), live);
        let receiver = Receiver::new(traits, outbox, stop);
        let thread = spawn(lane, "camera", move || run(receiver))?;
        Ok(Self { events, stopper: Some(stopper), thread: Some(thread) })
    }

    /// Where the camera's events come out.
    pub fn events(&self) -> &crossbeam_channel::Receiver<CameraEvent> {
        &self.events
    }

    /// Stops the camera and waits for its threads to end. Events not taken yet are lost.
    pub fn stop(self) {}
}

impl Drop for CameraLink {
    fn drop(&mut self) {
        self.stopper = None;
        if let Some(thread) = self.thread.take() {
            let name = thread.thread().name().unwrap_or("a camera's thread").to_owned();
            if thread.join().is_err() {
                tracing::error!("{name} panicked");
            }
        }
    }
}

/// Runs the feeding side on a thread of its own and reads the pipeline on this one.
fn receive_fed(lane: &str, conduit: Conduit, feeding: Feeding, feed: Feed, mut receiver: Receiver, stop: Stop) {
    // An owner that says stop wants to hear nothing more: what could not be told then is dropped.
    let feeder = match spawn(lane, "feed", move || _ = feeding(feed, stop)) {
        Ok(feeder) => feeder,
        Err(error) => {
            _ = receiver.gone(error.to_string()).and_then(|()| receiver.end());
            return;
        }
    };
    _ = match receiver.run(&conduit) {
        Ending::End => receiver.end(),
        Ending::Failed(reason) => receiver.gone(reason).and_then(|()| receiver.end()),
        Ending::Stopped => Err(Stopped),
    };
    // The pipeline goes first: that frees a feeder that waits for room in it.
    drop(conduit);
    if feeder.join().is_err() {
        tracing::error!("the thread that feeds the camera panicked");
    }
}
