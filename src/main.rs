//! The command line, and nothing else: arguments to an exit code.
//!
//! What a command does is in the library's `cli` room. This file gives it the process's arguments, environment and
//! standard streams, and turns its outcome into what the shell sees.

use std::process::ExitCode;

fn main() -> ExitCode {
    keyward::cli::run(std::env::args_os())
}
