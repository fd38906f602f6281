//! A WebSocket connection: requests, and the subscriptions that live and die with it.
//!
//! Nothing waits for a slow client: what it does not read piles up only in the event buffer, and when that has
//! overtaken it, the connection is closed with the reason.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures::{
    SinkExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{FuturesUnordered, SplitSink},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    sync::{
        OwnedSemaphorePermit,
        broadcast::{Receiver, error::RecvError},
    },
    time::MissedTickBehavior,
};

use super::{
    App, RpcError, dispatch,
    dispatch::Caller,
    error::METHOD_NOT_FOUND,
    events::{BlockEvent, Event},
    filters::new_id,
    format::{LogJson, TxJson},
    logs::{FilterArgs, LogFilter},
    methods,
};
use crate::{auth::Principal, monitor::traces::Arrival};

/// How often a silent client is pinged; one that is silent for two of these is gone.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How often a connection that subscribed to `syncing` looks whether that has changed.
const SYNC_CHECK: Duration = Duration::from_millis(500);
/// How often a guarded connection looks whether its key is revoked or its token has expired.
const PRINCIPAL_CHECK: Duration = Duration::from_secs(5);
/// A client that takes no bytes for this long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// WebSocket close code: the client broke a rule of ours.
const POLICY: u16 = 1008;

/// What a subscription wants.
enum Subscription {
    NewHeads,
    Logs(LogFilter),
    Pending {
        full: bool,
    },
    /// Whether it was told that the node fetches blocks.
    Syncing {
        told: bool,
    },
    Alerts,
}

/// The subscriptions of one connection.
pub struct Session {
    max: usize,
    subscriptions: Mutex<BTreeMap<u128, Subscription>>,
}

impl Session {
    /// Without subscriptions yet, and at most this many.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { max, subscriptions: Mutex::new(BTreeMap::new()) }
    }

    /// `eth_subscribe`.
    pub fn subscribe(&self, kind: &str, options: Option<Value>) -> Result<String, RpcError> {
        self.install(Subscription::parse(kind, options)?)
    }

    /// `monitor_subscribe`.
    pub fn subscribe_monitor(&self, kind: &str) -> Result<String, RpcError> {
        if kind == "alerts" {
            return self.install(Subscription::Alerts);
        }
        let shown: String = kind.chars().take(40).collect();
        Err(RpcError::new(METHOD_NOT_FOUND, format!("no {shown:?} subscription in monitor namespace; there is alerts")))
    }

    fn install(&self, subscription: Subscription) -> Result<String, RpcError> {
        let mut all = self.subscriptions.lock();
        if all.len() >= self.max {
            return Err(RpcError::limit(format!(
                "the limit of {} subscriptions per connection is reached; unsubscribe some or open another connection",
                self.max
            )));
        }
        let id = new_id();
        all.insert(id, subscription);
        Ok(format!("{id:#x}"))
    }

    /// `eth_unsubscribe`; false if there is none.
    pub fn unsubscribe(&self, id: &Value) -> bool {
        let id = id.as_str().and_then(|s| u128::from_str_radix(s.strip_prefix("0x")?, 16).ok());
        id.is_some_and(|id| self.subscriptions.lock().remove(&id).is_some())
    }

    /// Whether any is to what [`super::EventHub::listen`] gives.
    #[must_use]
    pub fn awaits_news(&self) -> bool {
        let on_its_own = |s: &Subscription| matches!(s, Subscription::Pending { .. } | Subscription::Syncing { .. });
        !self.subscriptions.lock().values().all(on_its_own)
    }

    /// Whether any is to new transactions.
    #[must_use]
    pub fn awaits_pending(&self) -> bool {
        self.subscriptions.lock().values().any(|s| matches!(s, Subscription::Pending { .. }))
    }

    /// Whether any waits for the beginning or the end of synchronisation.
    #[must_use]
    pub fn awaits_syncing(&self) -> bool {
        self.subscriptions.lock().values().any(|s| matches!(s, Subscription::Syncing { .. }))
    }

    /// What to tell those who have not been told how synchronisation stands: its state where it began, false where it
    /// ended, as go-ethereum has it.
    #[must_use]
    pub fn syncing(&self, status: &Value) -> Vec<String> {
        let is_on = status.is_object();
        let mut out = Vec::new();
        for (id, subscription) in &mut *self.subscriptions.lock() {
            if let Subscription::Syncing { told } = subscription
                && *told != is_on
            {
                *told = is_on;
                let result = if is_on { json!({ "syncing": true, "status": status }) } else { Value::Bool(false) };
                out.push(notification(*id, &result.to_string()));
            }
        }
        out
    }

    /// What an event means to this connection, as messages to send.
    #[must_use]
    pub fn notifications(&self, event: &Event) -> Vec<String> {
        let mut out = Vec::new();
        for (id, subscription) in &*self.subscriptions.lock() {
            match (subscription, event) {
                (Subscription::Alerts, Event::Alert(a)) => out.push(named_notification("monitor", *id, &text_of(&**a))),
                (Subscription::NewHeads, Event::Block(b)) => out.push(notification(*id, b.head_json())),
                (Subscription::Logs(filter), Event::Block(b)) => logs(*id, filter, b, false, &mut out),
                (Subscription::Logs(filter), Event::Rewound(r)) => {
                    r.removed.iter().for_each(|b| logs(*id, filter, b, true, &mut out));
                }
                (Subscription::Pending { full }, Event::Pending(txs)) => {
                    let show = |t| if *full { text_of(&TxJson::pending(t)) } else { format!("\"{}\"", t.hash()) };
                    out.extend(txs.iter().map(|t| notification(*id, &show(t))));
                }
                _ => {}
            }
        }
        out
    }
}

