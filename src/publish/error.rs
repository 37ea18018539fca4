use crate::cell::mask_png::MaskPngError;

/// What can go wrong between a verdict and those who wait for it.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The endpoint is taken.
    #[error("`{key}`: {endpoint} is in use by another program; stop it (`ss -ltnp` tells which), or choose another port under `{key}`")]
    InUse {
        /// The configuration's key.
        key: &'static str,
        /// The endpoint.
        endpoint: String,
    },
    /// The endpoint cannot be used.
    #[error(
        "`{key}`: cannot bind {endpoint}: {reason}; expected `tcp://ADDRESS:PORT` with an address of this machine, such as `tcp://127.0.0.1:5556`"
    )]
    Endpoint {
        /// The configuration's key.
        key: &'static str,
        /// The endpoint.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A client's endpoint cannot be used.
    #[error("cannot connect to `{endpoint}`: {reason}; expected `tcp://HOST:PORT`, such as `tcp://127.0.0.1:5556`")]
    Connect {
        /// The endpoint.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The publisher's queue was full: this message was not sent, and the caller must say so.
    #[error("the publisher's queue was full ({waiting} messages wait): this one was not sent")]
    QueueFull {
        /// Messages that wait.
        waiting: usize,
    },
    /// The publisher's thread has ended.
    #[error("the publisher has stopped: this message was not sent")]
    Stopped,
    /// What should be a mask is none.
    #[error("mask: {0}")]
    Mask(#[from] MaskPngError),
    /// A message could not be written as JSON.
    #[error("message: {0}")]
    Json(#[from] serde_json::Error),
    /// ZeroMQ failed.
    #[error("ZeroMQ, {doing}: {source}")]
    Socket {
        /// What was being done.
        doing: &'static str,
        /// The failure.
        source: zmq::Error,
    },
    /// A thread could not be started.
    #[error("cannot start the thread `{0}`: {1}")]
    Thread(&'static str, std::io::Error),
    /// A station did not answer a request.
    #[error("{0} gave no answer within {1} s; is the station running, and is this its `publish.requests`?")]
    NoAnswer(String, u64),
    /// A station refused a request, or answered what could not be read.
    #[error("the station answered: {0}")]
    Answer(String),
}

impl PublishError {
    pub(super) fn socket(doing: &'static str) -> impl Fn(zmq::Error) -> Self {
        move |source| Self::Socket { doing, source }
    }
}
