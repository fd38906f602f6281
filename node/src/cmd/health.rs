//! `basalt health`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

/// Example: basalt health --url http://127.0.0.1:8545/health/ready
#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    /// The endpoint to ask.
    #[arg(long, default_value = "http://127.0.0.1:8545/health/ready")]
    url: String,
}

pub(super) fn run(args: &HealthArgs) -> anyhow::Result<()> {
    let ask = async {
        let client = crate::tls::client::http().timeout(Duration::from_secs(3)).build()?;
        let answer = client
            .get(&args.url)
            .send()
            .await
            .with_context(|| format!("no answer from {}; is the node running?", args.url))?;
        let (status, body) = (answer.status(), answer.text().await.unwrap_or_default());
        println!("{}", body.trim());
        if !status.is_success() {
            bail!("the node answers {status}: not ready");
        }
        Ok(())
    };
    super::block_on(ask)?
}
