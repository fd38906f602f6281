//! The layers of configuration, in rising order: file, `BASALT_*` variables, flags. Unknown keys are an error in each.

use std::{
    fs,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use super::NodeConfig;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("{origin}: {problem}")]
    Parse {
        /// The file, variable or flag.
        origin: String,
        /// What is wrong with it, with line and column where there are any.
        problem: String,
    },
    /// Settings of traces.
    #[error("config {0}")]
    Tracing(#[from] crate::monitor::traces::TracingError),
    /// A value out of its range.
    #[error("config `{key}` {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is allowed.
        problem: String,
    },
}

/// Keys that can be set by variable or flag, as section (empty: top level) and name.
const KEYS: [(&str, &str); 71] = [
    ("", "name"),
    ("", "genesis"),
    ("", "data_dir"),
    ("keys", "node"),
    ("keys", "validator"),
    ("keys", "passphrase_file"),
    ("p2p", "listen"),
    ("p2p", "peers"),
    ("p2p", "max_peers"),
    ("rpc", "enabled"),
    ("rpc", "listen"),
    ("rpc", "cors"),
    ("rpc", "hosts"),
    ("rpc", "stall_after_ms"),
    ("rpc", "admin"),
    ("rpc", "tls_certificate"),
    ("rpc", "tls_key"),
    ("rpc", "tls_client_ca"),
    ("metrics", "enabled"),
    ("metrics", "listen"),
    ("metrics", "tls_certificate"),
    ("metrics", "tls_key"),
    ("metrics", "tls_client_ca"),
    ("auth", "keys_file"),
    ("auth", "anonymous"),
    ("auth", "certificate_roles"),
    ("auth", "rate_per_second"),
    ("auth", "burst"),
    ("auth", "failures_per_minute"),
    ("auth", "jwt_secret_file"),
    ("auth", "jwt_public_keys"),
    ("auth", "jwt_audience"),
    ("auth", "jwt_issuer"),
    ("auth", "jwt_leeway_seconds"),
    ("audit", "max_file_mib"),
    ("audit", "keep_days"),
    ("audit", "anchor_seconds"),
    ("monitor", "enabled"),
    ("monitor", "tps_upper"),
    ("monitor", "tps_lower"),
    ("monitor", "tps_window_seconds"),
    ("monitor", "node_down_after_ms"),
    ("monitor", "disk_max_percent"),
    ("monitor", "memory_max_percent"),
    ("monitor", "memory_limit_mib"),
    ("monitor", "clock_offset_max_ms"),
    ("monitor", "min_peers"),
    ("monitor", "webhook_private_targets"),
    ("monitor", "organisation"),
    ("tracing", "endpoint"),
    ("tracing", "sample_rate"),
    ("tracing", "max_in_flight"),
    ("tracing", "max_queued"),
    ("tracing", "max_batch"),
    ("tracing", "flush_ms"),
    ("tracing", "timeout_ms"),
    ("consensus", "override"),
    ("mempool", "max_transactions"),
    ("mempool", "max_mib"),
    ("mempool", "max_per_sender"),
    ("execution", "threads"),
    ("mempool", "max_peer_percent"),
    ("mempool", "journal"),
    ("storage", "cache_mib"),
    ("storage", "write_buffer_mib"),
    ("storage", "trie_mib"),
    ("storage", "max_open_files"),
    ("storage", "mode"),
    ("storage", "keep_states"),
    ("log", "level"),
    ("log", "format"),
];

/// Variables with our prefix that are not configuration.
const NOT_CONFIG: [&str; 13] = [
    "BASALT_API_KEY",
    "BASALT_API_KEY_FILE",
    "BASALT_TLS_CA",
    "BASALT_TLS_CERT",
    "BASALT_TLS_KEY",
    "BASALT_PASSPHRASE",
    "BASALT_FIXTURES",
    "BASALT_BLESS",
    "BASALT_BIN",
    "BASALT_SIM_SEEDS",
    "BASALT_RPC",
    "BASALT_IMAGE",
    "BASALT_TARGET_DIR",
];

