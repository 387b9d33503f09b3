//! A connection on which one interface is bound, and the calls on it.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Syntax;
use super::pdu::{self, Header, Kind, Place, Token};
use super::security::{Leg, SecurityContext, SecurityError};
use crate::calls::Call;
use crate::controller::Controller;
use crate::decryption::SessionKey;
use crate::error::{Error, MalformedReply, Port};

/// Legs of a sign-in: no provider has more than three.
const MAX_LEGS: u32 = 4;
/// What a server reserves at first; grows with what is received.
const FIRST_REPLY_ROOM: usize = 16 << 10;

/// A connected stream and the names of its two ends.
pub(crate) struct Channel {
    stream: TcpStream,
    controller: String,
    account: String,
    deadline: Duration,
    reply_limit: usize,
}

impl Channel {
    pub(crate) async fn connect(controller: &Controller, account: &str, port: Port) -> Result<Self, Error> {
        let (Port::EndpointMapper(number) | Port::Replication(number) | Port::Kerberos(number)) = port;
        let connection = async {
            match controller.address {
                Some(address) => TcpStream::connect((address, number)).await,
                None => TcpStream::connect((controller.host.as_str(), number)).await,
            }
        };
        let unreachable = |source| Error::Unreachable { controller: controller.host.clone(), port, source };
        let stream = match timeout(controller.connect_deadline, connection).await {
            Ok(stream) => stream.map_err(unreachable)?,
            Err(_) => return Err(unreachable(io::ErrorKind::TimedOut.into())),
        };
        // Requests are small and wait for their answer.
        stream.set_nodelay(true).map_err(unreachable)?;
        let Controller { host, call_deadline, reply_limit, .. } = controller;
        Ok(Self {
            stream,
            controller: host.clone(),
            account: account.to_owned(),
            deadline: *call_deadline,
            reply_limit: *reply_limit,
        })
    }

    pub(crate) fn controller(&self) -> String {
        self.controller.clone()
    }
}

/// A bound interface. After any error but a refusal by the server itself it is of no use any more.
pub(crate) struct Association {
    channel: Channel,
    security: Option<Box<dyn SecurityContext>>,
    max_fragment: u16,
    call_id: u32,
    /// Set while a call is under way, so that one that failed or was given up leaves it set.
    is_broken: bool,
    /// One fragment.
    buffer: Vec<u8>,
}

impl Association {
    /// Binds `interface`, signed in by `security` if there is any.
    pub(crate) async fn bind(
        channel: Channel,
        interface: Syntax,
        security: Option<Box<dyn SecurityContext>>,
    ) -> Result<Self, Error> {
        let mut association = Self {
            channel,
            security,
            max_fragment: pdu::LEAST_FRAGMENT,
            call_id: 0,
            is_broken: true,
            buffer: Vec::new(),
        };
        let deadline = association.channel.deadline;
        let controller = association.channel.controller();
        let Ok(bound) = timeout(deadline, association.sign_in(interface)).await else {
            return Err(Error::Deadline { controller, doing: "binding", deadline });
        };
        bound?;
        association.is_broken = false;
        Ok(association)
    }

    pub(crate) fn controller(&self) -> String {
        self.channel.controller()
    }

    pub(crate) fn session_key(&self) -> Result<SessionKey, Error> {
        match &self.security {
            Some(security) => security.session_key().map_err(|error| self.security_error(error)),
            None => Err(self.unexpected("signing in", "no key")),
        }
    }

    async fn sign_in(&mut self, interface: Syntax) -> Result<(), Error> {
        let mut kind = Kind::Bind;
        let mut leg = self.step(&[]).await?;
        for _ in 0..MAX_LEGS {
            let provider = self.security.as_ref().map(|security| security.provider());
            let (bytes, is_last) = match &leg {
                Some(Leg::Answered(bytes)) => (bytes.as_slice(), false),
                Some(Leg::Last(bytes)) => (bytes.as_slice(), true),
                None => (&[][..], true),
            };
            let token = provider.map(|provider| Token { provider, bytes });
            self.call_id += 1;
            if let (Kind::AlterContext, true, Some(token)) = (kind, is_last, token) {
                // What the server thinks of it shows with the first call.
                return self.send(&pdu::auth3(self.call_id, token), "signing in").await;
            }
            self.send(&pdu::bind(kind, self.call_id, interface, token), "binding").await?;
            let answer = self.receive_ack(kind).await?;
            if is_last {
                return Ok(());
            }
            leg = self.step(&answer).await?;
            kind = Kind::AlterContext;
        }
        Err(self.unexpected("signing in", "the sign-in has no end"))
    }

