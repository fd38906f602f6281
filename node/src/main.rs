//! The `basalt` binary.

fn main() -> std::process::ExitCode {
    basalt_node::cmd::main()
}
