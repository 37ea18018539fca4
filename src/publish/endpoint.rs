//! What an endpoint may look like, checked before ZeroMQ sees it.

use super::PublishError;
use std::net::TcpListener;

/// Takes `tcp://HOST:PORT` apart; the error says what is wrong.
fn host_and_port(endpoint: &str) -> Result<(&str, &str), String> {
    let address = endpoint.strip_prefix("tcp://").ok_or("it does not begin with `tcp://`")?;
    let (host, port) = address.rsplit_once(':').ok_or("it has no port")?;
    match (host.is_empty(), port) {
        (true, _) => Err("it has no address".to_owned()),
        (_, "*") => Ok((host, port)),
        _ if port.parse::<u16>().is_ok() => Ok((host, port)),
        _ => Err(format!("`{port}` is no port, expected a number up to 65535")),
    }
}

/// Binds `socket` to the `endpoint` that stands under `key`, and returns the endpoint as bound
/// (with its number where the port was `*` or 0).
pub(super) fn bind(socket: &zmq::Socket, key: &'static str, endpoint: &str) -> Result<String, PublishError> {
    let unusable = |reason: String| PublishError::Endpoint { key, endpoint: endpoint.to_owned(), reason };
    let in_use = || PublishError::InUse { key, endpoint: endpoint.to_owned() };
    let (host, port) = host_and_port(endpoint).map_err(unusable)?;
    // The operating system's own words are better than ZeroMQ's few error codes, so it is asked first.
    let wanted = format!("{}:{}", if host == "*" { "0.0.0.0" } else { host }, if port == "*" { "0" } else { port });
    if let Err(error) = TcpListener::bind(wanted) {
        return Err(if error.kind() == std::io::ErrorKind::AddrInUse { in_use() } else { unusable(error.to_string()) });
    }
    socket.set_ipv6(host.starts_with('[')).map_err(PublishError::socket("setting up a socket"))?;
    socket.bind(endpoint).map_err(|error| if error == zmq::Error::EADDRINUSE { in_use() } else { unusable(error.message().to_owned()) })?;
    match socket.get_last_endpoint() {
        Ok(Ok(bound)) => Ok(bound.trim_end_matches('\0').to_owned()),
        Ok(Err(_)) => Ok(endpoint.to_owned()),
        Err(error) => Err(unusable(error.message().to_owned())),
    }
}

/// Connects `socket` to `endpoint`. ZeroMQ goes on trying when nobody is there.
pub(super) fn connect(socket: &zmq::Socket, endpoint: &str) -> Result<(), PublishError> {
    let unusable = |reason: String| PublishError::Connect { endpoint: endpoint.to_owned(), reason };
    match host_and_port(endpoint).map_err(unusable)? {
        ("*", _) => return Err(unusable("`*` is no host to connect to".to_owned())),
        (_, "*" | "0") => return Err(unusable("it needs a port's number".to_owned())),
        (host, _) => socket.set_ipv6(host.starts_with('[')).map_err(PublishError::socket("setting up a socket"))?,
    }
    socket.connect(endpoint).map_err(|error| unusable(error.message().to_owned()))
}
