//! Puts another content in a file's place, at one stroke.
//!
//! A file beside it is written, synced and renamed over it, so that whoever reads sees the old content or the new one
//! and never a part; mode and owner are kept, and a symlink stays one.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Digests of weak secrets are worth guessing, so that a new file is its owner's alone.
const NEW_MODE: u32 = 0o600;

/// A file that is removed again unless it has been renamed.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After the rename there is nothing of that name; otherwise nobody could do more about it.
        let _ = fs::remove_file(&self.0);
    }
}

/// Writes the content to a file beside `target`, as hidden as no reader looks for, and renames it. Mode and, where permitted,
/// owner stay what they were. What failed is told with the error.
pub(super) fn replace(
    target: &Path,
    directory: &Path,
    content: &[u8],
) -> Result<(), (&'static str, io::Error)> {
    let failed = |what| move |error| (what, error);
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let hidden = directory.join(format!(".{name}.{}.tmp", std::process::id()));
    // One of this name is left over from a process that died: the lock keeps out everyone else.
    let _ = fs::remove_file(&hidden);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(NEW_MODE)
        .open(&hidden)
        .map_err(failed("writing beside it"))?;
    let unfinished = Unfinished(hidden);
    file.write_all(content)
        .map_err(failed("writing beside it"))?;
    if let Ok(old) = fs::metadata(target) {
        // Only root may give files away; the mode matters more, and must be set after it.
        let _ = chown(&unfinished.0, Some(old.uid()), Some(old.gid()));
        file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))
            .map_err(failed("setting the mode of the new file"))?;
    }
    file.sync_all().map_err(failed("writing beside it"))?;
    fs::rename(&unfinished.0, target).map_err(failed("renaming"))?;
    // The rename itself must outlast a loss of power.
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed("writing its directory"))
}