    async fn step(&mut self, token: &[u8]) -> Result<Option<Leg>, Error> {
        let Some(security) = &mut self.security else { return Ok(None) };
        match security.step(token).await {
            Ok(leg) => Ok(Some(leg)),
            Err(error) => Err(self.security_error(error)),
        }
    }

    /// The server's token from its answer to a bind or alter_context.
    async fn receive_ack(&mut self, sent: Kind) -> Result<Vec<u8>, Error> {
        let header = self.receive("binding").await?;
        let malformed =
            |source| Error::Malformed { controller: self.channel.controller.clone(), call: "the bind", source };
        let ack = match (sent, header.kind) {
            (Kind::Bind, Kind::BindAck) | (Kind::AlterContext, Kind::AlterContextResponse) => {
                pdu::bind_ack(&header, &self.buffer).map_err(malformed)?
            }
            (_, Kind::BindNak) => {
                let reason = pdu::bind_nak_reason(&self.buffer).map_err(malformed)?;
                return Err(self.declined(match reason {
                    8 => "it does not know this way of signing in",
                    1 => "it is busy",
                    _ => "it refuses to bind",
                }));
            }
            (_, Kind::Fault) => {
                let status = pdu::fault_status(&self.buffer).map_err(malformed)?;
                return Err(Error::Fault { controller: self.controller(), call: "the bind", status });
            }
            _ => return Err(self.unexpected("binding", "another kind of PDU")),
        };
        if ack.declined.is_some() {
            return Err(self.declined("it does not offer this interface"));
        }
        if ack.max_fragment < pdu::LEAST_FRAGMENT {
            return Err(self.unexpected("binding", "fragments smaller than anybody may want"));
        }
        // Without it Kerberos would sign the bodies only (MS-RPCE 2.2.2.3).
        if self.security.is_some() && sent == Kind::Bind && !header.signs_headers {
            return Err(self.declined("it does not sign headers"));
        }
        self.max_fragment = ack.max_fragment.min(pdu::MAX_FRAGMENT);
        Ok(ack.token.to_vec())
    }

    /// Makes a call and returns its reply's stub.
    pub(crate) async fn call(&mut self, call: Call, stub: &[u8]) -> Result<Vec<u8>, Error> {
        if self.is_broken {
            return Err(Error::Unusable { controller: self.controller() });
        }
        self.is_broken = true;
        let deadline = self.channel.deadline;
        let reply = match timeout(deadline, self.exchange(call, stub)).await {
            Ok(reply) => reply?,
            Err(_) => return Err(Error::Deadline { controller: self.controller(), doing: call.name, deadline }),
        };
        self.is_broken = false;
        Ok(reply)
    }

    async fn exchange(&mut self, call: Call, stub: &[u8]) -> Result<Vec<u8>, Error> {
        self.call_id = self.call_id.wrapping_add(1);
        self.send_request(call, stub).await?;
        let mut reply = Vec::with_capacity(FIRST_REPLY_ROOM);
        let mut is_first = true;
        loop {
            let header = self.receive(call.name).await?;
            if header.call_id != self.call_id {
                return Err(self.unexpected(call.name, "the answer to another call"));
            }
            match header.kind {
                Kind::Response => {}
                Kind::Fault => {
                    let status = pdu::fault_status(&self.buffer).map_err(|source| self.malformed(call, source))?;
                    return Err(Error::Fault { controller: self.controller(), call: call.name, status });
                }
                _ => return Err(self.unexpected(call.name, "another kind of PDU")),
            }
            if header.is_first != is_first {
                return Err(self.unexpected(call.name, "fragments out of order"));
            }
            let body = self.open_response(call, &header)?;
            let limit = self.channel.reply_limit;
            if reply.len() + body.len() > limit {
                return Err(Error::TooLarge { controller: self.controller(), call: call.name, limit });
            }
            reply.extend_from_slice(&self.buffer[body]);
            if header.is_last {
                return Ok(reply);
            }
            is_first = false;
        }
    }

