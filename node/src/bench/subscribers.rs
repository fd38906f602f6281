//! Live subscriptions beside a load: WebSocket clients that read whatever they are told.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, bail};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

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
        let host = rpc.strip_prefix("http://").context("subscriptions need an address that begins with http://")?;
        let host = host.trim_end_matches('/').to_owned();
        let told = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for first in (0..count).step_by(PER_CONNECTION) {
            let socket = subscribe(&host, first, PER_CONNECTION.min(count - first)).await?;
            tasks.spawn(read(socket, Arc::clone(&told)));
        }
        Ok(Self { _tasks: tasks, told })
    }

    /// Notifications that came so far.
    pub fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }
}

type Socket = WebSocketStream<TcpStream>;

async fn subscribe(host: &str, first: usize, count: usize) -> anyhow::Result<Socket> {
    let tcp = TcpStream::connect(host).await.with_context(|| format!("no connection to {host}"))?;
    tcp.set_nodelay(true)?;
    let (mut socket, _) = client_async(format!("ws://{host}/"), tcp)
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
