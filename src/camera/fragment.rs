//! Any GStreamer source: the user's fragment, restarted when it fails or, where it is live, when its stream ends.

use super::backoff::Backoff;
use super::pipeline::Conduit;
use super::receiver::{Ending, Receiver};
use crate::stop::{Stop, Stopped};

/// First and longest pause before a failed pipeline is started again, ms.
const RESTART_MS: (u64, u64) = (500, 10_000);

/// Reads the pipeline of `fragment` until it ends or the owner stops it. A pipeline that fails is
/// built anew after growing pauses; it is back when its next frame comes. So is a live one whose stream
/// ends: a camera has no last frame. One that is not live (a recording) is over then.
pub(super) fn run(mut conduit: Conduit, fragment: &str, receiver: &mut Receiver, stop: &Stop) -> Result<(), Stopped> {
    let mut backoff = Backoff::new(RESTART_MS.0, RESTART_MS.1);
    loop {
        let was_gone = receiver.is_gone();
        let reason = match receiver.run(&conduit) {
            Ending::End if conduit.is_live() => "the stream ended".to_owned(),
            Ending::End => return receiver.end(),
            Ending::Stopped => return Err(Stopped),
            Ending::Failed(reason) => reason,
        };
        if was_gone && !receiver.is_gone() {
            backoff.reset();
        }
        receiver.gone(reason)?;
        drop(conduit);
        conduit = loop {
            stop.sleep(backoff.pause())?;
            receiver.attempt();
            match Conduit::of_fragment(fragment) {
                Ok(fresh) => break fresh,
                Err(error) => tracing::warn!("{error}"),
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use crate::camera::CameraLink;
    use crate::cell::CameraEvent;
    use crate::config::{Belt, Camera, CameraKind, GapKind, GstreamerCamera, Wafer};
    use std::time::Duration;

    /// Longer than any machine needs; only a failing test waits for it.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn start(source: &str) -> CameraLink {
        let fragment = format!("videotestsrc {source} ! video/x-raw,format=GRAY8,width=64,height=4,framerate=500/1");
        let camera = Camera {
            kind: CameraKind::Gstreamer(GstreamerCamera { fragment, bits: 8 }),
            line_rate_hz: None,
            block_lines: 1,
            idle_after_s: 30.0,
        };
        let belt = Belt {
            gap: GapKind::Dark,
            edge_level: 0.2,
            gap_level: 0.1,
            edge_lines: 4,
            skew_deg_max: 3.0,
            mm_per_px: None,
            mm_per_line: None,
        };
        CameraLink::start("test", &camera, &Wafer::of_format("M6").unwrap(), &belt, 64).unwrap()
    }

    #[test]
    fn a_live_stream_that_ends_is_gone_and_comes_back() {
        let link = start("is-live=true num-buffers=12");
        let (mut next_line, mut gone) = (0, None);
        loop {
            match link.events().recv_timeout(PATIENCE).unwrap() {
                CameraEvent::Block(block) => next_line = block.end_line(),
                CameraEvent::Lost { .. } => {}
                CameraEvent::Gone { reason, .. } => gone = Some((reason, next_line > 0)),
                CameraEvent::Back { attempts, .. } => break assert_eq!(attempts, 1),
                other => panic!("unexpected {other:?} after line {next_line}"),
            }
        }
        assert_eq!(gone, Some(("the stream ended".to_owned(), true)));
    }

    #[test]
    fn a_recording_is_over_at_its_end() {
        let link = start("num-buffers=2");
        let next = || link.events().recv_timeout(PATIENCE).unwrap();
        assert!(matches!([next(), next(), next()], [CameraEvent::Block(_), CameraEvent::Block(_), CameraEvent::End]));
    }
}
