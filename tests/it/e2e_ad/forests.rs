//! Two forests before one gateway (`reference/sync-engine.md`, section 4.8, rows 1 to 5 and 7 to 9; design D9): `corp` with the
//! people, `res` with mailboxes, groups, contacts, and somebody who would like to be one of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::site::RIGHTS;
use crate::support::gateway::{Builder, Gateway};
use crate::support::samba::{CORP, RES, Samba};
use crate::support::visitor::{Outcome, Visitor};

/// What an Exchange organisation adds to a schema of all that the shipped rules ask for.
const SCHEMA: [&str; 2] = [
    "dn: CN=ms-Exch-Master-Account-Sid,CN=Schema,CN=Configuration,BASE\nchangetype: add\nobjectClass: attributeSchema\n\
     lDAPDisplayName: msExchMasterAccountSid\nattributeID: 1.2.840.113556.1.4.7000.102.80\nattributeSyntax: 2.5.5.17\n\
     oMSyntax: 4\nisSingleValued: TRUE\nadminDisplayName: ms-Exch-Master-Account-Sid\n\n\
     dn: CN=ms-Exch-Recipient-Type-Details,CN=Schema,CN=Configuration,BASE\nchangetype: add\nobjectClass: attributeSchema\n\
     lDAPDisplayName: msExchRecipientTypeDetails\nattributeID: 1.2.840.113556.1.4.7000.102.50999\n\
     attributeSyntax: 2.5.5.16\noMSyntax: 65\nisSingleValued: TRUE\nadminDisplayName: ms-Exch-Recipient-Type-Details\n\n\
     dn: CN=ms-Exch-Mail-Nickname,CN=Schema,CN=Configuration,BASE\nchangetype: add\nobjectClass: attributeSchema\n\
     lDAPDisplayName: mailNickname\nattributeID: 1.2.840.113556.1.2.447\nattributeSyntax: 2.5.5.12\noMSyntax: 64\n\
     isSingleValued: TRUE\nadminDisplayName: ms-Exch-Mail-Nickname\n",
    "dn: CN=User,CN=Schema,CN=Configuration,BASE\nchangetype: modify\nadd: mayContain\nmayContain: msExchMasterAccountSid\n\
     mayContain: msExchRecipientTypeDetails\nmayContain: mailNickname\n-\n",
];

struct Forests {
    corp: Samba,
    res: Samba,
}

impl Forests {
    fn start() -> Self {
        let res = std::thread::spawn(|| {
            let mut res = Samba::start_with(RES, &RIGHTS, "dsdb:schema update allowed = yes");
            res.stop();
            SCHEMA.iter().for_each(|ldif| res.ldif(&ldif.replace("BASE", &res.base())));
            res.start_again();
            res
        });
        let corp = Samba::start(CORP, &RIGHTS);
        Self { corp, res: res.join().expect("it starts") }
    }

    /// A gateway before both, the one with the people first. `foreign`: it reads whom the other one knows of strangers, too.
    fn gateway(&self, builder: Builder, foreign: bool) -> Gateway {
        let mut gateway = builder.samba("corp", &self.corp).samba("res", &self.res).hardening("sealed").prepare();
        let file = gateway.settings_file();
        let text = std::fs::read_to_string(&file).expect("the settings");
        let staff = format!("\"OU=Staff,{}\"", self.res.base());
        let both = format!("{staff}, \"CN=ForeignSecurityPrincipals,{}\"", self.res.base());
        let bases = if foreign { both } else { staff.clone() };
        std::fs::write(&file, text.replace(&staff, &bases)).expect("the settings");
        gateway.start_again();
        for forest in [CORP, RES] {
            gateway.cli(&["domain", "add", forest.realm]);
            gateway.cli(&["domain", "verify", forest.realm, "--vouch"]);
        }
        gateway.cli(&["rules", "activate"]);
        gateway
    }
}

/// Accounts with a password each, in an order that gives them their numbers; renamed to who they are.
fn people(forest: &Samba, names: &[&str]) {
    let passwords: Vec<String> = names.iter().map(|name| password(forest, name)).collect();
    forest.add_users("new", &passwords);
    for (number, name) in names.iter().enumerate() {
        let (old, base, realm) = (forest.name_of(&format!("new{number}")), forest.base(), forest.forest.realm);
        forest.ldif(&format!(
            "dn: {old}\nchangetype: modrdn\nnewrdn: CN={name}\ndeleteoldrdn: 1\nnewsuperior: OU=Staff,{base}\n\n\
             dn: CN={name},OU=Staff,{base}\nchangetype: modify\nreplace: sAMAccountName\nsAMAccountName: {name}\n-\n\
             replace: userPrincipalName\nuserPrincipalName: {name}@{realm}\n-\nreplace: mail\nmail: {name}@{realm}\n-\n\
             replace: displayName\ndisplayName: {name} of {realm}\n-\n"
        ));
    }
}

