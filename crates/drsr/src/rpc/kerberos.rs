//! Kerberos version 5 (RFC 4120, MS-KILE) by the `sspi` crate, in the three legs of DCE (MS-KILE 3.4.5.1), the tickets
//! asked from the controller itself: addresses and realms that a server names are not followed.

use async_trait::async_trait;
use sspi::generator::GeneratorState;
use sspi::{
    AuthIdentity, BufferType, ClientRequestFlags, CredentialUse, Credentials, CredentialsBuffers, DataRepresentation,
    EncryptionFlags, ErrorKind, Kerberos, KerberosConfig, SecurityBuffer, Sspi, SspiImpl, Username,
};

use super::der;
use super::kdc::{self, Kdc};
use super::ntlm::buffers;
use super::security::{Leg, SecurityContext, SecurityError};
use crate::controller::{Account, Controller};
use crate::decryption::SessionKey;

/// RPC_C_AUTHN_GSS_KERBEROS (MS-RPCE 2.2.1.1.7).
const PROVIDER: u8 = 16;
/// The wrap token of AES in this use (MS-KILE 3.4.5.4.1): header, confounder, filler, copy of the header, checksum.
const TOKEN: usize = 16 + 16 + 16 + 16 + 12;
/// TOK_ID, then flags: by the acceptor, sealed, with the acceptor's subkey (RFC 4121 4.2.6.2, 4.2.2).
const TOKEN_HEAD: [u8; 4] = [0x05, 0x04, 0x07, 0xff];
/// EC and RRC as MS-KILE 3.4.5.4.1 fixes them.
const TOKEN_COUNTS: [u8; 4] = [0, 16, 0, 28];
const SEQUENCE_AT: usize = 8;
/// The tag of a KRB_TGS_REQ (RFC 4120 5.4.1).
const TGS_REQ: u8 = 0x6c;
/// One for the ticket-granting ticket without and one with preauthentication, one for the service ticket, and a spare.
const MAX_EXCHANGES: u32 = 4;

pub(crate) struct KerberosContext {
    kerberos: Kerberos,
    credentials: Option<CredentialsBuffers>,
    service: String,
    kdc: Kdc,
    legs: u32,
    /// The sequence number of the last fragment that was opened.
    received: Option<u64>,
}

/// How far the tickets are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tickets {
    /// The ticket-granting ticket alone (RFC 4120 3.1), which the password opens or does not.
    Initial,
    /// The one for the service too.
    Service,
}

/// What came of the tickets.
enum Progress {
    /// The ticket-granting ticket was opened; nothing more was asked.
    Opened,
    Token(Vec<u8>),
}

impl KerberosContext {
    pub(crate) fn new(controller: &Controller, account: &Account) -> Result<Self, SecurityError> {
        let username = Username::new_upn(&account.name, &account.domain.to_ascii_lowercase())
            .map_err(|error| SecurityError::Failed(error.to_string()))?;
        let identity = AuthIdentity { username, password: account.password.expose().to_owned().into() };
        // The address is a formality: requests go to `kdc`, whatever is asked for.
        let config = KerberosConfig::new_with_kdc_url("tcp://127.0.0.1:88", "localhost".to_owned());
        let mut kerberos = Kerberos::new_client_from_config(config).map_err(failed)?;
        let handle = kerberos
            .acquire_credentials_handle()
            .with_credential_use(CredentialUse::Outbound)
            .with_auth_data(&Credentials::from(identity))
            .execute(&mut kerberos)
            .map_err(failed)?;
        Ok(Self {
            kerberos,
            credentials: handle.credentials_handle,
            service: format!("ldap/{}", controller.host),
            kdc: Kdc::new(controller.clone()),
            legs: 0,
            received: None,
        })
    }