/// Reads `path`, lays `env` (name, value) and `flags` (`section.key`, value) over it, and checks the whole.
pub fn load(
    path: &Path,
    env: impl IntoIterator<Item = (String, String)>,
    flags: &[(String, String)],
) -> Result<NodeConfig, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
    let in_file =
        |e: toml::de::Error| ConfigError::Parse { origin: path.display().to_string(), problem: e.to_string() };
    // First alone, so that the error has the file's line and column.
    toml::from_str::<NodeConfig>(&text).map_err(in_file)?;
    let mut table: Table = toml::from_str(&text).map_err(in_file)?;
    for (name, value) in env {
        let Some(rest) = name.strip_prefix("BASALT_") else { continue };
        if NOT_CONFIG.contains(&name.as_str()) {
            continue;
        }
        let wanted = rest.to_lowercase();
        let key = KEYS.iter().find(|(s, k)| if s.is_empty() { *k == wanted } else { format!("{s}_{k}") == wanted });
        set(&mut table, key, &name, &value)?;
    }
    for (name, value) in flags {
        let key = KEYS.iter().find(|(s, k)| if s.is_empty() { k == name } else { format!("{s}.{k}") == *name });
        set(&mut table, key, name, value)?;
    }
    let mut config: NodeConfig = table.try_into().map_err(|e: toml::de::Error| ConfigError::Parse {
        origin: "variables and flags".into(),
        problem: e.to_string(),
    })?;
    config.check()?;
    let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let base = base.canonicalize().map_err(|source| ConfigError::Io { path: base.to_owned(), source })?;
    config.resolve(&base);
    Ok(config)
}

fn set(table: &mut Table, key: Option<&(&str, &str)>, origin: &str, text: &str) -> Result<(), ConfigError> {
    let parse = |problem: String| ConfigError::Parse { origin: origin.to_owned(), problem };
    let Some((section, name)) = key else {
        let known: Vec<String> =
            KEYS.iter().map(|(s, k)| if s.is_empty() { (*k).to_owned() } else { format!("{s}.{k}") }).collect();
        return Err(parse(format!("no such setting; known are {}", known.join(", "))));
    };
    // Numbers, booleans and lists are written as in TOML; anything else is a string.
    let value = toml::from_str::<Table>(&format!("v = {text}"))
        .ok()
        .and_then(|mut t| t.remove("v"))
        .filter(|v| !matches!(v, Value::Datetime(_) | Value::Table(_)))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    if section.is_empty() {
        table.insert((*name).to_owned(), value);
        return Ok(());
    }
    let section = table.entry(*section).or_insert_with(|| Value::Table(Table::new()));
    section.as_table_mut().ok_or_else(|| parse("is not a section".into()))?.insert((*name).to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "name='n'\ngenesis='g.json'\ndata_dir='data'\n[keys]\nnode='node.key'\n";

    fn write(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("node.toml");
        fs::write(&path, text).expect("writes");
        (dir, path)
    }

    #[test]
    fn layers_rise_from_file_to_variables_to_flags() {
        let (dir, path) = write(&format!("{MINIMAL}[rpc]\nlisten='127.0.0.1:1'\n"));
        let env = |n: &str, v: &str| (n.to_owned(), v.to_owned());
        assert_eq!(load(&path, [], &[]).expect("loads").rpc.listen.port(), 1);
        let with_env = || [env("BASALT_RPC_LISTEN", "127.0.0.1:2"), env("OTHER", "x"), env("BASALT_PASSPHRASE", "p")];
        assert_eq!(load(&path, with_env(), &[]).expect("loads").rpc.listen.port(), 2);
        let flags = [env("rpc.listen", "127.0.0.1:3"), env("p2p.max_peers", "7")];
        let config = load(&path, with_env(), &flags).expect("loads");
        assert_eq!((config.rpc.listen.port(), config.p2p.max_peers), (3, 7));
        assert_eq!(config.data_dir, dir.path().canonicalize().expect("path").join("data"));
    }

    #[test]
    fn unknown_keys_are_errors_in_every_layer() {
        let (_dir, path) = write(&format!("{MINIMAL}[rpc]\nlissten='127.0.0.1:1'\n"));
        let error = load(&path, [], &[]).expect_err("refused").to_string();
        assert!(error.contains("lissten") && error.contains("line 7"), "{error}");
        let (_dir, path) = write(MINIMAL);
        let error = load(&path, [("BASALT_RPC_LISSTEN".into(), "x".into())], &[]).expect_err("refused").to_string();
        assert!(error.contains("BASALT_RPC_LISSTEN"), "{error}");
        assert!(load(&path, [], &[("rpc.port".into(), "1".into())]).is_err());
        assert!(load(&path, [], &[("p2p.max_peers".into(), "0".into())]).is_err());
        assert!(load(&path, [], &[("p2p.max_peers".into(), "many".into())]).is_err());
    }
}
