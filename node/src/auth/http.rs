//! Authentication of HTTP requests, for the RPC port and the metrics port alike: what a request shows becomes a [`Principal`] in
//! its extensions, or the request ends here, before its body is read. Health is asked by whoever wants to.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use axum::{
    Extension,
    extract::{ConnectInfo, Request, State, connect_info::Connected},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
    serve::IncomingStream,
};

use super::{Auth, Denied, Principal, Shown};
use crate::{
    rpc::{RpcError, dispatch},
    tls::listener::Bounded,
};

/// Header of an API key, beside `Authorization`.
pub const API_KEY: &str = "x-api-key";

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    address: SocketAddr,
    /// Common name of its certificate, once the handshake is done.
    certificate: Arc<OnceLock<String>>,
}

impl Connected<IncomingStream<'_, Bounded>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self { address: *stream.remote_addr(), certificate: stream.io().certificate_name() }
    }
}

/// Who the request is from, for its handler. Without guards: nobody, and nobody asks.
pub type From = Extension<Principal>;

/// Finds out who a request is from.
pub async fn identify(State(auth): State<Option<Arc<Auth>>>, mut request: Request, next: Next) -> Response {
    let principal = match auth.filter(|_| !request.uri().path().starts_with("/health/")) {
        None => Ok(Principal::default()),
        Some(auth) => {
            let peer = request.extensions().get::<ConnectInfo<Peer>>().map(|c| c.0.clone());
            principal_of(&auth, request.headers(), peer.as_ref())
        }
    };
    match principal {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(denied) => refusal(&denied),
    }
}

fn principal_of(auth: &Auth, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Principal, Denied> {
    let (secret, unreadable) = match secret_of(headers) {
        Ok(secret) => (secret, None),
        Err(denied) => (None, Some(denied)),
    };
    let address = peer.map(|p| p.address.ip());
    if let Some(denied) = unreadable {
        return Err(auth.fail(denied, address));
    }
    let certificate = peer.and_then(|p| p.certificate.get()).map(String::as_str);
    auth.authenticate(&Shown { secret, certificate, address })
}

/// What stands in the headers. Two credentials are refused: which one counts would be a guess.
fn secret_of(headers: &HeaderMap) -> Result<Option<&str>, Denied> {
    let mut all =
        headers.get_all(header::AUTHORIZATION).iter().map(bearer).chain(headers.get_all(API_KEY).iter().map(text));
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => one.map(Some),
        (Some(_), Some(_)) => {
            Err(Denied::Malformed("more than one is shown; show one, in `Authorization` or in `X-Api-Key`"))
        }
    }
}

fn text(value: &HeaderValue) -> Result<&str, Denied> {
    value.to_str().map(str::trim).map_err(|_| Denied::Malformed("it has other characters than ASCII"))
}

fn bearer(value: &HeaderValue) -> Result<&str, Denied> {
    match text(value)?.split_once(' ') {
        Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => Ok(secret.trim()),
        _ => Err(Denied::Malformed("`Authorization` must be `Bearer` and a key or a token")),
    }
}

/// The answer to a request that ends here: JSON with an `error`, as JSON-RPC has it, and as REST has it.
#[must_use]
pub fn refusal(denied: &Denied) -> Response {
    let status = match denied {
        Denied::TooMany { .. } | Denied::Rate { .. } => StatusCode::TOO_MANY_REQUESTS,
        Denied::Role { .. } | Denied::NotAllowed { .. } => StatusCode::FORBIDDEN,
        _ => StatusCode::UNAUTHORIZED,
    };
    let body = dispatch::error_response(&serde_json::Value::Null, &RpcError::from(denied.clone()));
    let mut response = (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"basalt\""));
    }
    if let Some(ms) = denied.retry_ms() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000).max(1)));
    }
    response
}

/// Whether a request that is no JSON-RPC may be answered: role and rate.
pub fn admit(auth: Option<&Arc<Auth>>, principal: &Principal, method: &'static str) -> Result<(), Denied> {
    let Some(auth) = auth else { return Ok(()) };
    auth.authorise(principal, method)?;
    auth.take(principal, 1).1.map_or(Ok(()), Err)
}
