//! `basalt validator`.

mod reset_record;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum ValidatorCommand {
    /// Let a validator that lost its sign record vote again when too few others can answer. Audited.
    ResetRecord(reset_record::ResetRecordArgs),
}

pub(super) fn run(command: ValidatorCommand) -> anyhow::Result<()> {
    match command {
        ValidatorCommand::ResetRecord(args) => reset_record::run(args),
    }
}
