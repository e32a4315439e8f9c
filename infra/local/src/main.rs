use std::process::ExitCode;

fn main() -> ExitCode {
    annomesh::cli::main()
}
