//! The sign-in service: the one door for every protocol.

use super::browser::Browser;
use super::outcome::{Begun, FederatedIdentity, Session, SignInError, SignInRequest, Step, TransactionHandle};
use super::store::StoreDown;
use crate::identity::{PasswordShape, PlainPassword, SessionId};

/// Cheap to clone. Every method may be called on any node.
#[derive(Clone)]
pub struct SignIn {}

impl SignIn {
    /// Begins a sign-in. A live session answers at once, unless the request forces a new proof or sets a maximum age.
    pub async fn begin(
        &self,
        request: SignInRequest,
        browser: &Browser,
        session_cookie: Option<&str>,
    ) -> Result<Begun, SignInError> {
        todo!()
    }

    /// Takes the name typed on the first page.
    pub async fn identify(
        &self,
        handle: &TransactionHandle,
        typed: &str,
        browser: &Browser,
    ) -> Result<Step, SignInError> {
        todo!()
    }

    /// Takes the password typed on the second page.
    pub async fn password(
        &self,
        handle: &TransactionHandle,
        password: Result<PlainPassword, PasswordShape>,
        browser: &Browser,
    ) -> Result<Step, SignInError> {
        todo!()
    }

    /// Takes what a federation partner says. The partner's POST names the transaction by its relay state (the
    /// transaction id) and carries the transaction cookie.
    pub async fn assertion(
        &self,
        handle: &TransactionHandle,
        identity: FederatedIdentity,
        browser: &Browser,
    ) -> Result<Step, SignInError> {
        todo!()
    }

    /// Goes back from the password to the name ("use another account").
    pub async fn start_over(&self, handle: &TransactionHandle) -> Result<Step, SignInError> {
        todo!()
    }

    /// What to show for a transaction, without changing it.
    pub async fn step(&self, handle: &TransactionHandle) -> Result<Step, SignInError> {
        todo!()
    }

    /// The live session of a session cookie.
    pub async fn session(&self, cookie: &str) -> Result<Option<Session>, StoreDown> {
        todo!()
    }

    /// The live session of a `sid`, for code redemption, refresh and userinfo.
    pub async fn session_by_sid(&self, sid: SessionId) -> Result<Option<Session>, StoreDown> {
        todo!()
    }

    /// Ends a session. Ending one that has ended is done already.
    pub async fn sign_out(&self, sid: SessionId) -> Result<(), StoreDown> {
        todo!()
    }
}
