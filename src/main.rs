//! The command line, and nothing else: arguments to an exit code.
//!
//! What a command does, and what it takes of the environment and writes to the standard streams, is
//! in the library's `cli` module. This file gives it the process's arguments, and the shell its
//! exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    keyward::cli::run(std::env::args_os())
}
