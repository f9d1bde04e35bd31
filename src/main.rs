//! `doppel`: the operator, and the CRDs that it serves.

use clap::Parser as _;

use doppel::args::{Command, Typed};
use doppel::{crd, operator, telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Typed::parse().command {
        Command::Operator(args) => {
            telemetry::log::start(&args.log)?;
            Ok(operator::run(*args).await?)
        }
        Command::Crds => {
            print!("{}", crd::yaml()?);
            Ok(())
        }
    }
}
