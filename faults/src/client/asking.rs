//! Checks, and calls with tokens of sessions that have ended.

use std::sync::atomic::Ordering;
use std::time::Instant;

use domain::ledger::ledger_of;
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};
use tests::Call;
use uuid::Uuid;

use super::Actor;
use crate::record::{Answer, Check, Demand, Reach, Span};
use crate::shared::{ACT, any_resource, positions};

impl Actor {
    pub(super) async fn ask(&mut self) {
        let (user, resource) = (self.any_user(), any_resource(&mut self.random));
        let (service, client) = self.shared.any_query(&mut self.random);
        let request = self.new_uuid();
        let ledger = ledger_of(&user.to_string(), self.shared.world.ledgers());
        let call = client
            .query("POST", "/access/v1/evaluation")
            .bearer(&self.admin())
            .header("x-request-id", request.to_string())
            .json(&question(&user.to_string(), &resource));
        let (call, demand, floor) = match (self.random.random_range(0..10), self.last_token.clone()) {
            (0..3, _) => {
                let known = Reach::of(self.shared.known(), ledger);
                (call.at_least("latest"), Demand::Latest, known)
            }
            (3..8, Some(token)) => {
                let held = Reach::of(positions(&token), ledger);
                (call.at_least(&token), Demand::Token, held)
            }
            _ => (call, Demand::Nothing, Reach::NOTHING),
        };
        let sent = Instant::now();
        let answer = self.answer(call, request, ledger).await;
        self.shared.counts.checks.fetch_add(1, Ordering::Relaxed);
        self.calls.checks.push(Check {
            client: self.number,
            request,
            service,
            user,
            resource,
            demand,
            floor,
            span: Span::since(sent),
            answer,
        });
    }

    async fn answer(&mut self, call: Call, request: Uuid, ledger: i32) -> Answer {
        let answer = match call.try_send().await {
            Ok(answer) => answer,
            Err(error) if error.is_timeout() => return Answer::None("timeout".to_owned()),
            Err(_) => return Answer::None("no answer".to_owned()),
        };
        if answer.status >= 500 && answer.status != 503 {
            self.wrong(format!(
                "check {request} is answered {}: {}",
                answer.status, answer.text
            ));
        }
        let reason = answer.body["context"]["reason"].as_str().unwrap_or_default();
        match answer.body["decision"].as_bool() {
            Some(allowed) if answer.status == 200 => Answer::Decided {
                allowed,
                reason: reason.to_owned(),
                at: Reach::of(positions(answer.header("rolecall-token")), ledger),
            },
            _ => Answer::None(format!("{} {}", answer.status, answer.text)),
        }
    }

    /// Behind the token of its end no access token counts any more.
    pub(super) async fn ask_after_the_end(&mut self) {
        let people: Vec<_> = self
            .people
            .iter()
            .filter_map(|it| Some((it.id, it.ended.choose(&mut self.random)?.clone())))
            .collect();
        let Some((user, ended)) = people.choose(&mut self.random).cloned() else {
            return self.ask().await;
        };
        let resource = any_resource(&mut self.random);
        let (service, client) = self.shared.any_query(&mut self.random);
        let demand = if self.random.random() {
            "latest"
        } else {
            ended.token.as_str()
        };
        let request = self.new_uuid();
        let call = client
            .query("POST", "/access/v1/evaluation")
            .bearer(&ended.access)
            .header("x-request-id", request.to_string())
            .at_least(demand)
            .json(&question(&user.to_string(), &resource));
        let ledger = ledger_of(&user.to_string(), self.shared.world.ledgers());
        self.shared.counts.checks.fetch_add(1, Ordering::Relaxed);
        self.calls.checks_after_the_end += 1;
        if let Answer::Decided { .. } = self.answer(call, request, ledger).await {
            self.wrong(format!(
                "request {request}: query service {service} answers {user} at {demand}, whose session ended at {}",
                ended.token
            ));
        }
    }
}

fn question(user: &str, resource: &str) -> Value {
    json!({
        "subject": { "type": "user", "id": user },
        "action": { "name": ACT },
        "resource": { "type": resource, "id": "1" },
    })
}
