//! A domain controller of Active Directory on the wire, by what MS-ADTS says of it: for what Samba does not do. It answers
//! from a list of objects; what it can be told to do is named after the section that describes it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::{SinkExt as _, StreamExt as _};
use landbridge::ldap::{ServerUrl, Trust};
use ldap3_proto::LdapCodec;
use ldap3_proto::control::LdapControl;
use ldap3_proto::proto::{
    LdapBindResponse, LdapFilter, LdapMsg, LdapOp, LdapPartialAttribute, LdapResult, LdapResultCode, LdapSearchRequest,
    LdapSearchResultEntry, LdapSearchResultReference, LdapSearchScope,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::Framed;

use super::pki::Pki;
use super::process::temp_dir;

pub const ROOT: &str = "DC=corp,DC=example";
const SCHEMA: &str = "CN=Schema,CN=Configuration,DC=corp,DC=example";
const SETTINGS: &str = "CN=NTDS Settings,CN=DC1,CN=Servers,CN=Configuration,DC=corp,DC=example";
const SERVICE: &str = "CN=Directory Service,CN=Windows NT,CN=Services,CN=Configuration,DC=corp,DC=example";
/// LDAP_SERVER_DOMAIN_SCOPE_OID (MS-ADTS, section 3.1.1.3.4.1.5).
const DOMAIN_SCOPE: &str = "1.2.840.113556.1.4.1339";
/// LDAP_DIRSYNC_INCREMENTAL_VALUES (MS-ADTS, section 3.1.1.3.4.1.3).
const INCREMENTAL_VALUES: i64 = 0x8000_0000;

#[derive(Clone, Debug, Default)]
pub struct Object {
    attributes: BTreeMap<String, Vec<Vec<u8>>>,
    /// Its last change, by the controller's count.
    usn: u64,
    deleted: bool,
}

/// What the controller holds, and how it answers.
#[derive(Clone, Debug)]
pub struct Domain {
    pub objects: BTreeMap<String, Object>,
    /// How many changes were made.
    pub usn: u64,
    pub invocation_id: [u8; 16],
    /// GeneralizedTime.
    pub now: String,
    pub tombstone_lifetime: Option<u32>,
    /// MaxValRange: values of one attribute that are told at once (MS-ADTS, section 3.1.1.3.1.3.3).
    pub value_range: usize,
    /// Objects in one answer to a DirSync question.
    pub dir_sync_page: usize,
    /// A subordinate domain: its name, and where it is.
    pub child: Option<(String, String)>,
    /// Continuation references come even where the client asks for none.
    pub always_refers: bool,
    /// Links are told whole, as at the functional level of Windows 2000, where they carry no stamps of their own.
    pub legacy_links: bool,
}

/// A question that was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub base: String,
    pub attributes: Vec<String>,
    /// The cookie of a DirSync question.
    pub cookie: Option<Vec<u8>>,
    pub domain_scope: bool,
}

pub struct Controller {
    pub url: ServerUrl,
    pub trust: Trust,
    pub domain: Arc<Mutex<Domain>>,
    pub asked: Arc<Mutex<Vec<Asked>>>,
}

impl Domain {
    pub fn new() -> Self {
        let mut domain = Self {
            objects: BTreeMap::new(),
            usn: 1000,
            invocation_id: *b"first-invocation",
            now: "20261122120000.0Z".to_owned(),
            tombstone_lifetime: None,
            value_range: 1500,
            dir_sync_page: 1000,
            child: None,
            always_refers: false,
            legacy_links: false,
        };
        domain.put(
            "",
            ROOT,
            &[("objectClass", &["top", "domain", "domainDNS"]), ("objectGUID", &["root------------"])],
        );
        domain
    }

    /// Adds an object, or replaces all of it; its name is `rdn` below `parent`.
    pub fn put(&mut self, rdn: &str, parent: &str, attributes: &[(&str, &[&str])]) {
        self.usn += 1;
        let name = if rdn.is_empty() { parent.to_owned() } else { format!("{rdn},{parent}") };
        let bytes = |values: &[&str]| values.iter().map(|value| value.as_bytes().to_vec()).collect();
        let mut object = Object { usn: self.usn, ..Object::default() };
        object.attributes = attributes.iter().map(|(key, values)| ((*key).to_owned(), bytes(values))).collect();
        object.attributes.insert("name".to_owned(), vec![rdn.as_bytes().to_vec()]);
        self.objects.insert(name, object);
    }

