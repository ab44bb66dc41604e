//! The binary: everything is in the library, so that tests can use it.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    huika::cli::run(std::env::args_os())
}
