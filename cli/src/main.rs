//! `evenkeel`.

fn main() -> std::process::ExitCode {
    evenkeel::main()
}
