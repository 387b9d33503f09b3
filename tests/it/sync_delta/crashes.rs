//! Servers that die, connections that break, backups that are restored: nobody is deleted for it.

use landbridge::connectors::ldap::DeltaChoice;
use landbridge::sync::run::{Profile, RunOutcome};

use super::site::{Peer, Site};
use super::{LIFE, peers};
use crate::support::cutting_proxy::CuttingProxy;

const PEOPLE: i64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_anywhere_deletes_nobody_and_the_next_import_tells_everything() {
    for (step, (server, peer, choice)) in [1, 9, 11, 13].into_iter().zip(peers()) {
        let mut site = Site::open(peer, choice).await;
        let proxy = CuttingProxy::to(site.peer.tls_port());
        site.settings.servers = vec![format!("ldaps://localhost:{}", proxy.port()).parse().expect("a url")];
        site.settings.page_size = 2;
        site.reconnect();
        assert_eq!(site.run(Profile::Full).await.0, RunOutcome::Completed, "{server}");
        assert_eq!(site.people().await, PEOPLE, "{server}");
        let mail = |round: usize| {
            format!(
                "dn: uid=p0,ou=berlin,ou=people,SUFFIX\nchangetype: modify\nreplace: mail\nmail: m{round}@alpha.example\n\n\
                 dn: cn=one,ou=groups,SUFFIX\nchangetype: modify\nreplace: description\ndescription: {round}\n"
            )
        };
        for profile in [Profile::Delta, Profile::Cycle] {
            // TLS itself takes the first records of a connection.
            for records in (1..).step_by(step) {
                site.peer.modify(&mail(records));
                proxy.cut_behind(records);
                let cuts = proxy.cuts();
                let (outcome, steps) = site.run(profile).await;
                proxy.cut_behind(0);
                assert_eq!(site.people().await, PEOPLE, "{server}: {profile:?} cut behind {records}: {steps:#?}");
                if proxy.cuts() == cuts {
                    assert_eq!(outcome, RunOutcome::Completed, "{server}: {profile:?}: {steps:#?}");
                    assert!(records > 10, "{server}: {profile:?}: the import was never cut: {records}");
                    break;
                }
                assert!(outcome == RunOutcome::Failed || steps.len() > 3, "{server}: {records}: {steps:#?}");
            }
            assert_eq!(site.run(profile).await.0, RunOutcome::Completed, "{server}");
        }
        site.full_finds_nothing(server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_in_mid_import_deletes_nobody() {
    for (server, peer, choice) in peers() {
        let mut site = Site::open(peer, choice).await;
        let proxy = CuttingProxy::to(site.peer.tls_port());
        site.settings.servers = vec![format!("ldaps://localhost:{}", proxy.port()).parse().expect("a url")];
        site.reconnect();
        assert_eq!(site.run(Profile::Full).await.0, RunOutcome::Completed, "{server}");
        for profile in [Profile::Delta, Profile::Full] {
            site.peer.modify(LIFE[0].ldif);
            proxy.cut_behind(9);
            assert_eq!(site.run(profile).await.0, RunOutcome::Failed, "{server}: {profile:?}");
            site.peer.stop();
            assert_eq!(site.run(profile).await.0, RunOutcome::Failed, "{server}: {profile:?}: it is down");
            assert_eq!(site.people().await, PEOPLE, "{server}: {profile:?}");
            proxy.cut_behind(0);
            site.peer.start();
            // Killed, slapd has lost the log of its deletes and tells who is left; it has also forgotten that anything
            // happened since its last checkpoint, until it is written to again. 389 goes on where it was.
            site.peer.modify(
                "dn: uid=p5,ou=lyon,ou=people,SUFFIX\nchangetype: modify\nreplace: description\ndescription: d\n",
            );
            let (outcome, steps) = site.run(Profile::Delta).await;
            assert_eq!(outcome, RunOutcome::Completed, "{server}: {steps:#?}");
            assert_eq!(site.people().await, PEOPLE + 1, "{server}: {profile:?}: {steps:#?}");
            site.peer.modify("dn: uid=new,ou=berlin,ou=people,SUFFIX\nchangetype: delete\n");
            assert_eq!(site.run(Profile::Delta).await.0, RunOutcome::Completed, "{server}");
            assert_eq!(site.people().await, PEOPLE, "{server}: {profile:?}");
        }
        site.full_finds_nothing(server).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_before_a_restart_are_told_by_who_is_left() {
    let mut site = Site::open(Peer::slapd(), DeltaChoice::ContentSync).await;
    site.run(Profile::Full).await;
    site.peer.modify("dn: uid=p1,ou=lyon,ou=people,SUFFIX\nchangetype: delete\n");
    site.peer.modify(LIFE[0].ldif);
    site.peer.stop();
    site.peer.start();
    site.delta("after a restart").await;
    assert!(site.person("p1").await.is_none() && site.person("new").await.is_some());
    assert_eq!(site.people().await, PEOPLE);
    site.full_finds_nothing("after a restart").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_noticed_even_when_it_was_written_to_since() {
    for (server, peer, choice) in peers() {
        let mut site = Site::open(peer, choice).await;
        assert_eq!(site.run(Profile::Full).await.0, RunOutcome::Completed, "{server}");
        let change = |mail: &str| {
            format!(
                "dn: uid=p0,ou=berlin,ou=people,SUFFIX\nchangetype: modify\nreplace: mail\nmail: {mail}@alpha.example\n"
            )
        };
        for written_since in [false, true] {
            site.peer.modify(&change("lost"));
            site.delta(server).await;
            assert_eq!(site.person("p0").await.expect("person 0").0, "lost@alpha.example", "{server}");
            site.peer.start_over();
            if written_since {
                // Its counters pass ours again.
                for n in 0..4 {
                    site.peer.modify(&format!(
                        "dn: uid=p1,ou=lyon,ou=people,SUFFIX\nchangetype: modify\nreplace: description\ndescription: {n}\n"
                    ));
                }
            }
            let (outcome, steps) = site.run(Profile::Delta).await;
            assert_eq!(outcome, RunOutcome::Completed, "{server}: {steps:#?}");
            assert!(steps.iter().any(|step| step.kind == "full-import"), "{server}: {steps:#?}");
            assert_eq!(site.person("p0").await.expect("person 0").0, "p0@alpha.example", "{server}: {written_since}");
            assert_eq!(site.people().await, PEOPLE, "{server}");
            site.full_finds_nothing(server).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_schema_changes_nothing_for_those_who_do_not_use_it() {
    for (server, peer, choice) in peers() {
        let mut site = Site::open(peer, choice).await;
        assert_eq!(site.run(Profile::Full).await.0, RunOutcome::Completed, "{server}");
        const TYPE: &str = "( 1.3.6.1.4.1.99999.1.77 NAME 'badge' EQUALITY caseIgnoreMatch \
                            SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )";
        const CLASS: &str = "( 1.3.6.1.4.1.99999.2.77 NAME 'badged' SUP top AUXILIARY MAY badge )";
        match &mut site.peer {
            Peer::Slapd(slapd) => {
                slapd.shut_down();
                slapd.extend_schema(&format!("attributetype {TYPE}\nobjectclass {CLASS}"));
                slapd.start();
            }
            Peer::Ds389(ds) => ds.ldapmodify(&format!(
                "dn: cn=schema\nchangetype: modify\nadd: attributeTypes\nattributeTypes: {TYPE}\n-\nadd: objectClasses\n\
                 objectClasses: {CLASS}\n"
            )),
        }
        site.peer.modify(
            "dn: uid=p0,ou=berlin,ou=people,SUFFIX\nchangetype: modify\nadd: objectClass\nobjectClass: badged\n-\nadd: badge\n\
             badge: 7\n-\nreplace: mail\nmail: badged@alpha.example\n",
        );
        site.delta(server).await;
        assert_eq!(site.person("p0").await.expect("person 0").0, "badged@alpha.example", "{server}");
        assert_eq!(site.people().await, PEOPLE, "{server}");
        site.full_finds_nothing(server).await;
    }
}
