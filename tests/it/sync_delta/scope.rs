//! The scope of an import: containers unticked and ticked again, the last resort without deletes.

use std::time::Duration;

use landbridge::connectors::ldap::DeltaChoice;
use landbridge::sync::run::{Profile, RunOutcome};

use super::site::{Peer, Site, unlimited};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_unticked_and_ticked_again_keeps_its_people() {
    for export_between in [true, false] {
        let mut site = Site::open(Peer::slapd(), DeltaChoice::Auto).await;
        assert_eq!(site.run(Profile::Full).await.0, RunOutcome::Completed);
        let before = site.person("p1").await.expect("person 1");
        let lyon: landbridge::identity::DistinguishedName =
            format!("ou=lyon,ou=people,{}", site.peer.suffix()).parse().expect("a dn");
        site.settings.exclude = vec![lyon];
        site.reconnect();
        let profile = if export_between { Profile::Delta } else { Profile::Staging };
        let (outcome, steps) = site.run_unguarded(profile).await;
        assert_eq!(outcome, RunOutcome::Completed, "{steps:#?}");
        // Another scope cannot go on from the watermark.
        assert!(steps.iter().any(|step| step.kind == "full-import"), "{steps:#?}");
        assert_eq!(site.person("p1").await.is_none(), export_between);
        site.delta("while unticked").await;
        assert!(site.person("p1").await.is_none());
        site.settings.exclude.clear();
        site.reconnect();
        let (outcome, steps) = site.run_unguarded(Profile::Delta).await;
        assert_eq!(outcome, RunOutcome::Completed, "{steps:#?}");
        assert_eq!(site.person("p1").await, Some(before), "exported in between: {export_between}");
        site.full_finds_nothing("ticked again").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unticked_container_that_was_not_exported_yet_comes_back_as_if_nothing_had_been() {
    let mut site = Site::open(Peer::slapd(), DeltaChoice::Auto).await;
    site.run(Profile::Full).await;
    let before = site.person("p1").await.expect("person 1");
    site.settings.exclude = vec![format!("ou=lyon,ou=people,{}", site.peer.suffix()).parse().expect("a dn")];
    site.reconnect();
    site.run_unguarded(Profile::Staging).await;
    site.settings.exclude.clear();
    site.reconnect();
    let (outcome, steps) = site.run_unguarded(Profile::Delta).await;
    assert_eq!(outcome, RunOutcome::Completed, "{steps:#?}");
    assert_eq!(site.person("p1").await, Some(before));
    let sent: i64 = steps.iter().filter(|s| s.kind == "export").flat_map(|s| s.counters.values()).sum();
    assert_eq!(sent, 0, "the delete was never sent, so there is nothing to take back: {steps:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn time_stamps_tell_changes_and_a_full_import_once_a_day_tells_the_rest() {
    for peer in [Peer::slapd(), Peer::ds389_with_changelog_alone()] {
        let site = Site::open(peer, DeltaChoice::Timestamp).await;
        assert_eq!(site.run(Profile::Full).await.0, RunOutcome::Completed);
        site.peer.modify(
            "dn: uid=p0,ou=berlin,ou=people,SUFFIX\nchangetype: modify\nreplace: mail\nmail: a@alpha.example\n",
        );
        site.peer.modify(
            "dn: uid=new,ou=berlin,ou=people,SUFFIX\nchangetype: add\nobjectClass: inetOrgPerson\nuid: new\ncn: N\nsn: N\n\
             employeeNumber: new\nmail: new@alpha.example\n",
        );
        site.delta("changed and added").await;
        assert_eq!(site.person("p0").await.expect("person 0").0, "a@alpha.example");
        assert!(site.person("new").await.is_some());

        site.peer.modify("dn: uid=p1,ou=lyon,ou=people,SUFFIX\nchangetype: delete\n");
        site.delta("deleted").await;
        assert!(site.person("p1").await.is_some(), "time stamps do not tell it");
        let connector = &site.runner(unlimited()).connectors[0];
        let outlook =
            landbridge::sync::source_import::outlook(&site.engine, connector.as_ref()).await.expect("a state");
        let reports = outlook.delta.expect("a delta goes on");
        assert!(!reports.deletes && !reports.moves && !reports.filter_exits, "and it says so");
        assert_eq!(outlook.full_due, outlook.last_full.map(|last| last + Duration::from_secs(86_400)));

        site.clock.advance(Duration::from_secs(86_400));
        let (outcome, steps) = site.run_unguarded(Profile::Delta).await;
        assert_eq!(outcome, RunOutcome::Completed, "{steps:#?}");
        assert!(steps.iter().any(|step| step.kind == "full-import"), "{steps:#?}");
        assert!(site.person("p1").await.is_none());
    }
}