fn move_person(forest: &Samba, name: &str, from: &str, to: &str) {
    let base = forest.base();
    forest.ldif(&format!(
        "dn: CN={name},{from},{base}\nchangetype: modrdn\nnewrdn: CN={name}\ndeleteoldrdn: 1\nnewsuperior: {to},{base}\n"
    ));
}

fn password(forest: &Samba, name: &str) -> String {
    format!("Start-{name}-{}-9!", forest.forest.netbios)
}

#[track_caller]
fn cycle(gateway: &Gateway) {
    let answer = gateway.cli(&["sync", "run", "--profile", "full"]);
    assert_eq!(answer["run"]["outcome"], "completed", "{answer:#}");
}

/// Display names and credential connectors of all users, by sign-in name.
fn users(gateway: &Gateway) -> BTreeMap<String, (String, String)> {
    let listed = gateway.cli(&["user", "list"]);
    let names = listed.as_array().expect("users").iter().filter_map(|user| user["upn"].as_str().map(str::to_owned));
    let shown = names.map(|upn| {
        let user = gateway.cli(&["user", "show", &upn]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let source = &user["credential"]["source"];
        let connector = source["connector"].as_str().or(source.as_str().and_then(|text| text.split('/').next()));
        (upn, (text(&user["display_name"]), connector.unwrap_or_default().to_owned()))
    });
    shown.filter(|(upn, _)| !upn.starts_with("svc-sync")).collect()
}

/// What is wrong with an object of this name, as the status tells it.
fn problem(gateway: &Gateway, name: &str) -> Option<Value> {
    let status = gateway.cli(&["sync", "status"]);
    let problems = status["problems"].as_array().expect("problems").clone();
    problems
        .into_iter()
        .find(|problem| problem["name"].as_str().is_some_and(|found| found.to_lowercase().contains(name)))
}

fn groups(gateway: &Gateway, upn: &str) -> BTreeSet<String> {
    let shown = gateway.cli(&["user", "show", upn]);
    shown["groups"].as_array().expect("groups").iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

fn is(display_name: &str, connector: &str) -> (String, String) {
    (display_name.to_owned(), connector.to_owned())
}

#[track_caller]
fn signed(outcome: &Outcome, who: &str) {
    assert!(matches!(outcome, Outcome::Signed(_)), "{who}: {outcome:?}");
}

#[track_caller]
fn refused(outcome: &Outcome, who: &str) {
    assert!(matches!(outcome, Outcome::Refused { .. }), "{who}: {outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_forests_make_one_directory_and_neither_takes_the_others_people() {
    let mut forests = tokio::task::spawn_blocking(Forests::start).await.expect("they start");
    people(&forests.corp, &["ada", "eve", "lea"]);
    people(&forests.res, &["adamail", "leamail", "mallory", "rob"]);
    strangers_own_nobody(&mut forests).await;
    joined_by_mail(&forests).await;
}

/// With the shipped rules: an account and its mailbox are one by their security identifiers; mail and sign-in names join
/// nobody and take nobody's place.
async fn strangers_own_nobody(forests: &mut Forests) {
    let (corp, res) = (&forests.corp, &forests.res);
    let base = res.base();
    let sid = corp.sid_of("ada");
    // The owner of a mailbox is not seen yet.
    move_person(corp, "lea", "OU=Staff", "CN=Users");
    let lea = corp.sid_of("lea");
    res.ldif(&format!(
        "dn: CN=leamail,OU=Staff,{base}\nchangetype: modify\nreplace: userAccountControl\nuserAccountControl: 514\n-\n\
         replace: msExchRecipientTypeDetails\nmsExchRecipientTypeDetails: 2\n-\nreplace: mailNickname\nmailNickname: leamail\n-\n\
         replace: msExchMasterAccountSid\nmsExchMasterAccountSid: {lea}\n-\n"
    ));
    // Whose mailbox it is, and a group with its owner and with the mailbox whose owner is nowhere.
    res.ldif(&format!(
        "dn: CN=adamail,OU=Staff,{base}\nchangetype: modify\nreplace: userAccountControl\nuserAccountControl: 514\n-\n\
         replace: msExchRecipientTypeDetails\nmsExchRecipientTypeDetails: 2\n-\nreplace: title\ntitle: Analyst\n-\n\
         replace: mailNickname\nmailNickname: adamail\n-\n\
         replace: msExchMasterAccountSid\nmsExchMasterAccountSid: {sid}\n-\n\n\
         dn: CN=g1,OU=Staff,{base}\nchangetype: add\nobjectClass: group\nsAMAccountName: g1\ndisplayName: g1\nmember: <SID={sid}>\n\
         member: CN=leamail,OU=Staff,{base}\n"
    ));
    // A contact with the mail address of somebody who will come.
    let contact = format!("CN=old card,OU=Staff,{}", corp.base());
    corp.ldif(&format!(
        "dn: {contact}\nchangetype: add\nobjectClass: contact\nmail: zed@corp.example\n\
         proxyAddresses: SMTP:zed@corp.example\ndisplayName: Zed, a contact\n"
    ));
    // The other forest does not speak for that domain: its contact has the address from nobody.
    res.ldif(&format!(
        "dn: CN=foreign card,OU=Staff,{base}\nchangetype: add\nobjectClass: contact\nmail: zed@corp.example\n\
         proxyAddresses: SMTP:zed@corp.example\ndisplayName: Zed, a foreign contact\n"
    ));
    // Somebody who calls himself as two people of the other forest are called: one who is there, and one who will be.
    res.ldif(&format!(
        "dn: CN=mallory,OU=Staff,{base}\nchangetype: modify\nreplace: userPrincipalName\nuserPrincipalName: eve@corp.example\n-\n\
         replace: mail\nmail: eve@corp.example\n-\n\n\
         dn: CN=rob,OU=Staff,{base}\nchangetype: modify\nreplace: userPrincipalName\nuserPrincipalName: bea@corp.example\n-\n\
         replace: mail\nmail: bea@corp.example\n-\n"
    ));
    let gateway = forests.gateway(Builder::default(), true);
    cycle(&gateway);
    gateway.cli(&["password-sync", "run"]);
    for forest in [CORP, RES] {
        gateway.cli(&["domain", "set-method", forest.realm, "phs", "--force"]);
    }
    let found = users(&gateway);
    assert_eq!(found.get("ada@corp.example"), Some(&is("adamail of res.example", "corp")), "{found:#?}");
    assert_eq!(found.get("eve@corp.example"), Some(&is("eve of corp.example", "corp")), "{found:#?}");
    assert!(!found.contains_key("bea@corp.example"), "{found:#?}");
    assert!(!found.keys().any(|upn| upn.starts_with("adamail")), "a mailbox is nobody by itself: {found:#?}");
    // Row 2: nor is one whose owner is nowhere.
    assert!(!found.keys().any(|upn| upn.starts_with("lea")), "{found:#?}");
    assert_eq!(
        groups(&gateway, "ada@corp.example"),
        BTreeSet::from(["g1".to_owned()]),
        "by a foreign security principal"
    );

    let visitor = Visitor::register(&gateway);
    let check = async |upn: &str, password: String| visitor.sign_in(upn, &password).await;
    signed(&check("ada@corp.example", password(corp, "ada")).await, "ada");
    refused(&check("ada@corp.example", password(res, "adamail")).await, "ada by her mailbox's password");
    signed(&check("eve@corp.example", password(corp, "eve")).await, "eve");
    refused(&check("eve@corp.example", password(res, "mallory")).await, "mallory as eve");
    refused(&check("bea@corp.example", password(res, "rob")).await, "rob as bea");

    // She comes, and has her name and her password; row 3: the mailbox's owner comes, and has it and its memberships.
    people(corp, &["bea", "zed"]);
    move_person(corp, "lea", "CN=Users", "OU=Staff");
    corp.replace("zed", "proxyAddresses", "SMTP:zed@corp.example");
    cycle(&gateway);
    gateway.cli(&["password-sync", "run"]);
    assert_eq!(users(&gateway).get("bea@corp.example"), Some(&is("bea of corp.example", "corp")));
    signed(&check("bea@corp.example", password(corp, "bea")).await, "bea");
    assert_eq!(users(&gateway).get("lea@corp.example"), Some(&is("leamail of res.example", "corp")));
    assert_eq!(groups(&gateway, "lea@corp.example"), BTreeSet::from(["g1".to_owned()]));
    signed(&check("lea@corp.example", password(corp, "lea")).await, "lea");
    refused(&check("lea@corp.example", password(res, "leamail")).await, "lea by her mailbox's password");
    refused(&check("bea@corp.example", password(res, "rob")).await, "rob as bea");

    // Row 5: without a join the contact and the account are two, and who came second is without the address.
    let zed = gateway.cli(&["user", "show", "zed@corp.example"]);
    assert!(zed["quarantined"].to_string().to_lowercase().contains("zed@corp.example"), "{zed:#}");
    let warning = problem(&gateway, "zed").expect("a warning");
    assert_eq!(warning["code"], "export-warning", "{warning:#}");
    corp.ldif(&format!("dn: {contact}\nchangetype: delete\n"));
    cycle(&gateway);
    let zed = gateway.cli(&["user", "show", "zed@corp.example"]);
    assert_eq!(zed["quarantined"], serde_json::json!({}), "the address is free, and hers: {zed:#}");
    assert_eq!(zed["mail"], "zed@corp.example", "{zed:#}");

    // One forest away: the other one goes on, and nobody of either is deleted.
    let before: BTreeSet<String> = users(&gateway).into_keys().collect();
    forests.res.stop();
    forests.corp.replace("eve", "displayName", "Eve while the other one is away");
    forests.corp.set_passwords([("eve", "Changed-while-away-9!")]);
    gateway.cli_told(&["sync", "run", "--profile", "delta"]);
    gateway.cli_told(&["password-sync", "run"]);
    let after = users(&gateway);
    assert_eq!(after["eve@corp.example"], is("Eve while the other one is away", "corp"));
    assert_eq!(after.into_keys().collect::<BTreeSet<_>>(), before);
    signed(&check("eve@corp.example", "Changed-while-away-9!".to_owned()).await, "eve, with her new password");
    forests.res.start_again();
}

/// With the rules that join by mail, which trust the administrators of both.
async fn joined_by_mail(forests: &Forests) {
    let (corp, res) = (&forests.corp, &forests.res);
    let base = res.base();
    // Ada has an account in both, zoe is a contact in the one before she has an account in the other.
    res.ldif(&format!(
        "dn: CN=mallory,OU=Staff,{base}\nchangetype: delete\n\ndn: CN=rob,OU=Staff,{base}\nchangetype: delete\n\n\
         dn: CN=adamail,OU=Staff,{base}\nchangetype: modify\nreplace: userAccountControl\nuserAccountControl: 512\n-\n\
         delete: msExchRecipientTypeDetails\n-\ndelete: msExchMasterAccountSid\n-\ndelete: mailNickname\n-\n\
         replace: mail\nmail: ada@corp.example\n-\n\n\
         dn: CN=zoe,OU=Staff,{base}\nchangetype: add\nobjectClass: contact\nmail: zoe@corp.example\ndisplayName: Zoe, a contact\n"
    ));
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules-options/join-by-mail.toml");
    let gateway = forests.gateway(Builder::default().rules(&rules), false);
    cycle(&gateway);
    gateway.cli(&["password-sync", "run"]);
    gateway.cli(&["domain", "set-method", CORP.realm, "phs", "--force"]);
    let found = users(&gateway);
    // Of two enabled accounts the forest that stands first says who she is and where her password is.
    assert_eq!(found.get("ada@corp.example"), Some(&is("ada of corp.example", "corp")), "{found:#?}");
    let ada = gateway.cli(&["user", "show", "ada@corp.example"]);
    // Row 9: without the foreign security principals the other forest's member is missing.
    assert_eq!(groups(&gateway, "ada@corp.example"), BTreeSet::new());
    assert_eq!(ada["attributes"]["title"][0], "Analyst", "what the first does not say comes from the second: {ada:#}");
    assert!(!found.keys().any(|upn| upn.starts_with("adamail") || upn.starts_with("zoe")), "{found:#?}");

    people(corp, &["zoe"]);
    cycle(&gateway);
    gateway.cli(&["password-sync", "run"]);
    let found = users(&gateway);
    assert_eq!(found.get("zoe@corp.example"), Some(&is("zoe of corp.example", "corp")), "{found:#?}");
    let visitor = Visitor::register(&gateway);
    signed(&visitor.sign_in("zoe@corp.example", &password(corp, "zoe")).await, "zoe");
    signed(&visitor.sign_in("ada@corp.example", &password(corp, "ada")).await, "ada");
    refused(
        &visitor.sign_in("ada@corp.example", &password(res, "adamail")).await,
        "ada by the other account's password",
    );

    // Row 8: a second account of the same forest with the same join value is nobody, and changes nobody.
    let before = users(&gateway);
    people(res, &["adatwo"]);
    res.replace("adatwo", "mail", "ada@corp.example");
    cycle(&gateway);
    let error = problem(&gateway, "adatwo").expect("an error");
    assert_eq!((&error["code"], &error["connector"]), (&"duplicate-anchor".into(), &"res".into()), "{error:#}");
    assert!(error["detail"].as_str().is_some_and(|text| text.contains("the same join value as")), "{error:#}");
    assert_eq!(users(&gateway), before);
}