    pub fn person(&mut self, number: usize, name: &str) {
        let (key, guid) = (format!("p{number}"), guid(number));
        let attributes: [(&str, &[&str]); 4] = [
            ("objectClass", &["top", "person", "user"]),
            ("objectGUID", &[&guid]),
            ("sAMAccountName", &[&key]),
            ("displayName", &[name]),
        ];
        self.put(&format!("CN={key}"), ROOT, &attributes);
    }

    pub fn group(&mut self, number: usize, members: &[String]) {
        let (key, guid) = (format!("g{number}"), guid(5000 + number));
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        let attributes: [(&str, &[&str]); 4] = [
            ("objectClass", &["top", "group"]),
            ("objectGUID", &[&guid]),
            ("sAMAccountName", &[&key]),
            ("member", &members),
        ];
        self.put(&format!("CN={key}"), ROOT, &attributes);
    }

    /// Deletes a person (MS-ADTS, section 3.1.1.5.5): it goes on as a tombstone, and nobody refers to it any more.
    pub fn delete(&mut self, number: usize) {
        self.usn += 1;
        let name = person_name(number);
        let old = self.objects.remove(&name).expect("it is there");
        let guid = old.attributes["objectGUID"].clone();
        let attributes = BTreeMap::from([
            ("objectClass".to_owned(), old.attributes["objectClass"].clone()),
            ("objectGUID".to_owned(), guid),
            ("isDeleted".to_owned(), vec![b"TRUE".to_vec()]),
        ]);
        let tombstone = Object { attributes, usn: self.usn, deleted: true };
        self.objects.insert(format!("CN=p{number}\\0ADEL:{number},CN=Deleted Objects,{ROOT}"), tombstone);
        for object in self.objects.values_mut() {
            if let Some(members) = object.attributes.get_mut("member") {
                members.retain(|member| *member != name.as_bytes());
            }
        }
    }

    fn root_dse(&self) -> LdapSearchResultEntry {
        let usn = self.usn.to_string();
        shown(
            "",
            [
                ("supportedCapabilities", "1.2.840.113556.1.4.800"),
                ("supportedControl", "1.2.840.113556.1.4.841"),
                ("dsServiceName", SETTINGS),
                ("defaultNamingContext", ROOT),
                ("schemaNamingContext", SCHEMA),
                ("highestCommittedUSN", &usn),
                ("currentTime", &self.now),
            ]
            .map(|(name, value)| (name.to_owned(), vec![value.as_bytes().to_vec()])),
        )
    }

    fn answer(&self, request: &LdapSearchRequest, controls: &[LdapControl]) -> Vec<(LdapOp, Vec<LdapControl>)> {
        let done = |code, controls| (LdapOp::SearchResultDone(outcome(code, Vec::new())), controls);
        let entry = |entry| (LdapOp::SearchResultEntry(entry), Vec::new());
        let one = |found: Option<LdapSearchResultEntry>| {
            found.into_iter().map(entry).chain([done(LdapResultCode::Success, Vec::new())]).collect()
        };
        match request.base.as_str() {
            "" => return one(Some(self.root_dse())),
            SETTINGS => {
                let id = ("invocationId".to_owned(), vec![self.invocation_id.to_vec()]);
                return one(Some(shown(SETTINGS, [id])));
            }
            SERVICE => {
                let days = self.tombstone_lifetime.map(|days| days.to_string().into_bytes());
                return one(Some(shown(SERVICE, days.map(|days| ("tombstoneLifetime".to_owned(), vec![days])))));
            }
            base if base == format!("CN=Deleted Objects,{ROOT}") => {
                let deleted = ("isDeleted".to_owned(), vec![b"TRUE".to_vec()]);
                let page = LdapControl::SimplePagedResults { size: 0, cookie: Vec::new() };
                return vec![entry(shown(base, [deleted])), done(LdapResultCode::Success, vec![page])];
            }
            base if self.child.as_ref().is_some_and(|(name, _)| base.ends_with(name.as_str())) => {
                // The naming context is another server's (MS-ADTS, section 3.1.1.3.1.4; RFC 4511, section 4.1.10).
                let urls = self.child.iter().map(|(name, url)| format!("{url}/{name}")).collect();
                return vec![(LdapOp::SearchResultDone(outcome(LdapResultCode::Referral, urls)), Vec::new())];
            }
            _ => {}
        }
        for control in controls {
            if let LdapControl::AdDirsync { flags, cookie, .. } = control {
                return self.dir_sync(*flags, cookie.as_deref().unwrap_or_default());
            }
        }
        let shows_deleted = controls.iter().any(|control| matches!(control, LdapControl::ShowDeleted { .. }));
        let found: Vec<(&String, &Object)> = self
            .objects
            .iter()
            .filter(|(name, object)| {
                let in_scope = match request.scope {
                    LdapSearchScope::Base => name.eq_ignore_ascii_case(&request.base),
                    _ => name.to_ascii_lowercase().ends_with(&request.base.to_ascii_lowercase()),
                };
                in_scope && (!object.deleted || shows_deleted) && matches(&request.filter, object)
            })
            .collect();
        let page = controls.iter().find_map(|control| match control {
            LdapControl::SimplePagedResults { size, cookie } => Some((*size, cookie.clone())),
            _ => None,
        });
        let (from, to) = match &page {
            Some((size, cookie)) => {
                let from = std::str::from_utf8(cookie).ok().and_then(|text| text.parse().ok()).unwrap_or(0_usize);
                (from, found.len().min(from + usize::try_from(*size).expect("a size")))
            }
            None => (0, found.len()),
        };
        let mut answers: Vec<_> =
            found[from..to].iter().map(|(name, object)| entry(self.attributes(name, object, &request.attrs))).collect();
        let asked_for_none = controls.iter().any(is_domain_scope);
        if let (Some((name, url)), true) = (&self.child, request.scope == LdapSearchScope::Subtree)
            && (!asked_for_none || self.always_refers)
        {
            let reference = LdapSearchResultReference { uris: vec![format!("{url}/{name}")] };
            answers.push((LdapOp::SearchResultReference(reference), Vec::new()));
        }
        let controls = page.map(|_| {
            let cookie = if to < found.len() { to.to_string().into_bytes() } else { Vec::new() };
            LdapControl::SimplePagedResults { size: 0, cookie }
        });
        answers.push(done(LdapResultCode::Success, controls.into_iter().collect()));
        answers
    }

