//! The cookies (design D13). All are `__Host-`: bound to this host, secure, for the whole of it, and unreachable for
//! scripts.
//!
//! - the session: SameSite=Lax, gone with the browser;
//! - one per sign-in transaction, so that two tabs do not disturb each other: SameSite=None, because a partner's POST must
//!   find its transaction; ten minutes; useless without the server's row;
//! - the device: tells familiar from unfamiliar places, says nothing about who.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};
use axum::http::request::Parts;
use axum::response::{IntoResponseParts, ResponseParts};
use axum_extra::extract::CookieJar;
use axum_extra::extract::cookie::Cookie;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::identity::TransactionId;
use crate::issuer::opaque::Opaque;
use crate::signin::TransactionHandle;

const SESSION: &str = "__Host-landbridge";
const DEVICE: &str = "__Host-landbridge-device";
const TRANSACTION_PREFIX: &str = "__Host-landbridge-t";
/// As long as a transaction (design section 3).
const TRANSACTION_SECONDS: i64 = 600;
/// Sign-ins that one browser has open at once.
const MOST_TRANSACTIONS: usize = 8;
const DEVICE_SECONDS: i64 = 365 * 24 * 3600;

/// The request's cookies, and those that the response sets. No `Debug`: their values are secrets.
#[derive(Clone, Default)]
pub(super) struct Cookies {
    sent: CookieJar,
    /// Names of the transactions that came along, in the order of the header: browsers send older ones first (RFC 6265
    /// section 5.4).
    transactions: Vec<String>,
    set: Vec<HeaderValue>,
}

/// A transaction as this browser holds it.
#[derive(Clone, Debug)]
pub(super) struct OpenTransaction {
    pub handle: TransactionHandle,
    /// Where its end will redirect to: goes into `form-action`. The browser keeps it, and could only mislead itself.
    pub redirect_origin: String,
}

impl Cookies {
    pub fn of(headers: &HeaderMap) -> Self {
        let fields = headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
        let names = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let transactions =
            names.map(|(name, _)| name).filter(|name| is_transaction_name(name)).map(str::to_owned).collect();
        Self { sent: CookieJar::from_headers(headers), transactions, set: Vec::new() }
    }

    pub fn session(&self) -> Option<&str> {
        self.sent.get(SESSION).map(Cookie::value)
    }

    /// SHA-256 (hex) of the session's secret.
    pub fn session_hash(&self) -> Option<String> {
        Some(Opaque::presented(self.session()?)?.hash().as_str().to_owned())
    }

    pub fn with_session(self, secret: String) -> Self {
        self.with(SESSION, &secret, SameSite::Lax, None)
    }

    pub fn without_session(self) -> Self {
        self.with(SESSION, "", SameSite::Lax, Some(0))
    }

    /// The transaction `id`, if this browser holds it.
    pub fn transaction(&self, id: TransactionId) -> Option<OpenTransaction> {
        let value = self.sent.get(&transaction_name(id))?.value();
        let (secret, origin) = value.split_once('.')?;
        let origin = URL_SAFE_NO_PAD.decode(origin).ok().and_then(|bytes| String::from_utf8(bytes).ok())?;
        let handle = TransactionHandle { id, cookie: secret.to_owned() };
        Some(OpenTransaction { handle, redirect_origin: origin })
    }

    /// Adds a transaction, and takes the oldest back from a browser that holds too many: requests of other sites can
    /// begin some, and all of them come along with each request.
    pub fn with_transaction(mut self, open: &OpenTransaction) -> Self {
        let value = format!("{}.{}", open.handle.cookie, URL_SAFE_NO_PAD.encode(&open.redirect_origin));
        let name = transaction_name(open.handle.id);
        let surplus = (self.transactions.len() + 1).saturating_sub(MOST_TRANSACTIONS);
        let oldest: Vec<_> = self.transactions.drain(..surplus).collect();
        let kept = oldest.iter().fold(self, |cookies, name| cookies.with(name, "", SameSite::None, Some(0)));
        kept.with(&name, &value, SameSite::None, Some(TRANSACTION_SECONDS))
    }

    pub fn without_transaction(self, id: TransactionId) -> Self {
        self.with(&transaction_name(id), "", SameSite::None, Some(0))
    }

    /// SHA-256 (hex) of the device cookie.
    pub fn device_hash(&self) -> Option<String> {
        let device = Opaque::presented(self.sent.get(DEVICE)?.value())?;
        Some(device.hash().as_str().to_owned())
    }

    /// Gives the browser a device cookie if it has none.
    pub fn with_device(self) -> Self {
        if self.sent.get(DEVICE).is_some() {
            return self;
        }
        self.with(DEVICE, Opaque::random().expose(), SameSite::Lax, Some(DEVICE_SECONDS))
    }

    /// Names and values are of our making: letters, digits, `-`, `_` and `.`.
    fn with(mut self, name: &str, value: &str, same_site: SameSite, seconds: Option<i64>) -> Self {
        let same_site = match same_site {
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        let mut text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite={same_site}");
        if let Some(seconds) = seconds {
            text.push_str(&format!("; Max-Age={seconds}"));
        }
        self.set.extend(HeaderValue::try_from(text));
        self
    }
}

/// Which requests of other sites a cookie comes along with.
#[derive(Clone, Copy)]
enum SameSite {
    /// Top-level visits.
    Lax,
    /// All.
    None,
}

/// Names of our making alone: what is sent back is never somebody else's text.
fn is_transaction_name(name: &str) -> bool {
    let digits = name.strip_prefix(TRANSACTION_PREFIX).and_then(|rest| rest.strip_prefix('-'));
    digits.is_some_and(|digits| digits.len() == 12 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

fn transaction_name(id: TransactionId) -> String {
    let id = id.uuid().simple().to_string();
    format!("{TRANSACTION_PREFIX}-{}", &id[..12])
}

impl<S: Sync> FromRequestParts<S> for Cookies {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

impl IntoResponseParts for Cookies {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        for cookie in self.set {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Ok(response)
    }
}
