//! The public routes.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use super::services::{Services, Shared};
use super::{health, layers, oidc, page, signin, static_files};
use crate::issuer::discovery::paths;

/// Every route with the methods it takes: a test walks them. A route that is missing here is not served.
pub const ROUTES: &[(&str, &[&str])] = &[
    (paths::METADATA, &["GET"]),
    (paths::JWKS, &["GET"]),
    (paths::AUTHORIZE, &["GET", "POST"]),
    (paths::TOKEN, &["POST"]),
    (paths::USERINFO, &["GET", "POST"]),
    (paths::REVOKE, &["POST"]),
    (paths::LOGOUT, &["GET", "POST"]),
    (signin::paths::SHOW, &["GET"]),
    (signin::paths::NAME, &["POST"]),
    (signin::paths::PASSWORD, &["POST"]),
    (signin::paths::START_OVER, &["POST"]),
    (signin::paths::ACS, &["POST"]),
    (signin::paths::PARTNER_METADATA, &["GET"]),
    ("/static/{file}", &["GET"]),
    ("/healthz", &["GET"]),
    ("/readyz", &["GET"]),
];

/// The router of the public listener. Serve it with connection info (`SocketAddr`), or networks are unknown.
pub fn router(services: Services) -> Router {
    let services: Shared = Arc::new(services);
    let organisation = services.organisation.clone();
    let panicked = move |panic: Box<dyn std::any::Any + Send>| layers::panicked(&organisation, panic);
    Router::new()
        .route(paths::METADATA, get(oidc::metadata::metadata))
        .route(paths::JWKS, get(oidc::jwks::jwks))
        .route(paths::AUTHORIZE, get(oidc::authorize::by_query).post(oidc::authorize::by_form))
        .route(paths::TOKEN, post(oidc::token::token))
        .route(paths::USERINFO, get(oidc::userinfo::userinfo).post(oidc::userinfo::userinfo))
        .route(paths::REVOKE, post(oidc::revoke::revoke))
        .route(paths::LOGOUT, get(oidc::logout::by_query).post(oidc::logout::by_form))
        .route(signin::paths::SHOW, get(signin::show::show))
        .route(signin::paths::NAME, post(signin::name::name))
        .route(signin::paths::PASSWORD, post(signin::password::password))
        .route(signin::paths::START_OVER, post(signin::start_over::start_over))
        .route(signin::paths::ACS, post(signin::acs::acs))
        .route(signin::paths::PARTNER_METADATA, get(signin::partner_metadata::partner_metadata))
        .route("/static/{file}", get(static_files::file))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .fallback(not_found)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(services.clone(), layers::observe))
        .layer(from_fn(layers::headers))
        .with_state(services)
}

async fn not_found(State(services): State<Shared>) -> Response {
    page::fault(&services, page::Fault::NotFound)
}
