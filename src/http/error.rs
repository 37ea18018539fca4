use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// Why the HTTP server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error("`http.listen` = \"{listen}\": {source}; {}", remedy(source))]
    Bind {
        /// The configured address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::AddrInUse => {
            "another program (or another station) has the port: stop it, find it with `ss -ltnp`, or choose another port"
        }
        ErrorKind::AddrNotAvailable => {
            "no network interface of this machine has the address: give one that `ip address` lists, or 127.0.0.1"
        }
        ErrorKind::PermissionDenied => "ports below 1024 need rights that the service does not have: choose a higher one",
        _ => "choose another address",
    }
}