    /// Asks the ticket service for what the library wants, until it has a token to send or as much as `tickets` says.
    async fn ask(&mut self, token: &[u8], tickets: Tickets) -> Result<Progress, SecurityError> {
        let mut input = [SecurityBuffer::new(token.to_vec(), BufferType::Token)];
        let mut output = [SecurityBuffer::new(Vec::new(), BufferType::Token)];
        let flags = ClientRequestFlags::USE_DCE_STYLE
            | ClientRequestFlags::CONFIDENTIALITY
            | ClientRequestFlags::INTEGRITY
            | ClientRequestFlags::REPLAY_DETECT
            | ClientRequestFlags::SEQUENCE_DETECT
            | ClientRequestFlags::MUTUAL_AUTH;
        let mut builder = self
            .kerberos
            .initialize_security_context()
            .with_credentials_handle(&mut self.credentials)
            .with_context_requirements(flags)
            .with_target_data_representation(DataRepresentation::Native)
            .with_target_name(&self.service)
            .with_input(&mut input)
            .with_output(&mut output);
        let mut work = self.kerberos.initialize_security_context_impl(&mut builder).map_err(failed)?;
        let mut state = work.start();
        let mut exchanges = 0;
        loop {
            match state {
                GeneratorState::Completed(result) => {
                    result.map_err(failed)?;
                    break;
                }
                GeneratorState::Suspended(request) => {
                    // The library goes on to the service only with the key that the password opened.
                    if tickets == Tickets::Initial && request.data.get(kdc::LENGTH) == Some(&TGS_REQ) {
                        return Ok(Progress::Opened);
                    }
                    exchanges += 1;
                    if exchanges > MAX_EXCHANGES {
                        return Err(SecurityError::Failed("the ticket service sends us round in circles".to_owned()));
                    }
                    let answer = self.kdc.exchange(&request.data).await?;
                    state = work.resume(Ok(answer));
                }
            }
        }
        drop(work);
        let [output] = output;
        Ok(Progress::Token(output.buffer))
    }

    /// Whether the password is the one that the ticket service knows the account by.
    pub(crate) async fn opens_initial_ticket(mut self) -> Result<(), SecurityError> {
        match self.ask(&[], Tickets::Initial).await? {
            Progress::Opened => Ok(()),
            Progress::Token(_) => Err(SecurityError::Failed("a token came before a ticket".to_owned())),
        }
    }
}

fn failed(error: sspi::Error) -> SecurityError {
    match error.error_type {
        ErrorKind::TimeSkew => SecurityError::ClockSkew,
        ErrorKind::UnknownCredentials | ErrorKind::LogonDenied => SecurityError::Refused,
        ErrorKind::MessageAltered | ErrorKind::DecryptFailure | ErrorKind::InvalidToken => SecurityError::Signature,
        _ => SecurityError::Failed(error.description),
    }
}

#[async_trait]
impl SecurityContext for KerberosContext {
    fn provider(&self) -> u8 {
        PROVIDER
    }

    async fn step(&mut self, token: &[u8]) -> Result<Leg, SecurityError> {
        self.legs += 1;
        if self.legs > 1 && !der::is_one_value(token) {
            return Err(SecurityError::Failed("the server's Kerberos answer is malformed".to_owned()));
        }
        let Progress::Token(output) = self.ask(token, Tickets::Service).await? else {
            return Err(SecurityError::Failed("no ticket for the service was asked for".to_owned()));
        };
        Ok(if self.legs == 1 { Leg::Answered(output) } else { Leg::Last(output) })
    }

    fn token_length(&self) -> usize {
        TOKEN
    }

    fn seal(&mut self, parts: [&mut [u8]; 4]) -> Result<(), SecurityError> {
        self.kerberos.encrypt_message(EncryptionFlags::empty(), &mut buffers(parts)).map_err(failed).map(drop)
    }

    fn unseal(&mut self, parts: [&mut [u8]; 4]) -> Result<(), SecurityError> {
        let token = &parts[3];
        // The library takes tokens that are merely signed, and trusts their counts.
        let head = [token[0], token[1], token[2] & TOKEN_HEAD[2], token[3]];
        if token.len() != TOKEN || head != TOKEN_HEAD || token[4..SEQUENCE_AT] != TOKEN_COUNTS {
            return Err(SecurityError::Signature);
        }
        let sequence = u64::from_be_bytes(token[SEQUENCE_AT..SEQUENCE_AT + 8].try_into().expect("eight bytes"));
        if self.received.is_some_and(|last| last.checked_add(1) != Some(sequence)) {
            return Err(SecurityError::Signature);
        }
        self.kerberos.decrypt_message(&mut buffers(parts)).map_err(|error| match failed(error) {
            SecurityError::Failed(_) => SecurityError::Signature,
            other => other,
        })?;
        self.received = Some(sequence);
        Ok(())
    }

    fn session_key(&self) -> Result<SessionKey, SecurityError> {
        let keys = self.kerberos.query_context_session_key().map_err(failed)?;
        Ok(SessionKey::new(keys.session_key.as_ref().clone()))
    }
}
