//! A domain with two controllers, which tell each other nothing: the password channel goes on at whichever answers, and
//! neither loses a hash nor takes back an older one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::estate::Estate;
use crate::support::samba::Samba;
use crate::support::wait::wait_until;

const PEOPLE: usize = 300;
const DEADLINE: Duration = Duration::from_secs(60);
/// Tries to stop a controller in the midst of a pass.
const TRIES: usize = 5;
/// What the log says of a controller that went away.
const GAVE_UP: &str = "a controller cannot replicate";

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_goes_on_at_the_other_controller_and_no_older_hash_comes_back() {
    let opened = tokio::task::spawn_blocking(|| {
        let mut estate = Estate::open(PEOPLE);
        let second = estate.samba.another("dc2");
        let (one, both) = (url(&estate.samba), format!("{}, {}", url(&estate.samba), url(&second)));
        estate.gateway.reconfigure(|settings| settings.replace(&one, &both));
        (estate, second)
    });
    let (mut estate, second) = opened.await.expect("they start");
    estate.run("full");
    estate.pass();
    estate.all_are_stored().await;

    lose_the_first_in_the_midst(&mut estate);
    estate.all_are_stored().await;

    // Changes that the first one never hears of: when it comes back, it shows the older ones.
    change(&second, &mut estate.passwords, &["p1", "p2", "p3"], "Second");
    assert_eq!(estate.pass()["stored"], 3);
    estate.samba.start_again();
    let lagging = estate.pass();
    assert_eq!((&lagging["stored"], &lagging["errors"]), (&0.into(), &0.into()), "{lagging:#}");
    estate.all_are_stored().await;

    // Each of them takes changes, and the first one is asked first.
    change(&estate.samba, &mut estate.passwords, &["p4"], "First");
    assert_eq!(estate.pass()["errors"], 0);
    estate.all_are_stored().await;

    // It is gone for good.
    estate.samba.stop();
    change(&second, &mut estate.passwords, &["p5"], "Last");
    assert_eq!(estate.pass()["errors"], 0);
    estate.all_are_stored().await;
}

/// A full pass that begins at the first controller and ends at the second.
fn lose_the_first_in_the_midst(estate: &mut Estate) {
    for _ in 0..TRIES {
        let operator = estate.gateway.operator();
        let pass = std::thread::spawn(move || operator.run(&["password-sync", "run", "--full"]));
        wait_until("the pass to begin", DEADLINE, || {
            (estate.samba.is_replicating() || pass.is_finished()).then_some(())
        });
        estate.samba.stop();
        let passes = pass.join().expect("no panic");
        if estate.gateway.log().contains(GAVE_UP) {
            let report = passes.map(|passes| passes[0]["report"].clone()).unwrap_or_default();
            assert_eq!(report["read"].as_u64(), Some(estate.people as u64 + 1), "the other one tells all: {report:#}");
            return;
        }
        estate.samba.start_again();
    }
    panic!("{TRIES} passes came to their end before the controller was gone");
}

/// New passwords, written at one controller.
fn change(controller: &Samba, passwords: &mut BTreeMap<String, String>, accounts: &[&str], word: &str) {
    for account in accounts {
        passwords.insert((*account).to_owned(), format!("{word}-{account}-Pässwörd!"));
    }
    controller.set_passwords(accounts.iter().map(|account| (*account, passwords[*account].as_str())));
}

fn url(samba: &Samba) -> String {
    format!("\"ldaps://{}\"", samba.address)
}
