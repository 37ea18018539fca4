use super::PublishError;
use std::sync::{Mutex, PoisonError};

/// Bound for the wake-up socket: further knocks on a door that is being opened add nothing.
const KNOCKS: i32 = 8;

/// Wakes the thread out of its poll. Threads share it.
pub(super) struct Waker(Mutex<zmq::Socket>);

impl Waker {
    /// The waker, and the socket on which its knocks arrive.
    pub fn pair(context: &zmq::Context) -> Result<(Self, zmq::Socket), PublishError> {
        let pair = || {
            let (out, wake) = (context.socket(zmq::PAIR)?, context.socket(zmq::PAIR)?);
            for socket in [&out, &wake] {
                socket.set_linger(0)?;
                socket.set_sndhwm(KNOCKS)?;
                socket.set_rcvhwm(KNOCKS)?;
            }
            wake.bind("inproc://wake")?;
            out.connect("inproc://wake")?;
            Ok((Self(Mutex::new(out)), wake))
        };
        pair().map_err(PublishError::socket("opening the wake-up socket"))
    }

    pub fn wake(&self) {
        let socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Full means that it is being woken already.
        let _ = socket.send(&b""[..], zmq::DONTWAIT);
    }
}
