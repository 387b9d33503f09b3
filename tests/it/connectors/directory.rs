//! The LDAP connector against a real slapd.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use landbridge::config::Bounds;
use landbridge::connectors::ldap::{DeltaChoice, LdapConnector, LdapConnectorSettings};
use landbridge::identity::PlainPassword;
use landbridge::ldap::{ServiceAccount, Trust};
use landbridge::sync::Connector;
use landbridge::sync::connector::{DisabledTest, Hidden, ImportMode, ImportRequest, Wanted};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;

use super::conformance::{self, Source, State};
use crate::support::pki::Pki;
use crate::support::process::temp_dir;
use crate::support::slapd::{SUFFIX, Slapd};

pub struct Peer {
    slapd: Mutex<Slapd>,
    connector: Box<dyn Connector>,
    shown: Mutex<State>,
}

impl Peer {
    fn start() -> Self {
        let slapd = Self::slapd();
        let connector = LdapConnector::new(settings(&slapd, &slapd.ldaps_url(), &slapd.ca_file()));
        Self::behind(slapd, Box::new(connector))
    }

    pub fn slapd() -> Slapd {
        let moved = format!("dn: ou=moved,{SUFFIX}\nobjectClass: organizationalUnit\nou: moved\n");
        Slapd::builder().ldif(&moved).start()
    }

    /// `slapd` as `connector` shows it.
    pub fn behind(slapd: Slapd, connector: Box<dyn Connector>) -> Self {
        Self { slapd: Mutex::new(slapd), connector, shown: Mutex::default() }
    }

    fn dn(state: &State, key: &str) -> String {
        let unit = if state.moved.contains(key) { "moved" } else { "people" };
        format!("uid={key},ou={unit},{SUFFIX}")
    }
}

/// Of a connector that reaches `slapd` at `url`.
fn settings(slapd: &Slapd, url: &str, ca_file: &Path) -> LdapConnectorSettings {
    LdapConnectorSettings {
        name: "corp".parse().expect("a name"),
        kind: "ldap".to_owned(),
        servers: vec![url.parse().expect("a url")],
        trust: Trust::new(&[ca_file.to_path_buf()]).expect("a CA"),
        account: ServiceAccount {
            dn: slapd.service_dn().parse().expect("a dn"),
            password: PlainPassword::new(slapd.service_password().to_owned()).expect("may be typed"),
        },
        deadline: Duration::from_secs(20),
        page_size: 10,
        root: SUFFIX.parse().expect("a dn"),
        include: Vec::new(),
        exclude: Vec::new(),
        anchor: "entryUUID".to_owned(),
        anchor_is_binary: false,
        container_filter: LdapConnectorSettings::usual_containers(),
        types: LdapConnectorSettings::usual_types(),
        disabled_when: DisabledTest::defaults(),
        delta: DeltaChoice::Auto,
        writeback: None,
        bounds: Bounds::Everywhere,
    }
}

/// The change records that lead from one state to another.
fn changes(before: &State, after: &State) -> String {
    let mut ldif = String::new();
    let mut record = |text: std::fmt::Arguments<'_>| writeln!(ldif, "{text}\n").expect("a string takes it");
    for (key, name) in &after.people {
        match before.people.get(key) {
            None => record(format_args!(
                "dn: {}\nchangetype: add\nobjectClass: inetOrgPerson\nuid: {key}\nsn: {key}\ncn: {name}",
                Peer::dn(after, key)
            )),
            Some(old) if old != name => {
                let dn = Peer::dn(before, key);
                record(format_args!("dn: {dn}\nchangetype: modify\nreplace: cn\ncn: {name}\n-"));
            }
            Some(_) => {}
        }
        if after.moved.contains(key) && !before.moved.contains(key) && before.people.contains_key(key) {
            record(format_args!(
                "dn: {}\nchangetype: modrdn\nnewrdn: uid={key}\ndeleteoldrdn: 1\nnewsuperior: ou=moved,{SUFFIX}",
                Peer::dn(before, key)
            ));
        }
    }
    for (key, members) in &after.groups {
        let dn = format!("cn={key},ou=groups,{SUFFIX}");
        let lines: Vec<String> = members.iter().map(|member| format!("member: {}", Peer::dn(after, member))).collect();
        match before.groups.get(key) {
            None => record(format_args!(
                "dn: {dn}\nchangetype: add\nobjectClass: groupOfNames\ncn: {key}\n{}",
                lines.join("\n")
            )),
            Some(old) if old != members => {
                record(format_args!("dn: {dn}\nchangetype: modify\nreplace: member\n{}\n-", lines.join("\n")));
            }
            Some(_) => {}
        }
    }
    for key in before.people.keys().filter(|key| !after.people.contains_key(*key)) {
        record(format_args!("dn: {}\nchangetype: delete", Peer::dn(before, key)));
    }
    ldif
}

#[async_trait::async_trait]
impl Source for Peer {
    fn connector(&self) -> &dyn Connector {
        &*self.connector
    }

