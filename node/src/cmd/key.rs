//! `basalt key`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;

use crate::keys::{self, Passphrase};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make an Ed25519 key file.
    ///
    /// Example: basalt key new --out alice.key --passphrase-file secret.txt
    New {
        /// Where to write it; an existing file is never overwritten.
        #[arg(long)]
        out: PathBuf,
        /// File whose first line is the passphrase; else BASALT_PASSPHRASE.
        #[arg(long)]
        passphrase_file: Option<PathBuf>,
        /// Write the key unencrypted, for development only.
        #[arg(long, conflicts_with = "passphrase_file")]
        plain: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the public key and account address of a key file.
    ///
    /// Example: basalt key show alice.key
    Show {
        /// The key file.
        file: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &KeyCommand) -> anyhow::Result<()> {
    match command {
        KeyCommand::New { out, passphrase_file, plain, json } => {
            let passphrase = match plain {
                true => None,
                false => Some(Passphrase::find(passphrase_file.as_deref())?.context(
                    "a key file needs a passphrase: give --passphrase-file FILE or set BASALT_PASSPHRASE (or --plain for development)",
                )?),
            };
            let key = keys::generate()?;
            keys::save(out, &key, passphrase.as_ref())?;
            print(key.public_key(), *json);
        }
        KeyCommand::Show { file, json } => print(keys::public_key(file)?, *json),
    }
    Ok(())
}

fn print(key: basalt_primitives::PublicKey, json: bool) {
    let address = key.address();
    if json {
        println!("{}", serde_json::json!({ "publicKey": key.to_string(), "address": address.to_string() }));
    } else {
        println!("public key  {key}\naddress     {address}");
    }
}
