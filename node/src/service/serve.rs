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

/// Who may call what, where an operator should think of it; said once at the start.
fn exposure(config: &NodeConfig, development: bool) -> Option<String> {
    let (rpc, address) = (&config.rpc, config.rpc.listen);
    if !rpc.enabled || (address.ip().is_loopback() && !development) {
        return None;
    }
    let whom = if address.ip().is_loopback() { "whoever is on this machine" } else { "whoever reaches it" };
    if development {
        return Some(format!(
            "a development network: its accounts are known to everyone, and RPC on {address} is open to {whom}"
        ));
    }
    rpc.tls_client_ca.is_none().then(|| {
        format!(
            "RPC on {address} answers {whom}, without asking who it is: let rpc.listen be a loopback address, ask for client \
             certificates (rpc.tls_client_ca), or put a proxy with authentication in front"
        )
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
    if let Some(text) = exposure(config, app.spec.development) {
        tracing::warn!("{text}");
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn said(listen: &str, more: &str, development: bool) -> Option<String> {
        let text = format!("name='n'\ngenesis='g'\ndata_dir='d'\n[keys]\nnode='k'\n[rpc]\nlisten='{listen}'\n{more}");
        exposure(&toml::from_str(&text).expect("a configuration"), development)
    }

    #[test]
    fn who_may_call_is_said_where_it_matters() {
        assert_eq!(said("127.0.0.1:8545", "", false), None);
        assert_eq!(said("0.0.0.0:8545", "enabled=false", false), None);
        assert_eq!(said("0.0.0.0:8545", "tls_client_ca='ca'", false), None);
        assert!(said("0.0.0.0:8545", "", false).is_some_and(|t| t.contains("rpc.tls_client_ca")));
        assert!(said("127.0.0.1:8545", "", true).is_some_and(|t| t.contains("open to whoever is on this machine")));
        assert!(said("0.0.0.0:8545", "", true).is_some_and(|t| t.contains("open to whoever reaches it")));
    }
}
