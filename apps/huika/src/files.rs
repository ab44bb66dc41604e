//! Files that only their owner may read, and files that appear under their name when they are whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::error::Failure;

/// Writes a new file that only its owner may read. What has the name already is left as it is.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create_private(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A file that is written beside its name and gets it when it is whole. Removed where it never became that: half a
/// file must not be mistaken for one.
pub(crate) struct Unfinished {
    target: PathBuf,
    aside: PathBuf,
    kept: bool,
}

impl Unfinished {
    /// Makes the file, for its owner alone. What an interrupted run left there goes.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub(crate) fn create(target: &Path) -> Result<(Self, File), Failure> {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let aside = target.with_file_name(name);
        let _ = fs::remove_file(&aside);
        let file = create_private(&aside).map_err(|error| Failure::file(target, error))?;
        let target = target.to_path_buf();
        Ok((
            Self {
                target,
                aside,
                kept: false,
            },
            file,
        ))
    }

    /// Where it is until then.
    pub(crate) fn path(&self) -> &Path {
        &self.aside
    }

    /// Gives the file its name, once its content is on disk; the name is on disk afterwards too.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn finish(mut self, file: &File) -> Result<(), Failure> {
        let refused = |error: io::Error| Failure::file(&self.target, error);
        file.sync_all().map_err(refused)?;
        fs::rename(&self.aside, &self.target).map_err(refused)?;
        self.kept = true;
        sync_folder_of(&self.target).map_err(|error| Failure::file(&self.target, error))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.aside);
        }
    }
}

fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A name is lost in a power failure until its folder is on disk too.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    // Other systems do not open folders.
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_name_when_it_is_whole_and_leaves_nothing_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("backup.gz");
        let names = || {
            let files = fs::read_dir(folder.path()).unwrap();
            files.map(|file| file.unwrap().file_name()).collect::<Vec<_>>()
        };
        let (unfinished, _) = Unfinished::create(&target).unwrap();
        assert_eq!(names(), ["backup.gz.partial"]);
        drop(unfinished);
        assert!(names().is_empty());

        let (unfinished, mut file) = Unfinished::create(&target).unwrap();
        file.write_all(b"whole").unwrap();
        unfinished.finish(&file).unwrap();
        assert_eq!(names(), ["backup.gz"]);
        assert_eq!(fs::read(&target).unwrap(), b"whole");
    }
}
