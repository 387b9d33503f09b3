//! A channel that sends mail by SMTP (RFC 5321), always over TLS: from the start, or after STARTTLS (RFC 3207), which a server
//! that does not offer it gets no mail for.

use std::time::Duration;

use async_trait::async_trait;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::{Channel, ChannelError, Edge, NotTaken, Notice, authorities};
use crate::config::{ChannelName, MailAddress, MailEncryption, MailSettings};
use crate::identity::causes;

const TIMEOUT: Duration = Duration::from_secs(10);

pub struct MailChannel {
    name: ChannelName,
    organisation: String,
    from: Mailbox,
    to: Vec<Mailbox>,
    server: AsyncSmtpTransport<Tokio1Executor>,
}

impl MailChannel {
    pub fn new(name: ChannelName, organisation: String, settings: &MailSettings) -> Result<Self, ChannelError> {
        let client = |error: lettre::transport::smtp::Error| ChannelError::Client(name.clone(), Box::new(error));
        let mut trust = TlsParameters::builder(settings.host.clone());
        if let Some(file) = &settings.ca_file {
            trust = trust.certificate_store(CertificateStore::None);
            for authority in authorities(file)? {
                trust = trust.add_root_certificate(Certificate::from_der(authority.to_vec()).map_err(client)?);
            }
        }
        let trust = trust.build().map_err(client)?;
        let tls = match settings.encryption {
            MailEncryption::Tls => Tls::Wrapper(trust),
            MailEncryption::StartTls => Tls::Required(trust),
        };
        let server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(settings.host.clone())
            .port(settings.port)
            .timeout(Some(TIMEOUT))
            .tls(tls);
        let server = match &settings.sign_in {
            Some((user, password)) => server.credentials(Credentials::new(user.clone(), password.expose().to_owned())),
            None => server,
        };
        let mailbox = |address: &MailAddress| {
            let read = address.as_str().parse::<Mailbox>();
            read.map_err(|error| ChannelError::Client(name.clone(), Box::new(error)))
        };
        let from = mailbox(&settings.from)?;
        let to = settings.to.iter().map(mailbox).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { name, organisation, from, to, server: server.build() })
    }
}

fn subject(organisation: &str, notice: &Notice) -> String {
    let state = match notice.edge {
        Edge::Raised => "ALERT",
        Edge::Cleared => "cleared",
        Edge::Test => "test",
    };
    format!("[{organisation}] {state}: {} {}", notice.alert, notice.subject)
}

fn text(notice: &Notice) -> String {
    let Notice { number, alert, subject, detail, edge, at } = notice;
    format!(
        "{alert} of {subject}: {}\n\n{detail}\n\nat {at}, notice {number}\nWhat is raised now: landbridge failover status\n",
        edge.code()
    )
}

#[async_trait]
impl Channel for MailChannel {
    fn name(&self) -> &ChannelName {
        &self.name
    }

    /// One mail for each recipient, so that an address that is refused keeps it from nobody else. Taken when somebody gets it.
    async fn send(&self, notice: &Notice) -> Result<(), NotTaken> {
        let mut refused = None;
        let mut taken = false;
        for to in &self.to {
            let mail = Message::builder()
                .from(self.from.clone())
                .to(to.clone())
                .subject(subject(&self.organisation, notice))
                .header(ContentType::TEXT_PLAIN)
                .body(text(notice))
                .map_err(|error| NotTaken::Ever(causes(&error)))?;
            match self.server.send(mail).await {
                Ok(_) => taken = true,
                Err(error) => {
                    let why = causes(&error);
                    tracing::warn!(channel = %self.name, recipient = %to.email, why, "a mail was not taken");
                    refused = Some(NotTaken::Now(why));
                }
            }
        }
        match refused {
            Some(why) if !taken => Err(why),
            _ => Ok(()),
        }
    }
}
