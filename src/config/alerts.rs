//! `[[alerts]]`: where alerts are sent, besides `failover status`, the log and the audit log.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::identity::PlainPassword;

use super::reader::Table;
use super::scim::ca_file;
use super::secret::secret;
use super::words::setting_words;

/// Characters of the secret that signs notices: at the rate of a network nobody guesses it.
const SHORTEST_SECRET: usize = 16;

/// The name of a channel: operators try it by this name, and the store keeps how far it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelName(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name is not made of 1 to 64 letters, digits, `.`, `-` and `_`")]
pub struct ChannelNameError;

impl ChannelName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ChannelName {
    type Err = ChannelNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        match (1..=64).contains(&text.len()) && text.chars().all(fit) {
            true => Ok(Self(text.to_owned())),
            false => Err(ChannelNameError),
        }
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address without a name: `local@domain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailAddress(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address is not of the form local@domain")]
pub struct MailAddressError;

impl MailAddress {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MailAddress {
    type Err = MailAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (local, domain) = text.split_once('@').ok_or(MailAddressError)?;
        let plain = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_graphic() && !"<>()[]\\,;:\"@".contains(c))
        };
        match plain(local) && plain(domain) {
            true => Ok(Self(text.to_owned())),
            false => Err(MailAddressError),
        }
    }
}

setting_words! {
    /// What takes the notices.
    ChannelKind {
        Webhook = "webhook",
        Mail = "mail",
    } "webhook, mail"
}

setting_words! {
    /// How the connection to a mail server is protected.
    MailEncryption {
        /// From the first byte (port 465).
        Tls = "tls",
        /// After STARTTLS (port 587); a server without it gets no mail.
        StartTls = "starttls",
    } "tls, starttls"
}

#[derive(Clone, Debug)]
pub struct WebhookSettings {
    pub url: url::Url,
    /// Signs each notice.
    pub secret: PlainPassword,
    /// PEM file of the certification authorities; the system's when absent.
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct MailSettings {
    pub host: String,
    pub port: u16,
    pub encryption: MailEncryption,
    pub sign_in: Option<(String, PlainPassword)>,
    pub from: MailAddress,
    pub to: Vec<MailAddress>,
    /// PEM file of the certification authorities; the system's when absent.
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub enum ChannelSettings {
    Webhook(WebhookSettings),
    Mail(MailSettings),
}

pub(super) fn channels(root: &Table<'_>) -> Vec<(ChannelName, ChannelSettings)> {
    let mut channels: Vec<(ChannelName, ChannelSettings)> = Vec::new();
    for table in root.tables("alerts") {
        let name: Option<ChannelName> = table.required("name", "give the channel a name");
        if let Some(name) = &name
            && channels.iter().any(|(other, _)| other == name)
        {
            table.complain("name", format!("there is a channel `{name}` already"), "choose another name");
        }
        let settings = match table.required("kind", "write webhook or mail") {
            Some(ChannelKind::Webhook) => webhook(&table).map(ChannelSettings::Webhook),
            Some(ChannelKind::Mail) => mail(&table).map(ChannelSettings::Mail),
            None => None,
        };
        table.finish();
        channels.extend(name.zip(settings));
    }
    channels
}

fn webhook(table: &Table<'_>) -> Option<WebhookSettings> {
    let url: Option<url::Url> = table.required("url", "write https://HOST/PATH");
    if url.as_ref().is_some_and(|url| url.scheme() != "https" || !url.has_host()) {
        table.complain("url", "it is no https address", "write https://HOST/PATH");
    }
    let secret = secret(table, "secret_file", "secret_env");
    if secret.as_ref().is_some_and(|secret| secret.expose().chars().count() < SHORTEST_SECRET) {
        let what = format!("the secret has fewer than {SHORTEST_SECRET} characters");
        table.complain("secret_file", what, "make one with `openssl rand -hex 32`");
    }
    let ca_file = ca_file(table);
    Some(WebhookSettings { url: url?, secret: secret?, ca_file })
}

fn mail(table: &Table<'_>) -> Option<MailSettings> {
    let host: Option<String> = table.required("host", "give the name of the mail server");
    let encryption = match table.has("encryption") {
        true => table.parsed("encryption", "write tls or starttls"),
        false => Some(MailEncryption::StartTls),
    };
    let usual = match encryption {
        Some(MailEncryption::Tls) => 465,
        Some(MailEncryption::StartTls) | None => 587,
    };
    let port = table.number("port", 1..=65_535).and_then(|port| u16::try_from(port).ok()).unwrap_or(usual);
    let user = table.text("user").map(|user| user.into_owned());
    let password = user.is_some().then(|| secret(table, "password_file", "password_env"));
    let from = table.required("from", "give the address of the sender");
    let to = table.list("to", "give the addresses of those who are to know, such as [\"ops@example.org\"]");
    if to.is_empty() {
        table.complain("to", "nobody gets the mail", "give the addresses of those who are to know");
    }
    let ca_file = ca_file(table);
    let sign_in = match (user, password) {
        (Some(user), Some(password)) => Some((user, password?)),
        _ => None,
    };
    Some(MailSettings { host: host?, port, encryption: encryption?, sign_in, from: from?, to, ca_file })
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;
    use crate::config::reader::Source;

    fn read(text: &str) -> (Vec<(ChannelName, ChannelSettings)>, Vec<String>) {
        let source = Source::new("landbridge.toml".as_ref(), text.to_owned());
        let channels = {
            let parsed = DeTable::parse(source.text()).expect("TOML");
            channels(&Table::root(&source, parsed.get_ref()))
        };
        (channels, source.into_problems().into_iter().map(|problem| problem.key).collect())
    }

    const MAIL: &str = "[[alerts]]\nname = \"ops\"\nkind = \"mail\"\nhost = \"mail.example.org\"\n\
                        from = \"landbridge@example.org\"\nto = [\"ops@example.org\"]\n";

    #[test]
    fn mail_goes_by_starttls_unless_told_otherwise() {
        let (channels, problems) = read(MAIL);
        assert_eq!(problems, Vec::<String>::new());
        let [(name, ChannelSettings::Mail(mail))] = channels.as_slice() else { panic!("{channels:?}") };
        assert_eq!((name.as_str(), mail.port, mail.encryption), ("ops", 587, MailEncryption::StartTls));
        let (channels, _) = read(&format!("{MAIL}encryption = \"tls\"\n"));
        assert!(matches!(&channels[0].1, ChannelSettings::Mail(mail) if mail.port == 465));
    }

    #[test]
    fn what_would_reach_nobody_or_go_in_clear_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let short = dir.path().join("short");
        std::fs::write(&short, "secret").expect("a file");
        std::fs::set_permissions(&short, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("own file");
        let webhook = |url: &str| {
            format!(
                "[[alerts]]\nname = \"x\"\nkind = \"webhook\"\nurl = \"{url}\"\nsecret_file = \"{}\"\n",
                short.display()
            )
        };
        let refused = [
            (webhook("http://example.org/hook"), vec!["alerts[0].url", "alerts[0].secret_file"]),
            (MAIL.replace("ops@example.org", "ops@example.org>\\r\\nBcc: x@y"), vec!["alerts[0].to", "alerts[0].to"]),
            (MAIL.replace("[\"ops@example.org\"]", "[]"), vec!["alerts[0].to"]),
            (format!("{MAIL}encryption = \"none\"\n"), vec!["alerts[0].encryption"]),
            (format!("{MAIL}user = \"u\"\n"), vec!["alerts[0].password_file"]),
            (format!("{MAIL}{MAIL}"), vec!["alerts[1].name"]),
        ];
        for (text, keys) in refused {
            assert_eq!(read(&text).1, keys, "{text}");
        }
    }
}
