//! Who may ask: the `Host` of every request, the `Origin` of writes, and the headers that keep a page harmless.
//!
//! Without these checks any web page a person opens could read and post to the collector on their loopback: by
//! a name of its own that resolves to 127.0.0.1, or, to write, from a foreign `Origin`.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use lastbeat_wire::{Code, Refusal};

use crate::error::Refused;
use crate::views::AppState;

/// Nothing is loaded, framed or posted but from the collector itself, and no script stands in a page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Asked for by whatever name a scraper or an orchestrator knows; they hold numbers and names, and no text.
const ANY_HOST: [&str; 3] = ["/metrics", "/healthz", "/readyz"];

/// Checks that a request was meant for this collector.
fn own_host(headers: &HeaderMap, listen: SocketAddr) -> Result<(), Refusal> {
    let host = text(headers, header::HOST).ok_or_else(|| foreign("the request names no host"))?;
    if is_ours(host, listen.ip()) { Ok(()) } else { Err(foreign("the request is meant for another host")) }
}

/// Checks that a write was not sent by a stranger's page. [`guard`] has checked the host.
///
/// # Errors
/// [`Code::ForeignOrigin`].
pub(crate) fn own_origin(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = text(headers, header::HOST).unwrap_or_default();
    match text(headers, header::ORIGIN) {
        None => Ok(()),
        Some(origin) if origin.strip_prefix("http://") == Some(host) => Ok(()),
        Some(origin) if origin.strip_prefix("https://") == Some(host) => Ok(()),
        Some(_) => Err(foreign("the request comes from another origin")),
    }
}

fn foreign(message: &str) -> Refusal {
    Refusal::new(Code::ForeignOrigin, message)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

/// Whether a `Host` names this collector. On loopback a stranger's name can be made to resolve to us; an address
/// cannot.
fn is_ours(host: &str, listen: IpAddr) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || listen.is_unspecified() || address == listen,
        // Beyond loopback its name is whatever its network calls it; a page of that name is its own.
        Err(_) => !listen.is_loopback() && !name.is_empty(),
    }
}

/// Lets in what was meant for this collector, puts the protecting headers on every response, and counts a
/// refusal by its code.
pub(crate) async fn guard(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let checked = if ANY_HOST.contains(&request.uri().path()) {
        Ok(())
    } else {
        own_host(request.headers(), state.listen)
    };
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(refusal) => Refused::from(refusal).into_response(),
    };
    if let Some(code) = response.extensions().get::<Code>() {
        state.counters.reject(*code);
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Answers a path that does not exist.
pub(crate) async fn not_found() -> Response {
    Refused::new(Code::NotFound, "there is no such path").into_response()
}

/// Answers a method that a path does not take.
pub(crate) async fn method_not_allowed() -> Response {
    Refused::new(Code::MethodNotAllowed, "the path does not take this method").into_response()
}

/// Answers in place of a handler that panicked; the panic itself is in the log.
pub(crate) fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    Refused::new(Code::Internal, "the collector could not answer").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(host: &str, origin: Option<&str>, listen: &str) -> Option<Code> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        let checked = own_host(&headers, listen.parse().unwrap()).and_then(|()| own_origin(&headers));
        checked.err().map(|refusal| refusal.code)
    }

    #[test]
    fn loopback_names_and_addresses_are_ours() {
        for host in ["127.0.0.1:5278", "localhost:5278", "localhost", "[::1]:5278", "LOCALHOST:1"] {
            assert_eq!(judged(host, None, "127.0.0.1:5278"), None, "{host}");
        }
    }

    #[test]
    fn a_foreign_name_is_refused_wherever_it_resolves_to() {
        for host in
            ["evil.example", "localhost.evil.example:5278", "10.0.0.1:5278", "", "::1", "127.0.0.1.evil"]
        {
            let code = judged(host, None, "127.0.0.1:5278");
            assert_eq!(code, Some(Code::ForeignOrigin), "{host}");
        }
    }

    #[test]
    fn the_address_it_listens_on_is_ours_and_any_address_when_it_listens_on_all() {
        assert_eq!(judged("10.0.0.1:5278", None, "10.0.0.1:5278"), None);
        assert_eq!(judged("10.0.0.2:5278", None, "10.0.0.1:5278"), Some(Code::ForeignOrigin));
        assert_eq!(judged("10.0.0.2:5278", None, "0.0.0.0:5278"), None);
        assert_eq!(
            judged("collector:5278", None, "0.0.0.0:5278"),
            None,
            "a container is reached by its name"
        );
        let foreign = judged("collector:5278", Some("http://evil.example"), "0.0.0.0:5278");
        assert_eq!(foreign, Some(Code::ForeignOrigin));
    }

    #[test]
    fn an_origin_must_be_the_host_itself() {
        let judged = |origin| judged("127.0.0.1:5278", Some(origin), "127.0.0.1:5278");
        assert_eq!(judged("http://127.0.0.1:5278"), None);
        for origin in ["null", "http://127.0.0.1", "http://127.0.0.1:9", "https://evil.example", ""] {
            assert_eq!(judged(origin), Some(Code::ForeignOrigin), "{origin}");
        }
    }
}