    /// MS-ADTS, section 3.1.1.3.4.1.3: objects that changed since the cookie, in the order of their changes, deleted ones
    /// among them; a cookie to go on with, and whether there is more. The flags of the answer are then not zero.
    fn dir_sync(&self, flags: i64, cookie: &[u8]) -> Vec<(LdapOp, Vec<LdapControl>)> {
        let since: u64 = std::str::from_utf8(cookie).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut changed: Vec<_> = self.objects.iter().filter(|(_, object)| object.usn > since).collect();
        changed.sort_by_key(|(_, object)| object.usn);
        let page = &changed[..changed.len().min(self.dir_sync_page)];
        let mut answers: Vec<_> = page
            .iter()
            .map(|(name, object)| {
                let mut told = object.attributes.clone();
                // With the flag, and links that carry stamps, values that came are told as a range `1-1`, and those that went
                // as `0-0`; without either, all that is there (MS-ADTS, section 3.1.1.3.4.1.3).
                if flags & INCREMENTAL_VALUES != 0 && !self.legacy_links {
                    let values =
                        told.remove("member").into_iter().map(|values| ("member;range=1-1".to_owned(), values));
                    told.extend(values.collect::<Vec<_>>());
                }
                (LdapOp::SearchResultEntry(shown(name, told)), Vec::new())
            })
            .collect();
        let reached = page.last().map_or(since, |(_, object)| object.usn).max(since);
        let more = page.len() < changed.len();
        let cookie = Some(reached.to_string().into_bytes());
        let control = LdapControl::AdDirsync { flags: i64::from(more), max_bytes: 0, cookie };
        answers.push((LdapOp::SearchResultDone(outcome(LdapResultCode::Success, Vec::new())), vec![control]));
        answers
    }

    /// The attributes that were asked for; those with more values than the server tells at once as a range.
    fn attributes(&self, name: &str, object: &Object, asked: &[String]) -> LdapSearchResultEntry {
        let mut told = Vec::new();
        for (key, values) in &object.attributes {
            let wanted =
                asked.iter().find(|asked| asked.split(';').next().is_some_and(|a| a.eq_ignore_ascii_case(key)));
            let from = match wanted {
                None if !asked.is_empty() => continue,
                None => 0,
                Some(asked) => asked
                    .to_ascii_lowercase()
                    .split_once("range=")
                    .and_then(|(_, range)| range.split('-').next()?.parse().ok())
                    .unwrap_or(0_usize),
            };
            let rest = values.get(from..).unwrap_or_default();
            if rest.len() > self.value_range {
                let to = from + self.value_range - 1;
                told.push((format!("{key};range={from}-{to}"), rest[..self.value_range].to_vec()));
            } else if from > 0 {
                told.push((format!("{key};range={from}-*"), rest.to_vec()));
            } else {
                told.push((key.clone(), values.clone()));
            }
        }
        shown(name, told)
    }
}

