//! A channel that posts JSON to an address, signed by a shared secret.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::StatusCode;
use serde::Serialize;
use sha2::Sha256;

use super::{Channel, ChannelError, Edge, NotTaken, Notice, authorities};
use crate::config::{ChannelName, WebhookSettings};
use crate::identity::{Clock, PlainPassword, causes};

/// `t=SECONDS,v1=HEX`: the time of sending (Unix) and HMAC-SHA-256 by the shared secret over `SECONDS.BODY`. A receiver compares
/// in constant time, and refuses old times.
pub const SIGNATURE: &str = "landbridge-signature";

const TIMEOUT: Duration = Duration::from_secs(15);

pub struct WebhookChannel {
    name: ChannelName,
    organisation: String,
    url: url::Url,
    secret: PlainPassword,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
}

#[derive(Serialize)]
struct Body<'a> {
    number: i64,
    alert: &'a str,
    state: Edge,
    subject: &'a str,
    detail: &'a str,
    at: String,
    organisation: &'a str,
}

impl WebhookChannel {
    pub fn new(
        name: ChannelName,
        organisation: String,
        settings: &WebhookSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ChannelError> {
        let client = |error: reqwest::Error| ChannelError::Client(name.clone(), Box::new(error));
        let mut builder =
            reqwest::Client::builder().https_only(true).redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT);
        if let Some(file) = &settings.ca_file {
            let authorities = authorities(file)?.into_iter().map(|der| reqwest::Certificate::from_der(&der));
            let authorities = authorities.collect::<Result<Vec<_>, _>>().map_err(client)?;
            builder = builder.tls_certs_only(authorities);
        }
        let http = builder.build().map_err(client)?;
        let (url, secret) = (settings.url.clone(), settings.secret.clone());
        Ok(Self { name, organisation, url, secret, http, clock })
    }

    fn signature(&self, seconds: i64, body: &[u8]) -> Result<String, NotTaken> {
        let mac = Hmac::<Sha256>::new_from_slice(self.secret.expose().as_bytes());
        let mut mac = mac.map_err(|_| NotTaken::Now("the secret is no key".to_owned()))?;
        mac.update(format!("{seconds}.").as_bytes());
        mac.update(body);
        Ok(format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes())))
    }
}

#[async_trait]
impl Channel for WebhookChannel {
    fn name(&self) -> &ChannelName {
        &self.name
    }

    async fn send(&self, notice: &Notice) -> Result<(), NotTaken> {
        let body = Body {
            number: notice.number,
            alert: &notice.alert,
            state: notice.edge,
            subject: &notice.subject,
            detail: &notice.detail,
            at: notice.at.rfc3339(),
            organisation: &self.organisation,
        };
        let body = serde_json::to_vec(&body).map_err(|error| NotTaken::Ever(error.to_string()))?;
        let signature = self.signature(self.clock.now().secs(), &body)?;
        let request = self.http.post(self.url.clone()).header(SIGNATURE, signature);
        let request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body);
        // The address may bear a secret of its own.
        let answer = request.send().await.map_err(|error| NotTaken::Now(causes(&error.without_url())))?;
        let why = || format!("the receiver answered with status {}", answer.status().as_u16());
        match answer.status() {
            status if status.is_success() => Ok(()),
            // It has read this notice, and does not like it.
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                Err(NotTaken::Ever(why()))
            }
            _ => Err(NotTaken::Now(why())),
        }
    }
}
