//! Where the tests are: a folder, a file of it, or the packed archive.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

/// All JSON files at or below a path, by name.
///
/// # Errors
/// When a folder cannot be read.
pub fn files(at: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(at, &mut found)?;
    found.sort();
    Ok(found)
}

fn collect(at: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if at.is_file() {
        found.extend(at.extension().is_some_and(|e| e == "json").then(|| at.to_owned()));
        return Ok(());
    }
    for entry in std::fs::read_dir(at).with_context(|| format!("cannot read the folder {}", at.display()))? {
        let path = entry.with_context(|| format!("cannot read the folder {}", at.display()))?.path();
        // Links could lead in circles.
        if !path.is_symlink() {
            collect(&path, found)?;
        }
    }
    Ok(())
}

/// Unpacks an archive into a temporary folder, which goes with the returned value.
///
/// # Errors
/// When `tar` cannot unpack it.
pub fn unpack(archive: &Path) -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let status = Command::new("tar").arg("xJf").arg(archive).arg("-C").arg(folder.path()).status();
    if !status.context("cannot run tar")?.success() {
        bail!("tar cannot unpack {}", archive.display());
    }
    Ok(folder)
}
