//! Thousands of people of a domain, 2,000 or as many as `LANDBRIDGE_AD_PEOPLE` says: all of them at first, then every kind
//! of change in one cycle, and the hashes of all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::estate::{Estate, exported, sent};
use crate::support::samba::CORP;
use crate::support::thousands::{APART, GROUPS, OUTSIDE, connection, members};
use crate::support::wait::wait_until;

const PEOPLE: usize = 2_000;
/// Passwords that are changed at random.
const CHANGED: usize = 500;
/// Values of `member` in a piece.
const PIECE: usize = 400;
const DEADLINE: Duration = Duration::from_secs(60);
/// Tries to stop a controller in the midst of a pass.
const TRIES: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn thousands_arrive_every_change_follows_in_one_cycle_and_no_hash_is_lost() {
    let people = std::env::var("LANDBRIDGE_AD_PEOPLE").map_or(PEOPLE, |text| text.parse().expect("a number"));
    let opened = tokio::task::spawn_blocking(move || Estate::open(people));
    let mut estate = opened.await.expect("it opens");
    everything_arrives(&estate).await;
    every_kind_of_change_arrives(&mut estate).await;
    changed_passwords_arrive_through_interruptions(&mut estate).await;
}

async fn everything_arrives(estate: &Estate) {
    let steps = estate.run("full");
    // The account that reads is one of the directory's, too.
    assert_eq!(exported(&steps, "adds"), (estate.people + 1 + GROUPS) as i64);
    let memberships: usize = (0..GROUPS).map(|group| members(group, estate.people).len()).sum();
    assert_eq!(exported(&steps, "links"), memberships as i64);
    assert_eq!(estate.users().len(), estate.people);
    assert_eq!(estate.groups_of("p7"), names(&["g0", "g7"]));
    assert_eq!(sent(&estate.run("delta")), 0, "a second run is empty");
    members_come_in_ranges(estate).await;

    // Some of them have been read one by one by then, because they are new.
    let first = estate.pass();
    let count = |name: &str| first[name].as_u64().expect("a number");
    assert_eq!((count("stored") + count("unchanged"), count("errors")), (estate.people as u64 + 1, 0), "{first:#}");
    estate.directory_has_them();
    estate.all_are_stored().await;
    let second = estate.pass();
    assert_eq!((&second["stored"], &second["errors"]), (&0.into(), &0.into()), "{second:#}");
}

/// Windows tells at most 1,500 values at once, Samba as many as are asked for.
async fn members_come_in_ranges(estate: &Estate) {
    let samba = &estate.samba;
    let mut connection = connection(samba).await;
    let name = format!("CN=g0,OU=Staff,{}", estate.base).parse().expect("a name");
    let asked = vec![format!("member;range=0-{}", PIECE - 1)];
    let entry = connection.read(&name, asked).await.expect("a read").expect("the group");
    assert!(!entry.is_whole());
    assert_eq!(entry.values("member").len(), PIECE);
    let entry = connection.complete(entry).await.expect("the rest");
    let told: BTreeSet<&str> = entry.texts("member").collect();
    assert_eq!(told.len(), members(0, estate.people).len());
}

