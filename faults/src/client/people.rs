//! The people of one client: it alone registers them, signs them in and closes their accounts, so it
//! knows what must be true of them.

use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use schemas::{SessionId, UserId};
use serde_json::{Value, json};
use tests::{Answer, PASSWORD, registration};

use super::Actor;
use crate::record::{Action, Outcome};

const MOST: usize = 6;

pub(super) struct Person {
    pub id: UserId,
    name: String,
    /// More than one while a change is in doubt.
    passwords: Vec<String>,
    /// None once it is in doubt.
    is_active: Option<bool>,
    pub sessions: Vec<Session>,
    pub ended: Vec<Ended>,
}

#[derive(Clone)]
pub(super) struct Session {
    id: SessionId,
    pub access: String,
    refresh: String,
}

/// A session whose end was acknowledged with this token.
#[derive(Clone)]
pub(super) struct Ended {
    pub access: String,
    pub token: String,
}

impl Session {
    fn of(answer: &Answer) -> Option<Self> {
        let text = |field: &str| answer.body[field].as_str().map(str::to_owned);
        Some(Self {
            id: text("session_id")?.parse().ok()?,
            access: text("access_token")?,
            refresh: text("refresh_token")?,
        })
    }
}

impl Person {
    fn end_all(&mut self, keep: Option<SessionId>, token: &str) {
        for session in std::mem::take(&mut self.sessions) {
            if keep == Some(session.id) {
                self.sessions.push(session);
            } else {
                let (access, token) = (session.access, token.to_owned());
                self.ended.push(Ended { access, token });
            }
        }
    }
}

impl Actor {
    pub(super) async fn register(&mut self) {
        let name = format!("person-{}-{}", self.number, self.calls.commands.len());
        let body = registration(&name);
        let action = Action::Register { name: name.clone() };
        let (_, answer) = self
            .command(action, |client| client.command("POST", "/v1/users").json(&body))
            .await;
        let id = answer.and_then(|it| it.body["user_id"].as_str()?.parse().ok());
        if let Some(id) = id {
            if self.people.len() >= MOST {
                self.people.remove(0);
            }
            self.people.push(Person {
                id,
                name,
                passwords: vec![PASSWORD.to_owned()],
                is_active: Some(true),
                sessions: Vec::new(),
                ended: Vec::new(),
            });
        }
    }

    fn any_person(&mut self) -> Option<usize> {
        (!self.people.is_empty()).then(|| self.random.random_range(0..self.people.len()))
    }

    /// A person who is signed in, and one of their sessions.
    fn any_session(&mut self) -> Option<(usize, Session)> {
        let at = self.any_person()?;
        let session = self.people[at].sessions.choose(&mut self.random)?.clone();
        Some((at, session))
    }

    pub(super) async fn log_in(&mut self) {
        let Some(at) = self.any_person() else {
            return self.register().await;
        };
        let person = &self.people[at];
        let (user, name) = (person.id, person.name.clone());
        let Some(password) = person.passwords.choose(&mut self.random).cloned() else {
            return;
        };
        let body = if self.random.random() {
            json!({ "username": name, "password": password })
        } else {
            json!({ "email": format!("{name}@example.org"), "password": password })
        };
        let (outcome, answer) = self
            .command(Action::LogIn { user }, |client| {
                client.command("POST", "/v1/sessions").json(&body)
            })
            .await;
        if let Some(session) = answer.as_ref().and_then(Session::of) {
            self.people[at].sessions.push(session);
        }
        let person = &self.people[at];
        let (is_certain, is_active) = (person.passwords.len() == 1, person.is_active);
        match outcome {
            Outcome::Refused(slug) if slug == "invalid-credentials" && is_certain => {
                self.wrong(format!("{name} ({user}) cannot sign in with the right password"));
            }
            Outcome::Refused(slug) if slug == "user-deactivated" && is_active == Some(true) => {
                self.wrong(format!("{name} ({user}) is active and cannot sign in"));
            }
            Outcome::Acknowledged if is_active == Some(false) => {
                self.wrong(format!("{name} ({user}) is deactivated and can sign in"));
            }
            _ => {}
        }
    }

    pub(super) async fn guess_password(&mut self) {
        let Some(at) = self.any_person() else { return };
        let (user, name) = (self.people[at].id, self.people[at].name.clone());
        let body = json!({ "username": name, "password": "not the password at all" });
        let (outcome, _) = self
            .command(Action::GuessPassword { user }, |client| {
                client.command("POST", "/v1/sessions").json(&body)
            })
            .await;
        if outcome == Outcome::Acknowledged {
            self.wrong(format!("{name} ({user}) is signed in with a wrong password"));
        }
    }

