//! The decisions: who a request is from, whether that one may call, and how often. Files that change are taken in while the node
//! runs; what cannot be used never replaces what is in force.

use std::{net::IpAddr, sync::Arc, time::Duration};

use basalt_primitives::HashFn;
use parking_lot::{Mutex, RwLock};
use tokio::{sync::watch, time::MissedTickBehavior};

use super::{
    AuthConfig, AuthError, Denied, Grant, Principal, Shown, Who,
    buckets::Buckets,
    jwt::Tokens,
    keys::{self, Granted, KeysFile},
    principal::network_of,
    report::Reporter,
    roles,
};
use crate::{audit::Act, clock};

/// How often the files are looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(5);
/// Callers whose rates are counted at once.
const MAX_CALLERS: usize = 8_192;
/// Addresses whose failures are counted at once.
const MAX_ADDRESSES: usize = 8_192;

/// What the files say.
#[derive(Debug)]
pub(super) struct Loaded {
    granted: Granted,
    tokens: Option<Tokens>,
}

/// Who the buckets belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Caller {
    Known(Who),
    Address(Option<IpAddr>),
}

/// Guards the interfaces of one node.
#[derive(Debug)]
pub struct Auth {
    config: AuthConfig,
    loaded: RwLock<Arc<Loaded>>,
    /// Digest of the files in force, and of some that were refused.
    seen: Mutex<(Digest, Option<Digest>)>,
    anonymous: Arc<Grant>,
    rates: Mutex<Buckets<Caller>>,
    failures: Mutex<Buckets<Option<IpAddr>>>,
    pub(super) reporter: Reporter,
}

type Digest = [u8; 32];

impl Auth {
    /// Reads the files.
    pub fn open(config: AuthConfig, reporter: Reporter) -> Result<Arc<Self>, AuthError> {
        let digest = digest(&config);
        let loaded = RwLock::new(Arc::new(load(&config)?));
        let roles = config.anonymous.iter().copied().collect();
        let anonymous = Arc::new(Grant { roles, rate: config.rate(), ..Grant::default() });
        Ok(Arc::new(Self {
            config,
            loaded,
            seen: Mutex::new((digest, None)),
            anonymous,
            rates: Mutex::new(Buckets::new(MAX_CALLERS)),
            failures: Mutex::new(Buckets::new(MAX_ADDRESSES)),
            reporter,
        }))
    }

    /// Who shows this. A secret goes before a certificate, and a wrong one is never overlooked.
    pub fn authenticate(&self, shown: &Shown<'_>) -> Result<Principal, Denied> {
        self.identify(shown, now_s()).map_err(|denied| self.fail(denied, shown.address))
    }

    fn identify(&self, shown: &Shown<'_>, now: u64) -> Result<Principal, Denied> {
        let loaded = Arc::clone(&self.loaded.read());
        let made =
            |who, grant: &Arc<Grant>, proof| Principal { who, address: shown.address, grant: Arc::clone(grant), proof };
        let principal = match (shown.secret, shown.certificate) {
            (Some(secret), _) if keys::is_key(secret) => {
                let (id, key) = loaded.granted.find(secret)?;
                made(Who::Key(Arc::clone(id)), &key.grant, Some(key.proof()))
            }
            (Some(token), _) => {
                let tokens = loaded
                    .tokens
                    .as_ref()
                    .ok_or(Denied::Malformed("it is no API key, and tokens are not taken here"))?;
                let (subject, grant) = tokens.verify(token, now)?;
                made(Who::Token(subject.into()), &Arc::new(grant), None)
            }
            (None, Some(name)) => match self.of_certificate(&loaded, name) {
                Some(grant) => made(Who::Certificate(name.into()), &grant, None),
                None => made(Who::Nobody, &self.anonymous, None),
            },
            (None, None) => made(Who::Nobody, &self.anonymous, None),
        };
        if principal.grant.is_over(now) {
            return Err(Denied::Expired);
        }
        if principal.grant.roles.is_empty() {
            return Err(Denied::Missing);
        }
        Ok(principal)
    }

    fn of_certificate(&self, loaded: &Loaded, name: &str) -> Option<Arc<Grant>> {
        let unnamed = || {
            let roles: std::collections::BTreeSet<_> = self.config.certificate_roles.iter().copied().collect();
            (!roles.is_empty()).then(|| Arc::new(Grant { roles, rate: self.config.rate(), ..Grant::default() }))
        };
        loaded.granted.certificates.get(name).cloned().or_else(unnamed)
    }

    /// Counts a failure. Beyond an address' limit all failures look alike, and are neither logged nor audited. What is right is
    /// taken all the same: secrets of 256 bits are not guessed, and one client with an old key must not lock its neighbours out.
    pub(super) fn fail(&self, denied: Denied, address: Option<IpAddr>) -> Denied {
        let per_minute = f64::from(self.config.failures_per_minute);
        let rate = (per_minute / 60.0, per_minute);
        let taken = self.failures.lock().take(address.map(network_of), rate, 1, clock::mono());
        if taken.granted == 0 {
            self.reporter.count_failure("too_many");
            return Denied::TooMany { retry_ms: taken.retry_ms };
        }
        self.reporter.failed(&denied, address);
        denied
    }

