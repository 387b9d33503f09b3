//! The server: an honest sign-in and honest seals, and lies wherever a script tells them.

use sspi::{
    AuthIdentity, AuthIdentityBuffers, BufferType, CredentialUse, DataRepresentation, EncryptionFlags, Ntlm,
    SecurityBuffer, SecurityBufferFlags, SecurityBufferRef, ServerRequestFlags, Sspi, SspiImpl, Username,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::calls::bind::Extensions;
use crate::ndr::Writer;
use crate::rpc::NDR;
use crate::rpc::pdu::{CALL_HEAD, HEADER, Header, Kind, SECURITY_TRAILER};
use crate::{Account, Controller, Password};

pub(super) const TOKEN: usize = 16;

/// What a script may change.
pub(super) trait Script: Send + Sync + 'static {
    /// The NTLM challenge before it leaves.
    fn challenge(&self, _challenge: &mut Vec<u8>) {}

    /// The stub of an answer to DRSGetNCChanges; the key is the one that secrets are encrypted under.
    fn page(&self, key: &[u8]) -> Vec<u8>;

    /// The sealed fragments of that answer before they leave.
    fn fragments(&self, _fragments: &mut Vec<Vec<u8>>) {}

    /// How much of a stub goes into a fragment.
    fn fragment_room(&self) -> usize {
        1024
    }
}

/// Starts the server, and returns how it is reached.
pub(super) async fn start(script: impl Script) -> (Controller, Account) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = std::sync::Arc::new(script);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let script = script.clone();
            // A connection that the client gives up ends with an error, which is what it is for.
            tokio::spawn(async move { serve(stream, &*script).await.ok() });
        }
    });
    let controller = Controller {
        replication_port: Some(port),
        call_deadline: std::time::Duration::from_secs(20),
        ..Controller::new("127.0.0.1")
    };
    (controller, Account::ntlm("CORP", "sync", Password::new("right".to_owned())))
}

async fn read_pdu(stream: &mut TcpStream) -> std::io::Result<(Header, Vec<u8>)> {
    let mut pdu = vec![0; HEADER];
    stream.read_exact(&mut pdu).await?;
    let header = Header::read(pdu[..].try_into().unwrap()).unwrap();
    pdu.resize(header.length, 0);
    stream.read_exact(&mut pdu[HEADER..]).await?;
    Ok((header, pdu))
}

struct Server {
    ntlm: Ntlm,
    credentials: Option<AuthIdentityBuffers>,
}

impl Server {
    fn new() -> Self {
        let identity = AuthIdentity {
            username: Username::new("sync", Some("CORP")).unwrap(),
            password: "right".to_owned().into(),
        };
        let mut ntlm = Ntlm::new();
        let handle = ntlm
            .acquire_credentials_handle()
            .with_credential_use(CredentialUse::Inbound)
            .with_auth_data(&identity)
            .execute(&mut ntlm)
            .unwrap();
        Self { ntlm, credentials: handle.credentials_handle }
    }

    fn accept(&mut self, token: &[u8]) -> Vec<u8> {
        let mut input = [SecurityBuffer::new(token.to_vec(), BufferType::Token)];
        let mut output = [SecurityBuffer::new(Vec::new(), BufferType::Token)];
        let builder = self
            .ntlm
            .accept_security_context()
            .with_credentials_handle(&mut self.credentials)
            .with_context_requirements(ServerRequestFlags::ALLOCATE_MEMORY)
            .with_target_data_representation(DataRepresentation::Native)
            .with_input(&mut input)
            .with_output(&mut output);
        self.ntlm.accept_security_context_impl(builder).unwrap().resolve_to_result().unwrap();
        let [output] = output;
        output.buffer
    }

