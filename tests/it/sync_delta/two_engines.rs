//! Two engines with stores of their own over one directory and one tenant, as two sync servers may be.

use std::time::Duration;

use landbridge::connectors::ldap::DeltaChoice;
use landbridge::store::engine::SqlEngine;
use landbridge::store::{Database, DatabaseUrl, Room};
use landbridge::sync::run::{Profile, RunOutcome};

use super::LIFE;
use super::site::{Peer, Site};

const PEOPLE: i64 = 6;

async fn cycle(site: &Site, profile: Profile, at: &str) {
    let (outcome, steps) = site.run(profile).await;
    assert_eq!(outcome, RunOutcome::Completed, "{at}: {steps:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_another_engine_added_and_the_source_lost_is_deleted_when_replicas_have_heard_from_each_other() {
    let mut site = Site::open(Peer::slapd(), DeltaChoice::Auto).await;
    let dir = tempfile::tempdir().expect("a folder");
    let url = DatabaseUrl::Sqlite { directory: dir.path().to_owned() };
    let mut other = SqlEngine::new(Database::open(&url, Room::Engine).await.expect("engine.db"));
    for engine in ["one", "other"] {
        cycle(&site, Profile::Full, engine).await;
        std::mem::swap(&mut site.engine, &mut other);
    }
    assert_eq!(site.people().await, PEOPLE);

    // One engine adds two; one of them is gone before the other engine is at work again.
    site.peer.modify(LIFE[0].ldif);
    site.peer.modify(&LIFE[0].ldif.replace("new", "kept").replace("New", "Kept"));
    cycle(&site, Profile::Delta, "added").await;
    assert_eq!(site.people().await, PEOPLE + 2);
    site.peer.modify("dn: uid=new,ou=berlin,ou=people,SUFFIX\nchangetype: delete\n");

    std::mem::swap(&mut site.engine, &mut other);
    for at in ["taken over", "the directory that this engine reads may lag behind"] {
        cycle(&site, Profile::Delta, at).await;
        assert_eq!(site.people().await, PEOPLE + 2, "{at}");
    }
    site.clock.advance(Duration::from_secs(3 * 3600));
    // Nothing is concluded while the source cannot be asked.
    site.peer.stop();
    assert_eq!(site.run(Profile::Delta).await.0, RunOutcome::Failed);
    assert_eq!(site.people().await, PEOPLE + 2);
    site.peer.start();
    cycle(&site, Profile::Delta, "three hours later").await;
    assert!(site.person("new").await.is_none() && site.person("kept").await.is_some());
    assert_eq!(site.people().await, PEOPLE + 1);
    site.full_finds_nothing("claimed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn that_another_engine_goes_on_adding_postpones_nothing() {
    let site = Site::open(Peer::slapd(), DeltaChoice::Auto).await;
    cycle(&site, Profile::Full, "at first").await;
    assert_eq!(site.people().await, PEOPLE);
    site.added_elsewhere("early").await;
    for at in ["met", "known"] {
        cycle(&site, Profile::Delta, at).await;
    }
    site.clock.advance(Duration::from_secs(2 * 3600));
    site.added_elsewhere("late").await;
    for at in ["met too", "known too"] {
        cycle(&site, Profile::Delta, at).await;
    }
    assert_eq!(site.people().await, PEOPLE + 2);
    site.clock.advance(Duration::from_secs(3600));
    cycle(&site, Profile::Delta, "three hours after the early one").await;
    assert!(site.person("early").await.is_none() && site.person("late").await.is_some());
    cycle(&site, Profile::Delta, "nobody is judged twice").await;
    assert_eq!(site.people().await, PEOPLE + 1);
    site.clock.advance(Duration::from_secs(2 * 3600));
    cycle(&site, Profile::Delta, "three hours after the late one").await;
    assert!(site.person("late").await.is_none());
    assert_eq!(site.people().await, PEOPLE);
    site.full_finds_nothing("claimed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_could_not_be_judged_is_judged_when_nobody_is_in_doubt_any_more() {
    let site = Site::open(Peer::slapd(), DeltaChoice::Auto).await;
    cycle(&site, Profile::Full, "at first").await;
    site.added_elsewhere("early").await;
    cycle(&site, Profile::Delta, "met").await;
    site.clock.advance(Duration::from_secs(2 * 3600));
    site.added_elsewhere("late").await;
    cycle(&site, Profile::Delta, "met too").await;
    // A second entry of one person may be anybody.
    let twin = LIFE[0].ldif.replace("employeeNumber: new", "employeeNumber: p1");
    site.peer.modify(&twin);
    site.clock.advance(Duration::from_secs(3600));
    for at in ["somebody is in doubt", "and still is"] {
        cycle(&site, Profile::Delta, at).await;
        assert_eq!(site.people().await, PEOPLE + 2, "{at}");
    }
    site.peer.modify("dn: uid=new,ou=berlin,ou=people,SUFFIX\nchangetype: delete\n");
    cycle(&site, Profile::Delta, "nobody is").await;
    assert!(site.person("early").await.is_none() && site.person("late").await.is_some());
    assert_eq!(site.people().await, PEOPLE + 1);
}
