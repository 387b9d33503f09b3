//! Synthetic sign-ins: what a partner's users would meet, found out by an account of the operator's.
//!
//! The request is signed and sent as for a user. What comes back is walked as a browser without scripts does: redirects,
//! pages that go on by themselves, the form for name and password, up to the answer, which is verified as every answer is
//! and then thrown away. Nobody is signed in to the gateway by it.
//!
//! The canary's password goes nowhere but to the origin of the partner's own sign-in address, over TLS (or loopback), in a
//! POST, and never on by a redirect.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use rustls_pki_types::CertificateDer;
use tokio_util::bytes::Bytes;
use url::{Host, Url};
use zeroize::Zeroizing;

use super::federated_sign_in::{FederatedSignIn, Outgoing};
use super::partner::Partner;
use super::sign_in_page::{Form, Purpose, form_body, purpose};
use crate::identity::{EntityId, PlainPassword, causes};
use crate::saml::metadata::is_private;
use crate::saml::request::{Freshness, RelayState, RequestId};
use crate::signin::partner_outage::{Synthetic, SyntheticSignIn};

/// Longest time of one synthetic sign-in, and of each of its requests.
const DEADLINE: Duration = Duration::from_secs(30);
const REQUEST: Duration = Duration::from_secs(15);
/// Pages, and redirects between two of them.
const MOST_PAGES: usize = 8;
const MOST_REDIRECTS: usize = 10;
/// Longest page.
const MOST_BYTES: usize = 1024 * 1024;

/// How synthetic sign-ins are made at a partner.
#[derive(Clone, Debug)]
pub struct CanaryAccount {
    /// Its name there and its password; without them the first page alone is looked at.
    pub login: Option<(String, PlainPassword)>,
    /// Who vouches for the partner's addresses; the authorities of the system when empty.
    pub authorities: Vec<CertificateDer<'static>>,
}

/// Signs in at partners as a browser would.
#[derive(Debug)]
pub struct CanaryBrowser {
    federation: FederatedSignIn,
    accounts: BTreeMap<EntityId, CanaryAccount>,
}

/// One sign-in's browser, without a past.
struct Browser {
    client: Client,
    /// The partner's own sign-in address: no other address without public TLS is visited, and no other origin's failure is
    /// the partner's.
    own: Url,
}

/// A body that may bear the canary's password: erased when the request is over.
struct Erased(Zeroizing<String>);

impl AsRef<[u8]> for Erased {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Why a sign-in came to no good end.
enum Failed {
    NoService(String),
    Otherwise(String),
}

/// A page, and where it came from.
struct Page {
    at: Url,
    html: String,
}

impl CanaryBrowser {
    pub fn new(federation: FederatedSignIn, accounts: Vec<(EntityId, CanaryAccount)>) -> Self {
        Self { federation, accounts: accounts.into_iter().collect() }
    }

    async fn walk(&self, entity_id: &EntityId) -> Result<Synthetic, Failed> {
        // What fails on our side says nothing of the partner.
        let ours = |what: &str, error: &dyn std::error::Error| Failed::Otherwise(format!("{what}: {}", causes(error)));
        let partner = self.federation.partners.partner(entity_id).await;
        let partner = partner.map_err(|error| ours("the partner cannot be read", &error))?;
        let partner = partner.ok_or_else(|| Failed::Otherwise("the partner is no longer configured".to_owned()))?;
        let account = self.accounts.get(entity_id);
        let browser = Browser::new(&partner, account).map_err(|error| ours("no client can be made", &error))?;
        let request_id = RequestId::random();
        let relay: RelayState =
            "synthetic-sign-in".parse().map_err(|error| ours("the request cannot be made", &error))?;
        let outgoing = self.federation.begin(entity_id, request_id.clone(), relay, Freshness::SessionAllowed).await;
        let mut page = match outgoing.map_err(|error| ours("the request cannot be made", &error))? {
            Outgoing::Redirect(url) => browser.get(url).await?,
            Outgoing::Form(form) => {
                let fields = [("SAMLRequest", form.saml_request.as_str()), ("RelayState", form.relay_state.as_str())];
                browser.post(browser.secure(form.action)?, form_body(&fields)).await?
            }
        };
        let mut login = account.and_then(|account| account.login.as_ref());
        if login.is_none() {
            return Ok(Synthetic::PageShown);
        }
        for _ in 0..MOST_PAGES {
            let html = page.html;
            // A parser of foreign bytes: should it panic, this sign-in fails and no more.
            let read = tokio::task::spawn_blocking(move || purpose(&html)).await;
            page = match read.map_err(|error| ours("the page cannot be read", &error))? {
                Purpose::Answer { response } => {
                    let checked = self.federation.finish(&response, entity_id, &request_id, None).await;
                    return match checked {
                        Ok(_) => Ok(Synthetic::SignedIn),
                        Err(error) => Err(ours("the partner's answer is refused", &error)),
                    };
                }
                Purpose::SignIn(form) => {
                    let Some((name, password)) = login.take() else {
                        return Err(Failed::Otherwise("the partner does not take the canary's password".to_owned()));
                    };
                    let target = browser.target(&page.at, &form)?;
                    if !browser.is_own(&target) {
                        let host = target.host_str().unwrap_or_default();
                        return Err(Failed::Otherwise(format!(
                            "the sign-in form posts to {host}, which is not the host of the partner's sign-in address"
                        )));
                    }
                    browser.post(target, form.filled(Some((name, password)))).await?
                }
                Purpose::GoesOn(form) => browser.post(browser.target(&page.at, &form)?, form.filled(None)).await?,
                Purpose::Other => {
                    let host = page.at.host_str().unwrap_or_default();
                    return Err(Failed::Otherwise(format!("a page of {host} has no form for name and password")));
                }
            };
        }
        Err(Failed::Otherwise(format!("no answer after {MOST_PAGES} pages")))
    }
}

#[async_trait]
impl SyntheticSignIn for CanaryBrowser {
    async fn sign_in(&self, partner: &EntityId) -> Synthetic {
        match tokio::time::timeout(DEADLINE, self.walk(partner)).await {
            Ok(Ok(synthetic)) => synthetic,
            Ok(Err(Failed::NoService(what))) => Synthetic::NoService(what),
            Ok(Err(Failed::Otherwise(what))) => Synthetic::Otherwise(what),
            // Each request has a deadline of its own; what is beyond them may be our own slowness.
            Err(_) => Synthetic::Otherwise(format!("no end within {} seconds", DEADLINE.as_secs())),
        }
    }

