use std::process::ExitCode;

fn main() -> ExitCode {
    turnpike::cli::main()
}
