//! A bound client: passes over a naming context, single objects, names.

use std::collections::HashSet;

use uuid::Uuid;

use crate::account::AccountChange;
use crate::attribute::AttributeIds;
use crate::calls::bind::{self, Extensions};
use crate::calls::crack_names::{self, CrackedName, NameFormat};
use crate::calls::domain_controllers::{self, DomainController};
use crate::calls::replicate::{self, Request};
use crate::calls::{self, Call, ContextHandle, replica};
use crate::controller::{Account, Controller, SignIn};
use crate::cursor::{Continuity, Cursor, UsnVector};
use crate::decryption::SessionKey;
use crate::error::{Error, Port};
use crate::rpc::security::SecurityContext;
use crate::rpc::{self, Association, Channel, endpoint_mapper};
use crate::security_id::SecurityId;

/// A connection to one domain controller, signed in and sealed.
pub struct Client {
    association: Association,
    handle: ContextHandle,
    key: SessionKey,
    extensions: Extensions,
    account: String,
    /// As whom single objects are asked for: the controller's own directory agent once it is known.
    directory_agent: Option<Uuid>,
    pass_pages: u32,
    pass_bytes: u64,
}

/// A pass over one naming context, page by page.
pub struct Pass<'c> {
    client: &'c mut Client,
    cursor: Cursor,
    page_objects: u32,
    is_done: bool,
    /// Pages and bytes so far.
    pages: u32,
    bytes: u64,
    /// Objects that were told since the watermark moved last, while more is announced.
    told: HashSet<Uuid>,
}

/// Some changes.
#[derive(Debug)]
pub struct Page {
    /// In the order in which the server took them.
    pub accounts: Vec<AccountChange>,
    /// Objects in the page, those included that are no accounts.
    pub objects: usize,
    /// Where a later pass goes on once these changes are worked off.
    pub cursor: Cursor,
    pub continuity: Continuity,
    /// Whether this was the last page.
    pub is_last: bool,
    /// About how many objects the naming context has, when the server says; for progress.
    pub context_objects: Option<u32>,
}

/// An object to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectName {
    Guid(Uuid),
    Sid(SecurityId),
    DistinguishedName(String),
}

/// Windows error codes of replication (MS-ERREF 2.2, MS-DRSR 4.1.10.5).
const NO_SUCH_OBJECT: u32 = 8333;
const NOT_A_NAMING_CONTEXT: u32 = 8420;
const BAD_NAMING_CONTEXT: u32 = 8440;
const BAD_NAME: u32 = 8439;
const ACCESS_DENIED: u32 = 8453;
const SOURCE_DISABLED: u32 = 8456;
/// Statuses of faults by which servers answer the first call after a sign-in that they refused: ERROR_ACCESS_DENIED and
/// RPC_S_SEC_PKG_ERROR (Windows), nca_s_proto_error (Samba).
const REFUSED_SIGN_IN: [u32; 3] = [5, 1825, 0x1c01_000b];

impl Client {
    /// Connects, signs in and binds.
    pub async fn connect(controller: &Controller, account: &Account) -> Result<Self, Error> {
        let port = match controller.replication_port {
            Some(port) => port,
            None => replication_port(controller).await?,
        };
        let shown = account.shown();
        let security = security_context(controller, account)?;
        let channel = Channel::connect(controller, &shown, Port::Replication(port)).await?;
        let association = Association::bind(channel, rpc::REPLICATION, Some(security)).await;
        let mut association = association.map_err(|error| sign_in_refused(error, &shown))?;
        let key = association.session_key()?;
        let (mut extensions, mut handle) =
            drs_bind(&mut association, 0).await.map_err(|error| sign_in_refused(error, &shown))?;
        if extensions.epoch() != 0 {
            (extensions, handle) = drs_bind(&mut association, extensions.epoch()).await?;
        }
        if let Some(missing) = extensions.missing() {
            return Err(Error::Unsupported { controller: association.controller(), missing });
        }
        let Controller { pass_pages, pass_bytes, .. } = *controller;
        let account = shown;
        Ok(Self { association, handle, key, extensions, account, directory_agent: None, pass_pages, pass_bytes })
    }

