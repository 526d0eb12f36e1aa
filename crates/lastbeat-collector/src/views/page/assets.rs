//! The style sheet, the module and the icon, compiled in.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

/// The style sheet.
pub(crate) const STYLE: &str = include_str!("../../../../../web/static/style.css");
/// The module that keeps a page live.
pub(crate) const MODULE: &str = include_str!("../../../../../web/static/lastbeat.js");
/// The icon.
const FAVICON: &str = include_str!("../../../../../web/static/favicon.svg");

/// `GET /style.css`.
pub(crate) async fn style(headers: HeaderMap) -> Response {
    serve(&headers, "text/css; charset=utf-8", STYLE)
}

/// `GET /lastbeat.js`.
pub(crate) async fn module(headers: HeaderMap) -> Response {
    serve(&headers, "text/javascript; charset=utf-8", MODULE)
}

/// `GET /favicon.svg`.
pub(crate) async fn favicon(headers: HeaderMap) -> Response {
    serve(&headers, "image/svg+xml", FAVICON)
}

/// Browsers ask each time and are mostly told that nothing changed: so a new collector is never shown with the
/// style or the module of an old one.
fn serve(headers: &HeaderMap, content_type: &'static str, text: &'static str) -> Response {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(',').any(|each| each.trim().trim_start_matches("W/") == tag));
    let common = [
        (ETAG, tag),
        (CACHE_CONTROL, "no-cache".to_owned()),
        (CONTENT_TYPE, content_type.to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    if known { (StatusCode::NOT_MODIFIED, common).into_response() } else { (common, text).into_response() }
}
