//! Messages that are owed while those fail who send and who take them.

use std::sync::Arc;
use std::time::Duration;

use local_stack::SmsFailure;
use serde_json::{Value, json};
use tests::{World, until};

pub async fn a_message_outlives_the_service_that_was_to_send_it(world: Arc<World>) {
    let person = world.person("waits").await;
    let (mail, address) = (world.rolecall.mail(), format!("{}@example.org", person.name));
    mail.refuse(&address, 451, 2);
    let ask = world.client.command("POST", "/v1/password-resets");
    ask.json(&json!({ "email": address })).send().await.expect(202);
    while mail.refused() == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.rolecall.command().kill().await.unwrap();
    world.rolecall.command().restart().await.unwrap();
    let mails = mail.wait_for(&address, 1).await;
    // Sent again or not, it is the same message.
    let ids: Vec<_> = mails.iter().map(|it| it.header("Message-ID")).collect();
    assert!(ids[0].is_some() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

pub async fn a_code_reaches_a_phone_once_though_gateway_and_service_fail(world: Arc<World>) {
    let (person, gateway) = (world.person("called").await, world.rolecall.sms().unwrap());
    let number = format!("+49 {}", rand::random_range(10_000_000_u32..99_999_999));
    let own = format!("/v1/users/{}", person.id);
    let phone = json!({ "phone_number": number });
    person.command("PATCH", &own, phone).await.expect(200);
    let away = SmsFailure::HangUp;
    gateway.fail(&number, &[SmsFailure::Status(500), away, away, away]);
    let ask = format!("{own}/phone/verification");
    person.command("POST", &ask, Value::Null).await.expect(200);
    let log = || std::fs::read_to_string(world.rolecall.command().log()).unwrap();
    until(Duration::from_secs(60), "the gateway has failed", || async {
        log().contains("waits: the gateway answers 500")
    })
    .await;
    world.rolecall.command().kill().await.unwrap();
    world.rolecall.command().restart().await.unwrap();

    let calls = gateway.wait_for(&number, 5).await;
    assert_eq!(calls[4].request, "POST /messages");
    assert_eq!(calls[4].header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_str(&calls[4].body).unwrap();
    let text = body["text"].as_str().unwrap();
    let (code, _) = text.split_once(' ').unwrap();
    assert!(
        code.len() == 6 && code.bytes().all(|it| it.is_ascii_digit()),
        "{text}"
    );
    let expected = json!({
        "to": number,
        "text": format!("{code} is your Rolecall code. Do not give it to anyone."),
        "message_id": body["message_id"],
    });
    assert_eq!(body, expected);
    assert_ne!(body["message_id"], "");
    assert!(calls.iter().all(|call| call.body == calls[0].body), "{calls:?}");

    // It has been taken: a service that stops in order leaves it to nobody.
    world.rolecall.command().restart().await.unwrap();
    let address = format!("{}@example.org", person.name);
    let reset = world.client.command("POST", "/v1/password-resets");
    reset.json(&json!({ "email": address })).send().await.expect(202);
    // The same partition has been read on to here.
    world.rolecall.mail().wait_for(&address, 1).await;
    let confirm = json!({ "code": code });
    let path = format!("{own}/phone/confirm");
    person.command("POST", &path, confirm).await.expect(200);
    let row = world.admin.query(&own, "latest").await.expect(200);
    assert_eq!(row.body["phone_verified"], json!(true));
    assert_eq!(gateway.to(&number).len(), 5);
    assert!(!log().contains(&number));
}