    fn wanted(&self) -> BTreeMap<String, Wanted> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect::<BTreeSet<_>>();
        let user = Wanted { attributes: names(&["cn", "uid"]), references: BTreeSet::new() };
        let group = Wanted { attributes: names(&["cn"]), references: names(&["member"]) };
        BTreeMap::from([("user".to_owned(), user), ("group".to_owned(), group)])
    }

    fn name_attribute(&self) -> &'static str {
        "cn"
    }

    async fn show(&self, state: &State) {
        let mut shown = self.shown.lock().expect("lock");
        self.slapd.lock().expect("lock").ldapmodify(&changes(&shown, state));
        *shown = state.clone();
    }

    async fn cut(&self) -> bool {
        self.slapd.lock().expect("lock").stop();
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_conforms() {
    conformance::source(&Peer::start()).await;
}

/// Stands before a directory, and spoils a text in whatever it answers.
struct Spoiler {
    url: String,
    pki: Pki,
    _dir: tempfile::TempDir,
}

impl Spoiler {
    /// `spoilt` is as long as `text`, so that lengths stay what they are.
    async fn before(server: u16, text: &str, spoilt: &str) -> Self {
        assert_eq!(text.len(), spoilt.len());
        let dir = temp_dir("spoiler");
        let pki = Pki::new(dir.path());
        let acceptor = pki.server("spoiler", &[]).acceptor();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("ldaps://localhost:{}", listener.local_addr().expect("bound").port());
        let (text, spoilt) = (text.as_bytes().to_vec(), spoilt.as_bytes().to_vec());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, text, spoilt) = (acceptor.clone(), text.clone(), spoilt.clone());
                // A connection that breaks is its peers' affair.
                tokio::spawn(async move { pass_on(acceptor.accept(client).await?, server, &text, &spoilt).await });
            }
        });
        Self { url, pki, _dir: dir }
    }
}

async fn pass_on(client: TlsStream<TcpStream>, server: u16, text: &[u8], spoilt: &[u8]) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = TcpStream::connect(("127.0.0.1", server)).await?.into_split();
    let asked = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let (mut held, mut chunk) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        let read = from_server.read(&mut chunk).await?;
        held.extend_from_slice(&chunk[..read]);
        while let Some(at) = held.windows(text.len()).position(|window| window == text) {
            held[at..at + text.len()].copy_from_slice(spoilt);
        }
        // What may be the beginning of the text waits for the rest of it.
        let begun = (1..text.len()).rev().find(|length| held.ends_with(&text[..*length])).unwrap_or(0);
        let passed: Vec<u8> = held.drain(..held.len() - if read == 0 { 0 } else { begun }).collect();
        to_client.write_all(&passed).await?;
        to_client.flush().await?;
        if read == 0 {
            asked.abort();
            return to_client.shutdown().await;
        }
    }
}

/// Names of the objects of a full read without the containers, and what was refused with whom it may be.
async fn read(connector: &LdapConnector, wanted: BTreeMap<String, Wanted>) -> (Vec<String>, Vec<(String, Hidden)>) {
    let request = ImportRequest { mode: ImportMode::Full, bases: Vec::new(), wanted };
    let mut stream = connector.import(request).await.expect("a stream");
    let (mut names, mut refused) = (Vec::new(), Vec::new());
    while let Some(page) = stream.next_page().await.expect("a page") {
        let objects = page.objects.into_iter().filter(|object| !object.container);
        names.extend(objects.map(|object| object.dn.expect("a name").to_string()));
        refused.extend(page.refused.into_iter().map(|entry| (entry.name, entry.hides)));
    }
    names.sort();
    (names, refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_whose_name_cannot_be_read_is_told_by_it_and_all_others_arrive() {
    let peer = Peer::start();
    let people = ["ada", "bob", "eve"].map(|key| (key.to_owned(), key.to_owned()));
    peer.show(&State { people: BTreeMap::from(people), ..State::default() }).await;
    let (name, spoilt) = (format!("uid=bob,ou=people,{SUFFIX}"), format!("uid#bob,ou=people,{SUFFIX}"));
    let others = ["ada", "eve"].map(|key| format!("uid={key},ou=people,{SUFFIX}")).to_vec();
    let (server, given, anchor) = {
        let slapd = peer.slapd.lock().expect("lock");
        let given = settings(&slapd, &slapd.ldaps_url(), &slapd.ca_file());
        (slapd.port(), given, slapd.values(&name, "entryUUID").remove(0))
    };
    let spoiler = Spoiler::before(server, &name, &spoilt).await;
    // Where changes are followed by the server's ids, it is known who it is; else it may be anybody.
    for (delta, hides) in [(DeltaChoice::Auto, Hidden::Object(anchor)), (DeltaChoice::Off, Hidden::Anybody)] {
        let connector = LdapConnector::new(LdapConnectorSettings {
            servers: vec![spoiler.url.parse().expect("a url")],
            trust: Trust::new(&[spoiler.pki.ca_file()]).expect("a CA"),
            delta,
            ..given.clone()
        });
        let (names, refused) = read(&connector, peer.wanted()).await;
        assert_eq!(names, others, "{delta:?}");
        assert_eq!(refused, [(spoilt.clone(), hides)], "{delta:?}");
    }
}
