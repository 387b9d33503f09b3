//! The few files that pages load: our own style sheet, script and mark, compiled in.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

const FILES: [(&str, &str, &str); 3] = [
    ("sign-in.css", "text/css; charset=utf-8", include_str!("../../static/sign-in.css")),
    ("continue.js", "text/javascript; charset=utf-8", include_str!("../../static/continue.js")),
    ("mark.svg", "image/svg+xml", include_str!("../../static/mark.svg")),
];

pub(super) async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, content_type, text)) => {
            ([(CONTENT_TYPE, *content_type), (CACHE_CONTROL, "public, max-age=3600")], *text).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
