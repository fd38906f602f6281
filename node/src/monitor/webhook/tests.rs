//! Deliveries to real endpoints on loopback that misbehave in the ways endpoints do.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    http::{HeaderMap, StatusCode},
    response::IntoResponse as _,
};

use super::*;
use crate::monitor::{
    NodeLabels,
    alert::{AlertKind, AlertState, Origin, Severity, Transition},
    endpoint::{Answer, endpoint},
};

const SECRET: &str = "it is a secret";

fn event(at: u64) -> Arc<AlertEvent> {
    let t = Transition {
        kind: AlertKind::TpsAbove,
        subject: String::new(),
        state: AlertState::Firing,
        severity: Severity::Warning,
        value: 12.0,
        threshold: 10.0,
        watched: true,
    };
    Arc::new(AlertEvent::new(&Origin { network: "net".into(), node: "node0".into() }, &t, at))
}

fn webhooks() -> Webhooks {
    let labels = NodeLabels { version: "0".into(), name: "n".into(), chain: "c".into(), chain_id: "1".into() };
    let patience = Patience {
        timeout: Duration::from_millis(300),
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(40),
        attempts: 4,
    };
    Webhooks::new(Targets { private: true }, patience, Arc::new(Metrics::new(labels)), Handle::current())
}

fn hook(address: SocketAddr) -> StoredWebhook {
    StoredWebhook { id: "h1".into(), url: format!("http://{address}/hook"), secret: SECRET.into(), added_at: 1 }
}

/// Waits until nothing is on its way any longer.
async fn settled(webhooks: &Webhooks) -> WebhookInfo {
    for _ in 0..1_000 {
        let info = webhooks.list().remove(0);
        if info.waiting == 0 {
            return info;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still on its way: {:?}", webhooks.list());
}

async fn deliver(answer: Answer) -> (WebhookInfo, Vec<(HeaderMap, Bytes)>) {
    let (address, received) = endpoint("/hook", answer).await;
    let webhooks = webhooks();
    webhooks.start(hook(address));
    webhooks.send(&event(1));
    let info = settled(&webhooks).await;
    let all = received.lock().clone();
    (info, all)
}

/// RFC 4231, test case 2.
#[test]
fn the_signature_is_hmac_sha_256() {
    assert_eq!(
        signature("Jefe", b"what do ya want for nothing?"),
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

#[tokio::test]
async fn a_delivery_is_signed_and_says_who_it_is() {
    let (info, received) = deliver(|_| StatusCode::NO_CONTENT.into_response()).await;
    assert_eq!((info.delivered, info.failed, info.last_error), (1, 0, None));
    let [(headers, body)] = &received[..] else { panic!("{received:?}") };
    assert_eq!(headers[SIGNATURE_HEADER], signature(SECRET, body));
    assert_eq!(headers[DELIVERY_HEADER], event(1).id);
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(serde_json::from_slice::<AlertEvent>(body).expect("an event"), *event(1));
}

#[tokio::test]
async fn a_failing_endpoint_is_tried_again_with_the_same_id_until_it_answers() {
    let (info, received) = deliver(|n| match n {
        1 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        2 => StatusCode::TOO_MANY_REQUESTS.into_response(),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    assert_eq!((info.delivered, info.failed, info.last_error), (1, 0, None));
    let ids: Vec<_> = received.iter().map(|(h, _)| h[DELIVERY_HEADER].clone()).collect();
    assert_eq!(ids, vec![event(1).id.clone(); 3]);
    let attempts: Vec<_> = received.iter().map(|(h, _)| h["x-basalt-attempt"].clone()).collect();
    assert_eq!(attempts, ["1", "2", "3"]);
    assert!(received.iter().all(|(_, body)| *body == received[0].1), "the body is the same each time");
}

#[tokio::test]
async fn an_endpoint_that_keeps_failing_is_given_up() {
    let (info, received) = deliver(|_| StatusCode::BAD_GATEWAY.into_response()).await;
    assert_eq!((info.delivered, info.failed, received.len()), (0, 1, 4));
    assert!(info.last_error.expect("said").contains("502"));
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_a_refusal_not_repeated() {
    let (info, received) =
        deliver(|_| (StatusCode::FOUND, [("location", "http://169.254.169.254/latest/")]).into_response()).await;
    assert_eq!((info.failed, received.len()), (1, 1));
    let error = info.last_error.expect("said");
    assert!(error.contains("169.254.169.254") && error.contains("not followed"), "{error}");
    let (info, received) = deliver(|_| StatusCode::NOT_FOUND.into_response()).await;
    assert_eq!((info.failed, received.len()), (1, 1));
}

#[tokio::test]
async fn a_silent_endpoint_and_an_absent_one_cost_only_their_own_events() {
    // Accepts connections (in the kernel's queue) and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (good, received) = endpoint("/hook", |_| StatusCode::OK.into_response()).await;
    let webhooks = webhooks();
    webhooks.start(hook(silent.local_addr().expect("bound")));
    webhooks.start(StoredWebhook { id: "h2".into(), ..hook(good) });
    for at in 0..300 {
        webhooks.send(&event(at));
    }
    for _ in 0..500 {
        if received.lock().len() >= 256 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(received.lock().len() >= 256, "the good endpoint has its events while the silent one is waited for");
    let silent_info = webhooks.list().remove(0);
    assert!(silent_info.failed >= 300 - 256 - 1, "the queue is bounded: {silent_info:?}");
    let error = silent_info.last_error.unwrap_or_default();
    assert!(error.is_empty() || error.contains("did not answer in time"), "{error}");
    webhooks.stop("h1");
    assert_eq!(webhooks.list().len(), 1);
}

#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_is_not_connected_to() {
    let (address, received) = endpoint("/hook", |_| StatusCode::OK.into_response()).await;
    let client = delivery::client(Targets { private: false }, Duration::from_secs(2));
    let error = client.post(format!("http://localhost:{}/hook", address.port())).send().await.expect_err("refused");
    assert!(format!("{error:?}").contains("private address"), "{error:?}");
    assert!(received.lock().is_empty());
    let client = delivery::client(Targets { private: true }, Duration::from_secs(2));
    assert!(client.post(format!("http://localhost:{}/hook", address.port())).send().await.is_ok());
}
