//! An HTTP endpoint on loopback that keeps what comes, for tests of what this node sends.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, response::Response, routing::post};
use parking_lot::Mutex;

/// What came: headers and body.
pub(super) type Received = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;
/// What the endpoint answers to the request of this number.
pub(super) type Answer = fn(usize) -> Response;

/// Starts one that listens for requests of this path.
pub(super) async fn endpoint(path: &str, answer: Answer) -> (SocketAddr, Received) {
    let received = Received::default();
    let handler = move |State(received): State<Received>, headers: HeaderMap, body: Bytes| async move {
        let mut all = received.lock();
        all.push((headers, body));
        answer(all.len())
    };
    let router = Router::new().route(path, post(handler)).with_state(Arc::clone(&received));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, received)
}