    fn has_account(&self, partner: &EntityId) -> bool {
        self.accounts.get(partner).is_some_and(|account| account.login.is_some())
    }
}

impl Browser {
    fn new(partner: &Partner, account: Option<&CanaryAccount>) -> Result<Self, reqwest::Error> {
        let named = account.map(|account| account.authorities.as_slice()).unwrap_or_default();
        let published = partner.source().map(|source| source.authorities.as_slice()).unwrap_or_default();
        let authorities = if named.is_empty() { published } else { named };
        // Straight to the partner: a proxy of the environment would see where the way leads, and its failure is not the partner's.
        let builder = Client::builder().no_proxy().redirect(Policy::none()).timeout(REQUEST).cookie_store(true);
        let client = if authorities.is_empty() {
            builder.build()
        } else {
            let authorities = authorities.iter().map(|der| reqwest::Certificate::from_der(der));
            builder.tls_certs_only(authorities.collect::<Result<Vec<_>, _>>()?).build()
        };
        Ok(Self { client: client?, own: partner.endpoint().location.clone() })
    }

    fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.own.origin()
    }

    async fn get(&self, url: Url) -> Result<Page, Failed> {
        self.fetch(self.client.get(url.clone()), url, Method::GET).await
    }

    async fn post(&self, url: Url, body: Zeroizing<String>) -> Result<Page, Failed> {
        const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
        let body = Bytes::from_owner(Erased(body));
        self.fetch(self.client.post(url.clone()).header(CONTENT_TYPE, FORM).body(body), url, Method::POST).await
    }

    /// Sends a request, and follows redirects by GET alone: what was posted is posted nowhere else.
    async fn fetch(&self, request: RequestBuilder, mut at: Url, method: Method) -> Result<Page, Failed> {
        let mut answer = request.send().await.map_err(|error| self.no_answer(&at, error))?;
        for _ in 0..MOST_REDIRECTS {
            let status = answer.status();
            let host = at.host_str().unwrap_or_default().to_owned();
            if status.is_server_error() {
                return Err(self.no_service(&at, format!("{host} answered with status {}", status.as_u16())));
            }
            let again = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
            if again && method == Method::POST {
                return Err(Failed::Otherwise(format!("{host} sends a posted form elsewhere")));
            }
            if !status.is_redirection() {
                if !status.is_success() {
                    return Err(Failed::Otherwise(format!("{host} answered with status {}", status.as_u16())));
                }
                let mut html = Vec::new();
                while let Some(part) = answer.chunk().await.map_err(|error| self.no_answer(&at, error))? {
                    if html.len() + part.len() > MOST_BYTES {
                        return Err(Failed::Otherwise(format!("a page of {host} is longer than 1 MiB")));
                    }
                    html.extend_from_slice(&part);
                }
                return Ok(Page { at, html: String::from_utf8_lossy(&html).into_owned() });
            }
            let next = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let next = next.and_then(|location| at.join(location).ok());
            let next = next.ok_or_else(|| Failed::Otherwise(format!("{host} redirects nowhere")))?;
            at = self.secure(next)?;
            answer = self.client.get(at.clone()).send().await.map_err(|error| self.no_answer(&at, error))?;
        }
        Err(Failed::Otherwise("too many redirects".to_owned()))
    }

    fn target(&self, at: &Url, form: &Form) -> Result<Url, Failed> {
        let target = if form.action.is_empty() { Ok(at.clone()) } else { at.join(&form.action) };
        let target = target.map_err(|_| Failed::Otherwise("a form has no address".to_owned()))?;
        self.secure(target)
    }

    /// A partner's pages may lead elsewhere over TLS, but not to what only this machine can reach.
    fn secure(&self, url: Url) -> Result<Url, Failed> {
        let leads_home = match url.host() {
            Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified() || address.is_link_local(),
            Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unspecified(),
            None => true,
        };
        let fits = is_private(&url) && (self.is_own(&url) || url.scheme() == "https" && !leads_home);
        if fits {
            Ok(url)
        } else {
            Err(Failed::Otherwise(
                "the way leads over an address that is not visited: one without TLS, or of this machine".to_owned(),
            ))
        }
    }

    /// The service of another origin on the way is not the partner's.
    fn no_service(&self, at: &Url, what: String) -> Failed {
        if self.is_own(at) { Failed::NoService(what) } else { Failed::Otherwise(what) }
    }

    fn no_answer(&self, at: &Url, error: reqwest::Error) -> Failed {
        // Addresses may bear secrets, and what is told goes to people and logs: the host is enough.
        let host = at.host_str().unwrap_or_default();
        self.no_service(at, format!("{host}: {}", causes(&error.without_url())))
    }
}