/// Sixteen octets that are text, because the filters of this server are.
pub fn guid(number: usize) -> String {
    format!("guid-{number:011}")
}

pub fn person_name(number: usize) -> String {
    format!("CN=p{number},{ROOT}")
}

fn shown(name: &str, attributes: impl IntoIterator<Item = (String, Vec<Vec<u8>>)>) -> LdapSearchResultEntry {
    let attributes = attributes.into_iter().filter(|(_, values)| !values.is_empty());
    let attributes = attributes.map(|(atype, vals)| LdapPartialAttribute { atype, vals }).collect();
    LdapSearchResultEntry { dn: name.to_owned(), attributes }
}

fn outcome(code: LdapResultCode, referral: Vec<String>) -> LdapResult {
    LdapResult { code, matcheddn: String::new(), message: String::new(), referral }
}

fn is_domain_scope(control: &LdapControl) -> bool {
    matches!(control, LdapControl::Unknown { oid, .. } if oid == DOMAIN_SCOPE)
}

fn matches(filter: &LdapFilter, object: &Object) -> bool {
    let values = |name: &str| {
        let found = object.attributes.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, values)| values.as_slice()).unwrap_or_default()
    };
    match filter {
        LdapFilter::And(all) => all.iter().all(|filter| matches(filter, object)),
        LdapFilter::Or(some) => some.iter().any(|filter| matches(filter, object)),
        LdapFilter::Not(filter) => !matches(filter, object),
        LdapFilter::Present(name) => name.eq_ignore_ascii_case("objectClass") || !values(name).is_empty(),
        LdapFilter::Equality(name, sought) => {
            values(name).iter().any(|value| value.eq_ignore_ascii_case(sought.as_bytes()))
        }
        LdapFilter::GreaterOrEqual(name, least) if name.eq_ignore_ascii_case("uSNChanged") => {
            object.usn >= least.parse().expect("a number")
        }
        other => panic!("nobody asks for {other:?}"),
    }
}

impl Controller {
    pub async fn start(domain: Domain) -> Self {
        let dir = temp_dir("scripted-ad");
        let pki = Pki::new(dir.path());
        let acceptor = pki.server("scripted-ad", &[]).acceptor();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let (domain, asked) = (Arc::new(Mutex::new(domain)), Arc::new(Mutex::new(Vec::new())));
        let held = (Arc::clone(&domain), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                // A client that gives up is what some tests are about.
                tokio::spawn(serve(tcp, acceptor.clone(), Arc::clone(&held.0), Arc::clone(&held.1)));
            }
        });
        let url = format!("ldaps://localhost:{port}").parse().expect("an address");
        Self { url, trust: Trust::new(&[pki.ca_file()]).expect("the test CA"), domain, asked }
    }

    /// Changes what the controller holds, or does.
    pub fn change(&self, change: impl FnOnce(&mut Domain)) {
        change(&mut self.domain.lock().expect("lock"));
    }

    /// What was asked since the last time.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().expect("lock"))
    }
}

async fn serve(
    tcp: TcpStream,
    acceptor: tokio_rustls::TlsAcceptor,
    domain: Arc<Mutex<Domain>>,
    asked: Arc<Mutex<Vec<Asked>>>,
) {
    let Ok(tls) = acceptor.accept(tcp).await else { return };
    let mut framed = Framed::new(tls, LdapCodec::default());
    while let Some(Ok(LdapMsg { msgid, op, ctrl })) = framed.next().await {
        let answers = match op {
            LdapOp::BindRequest(_) => {
                let res = outcome(LdapResultCode::Success, Vec::new());
                vec![(LdapOp::BindResponse(LdapBindResponse { res, saslcreds: None }), Vec::new())]
            }
            LdapOp::SearchRequest(request) => {
                let cookie = ctrl.iter().find_map(|control| match control {
                    LdapControl::AdDirsync { cookie, .. } => Some(cookie.clone().unwrap_or_default()),
                    _ => None,
                });
                let (base, attributes) = (request.base.clone(), request.attrs.clone());
                let domain_scope = ctrl.iter().any(is_domain_scope);
                asked.lock().expect("lock").push(Asked { base, attributes, cookie, domain_scope });
                domain.lock().expect("lock").answer(&request, &ctrl)
            }
            _ => return,
        };
        for (op, ctrl) in answers {
            if framed.send(LdapMsg { msgid, op, ctrl }).await.is_err() {
                return;
            }
        }
    }
}
