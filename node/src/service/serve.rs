//! The listening ports of a node, with TLS where the configuration names certificates.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    config::NodeConfig,
    monitor::{Metrics, MetricsServer},
    rpc::{App, RpcServer},
    tls::{TlsFiles, TlsServer},
};

/// The TLS sides of the listening ports, where they have one.
pub struct TlsServers {
    rpc: Option<Arc<TlsServer>>,
    metrics: Option<Arc<TlsServer>>,
}

impl TlsServers {
    /// Those there are.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<TlsServer>> {
        [&self.rpc, &self.metrics].into_iter().flatten().cloned().collect()
    }
}

/// Reads the files of TLS that the configuration names.
pub fn tls_servers(config: &NodeConfig) -> anyhow::Result<TlsServers> {
    let open = |name: &'static str, files: Option<TlsFiles>| {
        let server = files.map(|files| TlsServer::open(name, files)).transpose();
        Ok::<_, anyhow::Error>(server.with_context(|| format!("config `{name}.tls_…`"))?.map(Arc::new))
    };
    let rpc = config.rpc.tls().filter(|_| config.rpc.enabled);
    Ok(TlsServers {
        rpc: open("rpc", rpc)?,
        metrics: open("metrics", config.metrics.tls().filter(|_| config.metrics.enabled))?,
    })
}

/// Starts the RPC and the metrics server; both end when `stop` turns true.
pub(super) async fn start(
    config: &NodeConfig,
    app: &Arc<App>,
    metrics: &Arc<Metrics>,
    tls: &TlsServers,
    stop: &watch::Sender<bool>,
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let stopped = || {
        let mut stop = stop.subscribe();
        async move {
            // An error means that the sender is gone, which is a stop as well.
            let _ = stop.wait_for(|s| *s).await;
        }
    };
    let mut servers = Vec::new();
    if config.rpc.enabled {
        let (server, stopped) = (RpcServer::bind(config.rpc.listen, Arc::clone(app)).await?, stopped());
        let server = server.with_tls(tls.rpc.clone());
        servers.push(tokio::spawn(async move {
            if let Err(e) = server.run(stopped).await {
                tracing::error!("{e}");
            }
        }));
    }
    if !config.metrics.enabled {
        return Ok(servers);
    }
    let server = MetricsServer::bind(config.metrics.listen, Arc::clone(metrics), Some(Arc::clone(app))).await?;
    let (server, stopped) = (server.with_tls(tls.metrics.clone()), stopped());
    servers.push(tokio::spawn(async move {
        if let Err(e) = server.run(stopped).await {
            tracing::error!("{e}");
        }
    }));
    Ok(servers)
}