/// All at once, with a new person's hash that goes by before the person is there.
async fn every_kind_of_change_arrives(estate: &mut Estate) {
    let mut expected: BTreeMap<String, String> =
        estate.users().into_iter().map(|(name, (_, shown))| (name, shown)).collect();
    let before = estate.users();
    let of_project = estate.people - 2 * APART;
    estate.samba.ldif(&CHANGES.replace("BASE", &estate.base).replace("REALM", CORP.realm).replace("OUTSIDE", OUTSIDE));
    estate.samba.add_people([("pnew", "OU=Berlin,OU=Staff", "Start-new-Pässwörd!")]);
    estate.passwords.insert("pnew".to_owned(), "Start-new-Pässwörd!".to_owned());
    estate.pass();
    let steps = estate.run("delta");
    let kinds: Vec<_> = steps.iter().filter(|step| step["connector"] == "corp").map(|step| &step["kind"]).collect();
    assert!(kinds.iter().any(|kind| *kind == "delta-import") && !kinds.iter().any(|kind| *kind == "full-import"));

    let leaves = (estate.people - APART..estate.people).map(|number| format!("p{number}"));
    for name in leaves.chain(["p13", "p14", "p17"].map(str::to_owned)) {
        expected.remove(&name).expect("was there");
        estate.passwords.remove(&name);
    }
    estate.passwords.remove("p15");
    for (name, shown) in
        [("p10", "Somebody Else"), ("p15", "Of the same name"), ("p17new", "User p17"), ("pnew", "User pnew")]
    {
        expected.insert(name.to_owned(), shown.to_owned());
    }
    let after = estate.users();
    let shown: BTreeMap<String, String> =
        after.iter().map(|(name, (_, shown))| (name.clone(), shown.clone())).collect();
    assert_eq!(shown, expected);
    assert_eq!(after["p17new"].0, before["p17"].0, "another name is the same person");
    assert_ne!(after["p15"].0, before["p15"].0, "the same name is another person");
    for name in [
        "CN=p11 renamed,OU=Lab,OU=Berlin,OU=Staff",
        "CN=p12,OU=Lab,OU=Berlin,OU=Staff",
        &format!("CN=p{of_project},OU=Project,OU=Lab,OU=Berlin,OU=Staff"),
    ] {
        let object = estate.object(name);
        assert!(object["metaverse"].is_object(), "{name}: {object:#}");
    }
    assert_eq!(estate.groups_of("p10"), names(&["g0", "g1", "g10", "gnew"]));
    assert_eq!(estate.groups_of("p0"), names(&[]));
    assert_eq!(estate.groups_of("p2"), names(&["g0"]));
    assert_eq!(estate.groups_of("p201"), names(&["g0"]));
    assert_eq!(estate.groups_of("p203"), names(&["g0", "three"]));
    assert_eq!(estate.groups_of("p15"), names(&[]));
    assert_eq!(estate.user("p16")["account_enabled"], false);
    let links = estate.object("CN=p18,OU=Staff")["metaverse"]["refers_to"].to_string();
    assert!(links.contains("manager") && links.contains("p19"), "{links}");

    assert_eq!(sent(&estate.run("delta")), 0, "a second run is empty");
    assert_eq!(sent(&estate.run("full")), 0, "a full run finds nothing that the delta did not");
    // The hash that went by before the person was there is read by itself.
    let pass = estate.pass();
    assert_eq!(pass["errors"], 0, "{pass:#}");
    let newcomer = BTreeMap::from([("pnew".to_owned(), "Start-new-Pässwörd!".to_owned())]);
    assert_eq!(estate.verified(&newcomer).await.len(), 1);
}

/// Changes of every kind: of values, names, places, members, states and references.
const CHANGES: &str = "\
dn: CN=p10,OU=Berlin,OU=Staff,BASE\nchangetype: modify\nreplace: displayName\ndisplayName: Somebody Else\n-\n\n\
dn: CN=p11,OU=Lab,OU=Berlin,OU=Staff,BASE\nchangetype: modrdn\nnewrdn: CN=p11 renamed\ndeleteoldrdn: 1\n\n\
dn: CN=p12,OU=Staff,BASE\nchangetype: modrdn\nnewrdn: CN=p12\ndeleteoldrdn: 1\nnewsuperior: OU=Lab,OU=Berlin,OU=Staff,BASE\n\n\
dn: CN=p13,OU=Berlin,OU=Staff,BASE\nchangetype: modrdn\nnewrdn: CN=p13\ndeleteoldrdn: 1\nnewsuperior: OUTSIDE,BASE\n\n\
dn: CN=p14,OU=Lab,OU=Berlin,OU=Staff,BASE\nchangetype: delete\n\n\
dn: CN=p15,OU=Staff,BASE\nchangetype: delete\n\n\
dn: CN=p15,OU=Staff,BASE\nchangetype: add\nobjectClass: user\nsAMAccountName: p15\nuserPrincipalName: p15@REALM\n\
mail: p15@REALM\ndisplayName: Of the same name\nuserAccountControl: 544\n\n\
dn: CN=p16,OU=Berlin,OU=Staff,BASE\nchangetype: modify\nreplace: userAccountControl\nuserAccountControl: 514\n-\n\n\
dn: CN=p17,OU=Lab,OU=Berlin,OU=Staff,BASE\nchangetype: modify\nreplace: userPrincipalName\nuserPrincipalName: p17new@REALM\n-\n\n\
dn: CN=p18,OU=Staff,BASE\nchangetype: modify\nreplace: manager\nmanager: CN=p19,OU=Berlin,OU=Staff,BASE\n-\n\n\
dn: CN=g0,OU=Staff,BASE\nchangetype: modify\ndelete: member\nmember: CN=p0,OU=Staff,BASE\n-\n\n\
dn: CN=g1,OU=Staff,BASE\nchangetype: modify\nadd: member\nmember: CN=p10,OU=Berlin,OU=Staff,BASE\n-\n\
delete: member\nmember: CN=p201,OU=Staff,BASE\n-\n\n\
dn: CN=g2,OU=Staff,BASE\nchangetype: delete\n\n\
dn: CN=g3,OU=Staff,BASE\nchangetype: modify\nreplace: displayName\ndisplayName: three\n-\n\n\
dn: CN=gnew,OU=Staff,BASE\nchangetype: add\nobjectClass: group\nsAMAccountName: gnew\ndisplayName: gnew\n\
member: CN=p10,OU=Berlin,OU=Staff,BASE\n\n\
dn: OU=Project,OU=Staff,BASE\nchangetype: modrdn\nnewrdn: OU=Project\ndeleteoldrdn: 1\n\
newsuperior: OU=Lab,OU=Berlin,OU=Staff,BASE\n\n\
dn: OU=Leaving,OU=Staff,BASE\nchangetype: modrdn\nnewrdn: OU=Leaving\ndeleteoldrdn: 1\nnewsuperior: OUTSIDE,BASE\n";

