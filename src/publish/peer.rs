use serde::Serialize;

/// Where a reply goes.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub identity: Vec<u8>,
    /// A REQ client puts an empty frame before its request and expects it back.
    pub delimiter: bool,
}

/// What became of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    Sent,
    /// The client's queue is full.
    Full,
    /// The client is not there any more.
    Gone,
}

impl Peer {
    /// Sends a reply, if there is room for it.
    pub fn send(&self, requests: &zmq::Socket, reply: &impl Serialize, payload: &[u8]) -> Sending {
        let header = match serde_json::to_vec(reply) {
            Ok(header) => header,
            Err(error) => {
                tracing::error!(%error, "a reply cannot be written");
                return Sending::Gone;
            }
        };
        let mut frames = vec![self.identity.as_slice()];
        if self.delimiter {
            frames.push(&[]);
        }
        frames.extend([header.as_slice(), payload]);
        match requests.send_multipart(frames, zmq::DONTWAIT) {
            Ok(()) => Sending::Sent,
            Err(zmq::Error::EAGAIN) => Sending::Full,
            Err(_) => Sending::Gone,
        }
    }
}