    fn seal(&mut self, pdu: &mut [u8]) {
        let (head, rest) = pdu.split_at_mut(CALL_HEAD);
        let (body, rest) = rest.split_at_mut(rest.len() - SECURITY_TRAILER - TOKEN);
        let (trailer, token) = rest.split_at_mut(SECURITY_TRAILER);
        let signed = SecurityBufferFlags::SECBUFFER_READONLY_WITH_CHECKSUM;
        let mut buffers = [
            SecurityBufferRef::data_buf(head).with_flags(signed),
            SecurityBufferRef::data_buf(body),
            SecurityBufferRef::data_buf(trailer).with_flags(signed),
            SecurityBufferRef::token_buf(token),
        ];
        self.ntlm.encrypt_message(EncryptionFlags::empty(), &mut buffers).unwrap();
    }
}

fn pdu(kind: u8, flags: u8, call_id: u32, token_length: usize, body: &[u8]) -> Vec<u8> {
    let mut pdu = vec![5, 0, kind, flags, 0x10, 0, 0, 0];
    pdu.extend_from_slice(&u16::try_from(HEADER + body.len()).unwrap().to_le_bytes());
    pdu.extend_from_slice(&u16::try_from(token_length).unwrap().to_le_bytes());
    pdu.extend_from_slice(&call_id.to_le_bytes());
    pdu.extend_from_slice(body);
    pdu
}

fn bind_ack(call_id: u32, token: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.u16(5840);
    writer.u16(5840);
    writer.u32(1);
    writer.u16(0);
    writer.align(4);
    writer.u32(1);
    writer.u32(0);
    writer.uuid(NDR.id);
    writer.u32(2);
    writer.bytes(&[10, 6, 0, 0, 0, 0, 0, 0]);
    writer.bytes(token);
    pdu(12, 7, call_id, token.len(), &writer.finish())
}

fn drs_bind_reply() -> Vec<u8> {
    let request = crate::calls::bind::request(Extensions::own(0));
    // Everything after the client's name is an extension block, which is what the answer begins with.
    let mut stub = request[20..].to_vec();
    stub.extend_from_slice(&[9; 20]);
    stub.extend_from_slice(&[0; 4]);
    stub
}

async fn serve(mut stream: TcpStream, script: &impl Script) -> std::io::Result<()> {
    let mut server = Server::new();
    let (header, bind) = read_pdu(&mut stream).await?;
    let mut challenge = server.accept(&bind[bind.len() - header.token_length..]);
    script.challenge(&mut challenge);
    stream.write_all(&bind_ack(header.call_id, &challenge)).await?;
    let (header, auth3) = read_pdu(&mut stream).await?;
    server.accept(&auth3[auth3.len() - header.token_length..]);
    server.ntlm.complete_auth_token(&mut []).unwrap();
    let key = server.ntlm.query_context_session_key().unwrap().session_key.as_ref().clone();
    loop {
        let (header, request) = read_pdu(&mut stream).await?;
        assert_eq!(header.kind, Kind::Request);
        let operation = u16::from_le_bytes([request[22], request[23]]);
        let stub = match operation {
            0 => drs_bind_reply(),
            3 => script.page(&key),
            _ => vec![0; 24],
        };
        let parts: Vec<&[u8]> = stub.chunks(script.fragment_room()).collect();
        let mut fragments = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let flags = u8::from(index == 0) | if index + 1 == parts.len() { 2 } else { 0 };
            let padding = part.len().next_multiple_of(16) - part.len();
            let mut body = [&[0; 8][..], part].concat();
            body.resize(body.len() + padding, 0);
            body.extend_from_slice(&[10, 6, u8::try_from(padding).unwrap(), 0, 0, 0, 0, 0]);
            body.extend_from_slice(&[0; TOKEN]);
            let mut fragment = pdu(2, flags, header.call_id, TOKEN, &body);
            server.seal(&mut fragment);
            fragments.push(fragment);
        }
        if operation == 3 {
            script.fragments(&mut fragments);
        }
        for fragment in fragments {
            stream.write_all(&fragment).await?;
        }
    }
}
