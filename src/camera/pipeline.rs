use super::CameraError;
use super::shape::Shape;
use crate::cell::CameraEvent;
use gstreamer::glib;
use gstreamer::{self as gst, prelude::*};
use gstreamer_app::{AppSink, AppSrc};
use std::sync::{Arc, Mutex};

/// Frames that may wait in the pipeline itself, in its appsrc and again in its appsink.
const DEPTH: u32 = 4;
/// How long a pull waits, and so how long a stop may take to be noticed.
const PULL_WAIT: gst::ClockTime = gst::ClockTime::from_mseconds(50);
/// Name of the serialized event that carries a [`CameraEvent`] between the frames.
const EVENT_NAME: &str = "hairline-camera-event";
/// Name of the element that is put after a fragment.
const LAST_ELEMENT: &str = "hairline-last";

/// A [`CameraEvent`] in the dress that GStreamer can carry.
#[derive(Debug, Clone, glib::Boxed)]
#[boxed_type(name = "HairlineCameraEvent")]
struct BoxedEvent(CameraEvent);

/// The GStreamer event that carries `event` in its place between the frames.
pub(super) fn serialized(event: CameraEvent) -> gst::Event {
    gst::event::CustomDownstream::new(gst::Structure::builder(EVENT_NAME).field("event", BoxedEvent(event)).build())
}

/// What came out of the pipeline.
pub(super) enum Pulled {
    /// A frame.
    Sample(gst::Sample),
    /// Something that the feeding side said between two frames.
    Event(CameraEvent),
    /// Nothing yet.
    Nothing,
    /// The source has ended.
    End,
    /// An element failed, for the reason given.
    Failed(String),
}

/// The last caps that a source has offered, accepted or not.
type Offered = Arc<Mutex<Option<gst::Caps>>>;

/// A pipeline that ends in a blocking appsink. Dropping it stops it, which takes as long as its source does.
pub(super) struct Conduit {
    pipeline: gst::Pipeline,
    sink: AppSink,
    live: bool,
    offered: Offered,
}

impl Conduit {
    /// A pipeline fed through the returned appsrc, whose pushes block while it is full.
    pub(super) fn fed() -> Result<(Self, AppSrc), CameraError> {
        init()?;
        let source = AppSrc::builder().format(gst::Format::Time).block(true).max_buffers(DEPTH.into()).max_bytes(0).build();
        let (pipeline, sink) = (gst::Pipeline::new(), grey_sink());
        pipeline
            .add_many([source.upcast_ref(), sink.upcast_ref::<gst::Element>()])
            .and_then(|()| source.link(&sink))
            .map_err(|e| CameraError::Gstreamer(e.to_string()))?;
        let conduit = Self { pipeline, sink, live: false, offered: Offered::default() };
        conduit.play().map_err(CameraError::Gstreamer)?;
        Ok((conduit, source))
    }

    /// A pipeline whose source is a fragment in the notation of `gst-launch-1.0`, not started yet.
    ///
    /// # Errors
    /// [`CameraError::Fragment`] where it cannot be parsed, [`CameraError::NotGrey`] where it cannot give one grey channel.
    pub(super) fn of_fragment(fragment: &str) -> Result<Self, CameraError> {
        let fails = |reason: String| CameraError::Fragment { fragment: fragment.into(), reason };
        let (source, offered) = parsed(fragment)?;
        let (pipeline, sink) = (gst::Pipeline::new(), grey_sink());
        pipeline
            .add_many([source.upcast_ref(), sink.upcast_ref::<gst::Element>()])
            .and_then(|()| source.link(&sink))
            .map_err(|e| fails(e.to_string()))?;
        Ok(Self { pipeline, sink, live: false, offered })
    }

    /// Starts the pipeline of `fragment`, which takes as long as its source does: one that connects to a host may wait for minutes.
    ///
    /// # Errors
    /// [`CameraError::NotStarted`] where it does not start.
    pub(super) fn start(&mut self, fragment: &str) -> Result<(), CameraError> {
        self.live = self.play().map_err(|reason| CameraError::NotStarted { fragment: fragment.into(), reason })?;
        Ok(())
    }

