//! What an export says of an object's addresses: which of them can be read, and which one is the primary.

use serde_json::{Map, Value};

use super::export::ExportWarning;
use super::record::fold_mail;
use crate::identity::{ProxyAddress, ProxyAddressError, unseen};

/// The attribute that lists addresses.
pub const PROXY_ADDRESSES: &str = "proxyAddresses";
/// The attribute of one address.
pub const MAIL: &str = "mail";

/// Exported addresses that can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses<'a> {
    pub mail: Option<&'a str>,
    /// In the order of the export; of those of mail one is primary at most.
    pub listed: Vec<ProxyAddress>,
    /// What was left out or changed.
    pub warnings: Vec<ExportWarning>,
}

impl<'a> Addresses<'a> {
    /// Of several primary addresses of mail the one is primary that `mail` names, or else the first in the order of their
    /// folded forms: directories keep values in no order.
    pub fn read(mail: Option<&'a str>, listed: impl Iterator<Item = &'a str>) -> Self {
        let mut addresses = Self { mail, ..Self::default() };
        if let Some((text, unseen)) = mail.and_then(|text| Some((text, unseen(text)?))) {
            addresses.mail = None;
            addresses.leave_out(MAIL, text, ProxyAddressError::Unseen(unseen));
        }
        for text in listed {
            match text.parse::<ProxyAddress>() {
                Ok(address) => addresses.listed.push(address),
                Err(reason) => addresses.leave_out(PROXY_ADDRESSES, text, reason),
            }
        }
        addresses.settle_primary();
        addresses
    }

    /// Of an object's exported attributes.
    pub fn of(mail: Option<&'a str>, attributes: &'a Map<String, Value>) -> Self {
        let of_name = attributes.iter().find(|(name, _)| name.eq_ignore_ascii_case(PROXY_ADDRESSES));
        Self::read(mail, texts(of_name.map(|(_, value)| value)))
    }

    /// Addresses of mail in `proxyAddresses`: the primary one, or the others.
    pub fn mailboxes(&self, primary: bool) -> impl Iterator<Item = &str> {
        self.listed.iter().filter(move |address| address.is_primary() == primary).filter_map(ProxyAddress::mailbox)
    }

    fn leave_out(&mut self, attribute: &str, text: &str, reason: ProxyAddressError) {
        self.warnings.push(ExportWarning::MalformedAddress {
            attribute: attribute.to_owned(),
            value: text.chars().take(120).collect(),
            reason: reason.to_string(),
        });
    }

    fn settle_primary(&mut self) {
        let primary = |address: &&ProxyAddress| address.is_primary() && address.mailbox().is_some();
        let named = self.mail.map(fold_mail);
        let rank = |address: &&ProxyAddress| (Some(address.folded()) != named.as_deref(), address.folded().to_owned());
        let Some(kept) = self.listed.iter().filter(primary).min_by_key(rank).cloned() else { return };
        let mut settled = false;
        for address in &mut self.listed {
            if !primary(&&*address) {
                continue;
            }
            if *address == kept && !settled {
                settled = true;
                continue;
            }
            self.warnings
                .push(ExportWarning::SecondPrimaryAddress { value: address.to_string(), primary: kept.to_string() });
            *address = address.as_further();
        }
    }
}

/// The texts of a list of values.
pub fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