    /// What a principal may do now: a key may have been changed or revoked since it was shown.
    fn grant_of(&self, principal: &Principal) -> Option<Arc<Grant>> {
        let loaded = Arc::clone(&self.loaded.read());
        let grant = match (&principal.who, &principal.proof) {
            (Who::Key(id), Some(proof)) => loaded.granted.still(id, proof).cloned(),
            (Who::Certificate(name), _) => self.of_certificate(&loaded, name),
            (Who::Token(_), _) => loaded.tokens.is_some().then(|| Arc::clone(&principal.grant)),
            _ => Some(Arc::clone(&self.anonymous)),
        };
        grant.filter(|g| !g.is_over(now_s()) && !g.roles.is_empty())
    }

    /// Whether the principal of a long connection is still one.
    pub fn holds(&self, principal: &Principal) -> Result<(), Denied> {
        self.grant_of(principal).map(drop).ok_or(Denied::Expired)
    }

    /// Whether a principal may call a method.
    pub fn authorise(&self, principal: &Principal, method: &'static str) -> Result<(), Denied> {
        let who = || principal.who.to_string();
        let judged = match self.grant_of(principal) {
            None => Err(Denied::Expired),
            Some(grant) if !grant.reaches(method) => {
                Err(Denied::Role { who: who(), method: method.into(), needs: roles::names(roles::needs(method)) })
            }
            Some(grant) if !grant.allows(method) => Err(Denied::NotAllowed { who: who(), method: method.into() }),
            Some(_) => Ok(()),
        };
        judged.inspect_err(|denied| self.reporter.refused(denied, principal, method))
    }

    /// How many of so many requests are within the principal's rate, and why the others are not.
    pub fn take(&self, principal: &Principal, count: usize) -> (usize, Option<Denied>) {
        let Some(rate) = self.grant_of(principal).and_then(|g| g.rate) else { return (count, None) };
        let caller = match &principal.who {
            Who::Nobody => Caller::Address(principal.address.map(network_of)),
            known => Caller::Known(known.clone()),
        };
        let speed = (f64::from(rate.per_second), f64::from(rate.burst));
        let taken = self.rates.lock().take(caller, speed, count, clock::mono());
        if taken.granted == count {
            return (count, None);
        }
        self.reporter.count_refusal("rate");
        let denied = Denied::Rate {
            who: principal.who.to_string(),
            per_second: rate.per_second,
            burst: rate.burst,
            retry_ms: taken.retry_ms,
        };
        (taken.granted, Some(denied))
    }

    /// The ids of keys and the names of certificates in force, with a digest of all files, for the audit log.
    #[must_use]
    pub fn summary(&self) -> serde_json::Value {
        let nothing = keys::Granted::default();
        let named = self.loaded.read().granted.changes_since(&nothing);
        serde_json::json!({ "digest": hex::encode(self.seen.lock().0), "known": named["added"], "anonymous": self.config.anonymous,
            "certificateRoles": self.config.certificate_roles, "tokens": self.config.takes_tokens() })
    }

    /// Looks at the files, and takes them into force if they are new and good. Reads the disk.
    pub fn refresh(&self) {
        let now_there = digest(&self.config);
        let mut seen = self.seen.lock();
        if now_there == seen.0 {
            seen.1 = None;
            return;
        }
        if seen.1 == Some(now_there) {
            return;
        }
        match load(&self.config) {
            Ok(new) => {
                let before = std::mem::replace(&mut *self.loaded.write(), Arc::new(new));
                *seen = (now_there, None);
                tracing::info!("the changed files of [auth] are in force");
                let changes = self.loaded.read().granted.changes_since(&before.granted);
                if let Some(audit) = self.reporter.audit() {
                    audit.tell(Act::new("auth-files-changed").with("digest", hex::encode(now_there)).with_all(changes));
                }
            }
            Err(e) => {
                seen.1 = Some(now_there);
                tracing::error!("the changed files of [auth] are not used, the old ones stay in force: {e}");
            }
        }
    }
}

/// Looks at the files now and then, until `stop` turns true.
pub async fn watch(auth: Arc<Auth>, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(RELOAD_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.wait_for(|s| *s) => return,
        }
        let auth = Arc::clone(&auth);
        if let Err(e) = tokio::task::spawn_blocking(move || auth.refresh()).await {
            tracing::error!("the files of [auth] could not be looked at: {e}");
        }
    }
}

pub(super) fn load(config: &AuthConfig) -> Result<Loaded, AuthError> {
    let file = config.keys_file.as_deref().map(KeysFile::read).transpose()?.unwrap_or_default();
    Ok(Loaded { granted: file.granted(config.rate()), tokens: Tokens::open(config)? })
}

/// Digest of the content of all files; a file that cannot be read counts as empty.
fn digest(config: &AuthConfig) -> Digest {
    let paths = config.keys_file.iter().chain(&config.jwt_secret_file).chain(&config.jwt_public_keys);
    let each = paths.map(|p| super::read("file", p).map_or([0; 32], |bytes| HashFn::Sha256.hash(&bytes).0));
    HashFn::Sha256.hash(&each.collect::<Vec<_>>().concat()).0
}

/// Now, in seconds since the Unix epoch.
fn now_s() -> u64 {
    clock::wall_ms() / 1000
}
