//! Any GStreamer source: the user's fragment, restarted when it fails or, where it is live, when its stream ends.

use super::CameraError;
use super::backoff::Backoff;
use super::pipeline::Conduit;
use super::receiver::{Ending, Receiver};
use crate::stop::{Stop, Stopped};

/// First and longest pause before a failed pipeline is started again, ms.
const RESTART_MS: (u64, u64) = (500, 10_000);

/// Reads the pipeline of `fragment`, as it was started `first`, until it ends or the owner stops it. A pipeline that fails, or does
/// not start, is built anew after growing pauses; it is back when its next frame comes. So is a live one whose stream
/// ends: a camera has no last frame. One that is not live (a recording) is over then.
pub(super) fn run(first: Result<Conduit, CameraError>, fragment: &str, receiver: &mut Receiver, stop: &Stop) -> Result<(), Stopped> {
    let mut backoff = Backoff::new(RESTART_MS.0, RESTART_MS.1);
    let mut started = first;
    loop {
        let was_gone = receiver.is_gone();
        let reason = match started {
            Ok(conduit) => {
                receiver.set_live(conduit.is_live());
                match receiver.run(&conduit) {
                    Ending::End if conduit.is_live() => "the stream ended".to_owned(),
                    Ending::End => return receiver.end(),
                    Ending::Stopped => return Err(Stopped),
                    Ending::Failed(reason) => reason,
                }
            }
            Err(error) => {
                if was_gone {
                    tracing::warn!("{error}");
                }
                error.to_string()
            }
        };
        if was_gone && !receiver.is_gone() {
            backoff.reset();
        }
        receiver.gone(reason)?;
        stop.sleep(backoff.pause())?;
        receiver.attempt();
        started = Conduit::of_fragment(fragment);
    }
}

#[cfg(test)]
mod tests {
    use crate::camera::{CameraError, CameraLink};
    use crate::cell::CameraEvent;
    use crate::config::{Belt, Camera, CameraKind, GapKind, GstreamerCamera, Wafer};
    use std::time::Duration;

    /// Longer than any machine needs; only a failing test waits for it.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn start(source: &str) -> CameraLink {
        started(format!("videotestsrc {source} ! video/x-raw,format=GRAY8,width=64,height=4,framerate=500/1")).unwrap()
    }

    fn started(fragment: String) -> Result<CameraLink, CameraError> {
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
            noise_share_max: 0.04,
            mm_per_px: None,
            mm_per_line: None,
        };
        CameraLink::start("test", &camera, &Wafer::of_format("M6").unwrap(), &belt, 64)
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

    #[test]
    fn a_device_that_is_not_there_yet_is_gone_until_it_is_and_what_cannot_be_parsed_fails() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("device");
        let raw = "video/x-raw,format=GRAY8,width=64,height=4,framerate=500/1";
        let link = started(format!("filesrc location={} blocksize=256 ! {raw}", device.display())).unwrap();
        let next = || link.events().recv_timeout(PATIENCE).unwrap();
        let CameraEvent::Gone { reason, .. } = next() else { panic!("it is there") };
        assert!(reason.contains("does not start") && reason.contains("device"), "{reason}");
        std::fs::write(&device, [7; 512]).unwrap();
        assert!(matches!(next(), CameraEvent::Back { attempts: 1.., .. }));
        assert!(matches!([next(), next(), next()], [CameraEvent::Block(_), CameraEvent::Block(_), CameraEvent::End]));
        assert!(matches!(started("no-such-source".into()), Err(CameraError::Fragment { .. })));
    }
}