/// Changes at random as deltas, while the controller goes away in the midst of the passes, and comes back restored.
async fn changed_passwords_arrive_through_interruptions(estate: &mut Estate) {
    let former = change_passwords(estate, CHANGED, "Changed");
    stop_in_the_midst(estate, &["password-sync", "run"]);
    estate.samba.start_again();
    let pass = estate.pass();
    let stored = pass["stored"].as_u64().expect("a number");
    assert!((1..=former.len() as u64).contains(&stored), "{pass:#}");
    assert_eq!(pass["errors"], 0, "{pass:#}");
    estate.directory_has_them();
    estate.all_are_stored().await;
    assert_eq!(estate.verified(&former).await, BTreeSet::new(), "former passwords");

    change_passwords(estate, APART, "Restored");
    stop_in_the_midst(estate, &["password-sync", "run", "--full"]);
    estate.samba.set_invocation_id("7b1a4c8e-1111-4222-8333-0123456789ab");
    estate.samba.start_again();
    change_passwords(estate, APART, "Later");
    let pass = estate.pass();
    assert_eq!(pass["errors"], 0, "{pass:#}");
    estate.directory_has_them();
    estate.all_are_stored().await;
    let pass = estate.pass();
    assert_eq!((&pass["stored"], &pass["errors"]), (&0.into(), &0.into()), "{pass:#}");
}

/// So many changes of people who are drawn by lot, some of them several times; their former passwords.
fn change_passwords(estate: &mut Estate, count: usize, word: &str) -> BTreeMap<String, String> {
    let accounts: Vec<String> = estate.passwords.keys().cloned().collect();
    let mut lots = StdRng::seed_from_u64(20_261_122);
    let changes: Vec<(String, String)> = (0..count)
        .map(|number| (accounts[lots.random_range(0..accounts.len())].clone(), format!("{word}-{number}-Pässwörd!")))
        .collect();
    estate.samba.set_passwords(changes.iter().map(|(account, password)| (account.as_str(), password.as_str())));
    let mut former = BTreeMap::new();
    for (account, password) in changes {
        let before = estate.passwords.insert(account.clone(), password).expect("a person");
        former.entry(account).or_insert(before);
    }
    estate.step("passwords changed");
    former
}

/// Kills the controller as soon as it is asked for hashes; the pass must notice.
fn stop_in_the_midst(estate: &mut Estate, command: &'static [&'static str]) {
    for _ in 0..TRIES {
        let operator = estate.gateway.operator();
        let pass = std::thread::spawn(move || operator.run(command));
        wait_until("the pass to begin", DEADLINE, || {
            (estate.samba.is_replicating() || pass.is_finished()).then_some(())
        });
        estate.samba.stop();
        let ended = pass.join().expect("no panic");
        if ended.is_none_or(|passes| passes[0]["report"].is_null()) {
            estate.step("a pass was cut");
            return;
        }
        estate.samba.start_again();
    }
    panic!("{TRIES} passes came to their end before they could be cut");
}

fn names(groups: &[&str]) -> BTreeSet<String> {
    groups.iter().map(|name| (*name).to_owned()).collect()
}
