//! Generates the protobuf types with protox, a compiler in Rust: no `protoc` is needed to build Basalt.

fn main() {
    const FILES: [&str; 6] = [
        "basalt/v1/tx.proto",
        "basalt/v1/block.proto",
        "basalt/v1/storage.proto",
        "basalt/v1/wire.proto",
        "basalt/v1/consensus.proto",
        "basalt/v1/pow.proto",
    ];
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"]).expect("the .proto files of this crate compile");
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors).expect("the generated code can be written");
}