    /// Whether the source is live, that is, does not wait while the pipeline is full.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// The next thing out of the pipeline, waiting a little for it.
    pub(super) fn pull(&self) -> Pulled {
        let Some(object) = self.sink.try_pull_object(PULL_WAIT) else {
            // In this order: an element that fails says so before it ends the stream.
            let ended = self.sink.is_eos();
            return match self.failure() {
                Some(reason) => Pulled::Failed(reason),
                None if ended => Pulled::End,
                None => Pulled::Nothing,
            };
        };
        match object.downcast::<gst::Sample>() {
            Ok(sample) => Pulled::Sample(sample),
            Err(object) => object.downcast_ref::<gst::Event>().and_then(carried).map_or(Pulled::Nothing, Pulled::Event),
        }
    }

    /// Starts the pipeline and tells whether it is live.
    fn play(&self) -> Result<bool, String> {
        let paused = self.pipeline.set_state(gst::State::Paused);
        let playing = paused.and_then(|paused| self.pipeline.set_state(gst::State::Playing).map(|_| paused));
        match playing {
            Ok(paused) => Ok(paused == gst::StateChangeSuccess::NoPreroll),
            Err(_) => Err(self.failure().unwrap_or_else(|| "it refuses to start and does not say why".into())),
        }
    }

    /// The first error on the pipeline's bus. Where the source offered what is not grey, that is
    /// the reason, and the error ("not negotiated") only its consequence.
    fn failure(&self) -> Option<String> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        let gst::MessageView::Error(error) = message.view() else { return None };
        let offered = self.offered.lock().ok().and_then(|offered| offered.clone());
        if let Some(caps) = offered.filter(|caps| !caps.can_intersect(&Shape::grey_caps())) {
            return Some(CameraError::NotGrey { found: caps.to_string() }.to_string());
        }
        let place = error.src().map(|s| s.name().to_string()).unwrap_or_default();
        let detail = error.debug().map(|d| format!(" ({})", d.replace('\n', " "))).unwrap_or_default();
        Some(format!("{place}: {}{detail}", error.error()))
    }
}

impl Drop for Conduit {
    fn drop(&mut self) {
        if self.pipeline.set_state(gst::State::Null).is_err() {
            tracing::warn!("a camera pipeline does not stop");
        }
    }
}

/// Notes all caps that are pushed into `pad`.
fn watch_caps(pad: &gst::Pad, offered: Offered) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view())
            && let Ok(mut offered) = offered.lock()
        {
            *offered = Some(caps.caps_owned());
        }
        gst::PadProbeReturn::Ok
    });
}

/// The elements of a fragment, linked but not started, and what they turn out to offer.
///
/// # Errors
/// As [`Conduit::of_fragment`].
pub(super) fn parsed(fragment: &str) -> Result<(gst::Bin, Offered), CameraError> {
    init()?;
    let fails = |reason: String| CameraError::Fragment { fragment: fragment.into(), reason };
    // The notation allows caps at the end only where an element follows.
    let description = format!("{fragment} ! identity name={LAST_ELEMENT}");
    let source = gst::parse::bin_from_description(&description, true).map_err(|e| fails(e.message().to_string()))?;
    let offered = Offered::default();
    if let Some(pad) = source.by_name(LAST_ELEMENT).and_then(|last| last.static_pad("sink")) {
        watch_caps(&pad, offered.clone());
    }
    let pad = source
        .static_pad("src")
        .ok_or_else(|| fails("it has no free source pad at its end; end it with the element that gives the video".into()))?;
    let found = pad.query_caps(None);
    if !found.can_intersect(&Shape::grey_caps()) {
        return Err(CameraError::NotGrey { found: found.to_string() });
    }
    Ok((source, offered))
}

/// The end of every pipeline: takes grey frames, blocks when full, waits for no clock.
fn grey_sink() -> AppSink {
    AppSink::builder().caps(&Shape::grey_caps()).max_buffers(DEPTH).drop(false).sync(false).async_(false).enable_last_sample(false).build()
}

fn carried(event: &gst::Event) -> Option<CameraEvent> {
    let fields = event.structure().filter(|s| s.name() == EVENT_NAME)?;
    fields.get::<BoxedEvent>("event").ok().map(|boxed| boxed.0)
}

fn init() -> Result<(), CameraError> {
    gst::init().map_err(|e| CameraError::Gstreamer(e.to_string()))
}
