//! A controller's ticket service as a witness of the present password (the AS exchange, RFC 4120 3.1).

use std::time::Duration;

use async_trait::async_trait;
use drsr::{Account, Controller, Password};

use super::old_password::{DomainAccount, PresentPassword};
use crate::identity::PlainPassword;

/// Asks the ticket service of the controller that took the bind.
pub struct Tickets {
    /// For the connection, and for each answer on it.
    pub deadline: Duration,
}

#[async_trait]
impl PresentPassword for Tickets {
    async fn is_present(&self, account: &DomainAccount, password: &PlainPassword) -> Option<bool> {
        let controller = Controller {
            connect_deadline: self.deadline,
            call_deadline: self.deadline,
            ..Controller::new(account.controller.clone())
        };
        let secret = Password::new(password.expose().to_owned());
        let account = Account::kerberos(&account.realm, &account.name, secret);
        match drsr::is_present_password(&controller, &account).await {
            Ok(present) => Some(present),
            Err(error) => {
                let remedy = error.remedy();
                tracing::warn!(%error, remedy, "the ticket service could not tell the present password from the previous one");
                None
            }
        }
    }
}
