//! Drop folders: conformance, half-written files, malformed lines, and people who follow their files into the tenant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use landbridge::connectors::files::FileSource;
use landbridge::sync::Connector;
use landbridge::sync::connector::{
    ConnectorError, Hidden, ImportMode, ImportPage, ImportRequest, Reference, Wanted, Watermark,
};

use super::conformance::{self, Source, State};
use crate::support::process::temp_dir;

/// A folder and the connector that reads it, from the lines of a settings file.
struct Folder {
    dir: tempfile::TempDir,
    source: FileSource,
}

const CSV: &str = r#"
format = "csv"
[[connectors.sets]]
complete = "people*.csv"
changes = "changes-people*.csv"
type = "user"
anchor = "id"
multi_valued = ["phones"]
references = ["manager:user"]
[[connectors.sets]]
complete = "groups*.csv"
changes = "changes-groups*.csv"
type_column = "kind"
anchor = "id"
multi_valued = ["members"]
references = ["members:*"]
"#;

const LDIF: &str = "format = \"ldif\"\ncomplete = \"all*.ldif\"\nchanges = \"changes*.ldif\"\n";

impl Folder {
    fn new(lines: &str) -> Self {
        let dir = temp_dir("drop");
        let pki = crate::support::pki::Pki::new(&dir.path().join("pki"));
        let cert = pki.server("gateway", &[]);
        crate::support::process::make_private(&cert.key_file);
        for name in ["drop", "rules"] {
            std::fs::create_dir(dir.path().join(name)).expect("a folder");
        }
        let settings = format!(
            "[gateway]\npublic_url = \"https://localhost\"\nlisten = \"127.0.0.1:1\"\ncertificate = \"{}\"\n\
             private_key = \"{}\"\ninitial_domain = \"initial.test\"\n[store]\nurl = \"sqlite:data\"\nkey_ring = \"ring\"\n\
             [admin]\nsocket = \"admin.sock\"\nprincipals = [{{ name = \"root\", uid = 0, role = \"owner\" }}]\n\
             [[connectors]]\nkind = \"file\"\nname = \"hr\"\nfolder = \"drop\"\ndomains = [\"alpha.example\"]\n{lines}",
            cert.cert_file.display(),
            cert.key_file.display(),
        );
        let file = dir.path().join("landbridge.toml");
        std::fs::write(&file, settings).expect("a settings file");
        let settings = landbridge::config::load(&file).unwrap_or_else(|problems| panic!("{problems}"));
        let Some(landbridge::config::SystemSettings::File(file)) = settings.systems.into_iter().next() else {
            panic!("a file connector")
        };
        Self { source: FileSource::new(file, Vec::new()), dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("drop").join(name)
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        put(&self.path(name), content.as_ref());
    }

    async fn pages(&self, mode: ImportMode) -> Result<ImportPage, ConnectorError> {
        let mut stream = self.source.import(ImportRequest { mode, bases: Vec::new(), wanted: wanted() }).await?;
        let mut all = ImportPage::default();
        while let Some(page) = stream.next_page().await? {
            all.objects.extend(page.objects);
            all.deleted.extend(page.deleted);
            all.refused.extend(page.refused);
            all.watermark = page.watermark.or(all.watermark);
        }
        Ok(all)
    }

    async fn full(&self) -> ImportPage {
        self.pages(ImportMode::Full).await.expect("a full import")
    }

    async fn delta(&self, since: &Watermark) -> ImportPage {
        self.pages(ImportMode::Delta { since: since.clone() }).await.expect("a delta import")
    }

    /// Why a full import is refused.
    async fn refusal(&self) -> String {
        match self.pages(ImportMode::Full).await {
            Err(ConnectorError::Aborted { reason, .. }) => reason,
            other => panic!("not aborted: {other:?}"),
        }
    }
}

/// Writes a file beside the folder's patterns and moves it in, as a careful sender does.
fn put(path: &Path, content: &[u8]) {
    let hidden = path.with_file_name(".incoming");
    std::fs::write(&hidden, content).expect("a file");
    std::fs::rename(&hidden, path).expect("a file");
}

fn wanted() -> BTreeMap<String, Wanted> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect::<BTreeSet<_>>();
    let user = Wanted { attributes: names(&["id", "cn", "phones"]), references: names(&["manager"]) };
    let group = Wanted { attributes: names(&["id", "cn"]), references: names(&["member", "members"]) };
    BTreeMap::from([("user".to_owned(), user), ("group".to_owned(), group)])
}