    /// Starts or goes on with a pass.
    pub fn pass(&mut self, cursor: Cursor) -> Pass<'_> {
        let page_objects = replicate::PAGE_OBJECTS;
        Pass { client: self, cursor, page_objects, is_done: false, pages: 0, bytes: 0, told: HashSet::new() }
    }

    /// One account with everything that is asked for, whatever any cursor covers; `None` when there is no such object, or
    /// it is no account. (Windows says the same of an object that the account may not read.)
    pub async fn account(&mut self, name: &ObjectName) -> Result<Option<AccountChange>, Error> {
        let (guid, sid, text) = match name {
            ObjectName::Guid(guid) => (*guid, None, ""),
            ObjectName::Sid(sid) => (Uuid::nil(), Some(sid), ""),
            ObjectName::DistinguishedName(name) => (Uuid::nil(), None, name.as_str()),
        };
        let destination = self.directory_agent.unwrap_or(bind::CLIENT);
        let request = Request::Object { guid, sid, name: text };
        let stub = replicate::request(self.handle, destination, &request, self.extensions.takes_request_v10());
        let reply = self.association.call(calls::GET_CHANGES, &stub).await?;
        let (results, status) = self.split(calls::GET_CHANGES, &reply)?;
        if matches!(status, BAD_NAME | NO_SUCH_OBJECT) {
            return Ok(None);
        }
        let shown = match name {
            ObjectName::Guid(guid) => guid.to_string(),
            ObjectName::Sid(sid) => sid.to_string(),
            ObjectName::DistinguishedName(name) => name.clone(),
        };
        self.check(calls::GET_CHANGES, status, &shown)?;
        let reply = replica::reply(results).map_err(|source| self.association.malformed(calls::GET_CHANGES, source))?;
        self.check(calls::GET_CHANGES, reply.error, &shown)?;
        let ids = AttributeIds::new(&reply.table);
        Ok(reply.objects.iter().find_map(|object| AccountChange::new(object, &ids, &self.key)))
    }

    /// The controllers of a domain (by its DNS name), and remembers which of them this one is.
    pub async fn domain_controllers(&mut self, domain: &str) -> Result<Vec<DomainController>, Error> {
        let call = calls::DOMAIN_CONTROLLERS;
        let reply = self.association.call(call, &domain_controllers::request(self.handle, domain)).await?;
        let (results, status) = self.split(call, &reply)?;
        self.check(call, status, domain)?;
        let controllers =
            domain_controllers::reply(results).map_err(|source| self.association.malformed(call, source))?;
        let host = self.association.controller();
        let is_this = |controller: &&DomainController| {
            let names = [&controller.dns_name, &controller.netbios_name];
            names.into_iter().flatten().any(|name| name.eq_ignore_ascii_case(&host))
        };
        let own = controllers.iter().find(is_this).or_else(|| controllers.first());
        self.directory_agent = own.map(|controller| controller.directory_agent).filter(|agent| !agent.is_nil());
        Ok(controllers)
    }

    /// Other forms of names, one result for each.
    pub async fn crack_names(
        &mut self,
        offered: NameFormat,
        desired: NameFormat,
        names: &[String],
    ) -> Result<Vec<CrackedName>, Error> {
        let call = calls::CRACK_NAMES;
        let reply = self.association.call(call, &crack_names::request(self.handle, offered, desired, names)).await?;
        let (results, status) = self.split(call, &reply)?;
        self.check(call, status, "names")?;
        crack_names::reply(results).map_err(|source| self.association.malformed(call, source))
    }

    /// Gives the server's handle back. A connection that is merely dropped costs the server its idle time.
    pub async fn close(mut self) {
        let stub = calls::bind::unbind_request(self.handle);
        if let Err(error) = self.association.call(calls::UNBIND, &stub).await {
            tracing::debug!(error = %error, "the binding was not given back");
        }
    }

    fn split<'r>(&self, call: Call, reply: &'r [u8]) -> Result<(&'r [u8], u32), Error> {
        calls::split_status(reply).map_err(|source| self.association.malformed(call, source))
    }

    fn check(&self, call: Call, status: u32, name: &str) -> Result<(), Error> {
        let controller = self.association.controller();
        Err(match status {
            0 => return Ok(()),
            ACCESS_DENIED => {
                Error::AccessDenied { controller, account: self.account.clone(), naming_context: name.to_owned() }
            }
            NOT_A_NAMING_CONTEXT | BAD_NAMING_CONTEXT | BAD_NAME | NO_SUCH_OBJECT => {
                Error::NotANamingContext { controller, name: name.to_owned() }
            }
            SOURCE_DISABLED => Error::SourceDisabled { controller },
            code => Error::Refused { controller, call: call.name, code },
        })
    }
}

