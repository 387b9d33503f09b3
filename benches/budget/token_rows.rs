//! Tokens and what applications read beforehand.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::browser::{Outcome, Visitor};
use crate::landscape::Landscape;
use crate::limits::Limits;
use crate::load::{closed, deal};
use crate::support::gateway::Gateway;
use crate::table::{Budget, Row, Table};

const VISITORS: u8 = 16;
const ROUNDS: usize = 60;
const REQUESTS: usize = 12_000;
/// An answer holds an identity token and an access token.
const SIGNATURES: f64 = 2.0;

/// Each visitor trades its refresh token for the next, again and again.
pub async fn refresh(table: &mut Table, landscape: &Landscape, gateway: &Gateway, limits: &Limits) {
    for algorithm in ["ES256", "RS256"] {
        let mut holders = Vec::new();
        for (person, visitor) in landscape.alpha().iter().zip(Visitor::several(gateway, VISITORS)) {
            let at = visitor.to_password(algorithm, &person.upn, &person.password).await;
            let Outcome::SignedIn { code } = visitor.enter(at).await else { panic!("not signed in") };
            let token = visitor.redeem(algorithm, &code).await;
            holders.push((visitor, Arc::new(Mutex::new(token))));
        }
        let jobs = vec![(); landscape.times(ROUNDS * usize::from(VISITORS))];
        let load = closed(
            gateway.pid(),
            deal(holders, jobs),
            move |(visitor, token): (Visitor, Arc<Mutex<String>>), ()| async move {
                let mut token = token.lock().await;
                *token = visitor.refresh(algorithm, &token).await;
            },
        )
        .await;
        let path = format!("token refresh, {algorithm}, per core");
        if algorithm == "ES256" {
            table.add(Row::figure(path, load.rate_per_core(), "/s", Budget::AtLeast(1_500.0)));
            let path = "token refresh, ES256, per core, against two signatures";
            table.add(Row::ratio(path, load.rate_per_core(), "/s", limits.es256_per_core / SIGNATURES, Budget::None));
        } else {
            let limit = limits.rs256_per_core / SIGNATURES;
            let path = format!("{path}, against two signatures");
            table.add(Row::ratio(path, load.rate_per_core(), "/s", limit, Budget::AtLeast(0.7)));
        }
        table.add(Row::figure(format!("token refresh, {algorithm}"), load.rate(), "/s", Budget::None));
    }
}

/// Discovery and key set on kept connections.
pub async fn metadata(table: &mut Table, landscape: &Landscape, gateway: &Gateway) {
    let document = gateway.url() + "/.well-known/openid-configuration";
    let visitor = Visitor::new(gateway, 1);
    let answer = visitor.http.get(&document).send().await.expect("an answer");
    let answer: serde_json::Value = answer.json().await.expect("JSON");
    let keys = answer["jwks_uri"].as_str().expect("an address").to_owned();
    for (name, url) in [("discovery", document), ("JWKS", keys)] {
        let visitors = Visitor::several(gateway, VISITORS);
        let load =
            closed(gateway.pid(), deal(visitors, vec![(); landscape.times(REQUESTS)]), move |visitor: Visitor, ()| {
                let url = url.clone();
                async move {
                    let answer = visitor.http.get(url).send().await.expect("an answer");
                    assert_eq!(answer.status(), 200);
                    answer.bytes().await.expect("a body");
                }
            })
            .await;
        let rate = load.rate_per_core();
        table.add(Row::figure(format!("{name}, per core"), rate, "/s", Budget::AtLeast(8_000.0)));
    }
}