fn anchors(page: &ImportPage) -> Vec<&str> {
    page.objects.iter().map(|object| object.anchor.as_str()).collect()
}

fn refused(page: &ImportPage) -> Vec<(&str, &Hidden)> {
    page.refused.iter().map(|entry| (entry.name.as_str(), &entry.hides)).collect()
}

/// What the conformance suite changes: everything at first, then change files.
struct Peer {
    folder: Folder,
    shown: Mutex<State>,
    files: AtomicU32,
    ldif: bool,
}

impl Peer {
    fn new(lines: &str, ldif: bool) -> Self {
        let folder = Folder::new(&format!("settle = \"0s\"\n{lines}"));
        Self { folder, shown: Mutex::default(), files: AtomicU32::new(0), ldif }
    }

    fn csv(&self, number: u32, before: &State, after: &State) {
        let complete = before.people.is_empty() || after.people.len() > before.people.len() + 10;
        let (prefix, head, extra) = if complete { ("", "", "") } else { ("changes-", "change,", "modify,") };
        let mut people = format!("{head}id,cn,phones,manager\n");
        for (key, name) in after.people.iter().filter(|(key, name)| complete || before.people.get(*key) != Some(name)) {
            writeln!(people, "{extra}{key},\"{name}\",1|2,").expect("a string");
        }
        for key in before.people.keys().filter(|key| !complete && !after.people.contains_key(*key)) {
            writeln!(people, "delete,{key},,,").expect("a string");
        }
        let mut groups = format!("{head}kind,id,cn,members\n");
        for (key, members) in after.groups.iter().filter(|(key, m)| complete || before.groups.get(*key) != Some(m)) {
            let members: Vec<String> = members.iter().map(|key| format!("user:{key}")).collect();
            writeln!(groups, "{extra}group,{key},{key},{}", members.join("|")).expect("a string");
        }
        self.folder.put(&format!("{prefix}people-{number:03}.csv"), people);
        self.folder.put(&format!("{prefix}groups-{number:03}.csv"), groups);
    }

    fn ldif(&self, number: u32, before: &State, after: &State) {
        let dn = |state: &State, key: &str| {
            let unit = if state.moved.contains(key) { "moved" } else { "people" };
            format!("uid={key},ou={unit},o=x")
        };
        let member = |key: &String| format!("member: {}\n", dn(after, key));
        let complete = before.people.is_empty() || after.people.len() > before.people.len() + 10;
        let kind = if complete { "" } else { "changetype: add\n" };
        let mut text = String::from("version: 1\n\n");
        if complete {
            for unit in ["people", "moved", "groups"] {
                writeln!(text, "dn: ou={unit},o=x\nobjectClass: organizationalUnit\nentryUUID: {unit}\n")
                    .expect("a string");
            }
        }
        for (key, name) in &after.people {
            let held = before.people.get(key).filter(|_| !complete);
            match held {
                None => writeln!(
                    text,
                    "dn: {}\n{kind}objectClass: inetOrgPerson\nentryUUID: {key}\ncn: {name}\n",
                    dn(after, key)
                ),
                Some(old) if old != name => {
                    writeln!(text, "dn: {}\nchangetype: modify\nreplace: cn\ncn: {name}\n-\n", dn(before, key))
                }
                Some(_) => Ok(()),
            }
            .expect("a string");
            if held.is_some() && after.moved.contains(key) && !before.moved.contains(key) {
                let from = dn(before, key);
                writeln!(
                    text,
                    "dn: {from}\nchangetype: modrdn\nnewrdn: uid={key}\ndeleteoldrdn: 1\nnewsuperior: ou=moved,o=x\n"
                )
                .expect("a string");
            }
        }
        for (key, members) in &after.groups {
            let lines: String = members.iter().map(member).collect();
            let dn = format!("cn={key},ou=groups,o=x");
            match before.groups.get(key).filter(|_| !complete) {
                None => {
                    writeln!(text, "dn: {dn}\n{kind}objectClass: groupOfNames\nentryUUID: {key}\ncn: {key}\n{lines}")
                }
                Some(old) if old != members => {
                    writeln!(text, "dn: {dn}\nchangetype: modify\nreplace: member\n{lines}-\n")
                }
                Some(_) => Ok(()),
            }
            .expect("a string");
        }
        for key in before.people.keys().filter(|key| !complete && !after.people.contains_key(*key)) {
            writeln!(text, "dn: {}\nchangetype: delete\n", dn(before, key)).expect("a string");
        }
        let name = if complete { "all" } else { "changes" };
        self.folder.put(&format!("{name}-{number:03}.ldif"), text);
    }
}

