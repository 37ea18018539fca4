//! Any GStreamer source: the user's fragment, restarted when it fails or, where it is live, when its stream ends.

use super::CameraError;
use super::backoff::Backoff;
use super::pipeline::Conduit;
use super::receiver::{Ending, Receiver};
use crate::stop::{Stop, Stopped};

/// First and longest pause before a failed pipeline is started again, ms.
const RESTART_MS: (u64, u64) = (500, 10_000);

/// Starts and reads the pipeline of `fragment`, `first` as it was made, until it ends or the owner stops it. A pipeline that fails,
/// or does not start, is built anew after growing pauses; it is back when its next frame comes. So is a live one whose stream
/// ends: a camera has no last frame. One that is not live (a recording) is over then.
pub(super) fn run(first: Conduit, fragment: &str, receiver: &mut Receiver, stop: &Stop) -> Result<(), Stopped> {
    let mut backoff = Backoff::new(RESTART_MS.0, RESTART_MS.1);
    let mut made: Result<_, CameraError> = Ok(first);
    loop {
        let was_gone = receiver.is_gone();
        let started = match &mut made {
            Ok(conduit) => conduit.start(fragment).map(|()| &*conduit).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let reason = match started {
            Ok(conduit) => {
                receiver.set_live(conduit.is_live());
                match receiver.run(conduit) {
                    Ending::End if conduit.is_live() => "the stream ended".to_owned(),
                    Ending::End => return receiver.end(),
                    Ending::Stopped => return Err(Stopped),
                    Ending::Failed(reason) => reason,
                }
            }
            Err(reason) => {
                if was_gone {
                    tracing::warn!("{reason}");
                }
                reason
            }
        };
        if was_gone && !receiver.is_gone() {
            backoff.reset();
        }
        receiver.gone(reason)?;
        // Not before that is told: a source that hangs may keep its pipeline from stopping, for ever even.
        drop(made);
        stop.sleep(backoff.pause())?;
        receiver.attempt();
        made = Conduit::of_fragment(fragment);
    }
}

#[cfg(test)]
mod tests {
    use crate::camera::{CameraError, CameraLink};
    use crate::cell::CameraEvent;
    use crate::config::{Belt, Camera, CameraKind, GapKind, GstreamerCamera, Wafer};
    use std::io::Write;
    use std::net::TcpListener;
    use std::path::Path;
    use std::time::Duration;

    /// Longer than any machine needs; only a failing test waits for it.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn start(source: &str) -> CameraLink {
        started(format!("videotestsrc {source} ! video/x-raw,format=GRAY8,width=64,height=4,framerate=500/1")).unwrap()
    }

    fn started(fragment: String) -> Result<CameraLink, CameraError> {
        idle_after(fragment, 30.0)
    }

    fn idle_after(fragment: String, idle_after_s: f64) -> Result<CameraLink, CameraError> {
        let camera =
            Camera { kind: CameraKind::Gstreamer(GstreamerCamera { fragment, bits: 8 }), line_rate_hz: None, block_lines: 1, idle_after_s };
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

    #[test]
    fn a_stream_of_bytes_loses_no_lines_and_stands_when_it_falls_silent() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let source = format!("tcpclientsrc host=127.0.0.1 port={port} ! rawvideoparse format=gray8 width=64 height=4 framerate=500/1");
        let link = idle_after(source, 0.3).unwrap();
        let (mut camera, _) = server.accept().unwrap();
        let next = || link.events().recv_timeout(PATIENCE).unwrap();
        for round in 0..2 {
            for frame in round * 5..round * 5 + 5 {
                camera.write_all(&[frame; 4 * 64]).unwrap();
                let block = loop {
                    match next() {
                        // Before the first frame, on a busy machine.
                        CameraEvent::Idle { .. } => {}
                        CameraEvent::Block(block) => break block,
                        other => panic!("unexpected {other:?}"),
                    }
                };
                assert_eq!((block.first_line, block.line(0)[0]), (u64::from(frame) * 4, frame));
            }
            assert!(matches!(next(), CameraEvent::Idle { .. }));
        }
    }

    /// A pipe with a name, whose open waits for the other end, and whose read for what is written.
    fn pipe(place: &Path) {
        assert!(std::process::Command::new("mkfifo").arg(place).status().unwrap().success());
    }

    #[test]
    fn a_source_that_hangs_while_it_starts_holds_up_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("pipe");
        pipe(&place);
        let raw = "video/x-raw,format=GRAY8,width=64,height=4,framerate=500/1";
        let link = started(format!("filesrc location={} blocksize=256 ! {raw}", place.display())).unwrap();
        assert!(link.events().recv_timeout(Duration::from_millis(200)).is_err(), "it waits for the pipe's other end");
        let mut camera = std::fs::OpenOptions::new().write(true).open(&place).unwrap();
        camera.write_all(&[7; 4 * 64]).unwrap();
        assert!(matches!(link.events().recv_timeout(PATIENCE).unwrap(), CameraEvent::Block(block) if block.line(3)[63] == 7));
    }

    #[test]
    fn a_pipeline_that_fails_and_does_not_stop_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("pipe");
        pipe(&place);
        // Nothing is ever written: the reader waits in its read.
        let silent = std::fs::OpenOptions::new().read(true).write(true).open(&place).unwrap();
        let raw = "video/x-raw,format=GRAY8,width=64,height=4,framerate=500/1";
        let hangs = format!("filesrc location={} ! fakesink async=false", place.display());
        let link = started(format!("{hangs} videotestsrc is-live=true ! {raw} ! identity error-after=30")).unwrap();
        loop {
            match link.events().recv_timeout(PATIENCE).expect("it looks healthy") {
                CameraEvent::Gone { reason, .. } => break assert!(reason.contains("identity"), "{reason}"),
                CameraEvent::Block(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
        std::fs::remove_file(&place).unwrap();
        drop(silent);
    }
}
