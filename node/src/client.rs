//! A small JSON-RPC client, for the command line and the benchmark, and the API key that they show.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::tls;

/// Name of the file in a network's folder that holds its administrator's key.
pub(crate) const ADMIN_KEY: &str = "admin.key";
/// A key's secret; else the file of `--api-key-file`.
const VARIABLE: &str = "BASALT_API_KEY";
/// More is no key, nor a token.
const MAX_KEY: u64 = 16 * 1024;

/// Which API key the command line shows.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Authentication")]
pub struct KeyArgs {
    /// File with the API key or token to show to nodes; else the variable BASALT_API_KEY; else the administrator's of the
    /// network's folder that the command names.
    #[arg(long, global = true, value_name = "FILE", env = "BASALT_API_KEY_FILE")]
    api_key_file: Option<PathBuf>,
}

static SHOWN: OnceLock<HeaderValue> = OnceLock::new();

impl KeyArgs {
    /// Lets every client of nodes in this process show it.
    pub fn apply(&self) -> anyhow::Result<()> {
        let header = match (&self.api_key_file, std::env::var(VARIABLE)) {
            (Some(path), _) => of_file(path)?,
            (None, Ok(text)) if !text.trim().is_empty() => {
                bearer(&Zeroizing::new(text)).with_context(|| format!("{VARIABLE} holds no API key"))?
            }
            _ => return Ok(()),
        };
        // Only the first counts; the command line is read once.
        let _ = SHOWN.set(header);
        Ok(())
    }
}

/// Lets every client of nodes in this process show the key of a network's folder, unless one was named.
pub(crate) fn use_folder(dir: &Path) -> anyhow::Result<()> {
    if let Some(header) = credential(Some(dir))? {
        let _ = SHOWN.set(header);
    }
    Ok(())
}

/// What to show to the nodes of a network's folder, or to any node.
pub(crate) fn credential(dir: Option<&Path>) -> anyhow::Result<Option<HeaderValue>> {
    let of_folder = || {
        let path = dir?.join(ADMIN_KEY);
        path.exists().then(|| of_file(&path))
    };
    SHOWN.get().cloned().map(Ok).or_else(of_folder).transpose()
}

/// The beginning of every client of nodes; for others there is [`tls::client::http`], which shows nothing.
pub(crate) fn http(dir: Option<&Path>) -> anyhow::Result<reqwest::ClientBuilder> {
    let builder = tls::client::http();
    let Some(header) = credential(dir)? else { return Ok(builder) };
    Ok(builder.default_headers(HeaderMap::from_iter([(AUTHORIZATION, header)])))
}

fn of_file(path: &Path) -> anyhow::Result<HeaderValue> {
    use std::io::Read as _;
    let shown = path.display();
    let mut text = Zeroizing::new(String::new());
    let file = std::fs::File::open(path).with_context(|| format!("cannot open the API key {shown}"))?;
    file.take(MAX_KEY).read_to_string(&mut text).with_context(|| format!("cannot read the API key {shown}"))?;
    bearer(&text).with_context(|| format!("{shown} holds no API key"))
}

fn bearer(text: &Zeroizing<String>) -> anyhow::Result<HeaderValue> {
    let key = text.trim();
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
        bail!("a key or a token is one word of ASCII; make one with `basalt auth key create`");
    }
    let mut header = HeaderValue::from_str(&Zeroizing::new(format!("Bearer {key}")))?;
    header.set_sensitive(true);
    Ok(header)
}

/// Speaks to one node.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let http = http(None)?.timeout(Duration::from_secs(30)).no_proxy().build()?;
        Ok(Self { http, url: url.to_owned() })
    }

    /// Sends a request that was put together beforehand; the whole answer.
    pub async fn post(&self, body: String) -> anyhow::Result<Value> {
        let request = self.http.post(&self.url).header("content-type", "application/json").body(body);
        let answer = request.send().await;
        let answer = answer.with_context(|| format!("no answer from {}; is the node running there?", self.url))?;
        answer.json().await.with_context(|| format!("{} does not speak JSON-RPC", self.url))
    }

    /// One call; an error answer becomes an error with the node's own text.
    pub async fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.post(body.to_string()).await?;
        if let Some(error) = answer.get("error") {
            bail!("{}", error["message"].as_str().unwrap_or("the node answered with an error without text"));
        }
        Ok(answer["result"].clone())
    }

    /// A call whose answer is a quantity.
    pub async fn quantity(&self, method: &str, params: Value) -> anyhow::Result<u128> {
        let value = self.call(method, params).await?;
        quantity(&value).with_context(|| format!("{method} answered {value}, which is no quantity"))
    }
}

/// Reads a JSON-RPC quantity.
pub(crate) fn quantity(value: &Value) -> Option<u128> {
    u128::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folders_key_is_read_and_nothing_else_is_taken_for_one() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(credential(Some(dir.path())).expect("none"), None);
        let path = dir.path().join(ADMIN_KEY);
        std::fs::write(&path, "basalt_admin_00\n").expect("writes");
        let header = credential(Some(dir.path())).expect("read").expect("there");
        assert_eq!((header.as_bytes(), header.is_sensitive()), (&b"Bearer basalt_admin_00"[..], true));
        for bad in ["", " \n", "two words", "line\nline", "\u{fc}"] {
            std::fs::write(&path, bad).expect("writes");
            let error = format!("{:#}", credential(Some(dir.path())).expect_err("refused"));
            assert!(error.contains("holds no API key") && (bad.trim().is_empty() || !error.contains(bad)), "{error}");
        }
    }
}
