//! Any GStreamer source: the user's fragment, restarted when it fails.

use super::backoff::Backoff;
use super::pipeline::Conduit;
use super::receiver::{Ending, Receiver};
use crate::stop::{Stop, Stopped};

/// First and longest pause before a failed pipeline is started again, ms.
const RESTART_MS: (u64, u64) = (500, 10_000);

/// Reads the pipeline of `fragment` until it ends or the owner stops it. A pipeline that fails is
/// built anew after growing pauses; it is back when its next frame comes.
pub(super) fn run(mut conduit: Conduit, fragment: &str, receiver: &mut Receiver, stop: &Stop) -> Result<(), Stopped> {
    let mut backoff = Backoff::new(RESTART_MS.0, RESTART_MS.1);
    loop {
        let was_gone = receiver.is_gone();
        let reason = match receiver.run(&conduit) {
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