    pub(super) async fn refresh(&mut self) {
        let Some((at, session)) = self.any_session() else {
            return self.log_in().await;
        };
        let body = json!({ "refresh_token": session.refresh });
        let (outcome, answer) = self
            .command(Action::Refresh { session: session.id }, |client| {
                client.command("POST", "/v1/sessions/refresh").json(&body)
            })
            .await;
        let sessions = &mut self.people[at].sessions;
        match (outcome, answer.as_ref().and_then(Session::of)) {
            (Outcome::Acknowledged, Some(next)) => {
                sessions.retain(|it| it.id != session.id);
                sessions.push(next);
            }
            // In doubt the old refresh token must not be used again: that would be reuse.
            (Outcome::Unknown(_), _) => sessions.retain(|it| it.id != session.id),
            _ => {}
        }
    }

    pub(super) async fn log_out(&mut self) {
        let Some((at, session)) = self.any_session() else {
            return self.log_in().await;
        };
        let (path, access) = (format!("/v1/sessions/{}", session.id), session.access.clone());
        let (outcome, answer) = self
            .command(Action::LogOut { session: session.id }, |client| {
                client.command("DELETE", &path).bearer(&access)
            })
            .await;
        if !matches!(outcome, Outcome::Refused(_)) {
            self.people[at].sessions.retain(|it| it.id != session.id);
        }
        if let Some(answer) = answer {
            let token = answer.header("rolecall-token").to_owned();
            self.people[at].ended.push(Ended { access, token });
        }
    }

    pub(super) async fn change_password(&mut self) {
        let Some((at, session)) = self.any_session() else {
            return;
        };
        let user = self.people[at].id;
        let Some(current) = self.people[at].passwords.choose(&mut self.random).cloned() else {
            return;
        };
        let new = self.new_uuid().to_string();
        let (path, body) = (
            format!("/v1/users/{user}/password"),
            json!({ "current_password": current, "new_password": new }),
        );
        let access = session.access.clone();
        let (outcome, answer) = self
            .command(Action::ChangePassword { user }, |client| {
                client.command("POST", &path).bearer(&access).json(&body)
            })
            .await;
        let person = &mut self.people[at];
        match outcome {
            Outcome::Acknowledged => {
                person.passwords = vec![new];
                let token = answer.map(|it| it.header("rolecall-token").to_owned());
                person.end_all(Some(session.id), &token.unwrap_or_default());
            }
            Outcome::Unknown(_) => {
                person.passwords.push(new);
                person.sessions.retain(|it| it.id == session.id);
            }
            Outcome::Refused(_) => {}
        }
    }

    pub(super) async fn deactivate(&mut self) {
        let Some(at) = self.any_person() else { return };
        let user = self.people[at].id;
        let answer = self.set_active(at, false, Action::Deactivate { user }).await;
        if let Some(answer) = answer {
            let token = answer.header("rolecall-token").to_owned();
            self.people[at].end_all(None, &token);
        }
    }

    pub(super) async fn reactivate(&mut self) {
        let closed = self
            .people
            .iter()
            .position(|it| it.is_active != Some(true) && !it.name.is_empty());
        let Some(at) = closed else { return };
        let user = self.people[at].id;
        self.set_active(at, true, Action::Reactivate { user }).await;
    }

    async fn set_active(&mut self, at: usize, active: bool, action: Action) -> Option<Answer> {
        let verb = if active { "reactivate" } else { "deactivate" };
        let path = format!("/v1/users/{}/{verb}", self.people[at].id);
        let admin = self.admin();
        let (outcome, answer) = self
            .command(action, |client| {
                client
                    .command("POST", &path)
                    .bearer(&admin)
                    .json(&Value::Object(serde_json::Map::new()))
            })
            .await;
        let person = &mut self.people[at];
        match outcome {
            // A try that was given up may still come after it.
            Outcome::Unknown(_) => person.is_active = None,
            Outcome::Acknowledged => person.is_active = person.is_active.map(|_| active),
            Outcome::Refused(_) => {}
        }
        if matches!(outcome, Outcome::Unknown(_)) && !active {
            person.sessions.clear();
        }
        answer
    }
}
