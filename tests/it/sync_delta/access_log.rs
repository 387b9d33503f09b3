//! What a log cannot tell: records that were purged, data that are older than the log, a log that nobody may read.

use std::time::Duration;

use landbridge::connectors::ldap::DeltaChoice;
use landbridge::sync::run::{Profile, RunOutcome};

use super::DAYS;
use super::site::{Peer, Site};
use crate::support::slapd::Slapd;
use crate::support::wait::wait_until;

/// Records are kept for a second.
const SECOND: &str = "00+00:00:01 00+00:00:01";

fn mail(name: &str, mail: &str) -> String {
    let container = if matches!(name, "p1" | "p5") { "lyon" } else { "berlin" };
    format!(
        "dn: uid={name},ou={container},ou=people,SUFFIX\nchangetype: modify\nreplace: mail\nmail: {mail}@alpha.example\n"
    )
}

fn slapd(site: &mut Site) -> &mut Slapd {
    match &mut site.peer {
        Peer::Slapd(slapd) => slapd,
        Peer::Ds389(_) => panic!("it is a slapd"),
    }
}

fn wait_until_purged(site: &mut Site) {
    let slapd = slapd(site);
    wait_until("the access log to be purged", Duration::from_secs(30), || {
        slapd.entries("cn=accesslog", "auditWriteObject", &["reqStart"]).is_empty().then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_purged_beyond_what_was_read_leads_to_a_full_import_and_no_other_does() {
    let mut site = Site::open(Peer::slapd_with_access_log(SECOND), DeltaChoice::AccessLog).await;
    assert_eq!(site.run(Profile::Full).await.0, RunOutcome::Completed);
    site.delta("a log that was never written to").await;
    wait_until_purged(&mut site);
    for round in 0..2 {
        let read = format!("read-{round}");
        site.peer.modify(&mail("p0", &read));
        // Whatever was read before the purge is read; the second may have purged it already.
        let (outcome, steps) = site.run_unguarded(Profile::Delta).await;
        assert_eq!(outcome, RunOutcome::Completed, "{steps:#?}");
        wait_until_purged(&mut site);
        site.delta("what was read is purged").await;
        assert_eq!(site.person("p0").await.expect("person 0").0, format!("{read}@alpha.example"));

        site.peer.modify(&mail("p1", &format!("unread-{round}")));
        site.peer.modify(&format!(
            "dn: uid=gone{round},ou=berlin,ou=people,SUFFIX\nchangetype: add\nobjectClass: inetOrgPerson\nuid: gone{round}\n\
             cn: G\nsn: G\nemployeeNumber: gone{round}\nmail: gone{round}@alpha.example\n"
        ));
        wait_until_purged(&mut site);
        let (outcome, steps) = site.run_unguarded(Profile::Delta).await;
        assert_eq!(outcome, RunOutcome::Completed, "{steps:#?}");
        assert!(steps.iter().any(|step| step.kind == "full-import"), "{steps:#?}");
        assert_eq!(site.person("p1").await.expect("person 1").0, format!("unread-{round}@alpha.example"));
        assert!(site.person(&format!("gone{round}")).await.is_some());
    }
    site.full_finds_nothing("purged").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_are_older_than_their_log_are_read_in_full() {
    let mut site = Site::open(Peer::slapd_with_access_log(DAYS), DeltaChoice::AccessLog).await;
    assert_eq!(site.run(Profile::Full).await.0, RunOutcome::Completed);
    for lost in [mail("p0", "lost"), "dn: uid=p1,ou=lyon,ou=people,SUFFIX\nchangetype: delete\n".to_owned()] {
        site.peer.modify(&lost);
        site.delta("before the loss").await;
        site.peer.stop();
        slapd(&mut site).restore_data_alone();
        site.peer.start();
        site.peer.modify(&mail("p5", "since"));
        let (outcome, steps) = site.run_unguarded(Profile::Delta).await;
        assert_eq!(outcome, RunOutcome::Completed, "{steps:#?}");
        assert!(steps.iter().any(|step| step.kind == "full-import"), "{steps:#?}");
        assert_eq!(site.person("p0").await.expect("person 0").0, "p0@alpha.example");
        assert!(site.person("p1").await.is_some());
        site.full_finds_nothing("restored").await;
    }
}
