//! NTLM version 2 (MS-NLMP) by the `sspi` crate.

use async_trait::async_trait;
use sspi::{
    AuthIdentity, AuthIdentityBuffers, BufferType, ClientRequestFlags, CredentialUse, DataRepresentation,
    EncryptionFlags, ErrorKind, Ntlm, SecurityBuffer, SecurityBufferFlags, SecurityBufferRef, Sspi, SspiImpl, Username,
};

use super::ntlm_challenge;
use super::security::{Leg, SecurityContext, SecurityError};
use crate::controller::Account;
use crate::decryption::SessionKey;

/// RPC_C_AUTHN_WINNT (MS-RPCE 2.2.1.1.7).
const PROVIDER: u8 = 10;
const TOKEN: usize = 16;

pub(crate) struct NtlmContext {
    ntlm: Ntlm,
    credentials: Option<AuthIdentityBuffers>,
}

impl NtlmContext {
    pub(crate) fn new(account: &Account) -> Result<Self, SecurityError> {
        let username = Username::new(&account.name, Some(&account.domain))
            .map_err(|error| SecurityError::Failed(error.to_string()))?;
        let identity = AuthIdentity { username, password: account.password.expose().to_owned().into() };
        let mut ntlm = Ntlm::new();
        let handle = ntlm
            .acquire_credentials_handle()
            .with_credential_use(CredentialUse::Outbound)
            .with_auth_data(&identity)
            .execute(&mut ntlm)
            .map_err(failed)?;
        Ok(Self { ntlm, credentials: handle.credentials_handle })
    }
}

fn failed(error: sspi::Error) -> SecurityError {
    SecurityError::Failed(error.description)
}

#[async_trait]
impl SecurityContext for NtlmContext {
    fn provider(&self) -> u8 {
        PROVIDER
    }

    async fn step(&mut self, token: &[u8]) -> Result<Leg, SecurityError> {
        let is_first = token.is_empty();
        if !is_first {
            ntlm_challenge::check(token).map_err(|what| SecurityError::Failed(what.to_owned()))?;
        }
        let mut input = [SecurityBuffer::new(token.to_vec(), BufferType::Token)];
        let mut output = [SecurityBuffer::new(Vec::new(), BufferType::Token)];
        let flags = ClientRequestFlags::USE_DCE_STYLE
            | ClientRequestFlags::CONFIDENTIALITY
            | ClientRequestFlags::INTEGRITY
            | ClientRequestFlags::MUTUAL_AUTH;
        let mut builder = self
            .ntlm
            .initialize_security_context()
            .with_credentials_handle(&mut self.credentials)
            .with_context_requirements(flags)
            .with_target_data_representation(DataRepresentation::Native)
            .with_input(&mut input)
            .with_output(&mut output);
        self.ntlm
            .initialize_security_context_impl(&mut builder)
            .and_then(|mut legs| legs.resolve_to_result())
            .map_err(failed)?;
        let [output] = output;
        Ok(if is_first { Leg::Answered(output.buffer) } else { Leg::Last(output.buffer) })
    }

    fn token_length(&self) -> usize {
        TOKEN
    }

    fn seal(&mut self, parts: [&mut [u8]; 4]) -> Result<(), SecurityError> {
        self.ntlm.encrypt_message(EncryptionFlags::empty(), &mut buffers(parts)).map_err(failed).map(drop)
    }

    fn unseal(&mut self, parts: [&mut [u8]; 4]) -> Result<(), SecurityError> {
        self.ntlm.decrypt_message(&mut buffers(parts)).map(drop).map_err(|error| match error.error_type {
            ErrorKind::MessageAltered => SecurityError::Signature,
            _ => failed(error),
        })
    }

    fn session_key(&self) -> Result<SessionKey, SecurityError> {
        let keys = self.ntlm.query_context_session_key().map_err(failed)?;
        Ok(SessionKey::new(keys.session_key.as_ref().clone()))
    }
}

/// In the order in which they stand in the fragment: so they are signed.
pub(super) fn buffers([head, body, trailer, token]: [&mut [u8]; 4]) -> [SecurityBufferRef<'_>; 4] {
    [
        SecurityBufferRef::data_buf(head).with_flags(SecurityBufferFlags::SECBUFFER_READONLY_WITH_CHECKSUM),
        SecurityBufferRef::data_buf(body),
        SecurityBufferRef::data_buf(trailer).with_flags(SecurityBufferFlags::SECBUFFER_READONLY_WITH_CHECKSUM),
        SecurityBufferRef::token_buf(token),
    ]
}