impl Subscription {
    fn parse(kind: &str, options: Option<Value>) -> Result<Self, RpcError> {
        match kind {
            "newHeads" => Ok(Self::NewHeads),
            "logs" => {
                let args = options.map_or_else(|| Ok(FilterArgs::default()), serde_json::from_value);
                let args = args.map_err(|e| RpcError::params(format!("invalid argument 1: {e}")))?;
                Ok(Self::Logs(args.split()?.0))
            }
            "syncing" => Ok(Self::Syncing { told: false }),
            "newPendingTransactions" => Ok(Self::Pending { full: options == Some(Value::Bool(true)) }),
            other => {
                let shown: String = other.chars().take(40).collect();
                Err(RpcError::new(
                    METHOD_NOT_FOUND,
                    format!(
                        "no {shown:?} subscription in eth namespace; there are newHeads, logs, newPendingTransactions, syncing"
                    ),
                ))
            }
        }
    }
}

fn logs(id: u128, filter: &LogFilter, block: &BlockEvent, removed: bool, out: &mut Vec<String>) {
    if block.view.bloom.is_zero() || !filter.may_match(&block.view.bloom) {
        return;
    }
    let show = |log: LogJson| notification(id, &text_of(&if removed { log.removed() } else { log }));
    out.extend(filter.collect(&block.view, &block.receipts).map(show));
}

fn text_of(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".into())
}

fn notification(id: u128, result: &str) -> String {
    named_notification("eth", id, result)
}

fn named_notification(namespace: &str, id: u128, result: &str) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"{namespace}_subscription\",\"params\":{{\"subscription\":\"{id:#x}\",\"result\":{result}}}}}"
    )
}

type Sink = SplitSink<WebSocket, Message>;

/// Why a connection ends.
enum End {
    /// The client left, or its connection broke.
    Gone,
    /// We close it, and say why.
    Close(String),
}

/// Serves one connection to its end.
pub async fn serve(app: Arc<App>, principal: Principal, socket: WebSocket, permit: OwnedSemaphorePermit) {
    app.metrics.websocket_opened();
    let (mut sink, stream) = socket.split();
    if let End::Close(reason) = converse(&app, &principal, &mut sink, stream).await {
        tracing::debug!(%reason, "a WebSocket connection is closed");
        let frame = CloseFrame { code: POLICY, reason: reason.into() };
        let _ = send(&mut sink, Message::Close(Some(frame))).await;
    }
    app.metrics.websocket_closed();
    drop(permit);
}

async fn converse(
    app: &Arc<App>,
    principal: &Principal,
    sink: &mut Sink,
    mut stream: futures::stream::SplitStream<WebSocket>,
) -> End {
    let session = Arc::new(Session::new(app.config.max_subscriptions));
    let mut at_work: FuturesUnordered<BoxFuture<'static, Option<Vec<u8>>>> = FuturesUnordered::new();
    let (mut news, mut pending): (Option<Receiver<Event>>, Option<Receiver<Event>>) = (None, None);
    let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING_INTERVAL, PING_INTERVAL);
    let mut sync_check = tokio::time::interval(SYNC_CHECK);
    sync_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The principal has just been looked at.
    let mut principal_check = tokio::time::interval_at(tokio::time::Instant::now() + PRINCIPAL_CHECK, PRINCIPAL_CHECK);
    principal_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = true;
    loop {
        let step = tokio::select! {
            message = stream.next(), if at_work.len() < app.config.max_websocket_requests => {
                heard = true;
                match message {
                    Some(Ok(message)) => receive(app, principal, &session, sink, message, &mut at_work).await,
                    Some(Err(_)) | None => Err(End::Gone),
                }
            }
            Some(answer) = at_work.next() => reply(sink, answer).await,
            event = next_event(&mut news) => notify(&session, sink, event).await,
            event = next_event(&mut pending) => notify(&session, sink, event).await,
            _ = sync_check.tick(), if session.awaits_syncing() => {
                send_all(sink, session.syncing(&methods::syncing(app))).await
            }
            _ = principal_check.tick(), if app.auth.is_some() => still_known(app, principal),
            _ = ping.tick() => {
                let alive = std::mem::replace(&mut heard, false);
                if alive { send(sink, Message::Ping(Default::default())).await } else { Err(End::Gone) }
            }
        };
        if let Err(end) = step {
            return end;
        }
        listen(&mut news, session.awaits_news(), || app.events.listen());
        listen(&mut pending, session.awaits_pending(), || app.events.listen_pending());
    }
}

