//! The file with the keys of personal data and secrets. It is made once and never overwritten: without it the
//! personal data in the database cannot be read by anybody.

use std::{fs, io, path::Path};

use huika_core::{Keyring, Rng};
use zeroize::Zeroizing;

use crate::{error::CommandError, files};

/// What a look at the file tells, without its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyFileState {
    /// It is not there.
    Missing,
    /// It is there and only its owner may read it.
    Private,
    /// Others on the machine may read it, with these permissions.
    Shared(u32),
    /// It is there and cannot be read or holds no keys.
    Unreadable,
}

/// Looks at the file.
pub(crate) fn look(path: &Path) -> KeyFileState {
    match read(path) {
        Ok(None) => KeyFileState::Missing,
        Ok(Some(_)) => match mode(path) {
            Some(mode) if mode & 0o077 != 0 => KeyFileState::Shared(mode & 0o777),
            _ => KeyFileState::Private,
        },
        Err(_) => KeyFileState::Unreadable,
    }
}

/// Reads the keys; nothing where the file does not exist.
///
/// # Errors
/// [`CommandError::KeyFileUnusable`].
pub(crate) fn read(path: &Path) -> Result<Option<Keyring>, CommandError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(path, error)),
    };
    Keyring::parse(&text)
        .map(Some)
        .map_err(|error| unusable(path, error))
}

/// Makes the file with fresh keys, for its owner alone, and reads it back. Of two processes that start at once one
/// makes it and both read the same keys.
///
/// # Errors
/// [`CommandError::KeyFileUnusable`].
pub(crate) fn make(path: &Path, rng: &Rng) -> Result<Keyring, CommandError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|error| unusable(path, error))?;
    }
    let aside = path.with_extension(format!("{:016x}.new", rng.next_u64()));
    let written = files::write_private(&aside, Keyring::generate(rng).as_bytes());
    // Linking fails where the name exists, so that whole keys appear at once and none are ever replaced.
    let linked = written.and_then(|()| fs::hard_link(&aside, path));
    let _ = fs::remove_file(&aside);
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unusable(path, error)),
        _ => {}
    }
    // Personal data is written with these keys from now on.
    files::sync_folder_of(path).map_err(|error| unusable(path, error))?;
    read(path)?.ok_or_else(|| unusable(path, "it was removed while it was being made"))
}

#[cfg(unix)]
fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path)
        .ok()
        .map(|metadata| metadata.permissions().mode())
}

#[cfg(not(unix))]
fn mode(_: &Path) -> Option<u32> {
    None
}

fn unusable(path: &Path, reason: impl ToString) -> CommandError {
    CommandError::KeyFileUnusable {
        path: path.display().to_string(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys").join("huika.key");
        assert_eq!(look(&path), KeyFileState::Missing);
        let rng = Rng::seeded(1);
        let made = make(&path, &rng).unwrap();
        assert_eq!(look(&path), KeyFileState::Private);
        // Whoever comes second gets the keys of the first.
        let again = make(&path, &rng).unwrap();
        assert_eq!(made.blind_index("a", "b"), again.blind_index("a", "b"));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

        fs::write(&path, "no keys").unwrap();
        assert_eq!(look(&path), KeyFileState::Unreadable);
        assert!(read(&path).unwrap_err().to_string().contains("huika.key"));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_others_may_read_is_seen() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huika.key");
        make(&path, &Rng::seeded(1)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(look(&path), KeyFileState::Shared(0o644));
    }
}
