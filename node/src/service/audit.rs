//! What the node itself tells its audit log: that it starts and stops and with which settings, what system contracts decide, and,
//! now and then, the log's own head to the chain.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use basalt_primitives::{HashFn, SecretKey, system::VALIDATORS};
use serde_json::json;
use tokio::{sync::watch, time::MissedTickBehavior};

use super::duties;
use crate::{
    audit::{Act, AuditLog, Teller, anchor},
    auth::Auth,
    chain::Chain,
    clock,
    config::NodeConfig,
    driver::executor::Observer,
    ingress::Ingress,
    mempool::SharedPool,
    monitor::Metrics,
    rpc::{Audit, ports::TxSubmitter as _},
};

/// How often it is looked whether the head is to be anchored, and counted reads are written down.
const LOOK: Duration = Duration::from_secs(20);
/// After a failed anchor the next is tried this much later, or after the usual time if that is less.
const AGAIN_AFTER: Duration = Duration::from_secs(300);
/// How long a stop waits for entries that are queued.
const FLUSH_WITHIN: Duration = Duration::from_secs(3);

/// A run of the node: its start is in the log, and its end will be, whatever becomes of it.
pub(super) struct Run {
    log: Arc<AuditLog>,
    teller: Teller,
    ended: bool,
}

impl Run {
    /// Writes down that the node starts, with what it is and who may call it.
    pub fn begin(
        log: Arc<AuditLog>,
        teller: Teller,
        config: &NodeConfig,
        chain: &Chain,
        validator: Option<String>,
        auth: Option<&Auth>,
    ) -> anyhow::Result<Self> {
        let settings = toml::to_string(config).context("the settings cannot be written down")?;
        let overrides: Vec<u64> = chain.sets.overrides().into_iter().map(|h| h.0).collect();
        let act = Act::new("node-started").with_all(json!({
            "node": config.name,
            "version": env!("CARGO_PKG_VERSION"),
            "network": chain.spec.name,
            "chainId": chain.spec.chain_id,
            "genesis": chain.genesis,
            "height": chain.ledger.head().height(),
            "validator": validator,
            "afterCrash": log.is_running(),
            "settingsSha256": hex::encode(HashFn::Sha256.hash(settings.as_bytes()).0),
            "rpc": config.rpc.enabled.then_some(config.rpc.listen),
            "rpcAdmin": config.rpc.admin,
            "metrics": config.metrics.enabled.then_some(config.metrics.listen),
            "p2p": config.p2p.listen,
            "logLevel": config.log.level,
            "setOverrides": overrides,
            "auth": auth.map(Auth::summary),
        }));
        log.append(act)?;
        Ok(Self { log, teller, ended: false })
    }

    /// Writes down that it stops, and why.
    pub fn end(mut self, result: &anyhow::Result<()>, reads: Option<&Audit>) {
        self.teller.flush(FLUSH_WITHIN);
        if let Some(audit) = reads {
            audit.reads.flush(&audit.log, true);
        }
        let why = result.as_ref().err().map(|e| format!("{e:#}").chars().take(400).collect::<String>());
        self.say(why.as_deref());
    }

    fn say(&mut self, why: Option<&str>) {
        self.ended = true;
        let act = Act::new("node-stopped").with("failure", json!(why));
        if let Err(e) = self.log.append(act) {
            tracing::error!("that the node stops is not in the audit log: {e}");
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.ended {
            self.say(Some("it did not come up, or ended by a panic; the node's log says more"));
        }
    }
}

/// Also tells of what system contracts say in each block: permissions and validators that change, and the votes about them.
pub(super) fn observer(inner: Observer, teller: Teller) -> Observer {
    Box::new(move |committed| {
        inner(committed);
        let height = committed.head.height();
        for receipt in committed.receipts.iter() {
            for log in receipt.logs.iter().filter(|l| l.address.as_slice()[..18] == VALIDATORS.as_slice()[..18]) {
                teller.tell(Act::new("system-contract").with_all(json!({
                    "contract": log.address,
                    "event": log.topics.first(),
                    "transaction": receipt.tx_hash,
                    "height": height,
                })));
            }
        }
    })
}

/// Anchors the log's head on chain.
pub(super) struct Anchors {
    pub log: Arc<AuditLog>,
    pub audit: Option<Arc<Audit>>,
    /// How often; `None`: never.
    pub every: Option<Duration>,
    pub chain: Chain,
    pub pool: SharedPool,
    pub ingress: Ingress,
    pub key: SecretKey,
    pub metrics: Arc<Metrics>,
}

impl Anchors {
    /// Runs until `stop` turns true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let me = Arc::new(self);
        let mut ticks = tokio::time::interval(me.every.map_or(LOOK, |e| e.min(LOOK)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut not_before = tokio::time::Instant::now();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stop.wait_for(|s| *s) => return,
            }
            let this = Arc::clone(&me);
            let flushed = tokio::task::spawn_blocking(move || {
                this.log.probe();
                if let Some(audit) = &this.audit {
                    audit.reads.flush(&audit.log, false);
                }
            });
            let _ = flushed.await;
            if !me.is_due() || tokio::time::Instant::now() < not_before {
                continue;
            }
            if let Err(e) = Arc::clone(&me).anchor().await {
                let wait = me.every.map_or(AGAIN_AFTER, |every| every.min(AGAIN_AFTER));
                not_before = tokio::time::Instant::now() + wait;
                tracing::warn!("the audit log's head could not be anchored on chain, tried again in {wait:?}: {e:#}");
            }
        }
    }

    fn is_due(&self) -> bool {
        let Some(every) = self.every else { return false };
        let age = clock::wall_ms().saturating_sub(self.log.anchored_ms());
        // While the last one waits for a block, another would only stand behind it.
        self.log.has_news()
            && u128::from(age) >= every.as_millis()
            && self.pool.lock().next_nonce(&self.key.public_key().address()).is_none()
    }

    /// Signs the anchor of the newest entry, writes it down, and sends it: in this order, so that the chain never has an anchor
    /// that the log does not know.
    async fn anchor(self: Arc<Self>) -> anyhow::Result<()> {
        let this = Arc::clone(&self);
        let (raw, seq) = tokio::task::spawn_blocking(move || this.write()).await??;
        self.ingress.submit(vec![raw], None).await.into_iter().next().context("no answer from the mempool")??;
        self.metrics.audit_anchored(seq);
        tracing::info!(seq, "anchored the audit log on chain");
        Ok(())
    }

    fn write(&self) -> anyhow::Result<(basalt_primitives::Bytes, u64)> {
        let mut signed = None;
        let mut failure = None;
        let appended = self.log.append_after(|head| {
            match duties::sign(&self.chain, &self.pool, &self.key, anchor::ADDRESS, anchor::payload(head)) {
                Ok(tx) => {
                    let act = Act::new(anchor::ACT)
                        .with("transaction", hex::encode(tx.hash(self.chain.spec.hash_fn).0))
                        .with("nonce", tx.tx.nonce)
                        .with("of", head.seq);
                    signed = Some((basalt_proto::tx::encode_native(&tx), head.seq));
                    Ok(act)
                }
                Err(e) => {
                    failure = Some(e);
                    Err(crate::audit::AuditError::NotMade("no anchor could be signed".into()))
                }
            }
        });
        match (failure, appended) {
            (Some(e), _) => Err(e),
            (None, Err(e)) => Err(e.into()),
            (None, Ok(_)) => signed.context("an anchor is signed before it is written down"),
        }
    }
}