    async fn send_request(&mut self, call: Call, stub: &[u8]) -> Result<(), Error> {
        let token_length = self.security.as_ref().map_or(0, |security| security.token_length());
        let room = pdu::stub_room(self.max_fragment, token_length);
        let mut rest = stub;
        let mut is_first = true;
        loop {
            let (part, after) = rest.split_at(rest.len().min(room));
            let place = Place { is_first, is_last: after.is_empty() };
            let fragment = match &mut self.security {
                None => pdu::request(self.call_id, call.number, place, part, stub.len()),
                Some(security) => {
                    let provider = security.provider();
                    let mut fragment = pdu::request_to_seal(
                        self.call_id,
                        call.number,
                        place,
                        part,
                        stub.len(),
                        provider,
                        token_length,
                    );
                    let parts = pdu::sealed_parts(&mut fragment, token_length).expect("made with room for its token");
                    security.seal(parts).map_err(|error| self.security_error(error))?;
                    fragment
                }
            };
            self.send(&fragment, call.name).await?;
            if after.is_empty() {
                return Ok(());
            }
            rest = after;
            is_first = false;
        }
    }

    /// Verifies and decrypts the response in the buffer; says where its stub is.
    fn open_response(&mut self, call: Call, header: &Header) -> Result<std::ops::Range<usize>, Error> {
        let Some(security) = &mut self.security else {
            if header.token_length != 0 || self.buffer.len() < pdu::CALL_HEAD {
                return Err(self.malformed(call, MalformedReply { what: "response", at: 0 }));
            }
            return Ok(pdu::CALL_HEAD..self.buffer.len());
        };
        let token_length = security.token_length();
        let provider = security.provider();
        let tampered = Error::Tampered { controller: self.channel.controller.clone() };
        if header.token_length != token_length {
            return Err(tampered);
        }
        let Some(parts) = pdu::sealed_parts(&mut self.buffer, token_length) else { return Err(tampered) };
        let [_, body, trailer, _] = &parts;
        let (body_length, padding) = (body.len(), usize::from(trailer[2]));
        if trailer[..2] != [provider, pdu::PRIVACY] || padding > body_length {
            return Err(tampered);
        }
        security.unseal(parts).map_err(|error| self.security_error(error))?;
        Ok(pdu::CALL_HEAD..pdu::CALL_HEAD + body_length - padding)
    }

    async fn send(&mut self, pdu: &[u8], doing: &'static str) -> Result<(), Error> {
        let sent = self.channel.stream.write_all(pdu).await;
        sent.map_err(|source| self.lost(doing, source))
    }

    /// Reads one fragment into the buffer.
    async fn receive(&mut self, doing: &'static str) -> Result<Header, Error> {
        let mut head = [0; pdu::HEADER];
        if let Err(source) = self.channel.stream.read_exact(&mut head).await {
            return Err(self.lost(doing, source));
        }
        let header = Header::read(&head).map_err(|source| Error::Malformed {
            controller: self.controller(),
            call: doing,
            source,
        })?;
        self.buffer.clear();
        self.buffer.extend_from_slice(&head);
        // At most MAX_FRAGMENT: the header was checked.
        self.buffer.resize(header.length, 0);
        if let Err(source) = self.channel.stream.read_exact(&mut self.buffer[pdu::HEADER..]).await {
            return Err(self.lost(doing, source));
        }
        Ok(header)
    }

    fn lost(&self, doing: &'static str, source: io::Error) -> Error {
        Error::ConnectionLost { controller: self.controller(), doing, source }
    }

    fn unexpected(&self, doing: &'static str, what: &'static str) -> Error {
        Error::Unexpected { controller: self.controller(), doing, what }
    }

    fn declined(&self, reason: &'static str) -> Error {
        Error::Declined { controller: self.controller(), reason }
    }

    pub(crate) fn malformed(&self, call: Call, source: MalformedReply) -> Error {
        Error::Malformed { controller: self.controller(), call: call.name, source }
    }

    fn security_error(&self, error: SecurityError) -> Error {
        error.told(self.controller(), self.channel.account.clone())
    }
}
