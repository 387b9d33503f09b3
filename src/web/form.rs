//! Bodies of forms: read with a limit, and, where a page of ours was filled in, only from a page of ours.

use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_TYPE, HeaderMap, ORIGIN};
use axum::response::{IntoResponse, Response};

use super::page::{self, Fault};
use super::services::Shared;
use crate::issuer::Params;
use crate::issuer::settings::IssuerUrl;

/// Largest form, but for a partner's answer, which has its own limit.
const FORM_LIMIT: usize = 64 * 1024;

/// A form from anywhere: the caller proves itself otherwise.
pub(super) struct Form(pub Params);

/// A form posted from a page of this gateway (cross-site request forgery). Made only by the check.
pub(super) struct OwnForm(pub Params);

/// The body could not be taken as a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FormFault {
    NotAForm,
    TooLarge,
}

/// Reads a form body of at most `limit` bytes.
pub(super) async fn read(request: Request, limit: usize) -> Result<Params, FormFault> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(FormFault::NotAForm);
    }
    let body = axum::body::to_bytes(request.into_body(), limit).await.map_err(|_| FormFault::TooLarge)?;
    Ok(Params::decode(&body))
}

impl FromRequest<Shared> for Form {
    type Rejection = FormFault;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, FormFault> {
        read(request, FORM_LIMIT).await.map(Self)
    }
}

impl IntoResponse for FormFault {
    fn into_response(self) -> Response {
        use axum::http::StatusCode;
        match self {
            Self::NotAForm => StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response(),
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        }
    }
}

impl FromRequest<Shared> for OwnForm {
    type Rejection = Response;

    async fn from_request(request: Request, services: &Shared) -> Result<Self, Response> {
        if !is_same_origin(request.headers(), services.issuer.url()) {
            tracing::info!("a form that was not posted from a page of this gateway was refused");
            return Err(page::fault(services, Fault::ForeignForm));
        }
        match read(request, FORM_LIMIT).await {
            Ok(params) => Ok(Self(params)),
            Err(FormFault::NotAForm | FormFault::TooLarge) => Err(page::fault(services, Fault::BadForm)),
        }
    }
}

/// Whether a page of ours posted: `Sec-Fetch-Site` where the browser sends it, and `Origin` always. Every browser sends
/// one of them with a POST; a request with neither is refused.
pub(super) fn is_same_origin(headers: &HeaderMap, issuer: &IssuerUrl) -> bool {
    let text = |name| headers.get(name).map(|value: &axum::http::HeaderValue| value.to_str().unwrap_or_default());
    let (site, origin) = (text("sec-fetch-site"), text(ORIGIN.as_str()));
    let site_fits = site.is_none_or(|site| site == "same-origin");
    let origin_fits = origin.is_none_or(|origin| origin == issuer.origin());
    site_fits && origin_fits && (site.is_some() || origin.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_of_ours_may_post() {
        let issuer: IssuerUrl = "https://login.example.org".parse().expect("an issuer");
        let headers = |site: &str, origin: &str| {
            let mut headers = HeaderMap::new();
            for (name, value) in [("sec-fetch-site", site), ("origin", origin)] {
                if !value.is_empty() {
                    headers.insert(name, value.parse().expect("a header"));
                }
            }
            headers
        };
        let own = "https://login.example.org";
        for (site, origin, fits) in [
            ("same-origin", own, true),
            ("same-origin", "", true),
            ("", own, true),
            ("", "", false),
            ("cross-site", own, false),
            ("same-site", own, false),
            ("none", "", false),
            ("same-origin", "null", false),
            ("", "null", false),
            ("", "https://login.example.org.evil.example", false),
            ("", "https://login.example.org:8443", false),
            ("", "http://login.example.org", false),
        ] {
            assert_eq!(is_same_origin(&headers(site, origin), &issuer), fits, "{site} {origin}");
        }
    }
}
