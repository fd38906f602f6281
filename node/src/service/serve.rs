//! The listening ports of a node, with TLS where the configuration names certificates.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    audit::Teller,
    auth::{Auth, AuthConfig, Role, report::Reporter, roles},
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

/// What guards the interfaces, if the configuration says so.
pub(super) fn auth(
    config: &NodeConfig,
    development: bool,
    metrics: &Arc<Metrics>,
    audit: Teller,
) -> anyhow::Result<Option<Arc<Auth>>> {
    let Some(auth) = config.auth.clone().or_else(|| unless_said(config, development)) else { return Ok(None) };
    let reporter = Reporter::new(Arc::clone(metrics), Some(audit));
    Ok(Some(Auth::open(auth, reporter).context("config `auth`")?))
}

/// Who may call where the configuration does not say: on a development network that listens on loopback, anybody; else holders of
/// certificates of the named authorities, as the port has asked for them, and nobody where it does not ask.
fn unless_said(config: &NodeConfig, development: bool) -> Option<AuthConfig> {
    if development && !is_public(config) {
        return None;
    }
    let all = config.rpc.tls_client_ca.is_some();
    let certificate_roles = if all { vec![Role::Administrator] } else { Vec::new() };
    Some(AuthConfig { certificate_roles, ..AuthConfig::default() })
}

/// Whether a port can be reached from elsewhere.
fn is_public(config: &NodeConfig) -> bool {
    let (rpc, metrics) = (&config.rpc, &config.metrics);
    (rpc.enabled && !rpc.listen.ip().is_loopback()) || (metrics.enabled && !metrics.listen.ip().is_loopback())
}

/// Who may call what, where an operator should think of it; said once at the start.
fn exposure(config: &NodeConfig, development: bool) -> Option<String> {
    let (rpc, address) = (&config.rpc, config.rpc.listen);
    let whom = if address.ip().is_loopback() { "whoever is on this machine" } else { "whoever reaches it" };
    if !rpc.enabled {
        return None;
    }
    let auth = config.auth.clone().or_else(|| unless_said(config, development));
    let Some(auth) = auth else {
        return Some(format!(
            "a development network: its accounts are known to everyone, and RPC on {address} is open to {whom}"
        ));
    };
    if !auth.anonymous.is_empty() {
        let roles = roles::names(&auth.anonymous);
        return Some(format!(
            "RPC on {address} gives {whom} the role {roles} without asking who it is (auth.anonymous)"
        ));
    }
    if auth.check().is_err() {
        return Some(format!(
            "RPC on {address} answers nobody but health checks, because the configuration names nobody who may call: make a key \
             with `basalt auth key create` and name its file in auth.keys_file"
        ));
    }
    (rpc.tls_certificate.is_none() && !address.ip().is_loopback()).then(|| {
        format!(
            "RPC on {address} takes keys and tokens over plain HTTP, where whoever listens reads them: set \
             rpc.tls_certificate, or put a proxy that speaks TLS in front"
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
        let keys = "[auth]\nkeys_file='k'";
        let open = "[auth]\nanonymous=['reader']";
        let tls = "tls_certificate='c'\ntls_key='k'\n";
        assert_eq!(said("0.0.0.0:8545", "enabled=false", false), None);
        assert_eq!(said("127.0.0.1:8545", keys, false), None);
        assert_eq!(said("0.0.0.0:8545", &format!("{tls}{keys}"), false), None);
        assert_eq!(said("0.0.0.0:8545", &format!("{tls}tls_client_ca='ca'"), false), None);
        let cases = [
            ("127.0.0.1:8545", "", false, "answers nobody but health checks"),
            ("0.0.0.0:8545", "", false, "answers nobody but health checks"),
            ("0.0.0.0:8545", "", true, "answers nobody but health checks"),
            ("0.0.0.0:8545", keys, false, "plain HTTP"),
            ("127.0.0.1:8545", "", true, "open to whoever is on this machine"),
            ("0.0.0.0:8545", open, true, "gives whoever reaches it the role reader"),
        ];
        for (listen, more, development, expected) in cases {
            let text = said(listen, more, development).unwrap_or_default();
            assert!(text.contains(expected), "{listen} {more} {development}: {text}");
        }
    }

    #[test]
    fn only_a_development_network_on_loopback_is_open_by_default() {
        let of = |text: &str, development| {
            let text = format!("name='n'\ngenesis='g'\ndata_dir='d'\n[keys]\nnode='k'\n{text}");
            unless_said(&toml::from_str(&text).expect("a configuration"), development)
        };
        assert_eq!(of("", true), None);
        for (text, development) in
            [("", false), ("[rpc]\nlisten='0.0.0.0:1'", true), ("[metrics]\nlisten='[::]:1'", true)]
        {
            let auth = of(text, development).expect("closed");
            assert!(auth.anonymous.is_empty() && auth.certificate_roles.is_empty() && auth.check().is_err(), "{text}");
        }
        let mutual = of("[rpc]\ntls_client_ca='ca'", false).expect("asked for certificates");
        assert_eq!((mutual.anonymous, mutual.certificate_roles), (Vec::new(), vec![Role::Administrator]));
    }
}