/// Ends the connection of a key that was revoked or of a token that has expired: its subscriptions must end too.
fn still_known(app: &App, principal: &Principal) -> Result<(), End> {
    let holds = app.auth.as_ref().map_or(Ok(()), |auth| auth.holds(principal));
    holds.map_err(|denied| End::Close(denied.to_string()))
}

/// Takes one message in. Requests run side by side; one that subscribes runs alone, so that its answer, with the id, is
/// sent before the first notification.
async fn receive(
    app: &Arc<App>,
    principal: &Principal,
    session: &Arc<Session>,
    sink: &mut Sink,
    message: Message,
    at_work: &mut FuturesUnordered<BoxFuture<'static, Option<Vec<u8>>>>,
) -> Result<(), End> {
    let body = match message {
        Message::Text(text) => axum::body::Bytes::from(text),
        Message::Binary(bytes) => bytes,
        Message::Ping(_) | Message::Pong(_) => return Ok(()),
        Message::Close(_) => return Err(End::Gone),
    };
    let arrival = app.config.traced.then(|| Arrival::now(None));
    let caller = Caller { session: Some(session.clone()), principal: principal.clone(), arrival };
    if body.windows(SUBSCRIBE.len()).any(|w| w == SUBSCRIBE) {
        let answer = dispatch::handle(app, &caller, &body).await;
        return reply(sink, answer).await;
    }
    let app = app.clone();
    at_work.push(Box::pin(async move { dispatch::handle(&app, &caller, &body).await }));
    Ok(())
}

/// The end of `eth_subscribe` and `monitor_subscribe`.
const SUBSCRIBE: &[u8] = b"_subscribe";

/// Begins or ends to listen, as the subscriptions want it.
fn listen(events: &mut Option<Receiver<Event>>, wanted: bool, begin: impl FnOnce() -> Receiver<Event>) {
    match wanted {
        true if events.is_none() => *events = Some(begin()),
        true => {}
        false => *events = None,
    }
}

async fn next_event(events: &mut Option<Receiver<Event>>) -> Result<Event, RecvError> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

async fn notify(session: &Session, sink: &mut Sink, event: Result<Event, RecvError>) -> Result<(), End> {
    let event = match event {
        Ok(event) => event,
        Err(RecvError::Lagged(n)) => {
            return Err(End::Close(format!(
                "too slow: {n} events were not read in time; connect again and read faster"
            )));
        }
        Err(RecvError::Closed) => return Err(End::Close("the node is stopping".into())),
    };
    send_all(sink, session.notifications(&event)).await
}

/// Sends several messages and flushes once.
async fn send_all(sink: &mut Sink, texts: Vec<String>) -> Result<(), End> {
    if texts.is_empty() {
        return Ok(());
    }
    let all = async {
        for text in texts {
            sink.feed(Message::Text(text.into())).await?;
        }
        sink.flush().await
    };
    in_time(all).await
}

async fn reply(sink: &mut Sink, answer: Option<Vec<u8>>) -> Result<(), End> {
    let Some(answer) = answer else { return Ok(()) };
    // Answers are JSON, written by serde: always UTF-8.
    let text = String::from_utf8(answer).map_err(|_| End::Gone)?;
    send(sink, Message::Text(text.into())).await
}

async fn send(sink: &mut Sink, message: Message) -> Result<(), End> {
    in_time(sink.send(message)).await
}

async fn in_time(sending: impl Future<Output = Result<(), axum::Error>>) -> Result<(), End> {
    match tokio::time::timeout(SEND_TIMEOUT, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(End::Gone),
        Err(_) => Err(End::Close(format!("too slow: no bytes were read for {} seconds", SEND_TIMEOUT.as_secs()))),
    }
}
