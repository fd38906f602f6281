//! Live subscriptions beside a load: WebSocket clients that read whatever they are told.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, bail};
use futures::{SinkExt as _, StreamExt as _};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use crate::tls;

/// Subscriptions of one connection.
const PER_CONNECTION: usize = 20;
/// ERC-20's `Transfer` event: every other subscription is to its logs.
const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

/// The connections; they end when this is dropped.
pub(super) struct Subscribers {
    _tasks: JoinSet<()>,
    told: Arc<AtomicU64>,
}

impl Subscribers {
    /// Opens `count` subscriptions to a node, half of them to heads, half to logs.
    pub async fn start(rpc: &str, count: usize) -> anyhow::Result<Self> {
        let url = reqwest::Url::parse(rpc).with_context(|| format!("{rpc} is no address"))?;
        let told = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for first in (0..count).step_by(PER_CONNECTION) {
            let socket = subscribe(&url, first, PER_CONNECTION.min(count - first)).await?;
            tasks.spawn(read(socket, Arc::clone(&told)));
        }
        Ok(Self { _tasks: tasks, told })
    }

    /// Notifications that came so far.
    pub fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }
}

/// A connection, with TLS or without.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

type Socket = WebSocketStream<Box<dyn Stream>>;

async fn connect(url: &reqwest::Url) -> anyhow::Result<Box<dyn Stream>> {
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let tcp =
        TcpStream::connect((name.as_str(), port)).await.with_context(|| format!("no connection to {host}:{port}"))?;
    tcp.set_nodelay(true)?;
    if url.scheme() != "https" {
        return Ok(Box::new(tcp));
    }
    let connector = TlsConnector::from(Arc::new(tls::client::current()));
    let name = ServerName::try_from(name).with_context(|| format!("{host} is no name of a server"))?;
    Ok(Box::new(connector.connect(name, tcp).await.with_context(|| format!("no TLS with {host}:{port}"))?))
}

async fn subscribe(url: &reqwest::Url, first: usize, count: usize) -> anyhow::Result<Socket> {
    let host = url.authority();
    let (mut socket, _) = client_async(format!("ws://{host}/"), connect(url).await?)
        .await
        .with_context(|| format!("{host} takes no further WebSocket; raise rpc.max_websockets"))?;
    for n in first..first + count {
        let params = if n % 2 == 0 { json!(["newHeads"]) } else { json!(["logs", { "topics": [TRANSFER] }]) };
        let request = json!({ "jsonrpc": "2.0", "id": n, "method": "eth_subscribe", "params": params });
        socket.send(Message::text(request.to_string())).await?;
        confirm(&mut socket).await?;
    }
    Ok(socket)
}

/// Waits for the answer to a subscription; what earlier ones are told meanwhile is passed over.
async fn confirm(socket: &mut Socket) -> anyhow::Result<()> {
    loop {
        let message = socket.next().await.context("the connection ended")??;
        let Message::Text(text) = message else { continue };
        let answer: Value = serde_json::from_str(&text)?;
        if let Some(error) = answer.get("error") {
            bail!("a subscription was refused: {}", error["message"]);
        }
        if answer.get("id").is_some() {
            return Ok(());
        }
    }
}

async fn read(mut socket: Socket, told: Arc<AtomicU64>) {
    while let Some(Ok(message)) = socket.next().await {
        told.fetch_add(u64::from(matches!(message, Message::Text(_))), Ordering::Relaxed);
    }
}