#[async_trait::async_trait]
impl Source for Peer {
    fn connector(&self) -> &dyn Connector {
        &self.folder.source
    }

    fn wanted(&self) -> BTreeMap<String, Wanted> {
        wanted()
    }

    fn name_attribute(&self) -> &'static str {
        "cn"
    }

    async fn show(&self, state: &State) {
        let mut shown = self.shown.lock().expect("lock");
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        if self.ldif {
            self.ldif(number, &shown, state)
        } else {
            self.csv(number, &shown, state)
        }
        *shown = state.clone();
    }

    fn many(&self) -> usize {
        8000
    }

    async fn cut(&self) -> bool {
        let last = self.files.load(Ordering::Relaxed) - 1;
        let name = if self.ldif { format!("all-{last:03}.ldif") } else { format!("people-{last:03}.csv") };
        let file = std::fs::OpenOptions::new().write(true).open(self.folder.path(&name)).expect("the file");
        file.set_len(1000).expect("a shorter file");
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_files_conform() {
    conformance::source(&Peer::new(CSV, false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ldif_files_conform() {
    conformance::source(&Peer::new(LDIF, true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_line_is_refused_by_its_number_and_hides_whom_it_may_stand_for() {
    let folder = Folder::new(&format!("settle = \"0s\"\n{CSV}"));
    folder.put("groups.csv", "kind,id,cn,members\n");
    let people = b"\xef\xbb\xbfid,cn,phones,manager\n1,\"A\n\"\"a\"\"\",1|2,\n2,B,,1\n3,C,,,\n4,\xff,,\n,E,,\n2,again,,\n5,F,,9\n";
    folder.put("people.csv", people);
    let page = folder.full().await;
    assert_eq!(anchors(&page), ["user:1", "user:2", "user:5"]);
    assert_eq!(page.objects[0].attributes[&"cn".into()][0].as_text(), "A\n\"a\"");
    assert_eq!(page.objects[0].attributes[&"phones".into()].len(), 2);
    assert_eq!(page.objects[1].references[&"manager".into()], [Reference::Anchor("user:1".to_owned())]);
    let of = |anchor: &str| Hidden::Object(anchor.to_owned());
    let expected = [
        ("people.csv:5", &Hidden::Anybody),
        ("people.csv:6", &of("user:4")),
        ("people.csv:7", &Hidden::Anybody),
        ("people.csv:8", &of("user:2")),
    ];
    assert_eq!(refused(&page), expected, "{:?}", page.refused);

    folder.put("people.csv", "id,cn,phones,manager\n1,A,,\n2,\"B,,\n3,C,,\n");
    let page = folder.full().await;
    assert_eq!(anchors(&page), ["user:1"]);
    assert!(refused(&page).contains(&("people.csv", &Hidden::Anybody)), "an open quotation mark: {:?}", page.refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_the_form_of_its_settings_aborts_the_read() {
    let folder = Folder::new(&format!("settle = \"0s\"\n{CSV}"));
    folder.put("groups.csv", "kind,id,cn,members\n");
    assert!(folder.refusal().await.starts_with("no file matches"));
    let rows: [(&[u8], &str); 5] = [
        (b"cn,phones,manager\nA,,\n", "there is no column id"),
        (b"id,cn,manager\n1,A,\n", "there is no column phones"),
        (b"id,cn,CN,phones,manager\n1,A,A,,\n", "two columns have the name CN"),
        (b"\xff\xfei\0d\0", "UTF-16"),
        (b"id,cn,phones,manager,members\n1,A,,,\n", "name it in `references`"),
    ];
    for (content, reason) in rows {
        folder.put("people.csv", content);
        let refusal = folder.refusal().await;
        assert!(refusal.contains(reason), "{reason}: {refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_written_file_is_not_read() {
    let lines = format!("settle = \"0s\"\nend_marker = \"#end\"\n{CSV}");
    let folder = Folder::new(&lines);
    folder.put("groups.csv", "kind,id,cn,members\n#end\n");
    folder.put("people-1.csv", "id,cn,phones,manager\n1,A,,\n#end\n");
    let page = folder.full().await;
    assert_eq!(anchors(&page), ["user:1"]);
    let since = page.watermark.expect("a watermark");

    folder.put("people-2.csv", "id,cn,phones,manager\n1,A,,\n2,B,");
    assert!(folder.refusal().await.contains("people-2.csv is still being written"));
    assert_eq!(anchors(&folder.delta(&since).await), [""; 0], "nothing new is there yet");
    folder.put("people-2.csv", "id,cn,phones,manager\n1,A,,\n2,B,,\n#end");
    let stale = folder.pages(ImportMode::Delta { since }).await.expect_err("another complete file");
    assert!(matches!(stale, ConnectorError::StaleWatermark { .. }), "{stale}");
    let page = folder.full().await;
    assert_eq!(anchors(&page), ["user:1", "user:2"]);

    // Changes stop before the first file that is being written, so that none is told before an older one.
    let since = page.watermark.expect("a watermark");
    folder.put("changes-people-1.csv", "change,id,cn,phones,manager\nadd,3,C,,\n#end\n");
    folder.put("changes-people-2.csv", "change,id,cn,phones,manager\nadd,4,D,,\n");
    folder.put("changes-people-3.csv", "change,id,cn,phones,manager\ndelete,1,,,\n#end\n");
    let page = folder.delta(&since).await;
    assert_eq!(anchors(&page), ["user:3"]);
    assert_eq!(page.deleted, [""; 0]);
    // A full read would tell less than a delta has told already: it waits for the file's end.
    assert!(folder.refusal().await.contains("changes-people-2.csv is still being written"));
    let since = page.watermark.expect("a watermark");
    folder.put("changes-people-2.csv", "change,id,cn,phones,manager\nadd,4,D,,\n#end\n");
    let page = folder.delta(&since).await;
    assert_eq!((anchors(&page), page.deleted.clone()), (vec!["user:4"], vec!["user:1".to_owned()]));

    // One that comes too late for its name is told, and not taken out of its order.
    let since = page.watermark.expect("a watermark");
    folder.put("changes-people-0.csv", "change,id,cn,phones,manager\nadd,5,E,,\n#end\n");
    let page = folder.delta(&since).await;
    assert_eq!(anchors(&page), [""; 0]);
    assert_eq!(refused(&page), [("changes-people-0.csv", &Hidden::Anybody)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_growing_file_is_not_read_before_it_rests() {
    let folder = Folder::new(&format!("settle = \"2s\"\n{CSV}"));
    folder.put("groups.csv", "kind,id,cn,members\n");
    folder.put("people.csv", "id,cn,phones,manager\n1,A,,\n");
    let path = folder.path("people.csv");
    let writer = std::thread::spawn(move || {
        use std::io::Write as _;
        let started = std::time::Instant::now();
        while started.elapsed() < std::time::Duration::from_secs(3) {
            let mut file = std::fs::OpenOptions::new().append(true).open(&path).expect("the file");
            file.write_all(b"2,B,,\n").expect("a line");
            std::thread::yield_now();
        }
    });
    assert!(folder.refusal().await.contains("people.csv is still being written"));
    writer.join().expect("the writer ends");
    folder.put("people.csv", "id,cn,phones,manager\n1,A,,\n2,B,,\n");
    assert_eq!(anchors(&folder.full().await), ["user:1", "user:2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ldif_changes_are_laid_over_the_complete_file() {
    let folder = Folder::new(&format!("settle = \"0s\"\n{LDIF}"));
    let person = |uid: &str, unit: &str| {
        format!("dn: uid={uid},{unit}o=x\nobjectClass: inetOrgPerson\nuid: {uid}\nentryUUID: {uid}\ncn: {uid}\n\n")
    };
    let unit = "dn: ou=a,o=x\nobjectClass: organizationalUnit\nentryUUID: unit\n\n";
    let inner = "dn: ou=b,ou=a,o=x\nobjectClass: organizationalUnit\nentryUUID: inner\n\n";
    folder.put(
        "all.ldif",
        format!(
            "{unit}{inner}{}{}{}dn: cn=robot,o=x\nobjectClass: device\ncn: robot\n",
            person("1", "ou=b,ou=a,"),
            person("2", ""),
            person("3", "ou=a,")
        ),
    );
    let since = folder.full().await.watermark.expect("a watermark");
    folder.put(
        "changes-1.ldif",
        "dn: ou=a,o=x\nchangetype: modrdn\nnewrdn: ou=z\ndeleteoldrdn: 1\n\n\
         dn: uid=1,ou=b,ou=z,o=x\nchangetype: modify\nreplace: cn\ncn: renamed\n-\n\n\
         dn: uid=9,o=x\nchangetype: delete\n\ndn: uid=2,o=x\nchangetype: delete\n",
    );
    let page = folder.delta(&since).await;
    let dns: BTreeMap<&str, String> =
        page.objects.iter().map(|o| (o.anchor.as_str(), o.dn.as_ref().expect("a dn").to_string())).collect();
    let expected =
        [("1", "uid=1,ou=b,ou=z,o=x"), ("3", "uid=3,ou=z,o=x"), ("inner", "ou=b,ou=z,o=x"), ("unit", "ou=z,o=x")];
    assert_eq!(dns, expected.map(|(anchor, dn)| (anchor, dn.to_owned())).into());
    let renamed = page.objects.iter().find(|object| object.anchor == "1").expect("person 1");
    assert_eq!(renamed.attributes[&"cn".into()][0].as_text(), "renamed");
    assert_eq!(page.deleted, ["2"]);
    assert_eq!(refused(&page), [("changes-1.ldif:12", &Hidden::Nobody)], "{:?}", page.refused);

    // A later change stands on the earlier one, whose file is read again for it.
    let since = page.watermark.expect("a watermark");
    folder.put(
        "changes-2.ldif",
        "dn: uid=1,ou=b,ou=z,o=x\nchangetype: modrdn\nnewrdn: uid=1\ndeleteoldrdn: 0\nnewsuperior: o=x\n",
    );
    let page = folder.delta(&since).await;
    assert_eq!(anchors(&page), ["1"]);
    assert_eq!(page.objects[0].dn.as_ref().expect("a dn").to_string(), "uid=1,o=x");
    assert_eq!(page.objects[0].attributes[&"cn".into()][0].as_text(), "renamed");
    let full = folder.full().await;
    assert_eq!(anchors(&full).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(["1", "3", "inner", "unit"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_file_in_the_place_of_the_one_that_was_read_is_told_and_not_read() {
    let folder = Folder::new(&format!("settle = \"0s\"\n{CSV}"));
    let older = "id,cn,phones,manager\n1,A,,\n";
    folder.put("groups.csv", "kind,id,cn,members\n");
    folder.put("people-1.csv", older);
    folder.put("people-2.csv", "id,cn,phones,manager\n1,A,,\n2,B,,\n");
    let since = folder.full().await.watermark.expect("a watermark");
    let delta = async || folder.pages(ImportMode::Delta { since: since.clone() }).await;
    assert!(delta().await.is_ok());
    // The newest one is gone.
    std::fs::remove_file(folder.path("people-2.csv")).expect("removed");
    let told = delta().await.expect_err("an older file");
    assert!(
        matches!(&told, ConnectorError::Aborted { reason, .. } if reason.contains("people-1.csv is older")),
        "{told}"
    );
    // Its name with an older content, as from a backup.
    folder.put("people-2.csv", older);
    let file = std::fs::File::options().write(true).open(folder.path("people-2.csv")).expect("the file");
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).expect("set back");
    let told = delta().await.expect_err("an older file");
    assert!(
        matches!(&told, ConnectorError::Aborted { reason, .. } if reason.contains("people-2.csv is older")),
        "{told}"
    );
    folder.put("people-3.csv", older);
    let stale = delta().await.expect_err("another complete file");
    assert!(matches!(stale, ConnectorError::StaleWatermark { .. }), "{stale}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_without_an_end_is_refused_in_bounded_memory() {
    let folder = Folder::new(&format!("settle = \"0s\"\n{CSV}"));
    folder.put("groups.csv", "kind,id,cn,members\n");
    let mut text = "id,cn,phones,manager\n1,A,,\n2,\"B,,\n".to_owned();
    text += &"3,C,,\n".repeat(4_000_000);
    folder.put("people.csv", text);
    let told = folder.refusal().await;
    assert!(told.contains("larger than 16 MiB") && told.contains("quotation mark"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_larger_than_memory_should_hold_ask_for_a_complete_file() {
    for (lines, complete, changes, there) in [
        (CSV, "people.csv", "changes-people", "id,cn,phones,manager\n1,A,,\n"),
        (LDIF, "all.ldif", "changes", "dn: o=x\nobjectClass: organization\no: x\n"),
    ] {
        let folder = Folder::new(&format!("settle = \"0s\"\n{lines}"));
        folder.put("groups.csv", "kind,id,cn,members\n");
        folder.put(complete, there);
        folder.full().await;
        // Two files that are large together, and never read: they hold nothing.
        for number in [1, 2] {
            let extension = complete.rsplit('.').next().expect("one");
            let file = std::fs::File::create(folder.path(&format!("{changes}-{number}.{extension}"))).expect("a file");
            file.set_len(129 << 20).expect("a file with a hole");
        }
        let told = folder.refusal().await;
        assert!(told.contains("larger than 256 MiB") && told.contains(complete), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_large_group_cost_what_they_are() {
    let folder = Folder::new(&format!("settle = \"0s\"\n{LDIF}"));
    let members = |from: u32, to: u32, line: &str| {
        (from..to).fold(String::new(), |mut text, n| {
            let _ = writeln!(text, "{line}: uid={n},o=x");
            text
        })
    };
    let all = members(0, 40_000, "member");
    folder.put("all.ldif", format!("dn: cn=g,o=x\nobjectClass: groupOfNames\ncn: g\nentryUUID: g\n{all}"));
    let since = folder.full().await.watermark.expect("a watermark");
    let (gone, new) = (members(0, 39_000, "member"), members(40_000, 80_000, "member"));
    let change = format!("dn: cn=g,o=x\nchangetype: modify\ndelete: member\n{gone}-\nadd: member\n{new}-\n");
    folder.put("changes-1.ldif", change);
    let begun = std::time::Instant::now();
    let page = folder.delta(&since).await;
    assert_eq!(page.objects[0].references[&"member".into()].len(), 41_000);
    // Compared value by value it takes many minutes.
    assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
}
