//! Nodes of a network that a test starts itself, because they live in other surroundings than the rest.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::net::Net;

/// A node's process; killed when dropped.
pub struct Proc(Child);

impl Proc {
    /// Starts a node of a network, with `prefix` (such as `ip netns exec NAME`) before the command.
    pub fn node(net: &Net, node: usize, prefix: &[&str], env: &[(&str, &Path)]) -> Self {
        let folder = net.dir().join(format!("nodes/node{node}"));
        let log = File::options().create(true).append(true).open(folder.join("node.log")).expect("the log opens");
        let mut words = prefix.iter().map(|w| (*w).to_owned()).chain([env!("CARGO_BIN_EXE_basalt").to_owned()]);
        let mut command = Command::new(words.next().expect("a command"));
        command.args(words).args(["node", "--config"]).arg(folder.join("node.toml"));
        command.envs(env.iter().copied());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("the log twice")).stderr(log);
        Self(command.spawn().expect("the node starts"))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        // Fails only when it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A library that moves the wall clock of a process it is preloaded into, and no other clock.
pub fn clock_shim(dir: &Path, ahead_s: i64) -> PathBuf {
    let (source, library) = (dir.join("clock.c"), dir.join("clock.so"));
    let text = format!(
        "#define _GNU_SOURCE\n#include <time.h>\n#include <unistd.h>\n#include <sys/syscall.h>\n\
         int clock_gettime(clockid_t c, struct timespec *t) {{\n\
           int r = (int)syscall(SYS_clock_gettime, c, t);\n\
           if (r == 0 && c == CLOCK_REALTIME) t->tv_sec += {ahead_s};\n\
           return r;\n}}\n"
    );
    std::fs::write(&source, text).expect("writes");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(compiled.expect("the C compiler that RocksDB needs runs").success(), "the clock shim compiles");
    library
}