impl Pass<'_> {
    /// At most about this many objects a page, instead of 1,000. Servers have limits of their own.
    #[must_use]
    pub fn page_objects(self, page_objects: u32) -> Self {
        Self { page_objects, ..self }
    }

    /// The next page; `None` after the last one. After an error the pass is over; a new one goes on from the cursor of the
    /// last page that was worked off.
    pub async fn next_page(&mut self) -> Result<Option<Page>, Error> {
        if self.is_done {
            return Ok(None);
        }
        self.is_done = true;
        let client = &mut *self.client;
        let request = Request::Changes {
            naming_context: self.cursor.naming_context(),
            invocation_id: self.cursor.invocation_id().unwrap_or_default(),
            watermark: self.cursor.watermark(),
            seen: self.cursor.seen(),
            max_objects: self.page_objects,
        };
        let stub = replicate::request(client.handle, bind::CLIENT, &request, client.extensions.takes_request_v10());
        let call = calls::GET_CHANGES;
        let reply = client.association.call(call, &stub).await?;
        let length = reply.len();
        let (results, status) = client.split(call, &reply)?;
        client.check(call, status, self.cursor.naming_context())?;
        let reply = replica::reply(results).map_err(|source| client.association.malformed(call, source))?;
        client.check(call, reply.error, self.cursor.naming_context())?;
        let bounded = judge(&reply, &self.cursor, &mut self.told, self.pages == 0);
        let unexpected =
            |what| Error::Unexpected { controller: client.association.controller(), doing: call.name, what };
        bounded.map_err(unexpected)?;
        self.pages += 1;
        self.bytes += u64::try_from(length).unwrap_or(u64::MAX);
        if self.pages > client.pass_pages || self.bytes > client.pass_bytes {
            let controller = client.association.controller();
            return Err(Error::Endless { controller, pages: self.pages, bytes: self.bytes });
        }
        let ids = AttributeIds::new(&reply.table);
        let accounts =
            reply.objects.iter().filter_map(|object| AccountChange::new(object, &ids, &client.key)).collect();
        let continuity = self.cursor.continuity(reply.invocation_id);
        self.cursor = self.cursor.after(reply.invocation_id, reply.watermark, (!reply.more).then_some(reply.seen));
        self.is_done = !reply.more;
        Ok(Some(Page {
            accounts,
            objects: reply.objects.len(),
            cursor: self.cursor.clone(),
            continuity,
            is_last: !reply.more,
            context_objects: (reply.context_objects != 0).then_some(reply.context_objects),
        }))
    }
}

/// Whether a page may be one of many. Each that is not the last has to move the watermark, or to tell an object that was
/// not told since it moved: controllers that send the head of the naming context first, which is the newest object there
/// (Samba), stand still while they go through the rest, and then give the values of links, which are not read here.
fn judge(
    reply: &replica::Reply<'_>,
    cursor: &Cursor,
    told: &mut HashSet<Uuid>,
    is_first: bool,
) -> Result<(), &'static str> {
    let continued = cursor.continuity(reply.invocation_id) == Continuity::Continued;
    if !is_first && !continued {
        return Err("another database than on the page before");
    }
    if !reply.more {
        return Ok(());
    }
    let before = if continued { cursor.watermark() } else { UsnVector::default() };
    let moved = reply.watermark.object_update > before.object_update
        || reply.watermark.property_update > before.property_update;
    if moved {
        told.clear();
    }
    let known = told.len();
    told.extend(reply.objects.iter().map(|object| object.name.guid));
    if moved || told.len() > known || reply.link_values > 0 { Ok(()) } else { Err("more to come, and no progress") }
}

/// Asks the endpoint mapper, unauthenticated, as everybody does.
async fn replication_port(controller: &Controller) -> Result<u16, Error> {
    let channel = Channel::connect(controller, "", Port::EndpointMapper(controller.endpoint_mapper_port)).await?;
    let mut association = Association::bind(channel, rpc::ENDPOINT_MAPPER, None).await?;
    let reply = association.call(endpoint_mapper::MAP, &endpoint_mapper::request(rpc::REPLICATION)).await?;
    let malformed = |source| association.malformed(endpoint_mapper::MAP, source);
    let (results, status) = calls::split_status(&reply).map_err(malformed)?;
    let not_there = || Error::NotAController { controller: controller.host.clone() };
    if status != 0 {
        return Err(not_there());
    }
    endpoint_mapper::reply(results).map_err(malformed)?.ok_or_else(not_there)
}

fn security_context(controller: &Controller, account: &Account) -> Result<Box<dyn SecurityContext>, Error> {
    let context = match account.sign_in {
        SignIn::Ntlm => rpc::ntlm(account),
        SignIn::Kerberos => rpc::kerberos(controller, account),
    };
    context.map_err(|error| error.told(controller.host.clone(), account.shown()))
}

async fn drs_bind(association: &mut Association, epoch: u32) -> Result<(Extensions, ContextHandle), Error> {
    let reply = association.call(calls::BIND, &bind::request(Extensions::own(epoch))).await?;
    let malformed = |source| association.malformed(calls::BIND, source);
    let (results, status) = calls::split_status(&reply).map_err(malformed)?;
    if status != 0 {
        return Err(Error::Refused { controller: association.controller(), call: calls::BIND.name, code: status });
    }
    bind::reply(results).map_err(malformed)
}

/// The last leg of a sign-in has no answer: the server's verdict comes with the first call, which needs no rights.
fn sign_in_refused(error: Error, account: &str) -> Error {
    match error {
        Error::Fault { controller, status, .. } if REFUSED_SIGN_IN.contains(&status) => {
            Error::LogonFailure { controller, account: account.to_owned() }
        }
        other => other,
    }
}
