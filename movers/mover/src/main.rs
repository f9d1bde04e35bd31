//! `doppel-mover`: moves the content of one volume, once, and says how it went.
//!
//! In a pod it is started as `doppel-mover run` and finds its work in the environment; by hand its work is on the command
//! line. Either way [`settings`] holds what it does, and everything below works from that alone:
//!
//! - [`args`] what was typed, [`settings`] what it means
//! - [`run`] the one run: switch, clock, display, work, report
//! - [`source`], [`destination`] the work: connections and their order; bytes are the engines' business
//! - [`restic`] the work on repositories of restic's, and its commands by hand
//! - [`device`] what source and destination do alike where the volume is a block device
//! - [`progress`], [`display`], [`tell`], [`summary`] what a person or an operator gets to see meanwhile and afterwards

use std::process::ExitCode;

use clap::Parser;

use crate::settings::Task;

mod args;
mod destination;
mod device;
mod display;
mod failure;
mod memory;
mod progress;
mod restic;
mod run;
mod settings;
mod source;
mod summary;
mod tell;

fn main() -> ExitCode {
    match args::Args::parse().task() {
        Ok(Task::Run(settings)) => ExitCode::from(run::run(&settings).code()),
        Ok(Task::Restic(restic, audience)) => ExitCode::from(restic::hand::run(restic, audience)),
        Err(error) => {
            eprintln!("doppel-mover: {error:#}");
            ExitCode::from(doppel_contract::ExitCode::Usage.code())
        }
    }
}
